//! The checked configuration: an immutable snapshot in which every name resolves, every expression is compiled and every bound holds.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ipnet::IpNet;

pub use crate::credentials::{Algorithm, ApiKey, AuthWebhook, Issuer, IssuerKeys, Jwks, KeyScope, starred};
use crate::expression::Expression;
use crate::pattern::Pattern;
use crate::public_key::PublicKey;
pub use crate::raw::WhenUnknown;
use crate::template::Template;
use crate::url::HttpUrl;
pub use crate::ways_in::{
    Ingest, PublishChannels, PublishRule, RedisPubSub, RedisStream, Source, SourceKind, SourcePattern,
    StreamStart,
};

/// One gateway, ready to run.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The object's name.
    pub name: String,
    /// Its namespace; `default` where none was written.
    pub namespace: String,
    /// What its writer calls its content; absent: a manifest, or an operator that gives it no name.
    pub revision: Option<String>,
    /// Who may ask for the pod's report; absent: as the rest of the API.
    pub operator: Option<Operator>,
    /// The `spec` as it was written: nothing resolved, so without the content of any Secret.
    pub written: Written,
    /// At least one.
    pub endpoints: Vec<Endpoint>,
    /// How clients prove who they are.
    pub auth: Auth,
    /// Channel rules, first match wins.
    pub channels: Vec<Channel>,
    /// Commands of clients besides those of the protocol, by name.
    pub commands: Vec<Command>,
    /// How events get in besides the HTTP API.
    pub sources: Vec<Source>,
    /// Where the broker lives.
    pub redis: Redis,
    /// The Redis that is being left.
    pub previous_redis: Option<PreviousRedis>,
    /// Bounds.
    pub limits: Limits,
    /// How the pod lets its clients go; absent outside a cluster.
    pub drain: Option<Drain>,
    /// Most detailed log level.
    pub log_level: LogLevel,
}

/// Who may ask for the pod's report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// The `aud` of its tokens.
    pub audience: String,
    /// At least one.
    pub keys: Vec<OperatorKey>,
}

/// A key of the operator's tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperatorKey {
    /// Unique.
    pub kid: String,
    /// Ed25519.
    pub key: PublicKey,
}

/// How a pod lets its clients go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drain {
    /// How long new connections are still taken.
    pub cordon_delay: Duration,
    /// When the last connection is closed at the latest, from then on.
    pub timeout: Duration,
    /// Connections that all pods together close a second.
    pub max_per_second: u32,
    /// How much the pauses between closes vary, percent.
    pub jitter_percent: u8,
}

/// A `spec` as it was written, JSON. `Debug` shows nothing: two ways to write the same are the same configuration.
#[derive(Clone, PartialEq)]
pub struct Written(pub serde_json::Value);

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Written")
    }
}

/// A path that serves sockets.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// Unique name; labels metrics.
    pub name: String,
    /// Exact path, begins with `/`.
    pub path: String,
    /// The wire.
    pub protocol: Protocol,
    /// How a publication is dressed (`JSON`).
    pub envelope: Envelope,
    /// Adds channel, id and offset to publications.
    pub metadata: bool,
    /// Adds a per-connection number to publications.
    pub seq: bool,
    /// Asked before the upgrade; absent = everyone who authenticated.
    pub admit: Option<Expression>,
    /// Channels a connection hears without asking.
    pub auto_subscribe: Vec<AutoSubscribe>,
    /// The first message.
    pub greeting: Greeting,
    /// `auth` with this endpoint's overrides applied.
    pub auth: EndpointAuth,
    /// Paths of the stats page.
    pub stats_paths: Vec<String>,
    /// Whether stats answer without credentials.
    pub stats_public: bool,
    /// Paths of the health page.
    pub health_paths: Vec<String>,
    /// Heartbeats.
    pub heartbeat: Heartbeat,
    /// Compression of what the server sends.
    pub compression: Compression,
}

