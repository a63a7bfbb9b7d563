//! The stage of a scenario: a Redis, pods behind proxies of their own, publishers, clients, and somebody who asks how it goes.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::client::{AfterGap, Client, Habits};
use crate::inlet::{Inlet, Verb};
use crate::ledger::{Heard, Promise, Verdict, judge, ranges};
use crate::proxy::Proxy;
use crate::publisher::Publisher;
use crate::redis::{Disk, Redis};
use crate::scenario::Clock;
use crate::support::gateway::rtgw;
use crate::support::process::Process;
use crate::support::{PATIENCE, eventually, free_port, http};
use crate::wall_clock::WallClock;
use crate::watch::Watch;

/// How the names of channels with `Stream` begin.
pub const STREAMS: &str = "stream:";
/// Channels that keep a history from which everything comes back.
pub const STREAM: &str = "stream:s";
/// The same, and its publisher asks again under the same idempotency key until it is accepted.
pub const RETRIED: &str = "stream:r";
/// Channels that keep the newest value.
pub const CACHE: &str = "cache:c";
/// Channels that keep nothing.
pub const NONE: &str = "none:n";

/// What Pub/Sub of Redis brings to each pod by itself.
pub const EVERY: &str = "every:e";

/// What Pub/Sub of Redis brings to the pod whose turn it is; at first the last one's, which is the one that faults befall.
pub const ONE: &str = "one:o";

/// What a stream of Redis brings to one pod or the other.
pub const LOG: &str = "log:l";

/// What the pods publish through.
#[derive(Clone, Copy, PartialEq)]
pub enum Broker {
    /// The pod's own memory; one pod.
    Memory,
    /// The same in two pods that know nothing of each other: what a test needs that has to fail.
    Apart,
    /// A Redis with this on disk; two pods.
    Redis(Disk),
}

/// A gateway, and its way to Redis.
pub struct Pod {
    process: Option<Process>,
    /// The public listener.
    pub public: SocketAddr,
    /// The internal listener.
    pub admin: SocketAddr,
    /// Between it and Redis, where there is one.
    pub proxy: Option<Proxy>,
    /// What it says of itself.
    pub watch: Option<Watch>,
    manifest: PathBuf,
    environment: Vec<(&'static str, String)>,
}

impl Drop for Pod {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.manifest));
    }
}

impl Pod {
    async fn new(redis: Option<SocketAddr>, environment: Vec<(&'static str, String)>) -> Self {
        let proxy = match redis {
            Some(redis) => Some(Proxy::start(redis).await),
            None => None,
        };
        let address = || SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let (public, admin) = (address(), address());
        let manifest = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "faults-{}-{}.yaml",
            std::process::id(),
            public.port()
        ));
        std::fs::write(&manifest, written(proxy.as_ref().map(Proxy::address))).unwrap();
        Self { process: None, public, admin, proxy, watch: None, manifest, environment }
    }

    /// Starts the program, without waiting until it is ready.
    pub fn start(&mut self) {
        let mut command = rtgw();
        command.arg("serve").arg("-f").arg(&self.manifest);
        command.args(["--listen", &self.public.to_string(), "--admin", &self.admin.to_string()]);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())));
        self.process = Some(Process::start(&mut command));
    }

    /// Has it meet the others in `redis`, by a configuration that it reads while it runs.
    pub fn reconfigure(&self, redis: &str) {
        let accepted = || {
            let page = http::get(self.admin, "/metrics").body;
            let line = page
                .lines()
                .find_map(|line| line.strip_prefix("rtgw_config_reloads_total{result=\"accepted\"} "));
            line.and_then(|count| count.parse::<u64>().ok()).unwrap_or_default()
        };
        let before = accepted();
        let beside = self.manifest.with_extension("new");
        std::fs::write(&beside, GATEWAY.replace(MEMBER, redis)).unwrap();
        std::fs::rename(beside, &self.manifest).unwrap();
        self.signal("HUP");
        eventually("the configuration is taken", || (accepted() > before).then_some(()));
    }

    /// Waits until it is ready.
    pub fn until_ready(&mut self) {
        let (admin, process) = (self.admin, self.process.as_mut().expect("the pod runs"));
        eventually("the pod is ready", || {
            assert!(process.running(), "the pod ended: {}", process.stderr());
            http::try_get(admin, "/readyz").filter(|answer| answer.status == 200)
        });
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Sends a signal by its name.
    pub fn signal(&self, name: &str) {
        self.process.as_ref().expect("the pod runs").signal(name);
    }

    /// What it logged.
    pub fn log(&self) -> String {
        self.process.as_ref().map(Process::stderr).unwrap_or_default()
    }
}

/// Everything on the stage.
pub struct Rig {
    /// When the scenario began; all times count from here.
    pub begin: Instant,
    /// The Redis that pods are pointed at first.
    pub redis: Option<Redis>,
    /// The way to Redis of an application that writes there for sources.
    pub application: Option<Proxy>,
    /// The gateways.
    pub pods: Vec<Pod>,
    /// One for each channel.
    pub publishers: Vec<Publisher>,
    /// Two at home in each pod, of which one recovers after gaps; one that roams; one that is away while the fault lasts.
    pub clients: Vec<Client>,
    /// A wall clock that the scenario sets.
    pub clock: Option<WallClock>,
    /// When the fault began.
    pub struck: Duration,
    /// When there was nothing left to wait for but the gateway.
    pub usable: Duration,
}

