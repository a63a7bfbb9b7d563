//! Counts of several pods in one Redis: exact while it is there, whole again after whatever happens to it.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rtgw::limits::{Bound, Census, Claim, GivingWay, Reach, Subject, Verdict};
use rtgw::redis_link::{Address, Link, Names};
use rtgw_config::checked::RedisAddress;
use rtgw_model::ConnectionId;
use support::PATIENCE;
use support::redis::Redis;
use tokio::task::AbortHandle;

const PODS: &str = "rtgw:default/g:census:{limits}";

/// Who gives way is told at once, as the wiring would by a message.
#[derive(Clone, Default)]
struct Wire(Arc<Mutex<Told>>);

#[derive(Default)]
struct Told {
    pods: BTreeMap<String, Census>,
    closed: Vec<(String, ConnectionId)>,
}

struct Own(String, Wire);

impl Reach for Own {
    fn reaches(&self) -> bool {
        true
    }
    fn close(&self, connection: ConnectionId) {
        self.1.0.lock().closed.push((self.0.clone(), connection));
    }
    fn tell(&self, GivingWay { pod, subject, stamp }: GivingWay) {
        let census = self.1.0.lock().pods.get(&pod).cloned();
        if let Some(census) = census {
            census.give_way(subject, stamp);
        }
    }
}

struct Pod {
    name: String,
    census: Census,
    tasks: [AbortHandle; 2],
}

impl Pod {
    fn start(name: &str, redis: &Redis, wire: &Wire) -> Self {
        let address = RedisAddress { url: redis.url(), password: None, ca: None };
        let link = Link::new("test", Address::new(&address).unwrap());
        let reach = Own(name.to_owned(), wire.clone());
        let census = Census::new(name, link.clone(), &Names::new("default", "g"), Box::new(reach));
        wire.0.lock().pods.insert(name.to_owned(), census.clone());
        let keeper = census.clone();
        let tasks = [
            tokio::spawn(async move { link.keep().await }).abort_handle(),
            tokio::spawn(async move { keeper.keep().await }).abort_handle(),
        ];
        Self { name: name.to_owned(), census, tasks }
    }

    /// Ends without a word.
    fn crash(&self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }

    async fn enter(&self, bounds: &[Bound]) -> Option<Claim> {
        match self.census.enter(bounds.iter().copied().collect()).await {
            Verdict::In(claim) => Some(claim),
            Verdict::Refused(_) => None,
        }
    }
}

fn bound(user: &str, most: u32, oldest_gives_way: bool) -> Bound {
    Bound { subject: Subject::user("", user), most, oldest_gives_way }
}

fn tenant(name: &str, most: u32) -> Bound {
    Bound { subject: Subject::tenant(name), most, oldest_gives_way: false }
}

