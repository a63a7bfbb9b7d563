//! A gateway as a user starts it: `rtgw serve -f MANIFEST`.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use super::process::Process;
use super::{eventually, free_port, http, root};

/// A running gateway; killed when dropped.
pub struct Gateway {
    /// The process.
    pub process: Process,
    /// The public listener.
    pub public: SocketAddr,
    /// The internal listener.
    pub admin: SocketAddr,
}

impl Gateway {
    /// Serves the manifest at `path` (relative to the repository's root) on free ports and waits until it is ready.
    #[track_caller]
    pub fn serve(path: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self::serve_in(&[], path, arguments)
    }

    /// The same with these variables in its environment.
    #[track_caller]
    pub fn serve_in(environment: &[(&str, &Path)], path: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let public = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self::start(public, environment, path, arguments, "/readyz")
    }

    /// The same with a public listener at a given address, such as that of a gateway that has ended.
    #[track_caller]
    pub fn serve_at(public: SocketAddr, path: impl AsRef<Path>, arguments: &[&str]) -> Self {
        Self::start(public, &[], path, arguments, "/readyz")
    }

    /// The same without waiting until it is ready: it lives.
    #[track_caller]
    pub fn begin(path: impl AsRef<Path>, arguments: &[&str]) -> Self {
        let public = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        Self::start(public, &[], path, arguments, "/livez")
    }

    #[track_caller]
    fn start(
        public: SocketAddr,
        environment: &[(&str, &Path)],
        path: impl AsRef<Path>,
        arguments: &[&str],
        page: &str,
    ) -> Self {
        let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut command = rtgw();
        command.arg("serve").arg("-f").arg(root().join(path));
        command.args(["--listen", &public.to_string(), "--admin", &admin.to_string()]).args(arguments);
        command.envs(environment.iter().copied());
        let mut process = Process::start(&mut command);
        eventually("the gateway is ready", || {
            assert!(process.running(), "the gateway ended: {}", process.stderr());
            http::try_get(admin, page).filter(|answer| answer.status == 200)
        });
        Self { process, public, admin }
    }

    /// `ws://…` of a path.
    pub fn url(&self, path: &str) -> String {
        format!("ws://{}{path}", self.public)
    }

    /// The sum of a metric over all label sets that contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        http::get(self.admin, "/metrics")
            .body
            .lines()
            .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])))
            .filter(|line| line.contains(labels))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// What `/ws/stats` says about clients.
    pub fn connected_clients(&self) -> u64 {
        http::get(self.public, "/ws/stats").json()["connected_clients"].as_u64().unwrap()
    }
}

/// A token of `user` with more `claims` (`K=V`), signed by the program with the key of the manifest at `path`.
#[track_caller]
pub fn token(path: &str, user: &str, claims: &[&str]) -> String {
    let mut command = rtgw();
    command.arg("token").arg("-f").arg(root().join(path)).args(["--sub", user]);
    command.args(claims.iter().flat_map(|claim| ["--claim", claim]));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The program under test.
pub fn rtgw() -> Command {
    Command::new(env!("CARGO_BIN_EXE_rtgw"))
}
