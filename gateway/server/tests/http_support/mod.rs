//! The listeners with fake shards behind them, and raw clients: what is sent is written out byte by byte.
#![allow(dead_code, unused_imports, unreachable_pub, clippy::unwrap_used, clippy::panic)]

mod client;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use arc_swap::ArcSwap;
pub use client::{Answer, Client, handshake, masked, text};
use parking_lot::Mutex;
use rtgw::auth::Admitter;
use rtgw::broker::{Broker, Memory, MemoryPresence, nothing_kept};
use rtgw::cluster::Pods;
use rtgw::control::Control;
use rtgw::http::{Internal, InternalParts, Public, PublicParts, variants};
use rtgw::intake::{Counts, Intake, Room};
use rtgw::limits::{Connections, Users};
use rtgw::metrics::{Handshakes, Metrics, MetricsParts, Reports};
use rtgw::presence::Roster;
use rtgw::publishing::Publisher;
use rtgw::readiness::Readiness;
use rtgw::recovery::Pages;
use rtgw::reporter::{Reporter, ReporterParts};
use rtgw::rulebook::Rulebook;
use rtgw::running::Running;
use rtgw::transport::{Clock, Handoff, Inbox, InboxFull, ShardInput, ShardReport};
use rtgw_config::Checked;
use rtgw_crds::{Manifests, Text};
use rtgw_model::{ChannelName, RuleIx};
use rtgw_protocol::wires::Wires;
use serde_json::{Value, json};
use tokio::runtime::{Handle, Runtime};
use tokio_util::sync::CancellationToken;

/// Long enough for a machine under load; reached only by a failure.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The key of the Secret `auth`, 32 bytes.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A token for `sub` under [`KEY`], good for a minute.
pub fn token(sub: &str) -> String {
    token_of(json!({"sub": sub}))
}

/// A token with these claims, good for a minute unless they say otherwise.
pub fn token_of(mut claims: Value) -> String {
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    claims.as_object_mut().unwrap().entry("exp").or_insert_with(|| json!(now + 60));
    let key = jsonwebtoken::EncodingKey::from_secret(KEY.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

/// One endpoint for everybody.
pub const OPEN: &str = "
auth: {anonymous: Allow}
endpoints:
- {name: ws, path: /ws, stats: {paths: [/ws/stats], public: true}}
channels:
- {pattern: 'room:{room}', subscribe: 'true'}
";

/// Checks the lines of a `spec`.
pub fn checked(spec: &str) -> Checked {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let content = format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: test}}\nspec:\n{spec}---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: auth}}\nstringData: {{jwt: {KEY}}}\n"
    );
    match Manifests::read(&[Text { name: "test.yaml".into(), content }]).check(None) {
        Ok(accepted) => accepted.checked,
        Err(problems) => panic!("{problems:#?}"),
    }
}

/// A shard that only passes on what it is given, and reports fixed numbers.
pub struct FakeShard {
    adopted: Mutex<Sender<Box<Handoff>>>,
    pub report: Mutex<ShardReport>,
    /// Whether it answers when asked for its numbers.
    pub answers: Mutex<bool>,
}

