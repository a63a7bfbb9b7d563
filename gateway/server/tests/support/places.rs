//! Where things are, ports, and patience.

use std::net::{Ipv4Addr, TcpListener};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Long enough for a debug build on a busy machine; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The repository's root.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Below the ports that Linux gives to outgoing connections, so that no client of another test can take one between the moment it is
/// chosen here and the moment a program binds it.
const PORTS: Range<u16> = 12_000..32_000;

/// A port that nothing listens on at the moment, and that no other test of this run is given.
pub fn free_port() -> u16 {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let ports = u32::from(PORTS.end - PORTS.start);
    // Test programs that run side by side begin at places of their own.
    let begin = std::process::id().wrapping_mul(97);
    for _ in 0..ports {
        let at = begin.wrapping_add(CALLS.fetch_add(1, Ordering::Relaxed)) % ports;
        let port = PORTS.start + at as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("every port from {} to {} is taken", PORTS.start, PORTS.end);
}

/// Asks until the answer is `Some`; for programs that offer nothing to wait on.
#[track_caller]
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
