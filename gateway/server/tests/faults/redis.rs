//! Redis servers with and without data on disk, and everything that may befall one.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;

use crate::support::process::Process;
use crate::support::{eventually, free_port};

/// What survives a server's end.
#[derive(Clone, Copy, PartialEq)]
pub enum Disk {
    /// Every write: an append-only file.
    Log,
    /// What was saved last.
    Snapshot,
}

/// A Redis server with a folder of its own; killed and wiped when dropped.
pub struct Redis {
    process: Option<Process>,
    address: SocketAddr,
    folder: PathBuf,
    disk: Disk,
    environment: Vec<(&'static str, String)>,
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.process = None;
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Redis {
    /// Starts an empty server under more `environment`.
    pub fn start(disk: Disk, environment: Vec<(&'static str, String)>) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!(
            "faults-redis-{}-{}",
            std::process::id(),
            address.port()
        ));
        drop(std::fs::remove_dir_all(&folder));
        let mut redis = Self { process: None, address, folder, disk, environment };
        redis.run();
        redis
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it on its port with what its folder holds, and waits until it has loaded.
    pub fn run(&mut self) {
        std::fs::create_dir_all(&self.folder).unwrap();
        let mut command = Command::new("redis-server");
        command.args(["--port", &self.address.port().to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", if self.disk == Disk::Log { "yes" } else { "no" }]);
        command.args(["--appendfsync", "everysec", "--daemonize", "no"]).arg("--dir").arg(&self.folder);
        command.envs(self.environment.iter().map(|(name, value)| (*name, value.as_str())));
        self.process = Some(Process::start(&mut command));
        eventually("redis listens", || TcpStream::connect(self.address).ok());
        eventually("redis has loaded", || (self.cli(&["PING"]) == "PONG").then_some(()));
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process = None;
    }

    /// Takes what is on disk away.
    pub fn wipe(&self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }

    /// Its sockets stay open and nothing answers.
    pub fn freeze(&self) {
        self.process.as_ref().expect("redis runs").signal("STOP");
    }

    /// It goes on.
    pub fn thaw(&self) {
        self.process.as_ref().expect("redis runs").signal("CONT");
    }

    /// Writes all that it holds to disk, to be what [`Redis::run`] finds.
    pub fn save(&self) {
        assert_eq!(self.cli(&["SAVE"]), "OK");
    }

    /// `redis-cli` with these arguments; its answer, an error's text included.
    pub fn cli(&self, arguments: &[&str]) -> String {
        let output = Command::new("redis-cli")
            .args(["-p", &self.address.port().to_string()])
            .args(arguments)
            .output()
            .unwrap();
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Changes a setting while it runs.
    pub fn set(&self, name: &str, value: &str) {
        assert_eq!(self.cli(&["CONFIG", "SET", name, value]), "OK", "{name} {value}");
    }

    /// Bytes in use.
    pub fn used(&self) -> u64 {
        self.count("used_memory")
    }

    /// A number of `INFO`.
    pub fn count(&self, name: &str) -> u64 {
        let all = self.cli(&["INFO"]);
        let named = |line: &str| Some(line.trim().strip_prefix(name)?.strip_prefix(':')?.parse().unwrap());
        all.lines().find_map(named).unwrap_or_else(|| panic!("no {name}"))
    }
}
