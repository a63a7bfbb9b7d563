//! What is asked of Redis about one stream, its consumer group and this consumer; each question is atomic.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{FromRedisValue, RedisError, Value};
use rtgw_config::checked::{RedisStream, StreamStart};
use rtgw_model::GapReason;

use super::entry::Entry;
use crate::redis_link::{Address, Call, Connection, Script, Trouble, dial};
use crate::sources::announcement;

static OPEN: Script = Script::new(include_str!("open.lua"));
static READ: Script = Script::new(include_str!("read.lua"));
static OWN: Script = Script::new(include_str!("own.lua"));
static CLAIM: Script = Script::new(include_str!("claim.lua"));
static HOLD: Script = Script::new(include_str!("hold.lua"));
static SWEEP: Script = Script::new(include_str!("sweep.lua"));

/// How long Redis may keep a question for new entries to itself: well below the time that any answer may take.
const BLOCK: Duration = Duration::from_millis(500);
/// Entries that were given so long ago and are still not acknowledged are taken from whoever has them; a living consumer says sooner
/// that it works on them.
const IDLE: Duration = Duration::from_secs(10);
/// A consumer that holds nothing and was not heard of for so long has ended.
const ENDED: Duration = Duration::from_secs(3600);
/// Entries asked for at once.
pub(super) const BATCH: usize = 64;
/// What the names of our consumers begin with.
pub(super) const CONSUMER: &str = "rtgw-";
/// Most entries that are set aside; the oldest go first.
const REJECTED: usize = 1000;

/// Entries, and what became known with them.
#[derive(Debug, Default)]
pub(super) struct Given {
    pub(super) entries: Vec<Entry>,
    /// Entries that nobody will see: they were trimmed before they were published.
    pub(super) trimmed: u64,
    /// The newest announcement of a gap, where that was asked too.
    pub(super) announced: Option<String>,
    /// Where to go on, where there is more.
    pub(super) cursor: Option<String>,
}

/// How a group was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It was there.
    There,
    /// It was made.
    Made,
    /// It was made again: what it or the stream had held is lost.
    Lost,
}

/// Why an answer is none.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Somebody emptied Redis, or removed the stream or the group.
    #[error("the stream or its group is gone")]
    Lost,
    /// The rest.
    #[error(transparent)]
    Trouble(#[from] Trouble),
}

impl From<RedisError> for Failure {
    fn from(error: RedisError) -> Self {
        match error.code() {
            Some("NOGROUP" | "UNBLOCKED") => Self::Lost,
            _ => Self::Trouble(error.into()),
        }
    }
}

impl Failure {
    /// The label of metrics.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Trouble(trouble) => trouble.reason(),
        }
    }
}

/// One consumer's view of a group, over a connection of its own: questions for new entries keep it busy.
pub(super) struct Group<'a> {
    _connection: Connection,
    commands: MultiplexedConnection,
    stream: &'a RedisStream,
    consumer: &'a str,
    /// Where gaps are announced to all consumers.
    place: &'a str,
}

impl<'a> Group<'a> {
    /// Connects.
    pub(super) async fn connect(
        address: &Address,
        stream: &'a RedisStream,
        consumer: &'a str,
        place: &'a str,
    ) -> Result<Self, Failure> {
        let connection = dial(address, |_| {}).await?;
        Ok(Self { commands: connection.commands(), _connection: connection, stream, consumer, place })
    }

    /// Makes the group where there is none; also gives what was announced before. `known` is where this consumer last knew it to be.
    pub(super) async fn open(&mut self, known: Option<&str>) -> Result<(Found, String), Failure> {
        let start = match self.stream.start {
            StreamStart::New => "$",
            StreamStart::Beginning => "0",
        };
        let mut call = self.call();
        call.arg(start).arg(known.unwrap_or_default()).arg(announcement(GapReason::SourceReconnected));
        let [found, announced] = parts(self.run(&OPEN, &call).await?)?;
        let found = match found {
            Value::Int(0) => Found::There,
            Value::Int(1) => Found::Made,
            _ => Found::Lost,
        };
        Ok((found, text(announced)?))
    }

    /// New entries that are there already, and where the group is after them.
    pub(super) async fn read(&mut self) -> Result<(Given, String), Failure> {
        let mut call = self.call();
        call.arg(self.consumer).arg(BATCH).arg(announcement(GapReason::SourceOverflow));
        let [entries, trimmed, announced, place] = parts(self.run(&READ, &call).await?)?;
        let place = text(place)?;
        let given = Given {
            entries: Entry::list(entries).ok_or(Trouble::Odd)?,
            trimmed: count(&trimmed),
            announced: Some(text(announced)?),
            cursor: None,
        };
        Ok((given, place))
    }

