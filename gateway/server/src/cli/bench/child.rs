//! The servers under test, as child processes of this program.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::process;

/// A server that ends with its value.
pub(super) struct Server {
    child: Child,
    /// Where its clients connect.
    pub(super) address: SocketAddr,
}

impl Server {
    /// See [`process::cpu_time`].
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        process::cpu_time(self.child.id())
    }

    /// See [`process::anonymous_memory`].
    pub(super) fn memory(&self) -> Result<u64> {
        process::anonymous_memory(self.child.id())
    }
}

/// Names a program, with its arguments, that gateways are run under: a profiler, say.
const UNDER: &str = "RTGW_BENCH_UNDER";

fn under(program: &Path) -> Command {
    let words = std::env::var(UNDER).unwrap_or_default();
    let mut words = words.split_whitespace();
    let Some(first) = words.next() else { return Command::new(program) };
    let mut command = Command::new(first);
    command.args(words).arg(program);
    command
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::env::var_os(UNDER).is_some() {
            // A profiler writes its findings when its program ends by itself.
            let id = self.child.id().to_string();
            let _asked = Command::new("kill").args(["-TERM", &id]).status();
            let _ended = self.child.wait();
        }
        // It may have ended by itself.
        let _killed = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// A gateway that runs `manifest`.
pub(super) struct Gateway {
    pub(super) server: Server,
    /// Its internal listener.
    pub(super) admin: SocketAddr,
    manifest: PathBuf,
}

impl Gateway {
    pub(super) fn start(manifest: &str, shards: usize) -> Result<Self> {
        let (address, admin) = (free_address()?, free_address()?);
        let path =
            std::env::temp_dir().join(format!("rtgw-bench-{}-{}.yaml", std::process::id(), address.port()));
        std::fs::write(&path, manifest)?;
        let child = under(&std::env::current_exe()?)
            .arg("serve")
            .arg("-f")
            .arg(&path)
            .args([
                "--listen",
                &address.to_string(),
                "--admin",
                &admin.to_string(),
                "--shards",
                &shards.to_string(),
            ])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut gateway = Self { server: Server { child, address }, admin, manifest: path };
        gateway.wait_until_ready()?;
        Ok(gateway)
    }

    fn wait_until_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            if let Ok(answer) = self.get("/readyz")
                && answer.starts_with("HTTP/1.1 200")
            {
                return Ok(());
            }
            if let Some(status) = self.server.child.try_wait()? {
                bail!("the gateway ended with {status}; try `rtgw check -f {}`", self.manifest.display());
            }
            if Instant::now() > deadline {
                bail!("the gateway is not ready after 20 s");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The answer of the internal listener, head and body.
    pub(super) fn get(&self, path: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.admin)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.admin)?;
        Ok(std::io::read_to_string(stream)?)
    }

    /// The sum of a metric over its labels.
    pub(super) fn metric(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics")?;
        let values = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        });
        Ok(values.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _removed = std::fs::remove_file(&self.manifest);
    }
}

/// The floor, taking orders.
pub(super) struct Floor {
    pub(super) server: Server,
    orders: BufReader<TcpStream>,
}

impl Floor {
    pub(super) fn start() -> Result<Self> {
        let address = free_address()?;
        let child = Command::new(std::env::current_exe()?)
            .args(["bench", "--floor", &address.port().to_string()])
            .stdin(Stdio::null())
            .spawn()?;
        let server = Server { child, address };
        let deadline = Instant::now() + Duration::from_secs(5);
        let stream = loop {
            match TcpStream::connect(address) {
                Ok(stream) => break stream,
                Err(error) if Instant::now() > deadline => {
                    return Err(error).context("the floor does not start");
                }
                Err(_) => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        stream.set_nodelay(true)?;
        Ok(Self { server, orders: BufReader::new(stream) })
    }

    /// Gives an order without waiting for its end.
    pub(super) fn order(&mut self, verb: &str, count: usize) -> Result<()> {
        Ok(self.orders.get_mut().write_all(format!("{verb} {count}\n").as_bytes())?)
    }

    /// Waits until the oldest open order is carried out.
    pub(super) fn done(&mut self) -> Result<()> {
        let mut line = String::new();
        if self.orders.read_line(&mut line)? == 0 {
            bail!("the floor has ended");
        }
        Ok(())
    }
}

/// A loopback address that was free a moment ago.
pub(super) fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?)
}
