//! A drain against shards that close what they are told to, in paused time.
#![allow(clippy::unwrap_used, clippy::panic)]

use parking_lot::Mutex;

use super::*;
use crate::limits::Place;
use crate::transport::InboxFull;

/// A shard that gives places back as soon as it is told to, and notes when.
struct FakeShard {
    held: Mutex<Vec<Place>>,
    evicted: Mutex<Vec<(Instant, u32, u32)>>,
}

impl Inbox for FakeShard {
    fn post(&self, input: ShardInput) -> Result<(), InboxFull> {
        let ShardInput::Hub(Input::Evict { count, spread_ms }) = input else { panic!("not an eviction") };
        self.evicted.lock().push((Instant::now(), count, spread_ms));
        let mut held = self.held.lock();
        let left = held.len().saturating_sub(count as usize);
        held.truncate(left);
        Ok(())
    }
}

fn pod(connections: u32, plan: Plan) -> (Drain, Vec<Arc<FakeShard>>) {
    let places = Connections::new(connections, 2);
    let shards: Vec<Arc<FakeShard>> =
        (0..2).map(|_| Arc::new(FakeShard { held: Mutex::default(), evicted: Mutex::default() })).collect();
    for _ in 0..connections {
        let place = places.take(None).unwrap();
        shards[usize::from(place.shard())].held.lock().push(place);
    }
    let drain = Drain {
        plan,
        readiness: Readiness::new(),
        stop_listening: CancellationToken::new(),
        connections: places,
        inboxes: shards.iter().map(|shard| Arc::clone(shard) as Arc<dyn Inbox>).collect(),
    };
    (drain, shards)
}

#[tokio::test(start_paused = true)]
async fn closes_at_the_rate_until_nobody_is_left() {
    let (drain, shards) = pod(1000, Plan::default());
    let start = Instant::now();
    assert_eq!(drain.run().await, Drained::Empty);
    let took = start.elapsed();
    assert!((Duration::from_millis(4900)..Duration::from_millis(5200)).contains(&took), "{took:?}");
    assert!(drain.readiness.draining() && drain.stop_listening.is_cancelled());
    for shard in shards {
        for (_, count, spread_ms) in shard.evicted.lock().iter() {
            assert!(*count <= 20 && *spread_ms == 5000);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_deadline_raises_the_rate() {
    let (drain, _) = pod(20_000, Plan::default());
    let start = Instant::now();
    assert_eq!(drain.run().await, Drained::Empty);
    assert!(start.elapsed() <= Duration::from_secs(31), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn readiness_goes_first_and_the_listener_after_the_cordon() {
    let plan = Plan { cordon: Duration::from_secs(5), ..Plan::default() };
    let (drain, shards) = pod(1, plan);
    let start = Instant::now();
    let stop = drain.stop_listening.clone();
    let readiness = Arc::clone(&drain.readiness);
    let run = tokio::spawn(async move { drain.run().await });
    tokio::time::sleep(Duration::from_secs(4)).await;
    assert!(readiness.draining() && !stop.is_cancelled());
    assert_eq!(run.await.unwrap(), Drained::Empty);
    let first = shards.iter().flat_map(|shard| shard.evicted.lock().clone()).next().unwrap().0;
    assert!(first - start >= Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn what_does_not_close_is_left_and_counted() {
    let (drain, _) = pod(0, Plan::default());
    let stuck = Connections::new(1, 1);
    let _place = stuck.take(None).unwrap();
    let drain = Drain { connections: stuck, ..drain };
    assert_eq!(drain.run().await, Drained::Left(1));
}