/// Wire protocols built so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// One JSON object per text frame.
    Json,
    /// Sends every message back.
    Echo,
}

/// How a publication is dressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Envelope {
    /// `{"type","timestamp","data"}`.
    Typed,
    /// `{"event","data","timestamp"}`.
    Event,
    /// The data itself.
    Raw,
}

/// A channel that a connection hears without asking.
#[derive(Clone, Debug)]
pub struct AutoSubscribe {
    /// Gives the channel's name.
    pub channel: Template,
    /// Absent: required, a refusal refuses the connection. Present: skipped where it is not true.
    pub when: Option<Expression>,
}

/// The first message.
#[derive(Clone, Debug)]
pub enum Greeting {
    /// What the envelope's default is.
    Default,
    /// None.
    Disabled,
    /// The whole message.
    Message(Expression),
}

/// Credentials and origins of one endpoint.
#[derive(Clone, Debug)]
pub struct EndpointAuth {
    /// Whether a client without credentials is let in as nobody.
    pub anonymous: bool,
    /// Where a credential may stand; the first place that holds one decides.
    pub token_from: Vec<TokenPlace>,
    /// Origins of browsers.
    pub allowed_origins: Origins,
}

/// A place of a credential.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TokenPlace {
    /// `Authorization: Bearer …`.
    Header,
    /// `?token=` or `?access_token=`.
    Query,
    /// Behind `bearer`, `authorization` or `access_token` in `Sec-WebSocket-Protocol`.
    Subprotocol,
    /// `X-API-Key`.
    ApiKeyHeader,
    /// The cookie of this name; only where origins are listed, `null` not among them.
    Cookie(String),
    /// The message `auth`, where no other place holds one.
    FirstMessage,
}

/// Which browser origins may connect. A request without `Origin` always may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// The list is empty: only the origin of the request's own host.
    SameHost,
    /// `*` was written out.
    Any,
    /// These, compared as serialized origins; may contain `null`.
    Listed(Vec<String>),
}

/// Silence and its limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// A ping after so much silence.
    pub interval: Duration,
    /// The end after so much silence; above `interval`.
    pub timeout: Duration,
    /// The end after so long without a data frame.
    pub idle: Option<Duration>,
}

/// permessage-deflate of what the server sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not negotiated.
    None,
    /// Compressed once for everyone, from this many bytes on.
    Shared {
        /// Smaller payloads go plain.
        min_bytes: usize,
    },
}

/// Who is who.
#[derive(Clone, Debug)]
pub struct Auth {
    /// Verifiers of tokens.
    pub issuers: Vec<Issuer>,
    /// Keys of programs.
    pub api_keys: Vec<ApiKey>,
    /// Asked about what is no token of an issuer.
    pub webhook: Option<AuthWebhook>,
    /// Gives the user; default `claims.sub`.
    pub user: Expression,
    /// Gives the tenant; absent = none.
    pub tenant: Option<Expression>,
    /// When connections whose token ends are told, and closed.
    pub expiry: Expiry,
    /// What becomes of credentials of which nobody can say whether they are revoked.
    pub when_unknown: WhenUnknown,
}

/// When connections whose token ends are told, and closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    /// Before the end.
    pub warn: Duration,
    /// After it.
    pub grace: Duration,
}

/// Bytes that must never be printed: `Debug` shows only the length. `==` takes a time that says nothing but whether lengths differ.
#[derive(Clone, Eq)]
pub struct Secret(pub Vec<u8>);

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        use subtle::ConstantTimeEq;
        self.0.ct_eq(&other.0).into()
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

/// A channel rule.
#[derive(Clone, Debug)]
pub struct Channel {
    /// Which channels.
    pub pattern: Pattern,
    /// Who may hear them; default `user != ''`.
    pub subscribe: Expression,
    /// Who may publish; default `false`.
    pub publish: Expression,
    /// Filter list -> tag.
    pub filters: BTreeMap<String, String>,
    /// What happens to publications on their way.
    pub delivery: Delivery,
    /// What is kept of them; absent: nothing.
    pub history: Option<History>,
    /// The tags by which some `replyLatest` may ask for one of them: values that differ in these are kept apart.
    pub asked_tags: BTreeSet<String>,
    /// What is known of who hears them; absent: nothing.
    pub presence: Option<Presence>,
}