impl Rig {
    /// Sets the stage and waits until every client has heard something on every channel.
    pub async fn set(broker: Broker, whose: Clock) -> Self {
        let clock = (whose != Clock::Right).then(WallClock::new);
        let environment = |its: bool| match (&clock, its) {
            (Some(clock), true) => clock.environment().to_vec(),
            _ => Vec::new(),
        };
        let redis = match broker {
            Broker::Redis(disk) => Some(Redis::start(disk, environment(whose == Clock::Redis))),
            Broker::Memory | Broker::Apart => None,
        };
        let count = if broker == Broker::Memory { 1 } else { 2 };
        let mut pods = Vec::new();
        for index in 0..count {
            let environment = environment(whose == Clock::Pod && index == 1);
            pods.push(Pod::new(redis.as_ref().map(Redis::address), environment).await);
        }
        for pod in pods.iter_mut().rev() {
            pod.start();
            pod.until_ready();
            if let Some(redis) = &redis {
                let read = || redis.cli(&["PUBSUB", "NUMSUB", ONE]).ends_with('1').then_some(());
                eventually("somebody reads the source", read);
            }
        }
        let begin = Instant::now();
        for pod in &mut pods {
            pod.watch = Some(Watch::start(pod.admin, begin));
        }
        let application = match &redis {
            Some(redis) => Some(Proxy::start(redis.address()).await),
            None => None,
        };
        let publishers = publishers(&pods, application.as_ref(), begin);
        let clients = clients(&pods, &publishers, begin);
        let (struck, usable) = (Duration::ZERO, Duration::ZERO);
        let rig = Self { begin, redis, application, pods, publishers, clients, clock, struck, usable };
        rig.resumed(Duration::ZERO, "").await.expect("everyone hears something before the fault");
        // Enough history for who was away, and each pod's word that all is well.
        rig.pass(Duration::from_millis(1500)).await;
        rig
    }

    /// Lets time pass under traffic.
    pub async fn pass(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// The fault begins: who is to be away leaves now.
    pub async fn strike(&mut self) {
        self.away().leave();
        self.pass(Duration::from_millis(100)).await;
        self.struck = self.begin.elapsed();
    }

    /// Redis can be used from now on.
    pub fn usable(&mut self) {
        self.usable = self.begin.elapsed();
    }

    /// The Redis that pods are pointed at first.
    pub fn redis(&mut self) -> &mut Redis {
        self.redis.as_mut().expect("the scenario has a Redis")
    }

    /// A pod's way to Redis.
    pub fn way(&self, pod: usize) -> &Proxy {
        self.pods[pod].proxy.as_ref().expect("the scenario has a Redis")
    }

    /// Every pod's way to Redis.
    pub fn ways(&self) -> impl Iterator<Item = &Proxy> {
        self.pods.iter().filter_map(|pod| pod.proxy.as_ref())
    }

    /// The client that is away while the fault lasts.
    pub fn away(&self) -> &Client {
        self.clients.last().expect("there are clients")
    }

    /// Those who neither roam nor leave.
    fn steady(&self) -> &[Client] {
        &self.clients[..self.clients.len() - 2]
    }

    /// How long after `since` every steady client had heard, on every channel but `besides`, something that began to be published after
    /// it.
    pub async fn resumed(&self, since: Duration, besides: &str) -> Option<Duration> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let firsts: Option<Vec<Duration>> = self
                .steady()
                .iter()
                .flat_map(|client| self.publishers.iter().map(move |publisher| (client, publisher)))
                .filter(|(_, publisher)| publisher.channel != besides)
                .map(|(client, publisher)| first_since(client, publisher, since))
                .collect();
            if let Some(last) = firsts.and_then(|firsts| firsts.into_iter().max()) {
                return Some(last.saturating_sub(since));
            }
            self.pass(Duration::from_millis(20)).await;
        }
        None
    }

    /// Everyone stays connected, traffic ends, and what is still on its way arrives, late announcements within `patience`.
    pub async fn settle(&mut self, patience: Duration) {
        self.clients.iter().for_each(Client::stay);
        self.pass(Duration::from_millis(1500)).await;
        for publisher in &mut self.publishers {
            publisher.end().await;
        }
        let deadline = Instant::now() + patience;
        while Instant::now() < deadline && self.judged("").0.unexplained > 0 {
            self.pass(Duration::from_millis(200)).await;
        }
        // What comes twice comes late.
        self.pass(Duration::from_millis(500)).await;
    }

    /// What patient clients miss, announced or not, of what was published through the pods.
    pub fn missed_by_who_stays(&self) -> u64 {
        let patient = |client: &&Client| client.habits.after_gap == AfterGap::Reload;
        let mut missed = 0;
        for publisher in self.publishers.iter().filter(|one| [STREAM, RETRIED, NONE].contains(&one.channel)) {
            for client in self.steady().iter().filter(patient) {
                let (verdict, _) = self.judge_one(client, publisher);
                missed += verdict.announced + verdict.unexplained;
            }
        }
        missed
    }

    fn judge_one(&self, client: &Client, publisher: &Publisher) -> (Verdict, Vec<u64>) {
        let promise = match publisher.channel {
            CACHE => Promise::Newest,
            RETRIED | ONE => Promise::EachAgain,
            LOG => Promise::EachAnyhow,
            _ => Promise::Each,
        };
        let diary = client.diary.lock();
        let history = diary.notes.get(publisher.channel).map(Vec::as_slice).unwrap_or_default();
        judge(&publisher.book.lock().numbers, history, promise)
    }

    /// The sum over all clients of the channels whose names begin so, and a line for each client that has something to explain.
    pub fn judged(&self, channels: &str) -> (Verdict, Vec<String>) {
        let (mut sum, mut lines) = (Verdict::default(), Vec::new());
        for publisher in self.publishers.iter().filter(|publisher| publisher.channel.starts_with(channels)) {
            for client in &self.clients {
                let (verdict, unexplained) = self.judge_one(client, publisher);
                let bad = verdict.unexplained + verdict.duplicated + verdict.disordered + verdict.invented;
                if bad > 0 {
                    let missing = ranges(&unexplained);
                    let (name, channel) = (&client.habits.name, &publisher.channel);
                    lines.push(format!("{name} on {channel}: {verdict:?}, missing {missing}"));
                }
                sum += &verdict;
            }
        }
        (sum, lines)
    }

    /// Publications that the API accepted.
    pub fn published(&self) -> u64 {
        let books = self.publishers.iter().map(|publisher| publisher.book.lock());
        books.map(|book| book.numbers.values().filter(|sent| sent.accepted).count() as u64).sum()
    }
}

