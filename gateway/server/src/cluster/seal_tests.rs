//! Forged, altered, old and repeated messages are told apart from those of a pod.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::*;

const NOW: u64 = 1_700_000_000_000;

fn keys(secrets: &[&[u8]]) -> Keys {
    Keys::derived("default/chat", secrets.to_vec()).unwrap()
}

fn body(number: u64, at: u64) -> Body {
    let message = Message::GiveWay { subject: "75".repeat(17), stamp: 7 };
    Body { from: "pod".into(), number, at, message }
}

#[test]
fn only_who_has_all_secrets_of_this_gateway_can_seal() {
    let own = keys(&[b"one", b"two"]);
    let sealed = own.seal(&body(1, NOW));
    assert_eq!(own.open(&sealed), Ok(body(1, NOW)));
    assert_eq!(keys(&[b"two", b"one", b"one"]).open(&sealed), Ok(body(1, NOW)), "in whatever order");
    for other in [keys(&[b"one"]), keys(&[b"onetwo"]), keys(&[b"one", b"two", b"three"])] {
        assert_eq!(other.open(&sealed), Err(Ignored::Forged));
    }
    let elsewhere = Keys::derived("default/other", vec![b"one", b"two"]).unwrap();
    assert_eq!(elsewhere.open(&sealed), Err(Ignored::Forged));
    assert!(Keys::derived("default/chat", Vec::new()).is_none());
}

#[tokio::test(start_paused = true)]
async fn the_key_of_before_a_reload_is_believed_for_a_while() {
    let (old, new) = (keys(&[b"old"]), keys(&[b"new"]));
    let sealed = old.seal(&body(1, NOW));
    let both = new.after(&old);
    assert!(both.open(&sealed).is_ok() && both.open(&both.seal(&body(2, NOW))).is_ok());
    assert_eq!(old.open(&both.seal(&body(2, NOW))), Err(Ignored::Forged));
    tokio::time::advance(OVERLAP).await;
    assert_eq!(both.open(&sealed), Err(Ignored::Forged));
}

#[test]
fn what_is_no_message_is_told_by_its_kind() {
    let keys = keys(&[b"one"]);
    assert_eq!(keys.open(b""), Err(Ignored::Malformed));
    assert_eq!(keys.open(&[VERSION; 20]), Err(Ignored::Malformed));
    assert_eq!(keys.open(&[2; 80]), Err(Ignored::Version));
    assert_eq!(keys.open(&vec![VERSION; MOST_BYTES + 1]), Err(Ignored::TooLarge));
    let mut sealed = vec![VERSION];
    sealed.extend(tag(&keys.current, b"{}").as_ref());
    sealed.extend(b"{}");
    assert_eq!(keys.open(&sealed), Err(Ignored::Malformed));
}

#[test]
fn nothing_is_taken_twice_nor_from_another_time() {
    let mut window = Window::new();
    assert_eq!(window.take(&body(1, NOW), NOW), Ok(()));
    assert_eq!(window.take(&body(1, NOW), NOW), Err(Ignored::Replayed));
    let later = NOW + 10 * FRESH_MS;
    for (at, expected) in [
        (later - FRESH_MS - 1, Err(Ignored::Stale)),
        (later + FRESH_MS + 1, Err(Ignored::Stale)),
        (later - FRESH_MS, Ok(())),
    ] {
        assert_eq!(window.take(&body(at, at), later), expected, "{at}");
    }
    let mut restarted = Window::new();
    assert_eq!(restarted.take(&body(1, NOW - 1001), NOW), Err(Ignored::Stale), "from before the start");
}

proptest! {
    /// Whatever is done to a sealed message, it is not believed.
    #[test]
    fn an_altered_message_is_forged(at in 0_usize..200, flip in 1_u8.., cut in proptest::bool::ANY) {
        let keys = keys(&[b"one"]);
        let mut sealed = keys.seal(&body(1, NOW));
        let at = at % sealed.len();
        if cut { sealed.truncate(at) } else { sealed[at] ^= flip }
        prop_assert!(keys.open(&sealed).is_err());
    }

    /// Nothing that anybody can write to Redis is believed, or makes a pod fail.
    #[test]
    fn noise_is_ignored(noise in proptest::collection::vec(any::<u8>(), 0..300), version in proptest::bool::ANY) {
        let mut noise = noise;
        if version && let Some(first) = noise.first_mut() { *first = VERSION }
        prop_assert!(keys(&[b"one"]).open(&noise).is_err());
    }

    /// A sealed body of any JSON is a message or malformed.
    #[test]
    fn sealed_noise_is_malformed_or_a_message(noise in "\\PC{0,200}") {
        let keys = keys(&[b"one"]);
        let mut sealed = vec![VERSION];
        sealed.extend(tag(&keys.current, noise.as_bytes()).as_ref());
        sealed.extend(noise.as_bytes());
        prop_assert_eq!(keys.open(&sealed), Err(Ignored::Malformed));
    }

    /// In whatever order numbers come, each is taken once at most, and all of them while they are close together.
    #[test]
    fn numbers_are_taken_once(numbers in proptest::collection::vec(1_u64..400, 1..200)) {
        let mut heard = Heard::default();
        let mut taken = std::collections::HashSet::new();
        for number in numbers {
            let close = heard.highest.saturating_sub(number) < 128;
            match heard.take(number) {
                Ok(()) => prop_assert!(taken.insert(number)),
                Err(_) => prop_assert!(taken.contains(&number) || !close),
            }
        }
    }
}