    /// New entries as soon as there are any; nothing after a while.
    pub(super) async fn wait(&mut self) -> Result<Vec<Entry>, Failure> {
        let mut command = redis::cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.stream.group).arg(self.consumer);
        command.arg("COUNT").arg(BATCH).arg("BLOCK").arg(millis(BLOCK));
        command.arg("STREAMS").arg(&self.stream.key).arg(">");
        let answer = command.query_async(&mut self.commands).await?;
        Ok(Entry::list_of_streams(answer).ok_or(Trouble::Odd)?)
    }

    /// What this consumer was given before and has not acknowledged: all of it, or what lies behind `after`.
    pub(super) async fn own(&mut self, after: Option<&str>) -> Result<Given, Failure> {
        let after = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut call = self.call();
        call.arg(self.consumer).arg(after).arg(BATCH).arg(announcement(GapReason::SourceOverflow));
        let [entries, trimmed] = parts(self.run(&OWN, &call).await?)?;
        let entries = Entry::list(entries).ok_or(Trouble::Odd)?;
        let cursor = entries.last().map(|entry| entry.id.clone());
        Ok(Given { entries, trimmed: count(&trimmed), announced: None, cursor })
    }

    /// Takes over what consumers hold that have not been heard of; from `cursor` on.
    pub(super) async fn claim(&mut self, cursor: &str) -> Result<Given, Failure> {
        let mut call = self.call();
        call.arg(self.consumer).arg(millis(IDLE)).arg(cursor).arg(BATCH);
        call.arg(announcement(GapReason::SourceOverflow));
        let [next, entries, trimmed] = parts(self.run(&CLAIM, &call).await?)?;
        let next = Some(text(next)?).filter(|next| next != "0-0");
        let entries = Entry::list(entries).ok_or(Trouble::Odd)?;
        Ok(Given { entries, trimmed: count(&trimmed), announced: None, cursor: next })
    }

    /// What is done with is not given again.
    pub(super) async fn acknowledge(&mut self, done: &[String]) -> Result<(), Failure> {
        if done.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("XACK");
        command.arg(&self.stream.key).arg(&self.stream.group).arg(done);
        Ok(command.exec_async(&mut self.commands).await?)
    }

    /// Says that this consumer still works on what it was given.
    pub(super) async fn hold(&mut self) -> Result<(), Failure> {
        self.keep(Duration::ZERO).await
    }

    /// Lets others have at once what this consumer was given.
    pub(super) async fn give_back(&mut self) -> Result<(), Failure> {
        self.keep(ENDED).await
    }

    async fn keep(&mut self, idle: Duration) -> Result<(), Failure> {
        let mut call = self.call();
        call.arg(self.consumer).arg(millis(idle));
        self.run::<Value>(&HOLD, &call).await.map(drop)
    }

    /// Removes consumers of pods that have ended.
    pub(super) async fn sweep(&mut self) -> Result<(), Failure> {
        let mut call = self.call();
        call.arg(CONSUMER).arg(millis(ENDED));
        self.run::<Value>(&SWEEP, &call).await.map(drop)
    }

    /// Copies an entry to the stream of those that nobody publishes, with who set it aside and why.
    pub(super) async fn set_aside(
        &mut self,
        source: &str,
        entry: &Entry,
        reason: &str,
        whole: bool,
    ) -> Result<(), Failure> {
        let mut command = redis::cmd("XADD");
        command.arg(rejected(&self.stream.key)).arg("MAXLEN").arg(REJECTED).arg("*");
        command.arg("rtgw.reason").arg(reason).arg("rtgw.id").arg(&entry.id).arg("rtgw.source").arg(source);
        for (name, value) in entry.fields.iter().filter(|_| whole) {
            command.arg(&name[..]).arg(&value[..]);
        }
        Ok(command.exec_async(&mut self.commands).await?)
    }

    fn call(&self) -> Call {
        let mut call = Call::default();
        call.key(&self.stream.key).key(self.place).arg(&self.stream.group);
        call
    }

    async fn run<T: FromRedisValue>(&mut self, script: &Script, call: &Call) -> Result<T, Failure> {
        Ok(script.run(&mut self.commands, call).await?)
    }
}

/// Where entries of the stream at `key` are set aside.
pub(super) fn rejected(key: &str) -> String {
    format!("{key}:rtgw:rejected")
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn parts<const N: usize>(answer: Vec<Value>) -> Result<[Value; N], Trouble> {
    answer.try_into().map_err(|_| Trouble::Odd)
}

fn text(value: Value) -> Result<String, Trouble> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).map_err(|_| Trouble::Odd),
        Value::SimpleString(text) => Ok(text),
        _ => Err(Trouble::Odd),
    }
}

fn count(value: &Value) -> u64 {
    if let Value::Int(count) = value { u64::try_from(*count).unwrap_or_default() } else { 0 }
}
