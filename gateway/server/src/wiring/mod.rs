//! The only place that knows every part: builds them from a checked configuration and joins them.

mod brokers;
mod meeting;
mod outward;
mod presences;
mod reload;
mod sources;
mod together;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use anyhow::{Context, Result};
use arc_swap::ArcSwap;
use rtgw_config::checked::{Checked, RedisAddress};
use rtgw_hub::Account;
use rtgw_model::{ChannelName, CommandNames, Encoder, RuleIx};
use rtgw_protocol::wires::Wires;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Admitter;
use crate::broker::{Broker, Switching};
use crate::client_publishing::ClientPublisher;
use crate::commands::Commands;
use crate::control::Control;
use crate::demo;
use crate::drain::{self, Drain};
use crate::http::{Internal, InternalParts, Public, PublicParts, listen, variants};
use crate::intake::{Counts, Intake, Interests, Room, Sensitive};
use crate::latest::Latest;
use crate::limits::{self, Capacity, Connections, Users};
use crate::metrics::{Handshakes, Metrics, MetricsParts, Reports};
use crate::publishing::Publisher;
use crate::questions::{Questions, ToBroker};
use crate::readiness::Readiness;
use crate::recovery::{Pages, Recoveries};
use crate::reload::Source;
use crate::reporter::{Reporter, ReporterParts};
use crate::rulebook::Rulebook;
use crate::running::Running;
use crate::source_publishing::SourcePublisher;
use crate::sources::{FindRule, SourceStatuses};
use crate::transport::{self, Settings, Transport};
use crate::watch::Watch;
use meeting::Meeting;
use outward::Link;
use parking_lot::Mutex;
use presences::Presences;
use reload::{CommandParts, Keys, Live};
use sources::Sources;
use together::Together;

/// What the command line decides.
pub struct Options {
    /// The public listener.
    pub listen: SocketAddr,
    /// The internal listener.
    pub admin: SocketAddr,
    /// Used instead of what the manifest says: by the broker, and by sources.
    pub redis: Option<RedisAddress>,
    /// I/O shards; absent: one per core.
    pub shards: Option<usize>,
    /// Publishes lifelike events.
    pub demo: bool,
    /// UID of the pod, in a cluster.
    pub pod_uid: Option<String>,
}

/// A gateway whose ports are bound; clients can connect, nothing is served yet.
pub struct Bound {
    public: TcpListener,
    internal: TcpListener,
    options: Options,
    config: Arc<Checked>,
    source: Option<Source>,
}

/// Binds both ports.
///
/// # Errors
/// A port that is taken or may not be used, named.
pub fn bind(config: Checked, options: Options) -> Result<Bound> {
    let open = |address: SocketAddr, flag: &str| {
        listen(address).with_context(|| format!("cannot listen on {address} (see {flag})"))
    };
    let public = open(options.listen, "--listen")?;
    let internal = open(options.admin, "--admin")?;
    Ok(Bound { public, internal, options, config: Arc::new(config), source: None })
}

impl Bound {
    /// The same, which follows what becomes of `source` from then on.
    #[must_use]
    pub fn following(self, source: Source) -> Self {
        Self { source: Some(source), ..self }
    }

    /// The public listener's address, with the port that was chosen for `:0`.
    ///
    /// # Errors
    /// The system does not say.
    pub fn public(&self) -> Result<SocketAddr> {
        Ok(self.public.local_addr()?)
    }

    /// The internal listener's address.
    ///
    /// # Errors
    /// The system does not say.
    pub fn internal(&self) -> Result<SocketAddr> {
        Ok(self.internal.local_addr()?)
    }

    /// Serves until `stop`, then drains and ends. `ready` is called once clients are served, with the way to them.
    ///
    /// # Errors
    /// A part that could not be started.
    pub async fn serve(self, stop: CancellationToken, ready: impl FnOnce(&Control)) -> Result<()> {
        let Self { public, internal, options, config, source } = self;
        let core = Core::start(&config, &options)?;
        source.iter().for_each(|source| reload::begin(&core.running, source));
        let ended = CancellationToken::new();
        let tasks = TaskTracker::new();
        let public_address = public.local_addr()?;
        let public = core.public(&config, public)?;
        let internal = core.internal(public_address, internal, &options, ended.clone())?;
        let plan = config.drain.as_ref().map_or_else(drain::Plan::default, drain::Plan::of_a_pod);
        drop(config);
        if let Some(redis) = core.redis.clone() {
            let ended = ended.clone();
            // The one that is written is proven by probes.
            for (part, to_come) in [("redis.external", true), ("redis.previous", false)] {
                let redis = Arc::clone(&redis);
                core.readiness.watch(part.to_owned(), move || redis.other_is_up(to_come));
            }
            tasks.spawn(async move { ended.run_until_cancelled(redis.run()).await });
        }
        core.together.run(&core.presences, &tasks, &ended);
        let (probe, broker, probing) = (Arc::clone(&core.readiness), Arc::clone(&core.broker), ended.clone());
        tasks.spawn(async move { probe.keep_probing(&*broker, &probing).await });
        tasks.spawn(core.presences.clone().keep(ended.clone()));
        core.follow(source, &options, &public.0, &tasks, &ended)?;
        let accepting = CancellationToken::new();
        tasks.spawn(public.0.serve(public.1, accepting.clone()));
        if options.demo {
            let demo = demo::publish(core.publisher.clone(), move || core.settings.clock.now().wall);
            let ended = ended.clone();
            tasks.spawn(async move { ended.run_until_cancelled(demo).await });
        }
        ready(&core.together.control);
        stop.cancelled().await;
        core.drain(plan, accepting).await;
        if let Some(shared) = &core.together.shared {
            shared.others.leave().await;
        }
        ended.cancel();
        tasks.close();
        tasks.wait().await;
        core.end();
        // The thread ends with `ended`; a panic in it has been logged by the runtime.
        let _joined = internal.join();
        Ok(())
    }
}

