//! How fast clients come in: TCP, upgrade and a signed token.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Bench;
use super::child::{Floor, Gateway, Server};
use super::memory::{MANIFEST, token};
use super::receivers::Request;
use super::report::{Report, median};

/// Connections of a round; they leave before the next one.
const COUNT: usize = 1_000;

/// Microseconds of the server's CPU per connection that came in.
fn round(server: &Server, path: &str, tokens: &[String]) -> Result<f64> {
    let before = server.cpu_time()?;
    let open = |token: &String| Request { address: server.address, path, token: Some(token) }.open();
    let streams = tokens.iter().map(open).collect::<Result<Vec<_>>>()?;
    let cpu = server.cpu_time()? - before;
    drop(streams);
    Ok(cpu.as_secs_f64() * 1e6 / tokens.len() as f64)
}

pub(super) fn measure(bench: &Bench, report: &mut Report) -> Result<()> {
    let tokens = (0..COUNT).map(token).collect::<Result<Vec<_>>>()?;
    let mut floor = Floor::start()?;
    let gateway = Gateway::start(MANIFEST, 2)?;
    let (mut bare, mut served, mut wall) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        floor.order("accept", COUNT)?;
        bare.push(round(&floor.server, "/", &tokens)?);
        floor.done()?;
        floor.order("drop", COUNT)?;
        floor.done()?;
        let start = Instant::now();
        served.push(round(&gateway.server, "/shared", &tokens)?);
        wall.push(start.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_millis(300));
    }
    let (figure, least) = (median(&served), median(&bare));
    report.compared("CPU per admission: TCP, upgrade, HS256", "us", figure, least, figure / least, "200 us");
    report.alone("admissions per second of one core, HS256", "/s", 1e6 / figure, "5,000");
    report.alone(
        "admissions per second, one client after the other",
        "/s",
        COUNT as f64 / median(&wall),
        "printed",
    );
    Ok(())
}