async fn eventually(what: &str, ask: impl Fn() -> bool) {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !ask() {
        assert!(tokio::time::Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// What Redis has of a pod: counts by subjects, users' as how many there are.
fn kept(redis: &Redis, pod: &str) -> BTreeMap<Vec<u8>, u64> {
    let mut connection = redis::Client::open(redis.url()).unwrap().get_connection().unwrap();
    let fields: BTreeMap<Vec<u8>, Vec<u8>> =
        redis::cmd("HGETALL").arg(format!("{PODS}:{pod}")).query(&mut connection).unwrap();
    let count = |subject: &[u8], value: &[u8]| match subject[0] {
        b'u' => (value.len() / 8) as u64,
        _ => std::str::from_utf8(value).unwrap().parse().unwrap(),
    };
    let fields = fields.iter().filter(|(subject, _)| subject.as_slice() != b"@");
    fields.map(|(subject, value)| (subject.clone(), count(subject, value))).collect()
}

async fn registered(redis: &Redis, pods: usize) {
    eventually("the pods are there", || redis.cli(&["SCARD", PODS]) == pods.to_string()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_is_exact_however_many_come_at_once() {
    let (redis, wire) = (Redis::start(), Wire::default());
    let pods: Vec<Pod> = ["a", "b", "c"].iter().map(|name| Pod::start(name, &redis, &wire)).collect();
    registered(&redis, 3).await;
    let bounds = [bound("ann", 50, false), tenant("t", 17)];
    for _ in 0..10 {
        let asked = (0..300).map(|at| pods[at % 3].enter(&bounds));
        let held: Vec<Claim> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
        assert_eq!(held.len(), 17);
        assert!(held.iter().all(Claim::is_by_all));
        drop(held);
        eventually("nothing is left", || pods.iter().all(|pod| kept(&redis, &pod.name).is_empty())).await;
    }
    let decided: u64 = pods.iter().map(|pod| pod.census.decisions().0).sum();
    assert_eq!(decided, 3000);
    let calls = redis.cli(&["INFO", "commandstats"]);
    let scripts = calls.lines().find_map(|line| line.strip_prefix("cmdstat_evalsha:calls=")).unwrap();
    let scripts: u64 = scripts.split(',').next().unwrap().parse().unwrap();
    assert!(scripts < 1500, "those that come together are asked for together: {scripts}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_oldest_of_all_pods_is_the_one_that_gives_way() {
    let (redis, wire) = (Redis::start(), Wire::default());
    let pods: Vec<Pod> = ["a", "b"].iter().map(|name| Pod::start(name, &redis, &wire)).collect();
    registered(&redis, 2).await;
    let bounds = [bound("ann", 3, true)];
    let mut held = Vec::new();
    for at in 0..20_u32 {
        let pod = &pods[(at as usize * 7 / 3) % 2];
        let claim = pod.enter(&bounds).await.unwrap();
        assert!(!claim.name(ConnectionId { shard: 0, slot: at, generation: 0 }));
        held.push(claim);
        let closed: Vec<u32> = wire.0.lock().closed.iter().map(|(_, connection)| connection.slot).collect();
        let expected: Vec<u32> = (0..(at + 1).saturating_sub(3)).collect();
        assert_eq!(closed, expected, "after {at}");
    }
    // One that has given way before its shard has it is closed as soon as it is named.
    let unnamed: Vec<Claim> = futures_util::future::join_all((0..4).map(|_| pods[0].enter(&bounds)))
        .await
        .into_iter()
        .map(Option::unwrap)
        .collect();
    let named = unnamed.iter().map(|claim| claim.name(ConnectionId { shard: 1, slot: 0, generation: 0 }));
    assert_eq!(named.filter(|gone| *gone).count(), 1);
}

type Held = (Claim, [Bound; 2]);

/// Random steps of three pods with random accidents: afterwards Redis has exactly what the pods hold, and nothing of those that crashed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_has_what_the_pods_hold_whatever_happened() {
    for seed in 0..4 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (mut redis, wire) = (Redis::start(), Wire::default());
        let mut pods: Vec<(Pod, Vec<Held>)> =
            ["a", "b", "c"].iter().map(|name| (Pod::start(name, &redis, &wire), Vec::new())).collect();
        registered(&redis, 3).await;
        for step in 0..300 {
            let at = random.usize(..pods.len());
            let (pod, held) = &mut pods[at];
            match random.u32(0..100) {
                0..60 => {
                    let user = format!("u{}", random.u32(0..8));
                    let bounds = [bound(&user, 6, random.bool()), tenant("t", 1000)];
                    held.extend(pod.enter(&bounds).await.map(|claim| (claim, bounds)));
                }
                60..95 if !held.is_empty() => drop(held.swap_remove(random.usize(..held.len()))),
                95 => drop(redis.cli(&["FLUSHALL"])),
                96 => drop(redis.cli(&["DEL", &format!("{PODS}:{}", pod.name)])),
                97 => drop(redis.cli(&["CLIENT", "KILL", "TYPE", "normal"])),
                98 => {
                    redis.freeze();
                    tokio::time::sleep(Duration::from_millis(random.u64(0..700))).await;
                    redis.thaw();
                }
                99 if step % 3 == 0 => redis.restart(),
                // As if an older snapshot had been restored.
                _ => drop(redis.cli(&["HSET", &format!("{PODS}:{}", pod.name), "@", "1"])),
            }
        }
        let (crashed, lost) = pods.pop().unwrap();
        crashed.crash();
        let expected = |held: &[Held]| {
            let mut counts = BTreeMap::<Vec<u8>, u64>::new();
            for subject in held.iter().flat_map(|(_, bounds)| bounds.map(|bound| bound.subject)) {
                *counts.entry(subject.as_bytes().to_vec()).or_default() += 1;
            }
            counts
        };
        // Those that gave way are still held here, because nobody closes them; they are not in Redis.
        let total = |counts: &BTreeMap<Vec<u8>, u64>, kind| {
            counts.iter().filter(|(subject, _)| subject[0] == kind).map(|(_, count)| count).sum::<u64>()
        };
        for (pod, held) in &pods {
            let held = expected(held);
            eventually("Redis has what the pod holds", || {
                let kept = kept(&redis, &pod.name);
                total(&kept, b't') == total(&held, b't')
                    && kept.iter().all(|(subject, count)| held.get(subject).is_some_and(|most| count <= most))
            })
            .await;
        }
        drop(lost);
        eventually("the crashed pod is forgotten", || kept(&redis, &crashed.name).is_empty()).await;
        for (pod, held) in &mut pods {
            held.clear();
            eventually("nothing is left", || kept(&redis, &pod.name).is_empty()).await;
        }
    }
}
