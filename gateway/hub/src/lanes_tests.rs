//! Lanes, in cases and under any sequence of pushes and pops.

use bytes::Bytes;
use proptest::prelude::*;
use rtgw_model::Priority;

use crate::account::Account;

use super::*;

const HIGH: Lane = Lane::Of(Priority::High);
const NORMAL: Lane = Lane::Of(Priority::Normal);
const LOW: Lane = Lane::Of(Priority::Low);

fn frame(lane: Lane, number: usize) -> Arc<Waiting> {
    let rule = (lane != Lane::Fixed).then_some(RuleIx(0));
    let frame = Frame { rule, lane, ..Frame::of_server(Bytes::from(number.to_string())) };
    Arc::new(Waiting::new(frame, &Arc::new(Account::new(1, None))))
}

fn number(frame: &Arc<Waiting>) -> usize {
    String::from_utf8_lossy(frame.bytes()).parse().unwrap_or(usize::MAX)
}

fn order(pushed: &[Lane]) -> Vec<usize> {
    let mut lanes = Lanes::default();
    for (at, lane) in pushed.iter().enumerate() {
        lanes.push(frame(*lane, at));
    }
    std::iter::from_fn(|| lanes.pop()).map(|frame| number(&frame)).collect()
}

#[test]
fn higher_lanes_go_first_and_fixed_frames_stay() {
    assert_eq!(order(&[NORMAL, LOW, NORMAL, HIGH]), [3, 0, 2, 1]);
    assert_eq!(order(&[LOW, NORMAL, Lane::Fixed, HIGH, NORMAL]), [1, 0, 2, 3, 4]);
    assert_eq!(order(&[Lane::Fixed, HIGH, Lane::Fixed, HIGH]), [0, 1, 2, 3]);
}

#[test]
fn the_lowest_lane_waits_for_eight_and_then_has_one() {
    let mut lanes = Lanes::default();
    lanes.push(frame(LOW, 1_000));
    lanes.push(frame(NORMAL, 2_000));
    let mut low = None;
    let mut normal = None;
    for at in 0..40 {
        lanes.push(frame(HIGH, at));
        lanes.push(frame(HIGH, at));
        match lanes.pop().as_ref().map(number) {
            Some(1_000) => low = Some(at),
            Some(2_000) => normal = Some(at),
            _ => {}
        }
    }
    assert_eq!((low, normal), (Some(8), Some(9)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Push(Lane),
    Pop,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let lane = prop_oneof![Just(Lane::Fixed), Just(HIGH), Just(NORMAL), Just(LOW)];
    prop::collection::vec(prop_oneof![lane.prop_map(Step::Push), Just(Step::Pop)], 0..200)
}

proptest! {
    /// Whatever comes and goes in between: nothing is lost, a lane keeps its order, a fixed frame passes nothing and is passed by nothing,
    /// and no lane waits for more than its bound.
    #[test]
    fn lanes_keep_their_promises(steps in steps()) {
        let mut lanes = Lanes::default();
        let mut waiting: Vec<(usize, Lane)> = Vec::new();
        let mut passed = 0;
        let pops = steps.len();
        for (at, step) in steps.into_iter().chain(std::iter::repeat_n(Step::Pop, pops)).enumerate() {
            if let Step::Push(lane) = step {
                lanes.push(frame(lane, at));
                waiting.push((at, lane));
                prop_assert_eq!(lanes.len(), waiting.len());
                continue;
            }
            let shown = lanes.front().map(number);
            let Some(taken) = lanes.pop() else {
                prop_assert!(waiting.is_empty() && lanes.is_empty());
                continue;
            };
            prop_assert_eq!(shown, Some(number(&taken)));
            let place = waiting.iter().position(|(at, _)| *at == number(&taken));
            let Some(place) = place else { return Err(TestCaseError::fail("came from nowhere")) };
            let (_, own) = waiting.remove(place);
            let before = &waiting[..place];
            prop_assert!(own != Lane::Fixed || before.is_empty());
            prop_assert!(before.iter().all(|(_, lane)| *lane != own && *lane != Lane::Fixed));
            passed = if before.iter().any(|(_, lane)| *lane == LOW) { passed + 1 } else { 0 };
            prop_assert!(passed <= usize::from(SHARE), "a low frame was passed {} times in a row", passed);
        }
    }
}
