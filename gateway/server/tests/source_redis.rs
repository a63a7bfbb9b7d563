//! The Redis Pub/Sub source against a real Redis: order, loss, freezing, refusal and overflow.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use rtgw::expressions::{DropReason, Mapped, SourceMessage};
use rtgw::redis_link::Address;
use rtgw::sources::{Mapping, RedisPubSub, SourceSink, SourceStatus, Subscriptions, mapping};
use rtgw_config::checked::{PublishChannels, PublishRule, RedisAddress, Secret, SourcePattern};
use rtgw_config::expression::Expression;
use rtgw_config::pattern::Pattern;
use rtgw_config::template::Template;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Publication, RuleIx};
use support::redis::Redis;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;

/// Within this a source delivers again after its Redis is usable.
const RESUMES_WITHIN: Duration = Duration::from_secs(2);

/// What the sink heard.
#[derive(Clone, Debug, PartialEq)]
enum Heard {
    Publication(String),
    Gap(GapReason),
}

fn publication(text: &str) -> Heard {
    Heard::Publication(text.to_owned())
}

struct Sink(UnboundedSender<Heard>);

impl SourceSink for Sink {
    fn publication(&self, source: u16, rules: &[RuleIx], publication: Publication) {
        assert_eq!((source, rules), (3, &[RuleIx(1)][..]));
        let text = String::from_utf8_lossy(&publication.data).into_owned();
        drop(self.0.send(Heard::Publication(text)));
    }

    fn gap(&self, scope: GapScope, reason: GapReason) {
        assert_eq!(scope, GapScope::Rules([RuleIx(1)].into()));
        drop(self.0.send(Heard::Gap(reason)));
    }
}

/// A running source and what it brought.
struct Source {
    heard: UnboundedReceiver<Heard>,
    status: Arc<SourceStatus>,
    task: JoinHandle<()>,
}

impl Drop for Source {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Source {
    fn of(redis: &Redis, subscriptions: Subscriptions, mapping: Mapping, password: Option<&str>) -> Self {
        let password = password.map(|text| Secret(text.as_bytes().to_vec()));
        let (sender, heard) = unbounded_channel();
        let status = Arc::<SourceStatus>::default();
        let source = RedisPubSub {
            index: 3,
            name: "jobs".to_owned(),
            subscriptions,
            address: Address::new(&RedisAddress { url: redis.url(), password, ca: None }).unwrap(),
            mapping,
            concerned: Arc::new(|| GapScope::Rules([RuleIx(1)].into())),
            missed: None,
            sink: Arc::new(Sink(sender)),
            through: None,
            status: Arc::clone(&status),
        };
        Self { heard, status, task: tokio::spawn(source.run()) }
    }

    /// A source of the channel `jobs` that passes messages on, subscribed.
    async fn of_jobs(redis: &Redis) -> Self {
        let source = Self::of(redis, jobs(), pass(), None);
        source.until(|status| status.up()).await;
        source
    }

    async fn next(&mut self) -> Heard {
        let heard = tokio::time::timeout(support::PATIENCE, self.heard.recv()).await;
        heard.expect("nothing was heard").expect("the source has ended")
    }