/// The parts that both listeners and the sources need.
struct Core {
    settings: Settings,
    transport: Transport,
    variants: Vec<crate::http::EndpointVariants>,
    intake: Arc<Intake>,
    room: Arc<Room>,
    wires: Arc<Wires>,
    broker: Arc<dyn Broker>,
    /// The same, where it has work of its own to do.
    redis: Option<Arc<Switching>>,
    rules: Arc<Rulebook>,
    admitter: Arc<ArcSwap<Admitter>>,
    publisher: Publisher,
    presences: Presences,
    pages: Arc<Pages>,
    counts: Arc<Counts>,
    connections: Arc<Connections>,
    memory: Arc<Account>,
    pending: usize,
    users: Arc<Users>,
    handshakes: Arc<Handshakes>,
    reports: Arc<Reports>,
    readiness: Arc<Readiness>,
    sources: Arc<SourceStatuses>,
    running: Arc<Running>,
    commands: CommandParts,
    together: Together,
}

impl Core {
    fn start(config: &Arc<Checked>, options: &Options) -> Result<Self> {
        let wires = Arc::new(Wires::new());
        let variants = variants(config, &wires)?;
        let settings = settings(config, options);
        let link = Arc::new(Link::default());
        let names = Arc::new(ArcSwap::from_pointee(Commands::names(config)));
        let (transport, memory) = start_shards(config, settings, &wires, &link, &names)?;
        let counts = Arc::new(Counts::new(config.sources.len()));
        let inboxes = transport.inboxes.clone();
        let rules = Rulebook::new(config);
        let intake = intake(inboxes.clone(), &wires, settings, &counts, &rules)?;
        let room = Room::new(Arc::clone(&intake), config.limits.pod_channels);
        let meeting = Arc::new(Meeting::new(options.redis.clone()));
        let (broker, redis) = brokers::choose(config, meeting.renewed(config)?.as_ref(), &intake, &rules);
        let presences = Presences::choose(config, redis.as_deref(), &intake, &rules);
        let admitter = admitter(config, options, &rules);
        let publisher = Publisher::new(Arc::clone(&broker), find_rule(&rules), Arc::clone(&counts));
        let to_broker = to_broker(&broker, &intake, &publisher, settings.clock);
        let commands = CommandParts::new(config, &rules, &to_broker, names, settings.clock);
        intake.remember(commands.latest.clone());
        let questions = Questions::new(
            Handle::current(),
            Arc::clone(&rules),
            Arc::clone(&admitter),
            Arc::clone(&commands.commands),
            to_broker.clone(),
            Arc::clone(&room),
            inboxes.clone(),
        );
        let questions = Arc::new(questions.with_presence(Arc::clone(&presences.roster)));
        let interests = Interests::new(Arc::clone(&intake), Arc::clone(&broker));
        link.bind((interests, questions, Arc::clone(&presences.roster), inboxes.clone()));
        let together = Together::new(config, (&meeting, redis.as_ref()), &rules, &room, &inboxes, &admitter);
        let (connections, pending) = places(config, inboxes.len());
        Ok(Self {
            settings,
            transport,
            variants,
            intake,
            room,
            wires,
            broker,
            redis,
            rules,
            admitter,
            publisher,
            presences,
            pages: to_broker.pages,
            counts,
            connections,
            memory,
            pending,
            users: Arc::default(),
            handshakes: Arc::new(Handshakes::new(config.endpoints.len())),
            reports: Arc::new(Reports::new(inboxes.into())),
            readiness: Readiness::new(),
            sources: Arc::default(),
            running: Running::new(Arc::clone(config)),
            commands,
            together,
        })
    }

