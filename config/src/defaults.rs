//! What a field means when it is absent, and why. Generated references and the checks read the same constants.

use std::time::Duration;

/// Longer than a busy application's pauses, shorter than the 30 to 60 s after which NATs and proxies forget a silent socket.
pub const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(25);
/// Two pings may be lost before a client counts as gone.
pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);
/// Below this the bytes saved are less than a packet has to spare.
pub const COMPRESSION_MIN_BYTES: u32 = 512;
/// A page that load balancers ask for by habit.
pub const HEALTH_PATH: &str = "/health";
/// The subject, the one claim that every issuer sets.
pub const IDENTITY_USER: &str = "claims.sub";
/// What programs and browsers can do without being asked to; a cookie needs origins, and a first message patience.
pub const TOKEN_FROM: [&str; 4] = ["Header", "Query", "Subprotocol", "ApiKeyHeader"];
/// Clocks of machines that run NTP differ by less.
pub const LEEWAY: Duration = Duration::from_secs(30);
/// Issuers announce a new key at least so long before they use it.
pub const JWKS_REFRESH: Duration = Duration::from_secs(300);
/// An issuer that is down for an hour is not one whose keys were stolen.
pub const JWKS_STALE_FOR: Duration = Duration::from_secs(3600);
/// A client that waits longer for its connection gives up.
pub const WEBHOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// A user who was removed stays for no longer than a minute's habit, and reconnects do not all ask.
pub const WEBHOOK_CACHE_FOR: Duration = Duration::from_secs(60);
/// As many as a small application answers at once.
pub const WEBHOOK_MAX_IN_FLIGHT: u32 = 64;
/// Enough for a page to ask its server for a new token, twice.
pub const EXPIRY_WARN: Duration = Duration::from_secs(60);
/// A refresh that is late by a bad network is none that was forgotten.
pub const EXPIRY_GRACE: Duration = Duration::from_secs(25);
/// A channel that says nothing is for known users.
pub const SUBSCRIBE: &str = "user != ''";
/// Clients publish only where a rule says so.
pub const PUBLISH: &str = "false";
/// Commands of clients are small; publications of the application do not pass here.
pub const MESSAGE_BYTES: u32 = 64 * 1024;
/// More than a person types or a cursor moves.
pub const MESSAGES_PER_SECOND: u32 = 100;
/// A page that loads may say everything at once.
pub const BURST: u32 = 200;
/// A second or two of a busy channel on a slow phone; ten thousand such clients need 2.5 GiB, so this is no larger.
pub const QUEUE_BYTES: u32 = 256 * 1024;
/// Many small frames cost bookkeeping that bytes do not show.
pub const QUEUE_MESSAGES: u32 = 1024;
/// A page rarely shows more; each costs memory in the shard.
pub const SUBSCRIPTIONS: u32 = 128;
/// A minute or two of a busy channel, longer than it takes to reconnect.
pub const HISTORY_SIZE: u32 = 100;
/// Longer than a tunnel, a deployment or a phone in a pocket.
pub const HISTORY_TTL: Duration = Duration::from_secs(300);
/// About 200 MiB of bookkeeping at most, so that clients cannot exhaust a pod by naming channels.
pub const POD_CHANNELS: u32 = 200_000;
/// Three quarters are left for connections, publications on their way, and what comes between two looks.
pub const OUTBOUND_MEMORY_PERCENT: u8 = 25;
/// Where kubectl puts an object that names none.
pub const NAMESPACE: &str = "default";
/// Two looks of a balancer that probes every 2 s, and the way of the news to every node.
pub const CORDON_DELAY: Duration = Duration::from_secs(5);
/// At half of the default rate room for 30,000 connections of a pod.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(300);
/// New connections that a few pods take beside their work.
pub const DRAIN_PER_SECOND: u32 = 200;
/// Enough for pods that began together to part.
pub const DRAIN_JITTER_PERCENT: u8 = 20;