    async fn until(&self, holds: impl Fn(&SourceStatus) -> bool) {
        let deadline = Instant::now() + support::PATIENCE;
        while !holds(&self.status) {
            assert!(Instant::now() < deadline, "{:?}", self.status);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Publishes numbers from `from` on until one is heard; gives what was heard up to it, and how long it took.
    async fn resumed(&mut self, redis: &Redis, from: u64) -> (Vec<Heard>, Duration) {
        let begun = Instant::now();
        let mut heard = Vec::new();
        for number in from.. {
            redis.cli(&["PUBLISH", "jobs", &number.to_string()]);
            while let Ok(Some(next)) =
                tokio::time::timeout(Duration::from_millis(20), self.heard.recv()).await
            {
                heard.push(next);
            }
            if heard.iter().any(|heard| matches!(heard, Heard::Publication(_))) {
                break;
            }
            assert!(begun.elapsed() < support::PATIENCE, "never resumed");
        }
        (heard, begun.elapsed())
    }
}

fn jobs() -> Subscriptions {
    Subscriptions::new(vec!["jobs".to_owned()], Vec::new())
}

/// The data is the payload; where there are captures, their values stand in front.
fn pass() -> Mapping {
    Arc::new(|message: SourceMessage<'_>| {
        let mut text: String =
            message.origin.params.iter().map(|(name, value)| format!("{name}={value} ")).collect();
        text.push_str(&String::from_utf8_lossy(message.payload));
        mapped(text)
    })
}

fn mapped(text: String) -> Result<Mapped, DropReason> {
    let publication = Publication {
        channels: [ChannelName::parse("jobs").unwrap()].into_iter().collect(),
        event: "e".into(),
        data: Bytes::from(text),
        timestamp: rtgw_model::Timestamp(0),
        tags: Default::default(),
        id: None,
        priority: None,
        positions: Default::default(),
        except: None,
    };
    Ok(Mapped { publication, rules: [RuleIx(1)].into_iter().collect(), idempotency_key: None, skipped: 0 })
}

/// Publishes all at once, on one connection.
async fn burst(redis: &Redis, messages: impl Iterator<Item = Vec<u8>>) {
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let mut pipe = ::redis::pipe();
    for message in messages {
        pipe.cmd("PUBLISH").arg("jobs").arg(message).ignore();
    }
    pipe.query_async::<()>(&mut connection).await.unwrap();
}

fn error(status: &SourceStatus, reason: &str) -> u64 {
    status.errors().get(reason).copied().unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_arrives_once_and_in_order() {
    let redis = Redis::start();
    let mut source = Source::of_jobs(&redis).await;
    burst(&redis, (0..10_000).map(|number| format!("{number:0>200}").into_bytes())).await;
    for number in 0..10_000 {
        assert_eq!(source.next().await, Heard::Publication(format!("{number:0>200}")));
    }
    assert_eq!((source.status.received(), source.status.published()), (10_000, 10_000));
    assert_eq!(source.status.errors().len(), 0);
    assert!(source.heard.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_redis_is_found_again_and_one_gap_is_told() {
    let mut redis = Redis::start();
    let mut source = Source::of_jobs(&redis).await;
    redis.kill();
    source.until(|status| !status.up() && error(status, "connect") >= 6).await;
    redis.restart();
    let (heard, took) = source.resumed(&redis, 0).await;
    assert!(took < RESUMES_WITHIN, "{took:?}");
    assert_eq!(heard[0], Heard::Gap(GapReason::SourceReconnected));
    assert!(heard[1..].iter().all(|heard| matches!(heard, Heard::Publication(_))), "{heard:?}");
    assert_eq!(error(&source.status, "disconnected"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_redis_is_noticed_and_left() {
    let redis = Redis::start();
    let mut source = Source::of_jobs(&redis).await;
    let frozen = Instant::now();
    redis.freeze();
    source.until(|status| !status.up() && error(status, "timeout") == 1).await;
    assert!(frozen.elapsed() < Duration::from_secs(5), "{:?}", frozen.elapsed());
    redis.thaw();
    let (heard, took) = source.resumed(&redis, 0).await;
    assert!(took < RESUMES_WITHIN, "{took:?}");
    assert_eq!(heard[0], Heard::Gap(GapReason::SourceReconnected));
    assert!(heard[1..].iter().all(|heard| matches!(heard, Heard::Publication(_))), "{heard:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_pause_is_no_loss() {
    let redis = Redis::start();
    let mut source = Source::of_jobs(&redis).await;
    redis.freeze();
    tokio::time::sleep(Duration::from_millis(1200)).await;
    redis.thaw();
    redis.cli(&["PUBLISH", "jobs", "after"]);
    assert_eq!(source.next().await, publication("after"));
    assert_eq!(source.status.errors().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_connection_is_made_anew() {
    let redis = Redis::start();
    let mut source = Source::of_jobs(&redis).await;
    redis.cli(&["PUBLISH", "jobs", "before"]);
    assert_eq!(source.next().await, publication("before"));
    for _ in 0..3 {
        let since = error(&source.status, "disconnected");
        assert_eq!(redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"]), "1");
        source.until(|status| status.up() && error(status, "disconnected") == since + 1).await;
        assert_eq!(source.next().await, Heard::Gap(GapReason::SourceReconnected));
        redis.cli(&["PUBLISH", "jobs", "again"]);
        assert_eq!(source.next().await, publication("again"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redis_that_comes_late_tells_those_who_waited() {
    let mut redis = Redis::start();
    redis.kill();
    let mut source = Source::of(&redis, jobs(), pass(), None);
    source.until(|status| error(status, "connect") >= 2).await;
    redis.restart();
    let (heard, took) = source.resumed(&redis, 0).await;
    assert!(took < RESUMES_WITHIN, "{took:?}");
    assert_eq!(heard[0], Heard::Gap(GapReason::SourceReconnected));
    assert_eq!(heard.iter().filter(|heard| matches!(heard, Heard::Gap(_))).count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_named_and_tried_again() {
    let redis = Redis::start();
    redis.cli(&["CONFIG", "SET", "requirepass", "hunter2"]);
    let without = Source::of(&redis, jobs(), pass(), None);
    let wrong = Source::of(&redis, jobs(), pass(), Some("hunter3"));
    let mut right = Source::of(&redis, jobs(), pass(), Some("hunter2"));
    right.until(|status| status.up()).await;
    without.until(|status| error(status, "auth") >= 2).await;
    wrong.until(|status| error(status, "auth") >= 2).await;
    assert!(!without.status.up() && !wrong.status.up());
    redis.cli(&["-a", "hunter2", "PUBLISH", "jobs", "x"]);
    assert_eq!(right.next().await, publication("x"));
    redis.cli(&["-a", "hunter2", "CONFIG", "SET", "requirepass", ""]);
    without.until(|status| status.up()).await;
    assert_eq!(right.status.errors().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn missing_permission_is_named() {
    let redis = Redis::start();
    redis.cli(&["ACL", "SETUSER", "default", "resetchannels"]);
    let source = Source::of(&redis, jobs(), pass(), None);
    source.until(|status| error(status, "permission") >= 1).await;
    redis.cli(&["ACL", "SETUSER", "default", "allchannels"]);
    source.until(|status| status.up()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_globs_and_captures_take_each_message_once() {
    let redis = Redis::start();
    let patterns = vec![
        SourcePattern::Glob("jobs*".to_owned()),
        SourcePattern::Captures {
            glob: "workspace:*".to_owned(),
            pattern: Pattern::parse("workspace:{id}").unwrap(),
        },
    ];
    let mut source = Source::of(&redis, Subscriptions::new(vec!["jobs".to_owned()], patterns), pass(), None);
    source.until(|status| status.up()).await;
    for (channel, text) in [
        ("jobs", "exact"),
        ("jobs:1", "glob"),
        ("workspace:7", "captured"),
        ("workspace:7:x", "too deep"),
        ("other", "x"),
    ] {
        redis.cli(&["PUBLISH", channel, text]);
    }
    redis.cli(&["PUBLISH", "jobs", "fence"]);
    let expected = ["exact", "glob", "id=7 captured", "fence"];
    for text in expected {
        assert_eq!(source.next().await, publication(text));
    }
    assert!(source.heard.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overflow_drops_the_newest_and_tells_the_gap_in_its_place() {
    let redis = Redis::start();
    let open = Arc::new(AtomicBool::new(false));
    let mapping: Mapping = Arc::new({
        let open = Arc::clone(&open);
        move |message: SourceMessage<'_>| {
            // Far longer than any expression may take, so the worker thread is given up meanwhile.
            tokio::task::block_in_place(|| {
                while !open.load(Ordering::SeqCst) {
                    std::thread::sleep(Duration::from_millis(1));
                }
            });
            mapped(String::from_utf8_lossy(&message.payload[..2]).into_owned())
        }
    });
    let mut source = Source::of(&redis, jobs(), mapping, None);
    source.until(|status| status.up()).await;
    burst(&redis, (10..60).map(|number| number.to_string().repeat(500_000).into_bytes())).await;
    source.until(|status| status.received() == 50).await;
    let lost = error(&source.status, "overflow");
    assert!((20..=40).contains(&lost), "16 MiB of 50 wait: {lost}");
    open.store(true, Ordering::SeqCst);
    for number in 10..60 - lost {
        assert_eq!(source.next().await, publication(&number.to_string()));
    }
    assert_eq!(source.next().await, Heard::Gap(GapReason::SourceOverflow));
    redis.cli(&["PUBLISH", "jobs", "again"]);
    assert_eq!(source.next().await, publication("ag"));
    assert!(source.status.up(), "overflow is no reason to leave");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_messages_are_counted_and_hurt_nobody() {
    let redis = Redis::start();
    let calls = Arc::new(AtomicU64::new(0));
    let mapping: Mapping = Arc::new({
        let calls = Arc::clone(&calls);
        move |message: SourceMessage<'_>| {
            calls.fetch_add(1, Ordering::SeqCst);
            match &message.payload[..] {
                b"panic" => panic!("a fault of a library"),
                b"bad" => Err(DropReason::NoRule),
                payload => mapped(payload.len().to_string()),
            }
        }
    });
    let mut source = Source::of(&redis, jobs(), mapping, None);
    source.until(|status| status.up()).await;
    let sizes = [
        vec![b'x'; 1 << 20],
        vec![b'x'; (1 << 20) + 1],
        b"panic".to_vec(),
        b"bad".to_vec(),
        b"good".to_vec(),
    ];
    burst(&redis, sizes.into_iter()).await;
    assert_eq!(source.next().await, publication("1048576"));
    assert_eq!(source.next().await, publication("4"));
    assert_eq!(calls.load(Ordering::SeqCst), 4, "what is too large is not mapped");
    let errors = source.status.errors();
    assert_eq!(errors.into_iter().collect::<Vec<_>>(), [("internal", 1), ("no_rule", 1), ("too_large", 1)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rules_of_the_manifest_map_what_redis_brings() {
    let redis = Redis::start();
    let rule = PublishRule {
        when: Some(Expression::compile("has(msg.job_id)").unwrap()),
        channels: PublishChannels::List(vec![Template::parse("{source.channel}:{msg.job_id}").unwrap()]),
        event: None,
        data: Some(Expression::compile("{'type': 'job_update', 'status': msg.status}").unwrap()),
        tags: std::collections::BTreeMap::new(),
        timestamp: None,
        priority: None,
        idempotency_key: None,
    };
    let find: rtgw::sources::FindRule =
        Arc::new(|channel| (channel.as_str() == "jobs:7").then_some(RuleIx(1)));
    let mut source = Source::of(&redis, jobs(), mapping(&[rule], find), None);
    source.until(|status| status.up()).await;
    for message in
        ["{\"job_id\":8,\"status\":\"lost\"}", "{}", "no json", "{\"job_id\":7,\"status\":\"done\"}"]
    {
        redis.cli(&["PUBLISH", "jobs", message]);
    }
    assert_eq!(source.next().await, publication("{\"type\":\"job_update\",\"status\":\"done\"}"));
    assert_eq!((error(&source.status, "no_channel"), error(&source.status, "no_rule")), (1, 2));
}