    fn inboxes(&self) -> Box<[Arc<dyn transport::Inbox>]> {
        self.transport.inboxes.clone().into()
    }

    fn public(
        &self,
        config: &Arc<Checked>,
        listener: TcpListener,
    ) -> Result<(Arc<Public>, tokio::net::TcpListener)> {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let parts = PublicParts {
            config: Arc::clone(config),
            variants: self.variants.clone(),
            admitter: self.admitter.load_full(),
            inboxes: self.inboxes(),
            reports: Arc::clone(&self.reports),
            connections: Arc::clone(&self.connections),
            room: Arc::clone(&self.room),
            users: Arc::clone(&self.users),
            census: self.together.shared.as_ref().map(|shared| shared.census.clone()),
            handshakes: Arc::clone(&self.handshakes),
            readiness: Arc::clone(&self.readiness),
            most_pending: self.pending,
        };
        Ok((Public::new(parts), listener))
    }

    fn internal(
        &self,
        public: SocketAddr,
        listener: TcpListener,
        options: &Options,
        stop: CancellationToken,
    ) -> Result<std::thread::JoinHandle<()>> {
        let parts = MetricsParts {
            running: Arc::clone(&self.running),
            reports: Arc::clone(&self.reports),
            handshakes: Arc::clone(&self.handshakes),
            connections: Arc::clone(&self.connections),
            counts: Arc::clone(&self.counts),
            room: Arc::clone(&self.room),
            memory: Arc::clone(&self.memory),
            broker: self.redis.clone(),
            wires: Arc::clone(&self.wires),
            sources: Arc::clone(&self.sources),
            numbers: Arc::clone(self.rules.numbers()),
            readiness: Arc::clone(&self.readiness),
            census: self.together.shared.as_ref().map(|shared| shared.census.clone()),
            others: self.together.shared.as_ref().map(|shared| Arc::clone(&shared.others)),
            revocations: Arc::clone(self.admitter.load().revocations()),
        };
        let metrics = Metrics::new(parts);
        let parts = InternalParts {
            running: Arc::clone(&self.running),
            admitter: Arc::clone(&self.admitter),
            runtime: Handle::current(),
            public,
            publisher: self.publisher.clone(),
            pods: self.together.pods.clone(),
            roster: Arc::clone(&self.presences.roster),
            redis: self.redis.as_ref().map(|redis| redis.stage()),
            pages: Arc::clone(&self.pages),
            counts: Arc::clone(&self.counts),
            metrics,
            reports: Arc::clone(&self.reports),
            connections: Arc::clone(&self.connections),
            readiness: Arc::clone(&self.readiness),
            reporter: self.reporter(options.pod_uid.clone()),
        };
        Internal::start(parts, listener, stop).context("cannot start the internal listener")
    }

    fn reporter(&self, uid: Option<String>) -> Reporter {
        Reporter::new(ReporterParts {
            uid,
            running: Arc::clone(&self.running),
            readiness: Arc::clone(&self.readiness),
            connections: Arc::clone(&self.connections),
            memory: Arc::clone(&self.memory),
            handshakes: Arc::clone(&self.handshakes),
        })
    }

    /// Starts what the configuration runs beside the listeners, and has it follow the configuration's files.
    fn follow(
        &self,
        source: Option<Source>,
        options: &Options,
        public: &Public,
        tasks: &TaskTracker,
        ended: &CancellationToken,
    ) -> Result<()> {
        let mut keys = Keys { tasks: tasks.clone(), ended: ended.clone(), stop: CancellationToken::new() };
        keys.keep(&self.admitter.load());
        let sources = Sources {
            redis: options.redis.clone(),
            meeting: self.together.shared.as_ref().map(|shared| shared.meeting.leases()),
            rules: Arc::clone(&self.rules),
            running: Arc::clone(&self.running),
            intake: Arc::clone(&self.intake),
            feed: Arc::new(SourcePublisher::new(
                self.publisher.clone(),
                Arc::clone(&self.broker),
                find_rule(&self.rules),
            )),
            readiness: Arc::clone(&self.readiness),
            consumer: sources::consumer_of_this_process(),
            statuses: Arc::clone(&self.sources),
            tasks: tasks.clone(),
            ended: ended.clone(),
            started: Mutex::default(),
        };
        sources.apply(&self.running.load().config)?;
        let Some(Source { files, read, name, sketch, .. }) = source else { return Ok(()) };
        let live = Live {
            running: Arc::clone(&self.running),
            wires: Arc::clone(&self.wires),
            intake: Arc::clone(&self.intake),
            room: Arc::clone(&self.room),
            connections: Arc::clone(&self.connections),
            memory: Arc::clone(&self.memory),
            rules: Arc::clone(&self.rules),
            control: self.together.control.clone(),
            admitter: Arc::clone(&self.admitter),
            commands: self.commands.clone(),
            front: Arc::clone(public.front()),
            sources,
            keys,
            shared: self.together.shared.clone(),
        };
        let watch = Watch::new(files, read).context("cannot take over SIGHUP")?;
        tasks.spawn(live.follow(watch, name, sketch));
        Ok(())
    }

