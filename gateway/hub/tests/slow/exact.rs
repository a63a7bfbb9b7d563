//! Whatever comes and goes: what is on the account is what waits, each frame once, and nothing is left of those who left.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proptest::prelude::*;
use rtgw_hub::Account;
use rtgw_model::ConnectionId;

use crate::rig::{PLAIN, Rig, WIDE, publication};

const CHANNELS: [&str; 2] = ["keep:a", "keep:b"];

#[derive(Clone, Debug)]
enum Step {
    /// To one channel or both, with so long a text.
    Publish(usize, usize),
    /// A client takes so many bytes of all that waits.
    Take(usize, usize),
    Leave(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..3_usize, 10..400_usize).prop_map(|(channel, length)| Step::Publish(channel, length)),
        2 => (0..6_usize, 0..900_usize).prop_map(|(client, bytes)| Step::Take(client, bytes)),
        1 => (0..6_usize).prop_map(Step::Leave),
    ];
    proptest::collection::vec(step, 1..60)
}

/// One client as the test sees it.
struct Model {
    shard: usize,
    id: ConnectionId,
    hears: usize,
    /// Copied bytes that its socket has the beginning of.
    rest: usize,
    /// Publications that wait, with their lengths.
    waits: BTreeMap<usize, usize>,
}

impl Model {
    fn waiting(&self) -> usize {
        self.rest + self.waits.values().sum::<usize>()
    }
}

fn expected(clients: &[Model]) -> u64 {
    let frames: BTreeSet<(usize, usize)> =
        clients.iter().flat_map(|client| client.waits.iter().map(|(at, length)| (*at, *length))).collect();
    let shared: usize = frames.iter().map(|(_, length)| length).sum();
    (shared + clients.iter().map(|client| client.rest).sum::<usize>()) as u64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_account_is_what_waits(steps in steps()) {
        let account = Arc::new(Account::new(2, None));
        let mut rigs = [Rig::sharing(0, &account), Rig::sharing(1, &account)];
        let mut clients: Vec<Model> = (0..6).map(|at| {
            let (shard, hears) = (at % 2, at % 3);
            let id = rigs[shard].stuck(&CHANNELS[..=hears.min(1)], PLAIN, WIDE);
            Model { shard, id, hears: hears.min(1), rest: 4, waits: BTreeMap::new() }
        }).collect();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Publish(channel, length) => {
                    let channels = if channel == 2 { &CHANNELS[..] } else { &CHANNELS[channel..=channel] };
                    let text = format!("{number:0length$}");
                    let outgoing = publication(channels, "", &text);
                    rigs.iter_mut().for_each(|rig| rig.take(outgoing.clone()));
                    for client in clients.iter_mut().filter(|client| channel != 1 || client.hears == 1) {
                        client.waits.insert(number, text.len() + "pub \n".len());
                    }
                }
                Step::Take(client, bytes) => {
                    let Some(client) = clients.get_mut(client) else { continue };
                    let all = client.waiting();
                    // One that takes all would not be blocked any more.
                    let bytes = bytes.min(all.saturating_sub(1));
                    rigs[client.shard].take_bytes(client.id, bytes);
                    // All of it fits into one write, so what the socket leaves is one copy.
                    prop_assume!(all <= 16 * 1024);
                    (client.rest, client.waits) = (all - bytes, BTreeMap::new());
                }
                Step::Leave(client) if client < clients.len() => {
                    let client = clients.swap_remove(client);
                    rigs[client.shard].gone(client.id);
                }
                Step::Leave(_) => {}
            }
            prop_assert_eq!(account.frame_bytes(), expected(&clients));
            prop_assert!(account.used() >= account.frame_bytes());
        }
        for client in &clients {
            let rig = &mut rigs[client.shard];
            rig.read(client.id);
            rig.gone(client.id);
        }
        prop_assert_eq!((account.frame_bytes(), account.used()), (0, 0));
    }
}