/// What is known of who hears a channel.
#[derive(Clone, Debug)]
pub struct Presence {
    /// Subscribers that ask for it are told who comes and goes.
    pub join_leave: bool,
    /// What the others see of a member; absent: nothing.
    pub info: Option<Expression>,
}

/// What is kept of a channel's publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct History {
    /// Every publication, or the newest of each key.
    pub mode: HistoryMode,
    /// Most publications of a channel, 1 to 10,000.
    pub size: u32,
    /// How long a channel's history lives after its last publication; 1 s to 7 days.
    pub ttl: Duration,
}

/// Ways to keep publications.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryMode {
    /// The last ones in their order.
    Stream,
    /// The newest of each key: the event and the tags of filters and of `conflate`.
    Cache,
}

/// What happens to a channel's publications on their way to clients; by default nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// A bound on how often clients hear of one key.
    pub throttle: Option<Throttle>,
    /// How long publications may wait to be written together; 1 ms to 1 s.
    pub batch: Option<Duration>,
    /// The events that `throttle`, `batch` and replacing are about; empty = all.
    pub events: Vec<String>,
    /// What gives when a client's queue is full.
    pub slow_consumer: SlowConsumer,
    /// Who goes first to a client that reads slowly.
    pub priority: Priority,
    /// Never compressed.
    pub sensitive: bool,
}

/// A bound on how often clients hear of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttle {
    /// Least time between two publications; 10 ms to 10 min.
    pub interval: Duration,
    /// The tag that tells keys apart besides the event and the tags of the filters.
    pub conflate: Option<String>,
}

/// What gives when a client's queue is full.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum SlowConsumer {
    /// The client.
    #[default]
    Disconnect,
    /// The oldest publications.
    DropOldest,
    /// The same; newer ones take the place of those of their key.
    LatestPerKey {
        /// The tag that tells keys apart besides the event and the tags of the filters.
        conflate: Option<String>,
    },
}

/// Who goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Priority {
    /// Before the others.
    High,
    /// Between.
    #[default]
    Normal,
    /// Behind the others.
    Low,
}

/// A command of clients that the manifest defines.
#[derive(Clone, Debug)]
pub struct Command {
    /// What clients call it; labels metrics.
    pub name: String,
    /// Who may; absent = everyone.
    pub when: Option<Expression>,
    /// What it does.
    pub action: CommandAction,
}

/// What a command does.
#[derive(Clone, Debug)]
pub enum CommandAction {
    /// Answers with an event.
    Reply {
        /// Gives its name.
        event: Expression,
        /// Gives its data.
        data: Expression,
    },
    /// Acknowledges with this data.
    Ack(Expression),
    /// Answers with the latest publication of a channel.
    ReplyLatest {
        /// Gives the channel's name.
        channel: Template,
        /// Gives the event's name.
        event: Expression,
        /// Tag -> the value that the publication must have.
        tags: BTreeMap<String, Expression>,
        /// Whether the latest of other tags will do.
        or_else_any: bool,
    },
    /// Publishes in the client's name.
    PublishTo {
        /// Gives the channel's name.
        channel: Template,
        /// Gives the event's name.
        event: Expression,
        /// Absent: the command's own data.
        data: Option<Expression>,
        /// Tag -> value.
        tags: BTreeMap<String, Expression>,
        /// Not kept, not echoed to the sender.
        ephemeral: bool,
    },
    /// Asks the application.
    Webhook(CommandWebhook),
}

