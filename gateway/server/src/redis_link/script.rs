//! Lua scripts: sent by their digest, by their text only to a Redis that does not know them.

use std::sync::OnceLock;

use redis::aio::ConnectionLike;
use redis::{Cmd, FromRedisValue, RedisResult, ToRedisArgs, Value};
use sha1::{Digest, Sha1};

/// A script of a file, in a `static`: `Script::new(include_str!("publish.lua"))`.
#[derive(Debug)]
pub struct Script {
    code: &'static str,
    digest: OnceLock<String>,
}

/// Keys and arguments of one call.
#[derive(Debug, Default)]
pub struct Call {
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    /// Adds a key.
    pub fn key(&mut self, key: impl ToRedisArgs) -> &mut Self {
        self.keys.extend(key.to_redis_args());
        self
    }

    /// Adds an argument.
    pub fn arg(&mut self, argument: impl ToRedisArgs) -> &mut Self {
        self.arguments.extend(argument.to_redis_args());
        self
    }

    fn command(&self, verb: &str, what: &str) -> Cmd {
        let mut command = redis::cmd(verb);
        command.arg(what).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}

impl Script {
    /// A script with this text.
    pub const fn new(code: &'static str) -> Self {
        Self { code, digest: OnceLock::new() }
    }

    fn digest(&self) -> &str {
        self.digest.get_or_init(|| {
            Sha1::digest(self.code.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
        })
    }

    /// Runs it on `connection`: one round trip, two the first time.
    ///
    /// # Errors
    /// Those of Redis and of the connection.
    pub async fn run<T: FromRedisValue>(
        &self,
        connection: &mut impl ConnectionLike,
        call: &Call,
    ) -> RedisResult<T> {
        let known = call.command("EVALSHA", self.digest()).query_async::<Value>(connection).await;
        let answer = match known {
            Err(error) if error.code() == Some("NOSCRIPT") => {
                call.command("EVAL", self.code).query_async::<Value>(connection).await?
            }
            answer => answer?,
        };
        Ok(redis::from_redis_value(answer)?)
    }
}