fn first_since(client: &Client, publisher: &Publisher, since: Duration) -> Option<Duration> {
    let (diary, book) = (client.diary.lock(), publisher.book.lock());
    let after = |number: &u64| book.numbers.get(number).is_some_and(|sent| sent.begun >= since);
    diary.notes.get(publisher.channel)?.iter().find_map(|note| match note.heard {
        Heard::Publication(number) if after(&number) => Some(note.at),
        _ => None,
    })
}

const GATEWAY: &str = include_str!("gateway.yaml");
/// What stands there for the Redis.
const MEMBER: &str = "{external: {url: \"REDIS\"}}";

/// How a manifest names a Redis.
pub fn external(redis: SocketAddr) -> String {
    format!("{{external: {{url: 'redis://{redis}'}}}}")
}

/// The manifest of a pod: with its own way to Redis and a source that reads there, or with neither.
fn written(redis: Option<SocketAddr>) -> String {
    match redis {
        Some(redis) => GATEWAY.replace(MEMBER, &external(redis)),
        None => {
            let kept = GATEWAY.split("  # With Redis\n").next().unwrap_or_default();
            kept.to_owned()
        }
    }
}

fn publishers(pods: &[Pod], application: Option<&Proxy>, begin: Instant) -> Vec<Publisher> {
    let api = || pods.iter().map(|pod| Inlet::api(pod.admin)).collect();
    let once = pods.iter().map(|pod| Inlet::api_once(pod.admin)).collect();
    let mut publishers: Vec<Publisher> =
        [STREAM, CACHE, NONE].map(|channel| Publisher::start(channel, api(), begin)).into();
    publishers.push(Publisher::start(RETRIED, once, begin));
    if let Some(redis) = application.map(Proxy::address) {
        for (channel, verb) in [(EVERY, Verb::Publish), (ONE, Verb::Publish), (LOG, Verb::Append)] {
            publishers.push(Publisher::start(channel, vec![Inlet::redis(redis, verb)], begin));
        }
    }
    publishers
}

fn clients(pods: &[Pod], publishers: &[Publisher], begin: Instant) -> Vec<Client> {
    let channels: Vec<String> = publishers.iter().map(|publisher| publisher.channel.to_owned()).collect();
    let from = |home: usize| -> Vec<SocketAddr> {
        (0..pods.len()).map(|step| pods[(home + step) % pods.len()].public).collect()
    };
    let client = |name: String, home: usize, silence: u64, after_gap: AfterGap, roams: bool| {
        let silence = Duration::from_secs(silence);
        let (channels, pods) = (channels.clone(), from(home));
        Client::start(Habits { name, channels, pods, silence, after_gap, roams }, begin)
    };
    let mut clients = Vec::new();
    for home in 0..pods.len() {
        clients.push(client(format!("patient of pod {home}"), home, 60, AfterGap::Reload, false));
        clients.push(client(format!("recovering of pod {home}"), home, 3, AfterGap::Recover, false));
    }
    clients.push(client("roaming".to_owned(), 0, 3, AfterGap::Recover, true));
    clients.push(client("away".to_owned(), pods.len() - 1, 3, AfterGap::Reload, false));
    clients
}