/// A question to the application by HTTP.
#[derive(Clone, Debug)]
pub struct CommandWebhook {
    /// Where.
    pub url: HttpUrl,
    /// How long an answer may take.
    pub timeout: Duration,
    /// The key of the signature.
    pub key: Secret,
    /// Most questions at once.
    pub max_in_flight: u32,
}

/// Where the broker lives.
#[derive(Clone, Debug, PartialEq)]
pub enum Redis {
    /// In this process's memory (`redis` absent or `embedded`; outside a cluster also `managed`).
    Embedded,
    /// A Redis of the user's.
    External(RedisAddress),
}

/// How a Redis is reached.
#[derive(Clone, Debug, PartialEq)]
pub struct RedisAddress {
    /// `redis://user@host:port/db` or `rediss://`; a password in it is refused in manifests.
    pub url: String,
    /// From a Secret.
    pub password: Option<Secret>,
    /// PEM of the certificates to trust instead of the system's, from a Secret.
    pub ca: Option<Secret>,
}

/// The Redis that pods are about to leave for [`Redis::External`]; while there is one, they read both.
#[derive(Clone, Debug, PartialEq)]
pub struct PreviousRedis {
    /// How it is reached.
    pub address: RedisAddress,
    /// Which of both is written.
    pub write_to: WriteTo,
}

pub use crate::raw::WriteTo;

impl RedisAddress {
    /// Which Redis it is, however it is written and whoever connects: with TLS or without, host, port, database.
    pub fn place(&self) -> (bool, String, u16, String) {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        let rest = rest.rsplit_once('@').map_or(rest, |(_, rest)| rest);
        let (host, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (host, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().unwrap_or(6379)),
            _ => (host, 6379),
        };
        let database = if database.is_empty() { "0" } else { database };
        (matches!(scheme, "rediss" | "valkeys"), host.to_ascii_lowercase(), port, database.to_owned())
    }
}

/// Bounds; `None` = off.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Connections of all pods together.
    pub gateway_connections: Option<u32>,
    /// Of each user.
    pub user: Option<UserLimits>,
    /// Of each address.
    pub ip: IpLimits,
    /// Of each tenant.
    pub tenant: Option<TenantLimits>,
    /// Connections of this pod.
    pub pod_connections: Option<u32>,
    /// New connections per second of this pod.
    pub handshakes_per_second: Option<u32>,
    /// Part of the pod's memory that may be held for clients that read slowly; 1 to 90.
    pub outbound_memory_percent: u8,
    /// Channels of this pod.
    pub pod_channels: u32,
    /// Largest message of a client, bytes.
    pub message_bytes: usize,
    /// Messages per second of a connection.
    pub messages_per_second: Option<u32>,
    /// Bucket above `messages_per_second`.
    pub burst: u32,
    /// Bytes that may wait for a connection.
    pub queue_bytes: u32,
    /// Frames that may wait for a connection.
    pub queue_messages: u32,
    /// Subscriptions of a connection.
    pub subscriptions: u32,
}

/// Bounds of each user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UserLimits {
    /// Connections; at least one.
    pub connections: u32,
    /// What becomes of one more.
    pub policy: UserPolicy,
}

/// What becomes of a connection above a user's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserPolicy {
    /// It is refused.
    RefuseNew,
    /// The oldest gives way.
    CloseOldest,
}

/// Bounds of each address, and who may say what it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpLimits {
    /// Connections.
    pub connections: Option<u32>,
    /// Whose word about clients is believed; IPv4 networks are never written as IPv6 ones.
    pub trusted_proxies: Vec<IpNet>,
    /// Every connection begins with a PROXY header; then there is a trusted proxy.
    pub proxy_protocol: bool,
}

/// Bounds of each tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TenantLimits {
    /// Connections.
    pub connections: Option<u32>,
    /// Messages of all its connections.
    pub messages_per_second: Option<u32>,
}

/// How much is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Failures.
    Error,
    /// And what may become one.
    Warn,
    /// And what an operator wants to know.
    Info,
    /// And what a developer wants to know.
    Debug,
}
