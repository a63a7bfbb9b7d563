//! `rtgw publish`: says something on a channel, through the HTTP API.

use std::io::{BufRead, IsTerminal};

use anyhow::{Context, bail};
use serde_json::json;
use serde_json::value::RawValue;

use super::admin::{Admin, Key};
use super::{Failure, client_runtime, print_line};

/// Lines that go out in one request when they come from stdin.
const BATCH: usize = 256;

/// Publishes an event; prints the answer as one JSON line.
///
/// Example: RTGW_API_KEY=$(cat backend.key) rtgw publish room:1 message '{"text":"hello"}'
#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    /// The gateway's internal listener.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9090")]
    admin: String,
    /// A key of the manifest's auth.apiKeys. Other users of the machine can read arguments: the environment is safer.
    #[arg(long, value_name = "KEY", env = "RTGW_API_KEY", hide_env_values = true)]
    api_key: Option<Key>,
    /// The channel, as declared in the manifest.
    channel: String,
    /// The event's name.
    event: String,
    /// The event's data; `-` publishes each line of stdin.
    json: String,
}

impl Publish {
    pub(super) fn run(self) -> Result<(), Failure> {
        let admin = Admin::new(&self.admin, self.api_key.as_ref())
            .map_err(|error| Failure::Refused(format!("error: {error:#}")))?;
        let runtime = client_runtime()?;
        if self.json == "-" {
            return runtime.block_on(self.lines(&admin));
        }
        let data = checked(&self.json).map_err(|error| Failure::Refused(format!("error: {error:#}")))?;
        let body = json!({"channel": self.channel, "event": self.event, "data": data});
        let answer = runtime.block_on(admin.post("/v1/publish", body.to_string()))?;
        print_line(&answer.to_string())
    }

    /// Publishes stdin line by line, a batch a request; a bad line is refused before anything of its batch goes out.
    async fn lines(&self, admin: &Admin) -> Result<(), Failure> {
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            super::report("reading one JSON value a line; end with Ctrl-D");
        }
        let mut batch = Vec::new();
        for (line, number) in stdin.lock().lines().zip(1..) {
            let line = line?;
            if line.trim().is_empty() {
                continue;
            }
            let data = checked(&line).with_context(|| format!("line {number}"))?;
            batch.push(json!({"channel": self.channel, "event": self.event, "data": data}));
            if batch.len() == BATCH {
                self.batch(admin, &mut batch).await?;
            }
        }
        self.batch(admin, &mut batch).await
    }

    async fn batch(&self, admin: &Admin, batch: &mut Vec<serde_json::Value>) -> Result<(), Failure> {
        if batch.is_empty() {
            return Ok(());
        }
        let body = json!({"publications": std::mem::take(batch)});
        let answer = admin.post("/v1/batch", body.to_string()).await?;
        print_line(&answer.to_string())
    }
}

/// One JSON value.
fn checked(text: &str) -> anyhow::Result<Box<RawValue>> {
    match serde_json::from_str(text) {
        Ok(value) => Ok(value),
        Err(error) => bail!("the data is not JSON: {error}; quote texts twice: '\"hello\"'"),
    }
}
