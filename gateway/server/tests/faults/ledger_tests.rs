//! The ledger finds out what it is there to find out: each history below is one that a broken gateway would leave.

use std::time::Duration;

use crate::ledger::Heard::{Announced, Joined, Recovered, Restarted};
use crate::ledger::{Heard, Note, Promise, Publications, Sent, Verdict, judge, ranges};

/// Numbers 1 to `count`, one a second, all accepted except `refused`.
fn sent(count: u64, refused: &[u64]) -> Publications {
    let one = |number| (number, Sent { begun: second(number), accepted: !refused.contains(&number) });
    (1..=count).map(one).collect()
}

fn second(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn live(number: u64) -> (u64, Heard) {
    (number, Heard::Publication(number))
}

/// Brought later, from history.
fn kept(at: u64, number: u64) -> (u64, Heard) {
    (at, Heard::Publication(number))
}

/// What is heard at which second.
fn verdict(sent: &Publications, history: &[(u64, Heard)]) -> Verdict {
    let notes: Vec<Note> =
        history.iter().map(|(at, heard)| Note { at: second(*at), heard: *heard }).collect();
    judge(sent, &notes, Promise::Each).0
}

#[test]
fn everything_once() {
    let history = [(0, Joined), live(1), live(2), live(3)];
    assert_eq!(verdict(&sent(3, &[]), &history), Verdict { delivered: 3, ..Verdict::default() });
}

#[test]
fn a_hole_that_nobody_announced() {
    let history = [(0, Joined), live(1), live(4)];
    let expected = Verdict { delivered: 2, unexplained: 2, ..Verdict::default() };
    assert_eq!(verdict(&sent(4, &[]), &history), expected);
}

#[test]
fn a_silent_end() {
    let history = [(0, Joined), live(1)];
    assert_eq!(
        verdict(&sent(3, &[]), &history),
        Verdict { delivered: 1, unexplained: 2, ..Verdict::default() }
    );
}

#[test]
fn an_announced_hole() {
    let history = [(0, Joined), live(1), (3, Announced), live(4)];
    let expected = Verdict { delivered: 2, announced: 2, ..Verdict::default() };
    assert_eq!(verdict(&sent(4, &[]), &history), expected);
}

#[test]
fn an_announcement_explains_nothing_that_came_later() {
    // Told when the link broke, at 2, not when it was back: who loads the state at 2 misses 3.
    let history = [(0, Joined), live(1), (2, Announced), live(4)];
    let expected = Verdict { delivered: 2, announced: 1, unexplained: 1, ..Verdict::default() };
    assert_eq!(verdict(&sent(4, &[]), &history), expected);
}

#[test]
fn an_announcement_explains_nothing_elsewhere() {
    let sent = sent(6, &[]);
    let expected = Verdict { delivered: 5, unexplained: 1, ..Verdict::default() };
    // Before the last one heard before the hole.
    let early = [(0, Joined), live(1), (1, Announced), live(2), live(4), live(5), live(6)];
    assert_eq!(verdict(&sent, &early), expected);
    // Behind the first one heard after it.
    let late = [(0, Joined), live(1), live(2), live(4), (4, Announced), live(5), live(6)];
    assert_eq!(verdict(&sent, &late), expected);
}

#[test]
fn recovered_is_believed_and_therefore_has_to_be_true() {
    let sent = sent(5, &[]);
    let whole =
        [(0, Joined), live(1), (3, Announced), (4, Recovered), kept(4, 2), kept(4, 3), live(4), live(5)];
    assert_eq!(verdict(&sent, &whole), Verdict { delivered: 5, ..Verdict::default() });
    let lie = [(0, Joined), live(1), (3, Announced), (4, Recovered), kept(4, 3), live(4), live(5)];
    assert_eq!(verdict(&sent, &lie), Verdict { delivered: 4, unexplained: 1, ..Verdict::default() });
    // From a position that was given after the loss, nothing is missing.
    let honest = [(0, Joined), live(1), (3, Restarted), (3, Recovered), live(4), live(5)];
    assert_eq!(verdict(&sent, &honest), Verdict { delivered: 3, announced: 2, ..Verdict::default() });
}

#[test]
fn repetitions() {
    let sent = sent(3, &[3]);
    // The refused one may come, but not twice.
    let history = [(0, Joined), live(1), live(2), live(2), live(3), live(3)];
    assert_eq!(verdict(&sent, &history), Verdict { delivered: 3, duplicated: 2, ..Verdict::default() });
    // The newest value comes again as state, where that was announced, and only there.
    let count = |history: &[(u64, Heard)]| {
        let notes = history.iter().map(|(at, heard)| Note { at: second(*at), heard: *heard });
        judge(&sent, &notes.collect::<Vec<_>>(), Promise::EachAgain).0.duplicated
    };
    let again = [(0, Joined), live(1), live(2), (3, Announced), kept(3, 2)];
    assert_eq!((verdict(&sent, &again).duplicated, count(&again)), (1, 0));
    assert_eq!(count(&[(0, Joined), live(1), (1, Announced), live(2), kept(3, 2)]), 1);
}

#[test]
fn what_was_refused_or_came_before_is_not_owed() {
    let history = [(2, Joined), live(2), live(4)];
    let expected = Verdict { delivered: 2, ..Verdict::default() };
    assert_eq!(verdict(&sent(4, &[3]), &history), expected);
    assert_eq!(verdict(&sent(4, &[]), &[]), Verdict::default(), "who never joined is owed nothing");
}

#[test]
fn disorder_and_inventions() {
    let history = [(0, Joined), live(1), live(3), live(2), live(9)];
    let expected = Verdict { delivered: 3, disordered: 1, invented: 1, ..Verdict::default() };
    assert_eq!(verdict(&sent(3, &[]), &history), expected);
}

#[test]
fn of_values_the_newest_is_owed() {
    let sent = sent(4, &[]);
    let newest = |history: &[(u64, Heard)]| {
        let notes = history.iter().map(|(at, heard)| Note { at: second(*at), heard: *heard });
        judge(&sent, &notes.collect::<Vec<_>>(), Promise::Newest).0
    };
    let expected = Verdict { delivered: 2, superseded: 2, ..Verdict::default() };
    assert_eq!(newest(&[(0, Joined), live(1), live(4)]), expected);
    let expected = Verdict { delivered: 2, superseded: 1, unexplained: 1, ..Verdict::default() };
    assert_eq!(newest(&[(0, Joined), live(1), live(3)]), expected);
}

#[test]
fn ranges_for_people() {
    assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1-3 7 9-10");
}