    async fn drain(&self, plan: drain::Plan, stop_listening: CancellationToken) {
        let drain = Drain {
            plan,
            readiness: Arc::clone(&self.readiness),
            stop_listening,
            connections: Arc::clone(&self.connections),
            inboxes: self.inboxes(),
        };
        drain.run().await;
    }

    fn end(self) {
        for inbox in &self.transport.inboxes {
            // Never refused: only publications are.
            let _posted = inbox.post(transport::ShardInput::Stop);
        }
        self.transport.join();
    }
}

fn start_shards(
    config: &Checked,
    settings: Settings,
    wires: &Arc<Wires>,
    link: &Arc<Link>,
    names: &Arc<ArcSwap<CommandNames>>,
) -> Result<(Transport, Arc<Account>)> {
    let memory = Arc::new(Account::new(settings.shards, outbound_budget(config)));
    let (encoder, outward) = (Arc::clone(wires) as _, Arc::clone(link) as _);
    let transport = transport::start(settings, encoder, outward, Arc::clone(names), Arc::clone(&memory))
        .context("cannot start the I/O shards")?;
    Ok((transport, memory))
}

/// What outboxes may hold of the memory that this process may use.
fn outbound_budget(config: &Checked) -> Option<u64> {
    limits::outbound_budget(config.limits.outbound_memory_percent, limits::memory())
}

/// What commands may ask for as it was last published; nothing where none does.
fn latest(config: &Checked, rules: &Arc<Rulebook>, before: Option<&Latest>) -> Option<Arc<Latest>> {
    let current = rules.load();
    let number = |place: RuleIx| current.number(usize::from(place.0));
    Latest::renewed(config, find_rule(rules), &number, before).map(Arc::new)
}

/// What this pod can really hold.
fn capacity(config: &Checked) -> Capacity {
    let limits = &config.limits;
    let memory = limits::connections_in(limits::memory(), limits.outbound_memory_percent);
    limits::capacity(limits.pod_connections, limits::open_files(), memory)
}

/// Places for connections, and for handshakes that are under way.
fn places(config: &Checked, shards: usize) -> (Arc<Connections>, usize) {
    let places = capacity(config);
    let shards = u16::try_from(shards).unwrap_or(u16::MAX);
    (Connections::new(places.connections, shards), places.pending)
}

fn admitter(config: &Checked, options: &Options, rules: &Rulebook) -> Arc<ArcSwap<Admitter>> {
    let revocations = together::revocations(config, options);
    Arc::new(ArcSwap::from_pointee(Admitter::new(config, rules.load()).with_revocations(revocations)))
}

fn sensitive(rules: &Arc<Rulebook>) -> Sensitive {
    let rules = Arc::clone(rules);
    Box::new(move |channels| rules.any_sensitive(channels))
}

/// The ways of clients to the broker.
fn intake(
    inboxes: Vec<Arc<dyn transport::Inbox>>,
    wires: &Wires,
    settings: Settings,
    counts: &Arc<Counts>,
    rules: &Arc<Rulebook>,
) -> Result<Arc<Intake>> {
    let intake = Intake::new(inboxes, wires.variants(), settings.clock, Arc::clone(counts))?;
    Ok(Arc::new(intake.asking(sensitive(rules))))
}

fn to_broker(
    broker: &Arc<dyn Broker>,
    intake: &Arc<Intake>,
    publisher: &Publisher,
    clock: transport::Clock,
) -> ToBroker {
    let dresser = Arc::clone(intake);
    let dress = Box::new(move |publication| dresser.dress(publication));
    let carrier = Arc::clone(intake);
    let carries = Box::new(move |channel: &ChannelName| carrier.carries(channel));
    let recoveries = Recoveries::new(Arc::clone(broker), Arc::clone(intake.tails()), dress, carries);
    ToBroker {
        publisher: Arc::new(ClientPublisher::new(publisher.clone(), clock)),
        recoveries: Arc::new(recoveries),
        pages: Arc::new(Pages::new(Arc::clone(broker))),
    }
}

fn find_rule(rules: &Arc<Rulebook>) -> FindRule {
    let rules = Arc::clone(rules);
    Arc::new(move |name| rules.rule_of(name))
}

fn settings(config: &Checked, options: &Options) -> Settings {
    let mut settings = Settings::new(config.endpoints.len(), config.channels.len(), fastrand::u64(..));
    settings.shards = options.shards.unwrap_or(settings.shards);
    settings.expiry = crate::rules::expiry(&config.auth.expiry);
    settings
}
