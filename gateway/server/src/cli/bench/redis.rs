//! A Redis for the rows about several pods: empty, on a port of its own, ended with its value.

use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::child::free_address;

/// A running `redis-server`.
pub(super) struct Redis {
    child: Child,
    address: SocketAddr,
}

impl Redis {
    pub(super) fn start() -> Result<Self> {
        let address = free_address()?;
        let child = Command::new("redis-server")
            .args(["--port", &address.port().to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("this row needs the program redis-server (Debian: redis-server)")?;
        let mut redis = Self { child, address };
        let deadline = Instant::now() + Duration::from_secs(5);
        while TcpStream::connect(address).is_err() {
            if let Some(status) = redis.child.try_wait()? {
                bail!("redis-server ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("redis-server does not listen after 5 s");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(redis)
    }

    pub(super) fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// How often histories were read. Each read looks for the oldest entry, and then for entries, 64 at a time.
    pub(super) fn history_reads(&self) -> Result<f64> {
        let mut connection = redis::Client::open(self.url())?.get_connection()?;
        let stats: String = redis::cmd("INFO").arg("commandstats").query(&mut connection)?;
        let calls = |command: &str| {
            let head = format!("cmdstat_{command}:calls=");
            let rest = stats.lines().find_map(|line| line.strip_prefix(&head));
            rest.and_then(|rest| rest.split(',').next()?.parse::<f64>().ok()).unwrap_or_default()
        };
        Ok((calls("xrange") + calls("xrevrange")) / 2.0)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}
