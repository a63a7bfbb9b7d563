//! A real Redis on a free port, without persistence.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use super::process::Process;
use super::{eventually, free_port};

/// A Redis server; killed when dropped.
pub struct Redis {
    process: Option<Process>,
    address: SocketAddr,
    arguments: Vec<String>,
}

impl Redis {
    /// Starts an empty server.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a server with more arguments, which it keeps when it is restarted.
    #[track_caller]
    pub fn start_with(arguments: &[&str]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let arguments = arguments.iter().map(ToString::to_string).collect();
        let mut redis = Self { process: None, address, arguments };
        redis.restart();
        redis
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Stops it without ending it: its sockets stay open and nothing answers.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on after [`Redis::freeze`].
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    #[track_caller]
    fn signal(&self, name: &str) {
        self.process.as_ref().expect("redis runs").signal(name);
    }

    /// Starts it again on the same port, empty unless its arguments say otherwise.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.args(&self.arguments);
        self.process = Some(Process::start(&mut command));
        // Listening is not yet answering.
        eventually("redis answers", || (self.try_cli(&["PING"]).as_deref() == Ok("PONG")).then_some(()));
    }

    /// `redis-cli` with these arguments; its answer.
    #[track_caller]
    pub fn cli(&self, arguments: &[&str]) -> String {
        self.try_cli(arguments).unwrap_or_else(|error| panic!("redis-cli {arguments:?}: {error}"))
    }

    fn try_cli(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new("redis-cli")
            .args(["-p", &self.address.port().to_string()])
            .args(arguments)
            .output()
            .unwrap();
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// Waits until `channel` has a subscriber, which is how a test knows that a source listens.
    #[track_caller]
    pub fn wait_for_subscriber(&self, channel: &str) {
        eventually("the source has subscribed", || {
            let answer = self.cli(&["PUBSUB", "NUMSUB", channel]);
            (answer.lines().last() != Some("0")).then_some(())
        });
    }
}