impl Inbox for FakeShard {
    fn post(&self, input: ShardInput) -> Result<(), InboxFull> {
        match input {
            // The receiver is gone only while a test ends.
            ShardInput::Adopt(handoff) => drop(self.adopted.lock().send(handoff)),
            ShardInput::Report(answer) if *self.answers.lock() => {
                drop(answer.send(self.report.lock().clone()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// Both listeners of a pod whose shard is fake.
pub struct Rig {
    pub public: SocketAddr,
    pub internal: SocketAddr,
    pub shard: Arc<FakeShard>,
    pub adopted: Mutex<Receiver<Box<Handoff>>>,
    pub connections: Arc<Connections>,
    pub readiness: Arc<Readiness>,
    pub stop: CancellationToken,
    _runtime: Runtime,
}

impl Rig {
    pub fn new(spec: &str) -> Self {
        Self::with(spec, 1000, Ipv4Addr::LOCALHOST)
    }

    /// At most `pending` connections that are not upgraded, the internal listener bound to `internal`.
    pub fn with(spec: &str, pending: usize, internal: Ipv4Addr) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_stack_size(8 << 20)
            .enable_all()
            .build()
            .unwrap();
        let config = Arc::new(checked(spec));
        let (sender, adopted) = channel();
        let report = ShardReport { ..ShardReport::default() };
        let shard = Arc::new(FakeShard {
            adopted: Mutex::new(sender),
            report: Mutex::new(report),
            answers: Mutex::new(true),
        });
        let inboxes: Vec<Arc<dyn Inbox>> = vec![Arc::clone(&shard) as Arc<dyn Inbox>];
        let stop = CancellationToken::new();
        let parts = Parts::new(&config, inboxes);
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let public = listener.local_addr().unwrap();
        runtime.spawn(parts.public(&config, pending).serve(listener, stop.clone()));
        let listener = std::net::TcpListener::bind((internal, 0)).unwrap();
        let internal = SocketAddr::from((Ipv4Addr::LOCALHOST, listener.local_addr().unwrap().port()));
        Internal::start(parts.internal(&config, public, runtime.handle().clone()), listener, stop.clone())
            .unwrap();
        let Parts { connections, readiness, .. } = parts;
        Self {
            public,
            internal,
            shard,
            adopted: Mutex::new(adopted),
            connections,
            readiness,
            stop,
            _runtime: runtime,
        }
    }

    /// The next socket that the shard was given.
    #[track_caller]
    pub fn next_handoff(&self) -> Box<Handoff> {
        self.adopted.lock().recv_timeout(PATIENCE).unwrap()
    }

    /// Whether the shard was given nothing.
    pub fn adopted_nothing(&self) -> bool {
        self.adopted.lock().try_recv().is_err()
    }

    /// A client of the public listener.
    #[track_caller]
    pub fn client(&self) -> Client {
        Client::connect(self.public)
    }

    /// One exchange with the internal listener; `localhost` is the host.
    #[track_caller]
    pub fn ask(&self, request: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut head =
            format!("{request} HTTP/1.1\r\nContent-Length: {}\r\nConnection: close\r\n", body.len());
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += "Host: localhost\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut client = Client::connect(self.internal);
        client.send(format!("{head}\r\n{body}").as_bytes());
        client.answer()
    }

    /// A JSON body to the internal listener.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&format!("POST {path}"), &[("Content-Type", "application/json")], body)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// What both listeners share.
pub struct Parts {
    pub connections: Arc<Connections>,
    pub readiness: Arc<Readiness>,
    inboxes: Vec<Arc<dyn Inbox>>,
    reports: Arc<Reports>,
    handshakes: Arc<Handshakes>,
    counts: Arc<Counts>,
    rules: Arc<Rulebook>,
}

impl Parts {
    pub fn new(config: &Checked, inboxes: Vec<Arc<dyn Inbox>>) -> Self {
        Self {
            connections: Connections::new(config.limits.pod_connections.unwrap_or(1000), 1),
            readiness: Readiness::new(),
            reports: Arc::new(Reports::new(inboxes.clone().into())),
            handshakes: Arc::new(Handshakes::new(config.endpoints.len())),
            counts: Arc::new(Counts::new(config.sources.len())),
            rules: Rulebook::new(config),
            inboxes,
        }
    }

    pub fn public(&self, config: &Arc<Checked>, most_pending: usize) -> Arc<Public> {
        let variants = variants(config, &Wires::new()).unwrap();
        Public::new(PublicParts {
            config: Arc::clone(config),
            variants,
            admitter: Arc::new(Admitter::new(config, self.rules.load())),
            inboxes: self.inboxes.clone().into(),
            reports: Arc::clone(&self.reports),
            connections: Arc::clone(&self.connections),
            room: self.room(),
            users: Users::new(),
            census: None,
            handshakes: Arc::clone(&self.handshakes),
            readiness: Arc::clone(&self.readiness),
            most_pending,
        })
    }

    fn room(&self) -> Arc<Room> {
        let intake = Intake::new(Vec::new(), 1, Clock::start(), Arc::clone(&self.counts)).unwrap();
        Room::new(Arc::new(intake), 1_000)
    }

    pub fn internal(&self, config: &Arc<Checked>, public: SocketAddr, runtime: Handle) -> InternalParts {
        let clock = Clock::start();
        let intake = Intake::new(self.inboxes.clone(), 1, clock, Arc::clone(&self.counts)).unwrap();
        let intake = Arc::new(intake);
        let presence = Arc::new(MemoryPresence::new(Arc::clone(&intake) as _));
        let broker: Arc<dyn Broker> = Arc::new(Memory::new(intake, nothing_kept()));
        let known = |channel: &ChannelName| channel.as_str().starts_with("room:").then_some(RuleIx(0));
        let running = Running::new(Arc::clone(config));
        let metrics = MetricsParts {
            memory: Arc::new(rtgw_hub::Account::new(1, None)),
            broker: None,
            running: Arc::clone(&running),
            reports: Arc::clone(&self.reports),
            handshakes: Arc::clone(&self.handshakes),
            connections: Arc::clone(&self.connections),
            counts: Arc::clone(&self.counts),
            room: self.room(),
            wires: Arc::default(),
            sources: Arc::default(),
            numbers: Arc::clone(self.rules.numbers()),
            readiness: Arc::clone(&self.readiness),
            census: None,
            others: None,
            revocations: Arc::default(),
        };
        let control = Control::new(self.inboxes.clone().into(), Arc::clone(&self.rules), Arc::default());
        let reporter = Reporter::new(ReporterParts {
            uid: None,
            running: Arc::clone(&running),
            readiness: Arc::clone(&self.readiness),
            connections: Arc::clone(&self.connections),
            memory: Arc::new(rtgw_hub::Account::new(1, None)),
            handshakes: Arc::clone(&self.handshakes),
        });
        InternalParts {
            running,
            admitter: Arc::new(ArcSwap::from_pointee(Admitter::new(config, self.rules.load()))),
            runtime,
            public,
            redis: None,
            pages: Arc::new(Pages::new(Arc::clone(&broker))),
            publisher: Publisher::new(broker, Arc::new(known), Arc::clone(&self.counts)),
            pods: Pods::new(control, None),
            roster: Roster::new(Arc::clone(&self.rules), presence, Arc::clone(&self.counts)),
            counts: Arc::clone(&self.counts),
            metrics: Metrics::new(metrics),
            reports: Arc::clone(&self.reports),
            connections: Arc::clone(&self.connections),
            readiness: Arc::clone(&self.readiness),
            reporter,
        }
    }
}
