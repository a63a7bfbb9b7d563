//! How fast clients come in: TCP, upgrade, and each way to know who they are.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::Bench;
use super::child::{Floor, Gateway, Server};
use super::issuer::{Outside, Signer};
use super::memory::{MANIFEST, token};
use super::receivers::Request;
use super::redis::Redis;
use super::report::{Report, median};

/// Connections of a round; they leave before the next one.
const COUNT: usize = 1_000;
/// A key that is not known is looked for this often at most; between two readings of the published keys there are minutes.
const ROTATION: Duration = Duration::from_secs(31);

/// Microseconds of the server's CPU per connection that came in.
fn round(server: &Server, path: &str, tokens: &[String]) -> Result<f64> {
    let before = server.cpu_time()?;
    let open = |token: &String| Request { address: server.address, path, token: Some(token) }.open();
    let streams = tokens.iter().map(open).collect::<Result<Vec<_>>>()?;
    let cpu = server.cpu_time()? - before;
    drop(streams);
    Ok(cpu.as_secs_f64() * 1e6 / tokens.len() as f64)
}

/// The same, and time for the server to see them leave.
fn settled(server: &Server, tokens: &[String]) -> Result<f64> {
    let figure = round(server, "/shared", tokens)?;
    std::thread::sleep(Duration::from_millis(300));
    Ok(figure)
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
    others(bench, report)
}

/// The ways that ask more than HS256, in turn.
fn others(bench: &Bench, report: &mut Report) -> Result<()> {
    let signer = Signer::new()?;
    let outside = Outside::start(signer.key_set(&["one"]))?;
    let signed = |kid: &str| (0..COUNT).map(|at| signer.token(kid, at)).collect::<Result<Vec<_>>>();
    let (one, two) = (signed("one")?, signed("two")?);
    let by_keys = Gateway::start(
        &manifest(
            "issuers",
            &format!(
                "[{{name: idp, algorithms: [RS256], jwks: {{url: 'http://{}/keys'}}}}]",
                outside.address
            ),
        ),
        2,
    )?;
    let started = Instant::now();
    let by_answer = Gateway::start(
        &manifest(
            "webhook",
            &format!("{{url: 'http://{}/auth', timeout: 5s, cacheFor: 10m}}", outside.address),
        ),
        2,
    )?;
    let own: Vec<String> = (0..COUNT).map(|at| format!("session-{at}")).collect();
    settled(&by_answer.server, &own)?;
    let (mut rs256, mut cached, mut asked) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..bench.rounds {
        rs256.push(settled(&by_keys.server, &one)?);
        cached.push(settled(&by_answer.server, &own)?);
        let fresh: Vec<String> = (0..COUNT).map(|at| format!("fresh-{turn}-{at}")).collect();
        asked.push(settled(&by_answer.server, &fresh)?);
    }
    // The keys change: the first token of the new one asks for them, the others wait for that answer or come after it.
    std::thread::sleep(ROTATION.saturating_sub(started.elapsed()));
    outside.publish(signer.key_set(&["two", "one"]));
    let before = outside.asked();
    let mixed: Vec<String> = one.iter().zip(&two).flat_map(|(one, two)| [one.clone(), two.clone()]).collect();
    let rotating = [settled(&by_keys.server, &mixed[..COUNT])?, settled(&by_keys.server, &mixed[COUNT..])?];
    if outside.asked() > before + 2 {
        bail!("a rotation asked for the keys {} times", outside.asked() - before);
    }
    for (what, figures) in [
        ("RS256, keys by JWKS", rs256.as_slice()),
        ("RS256 while the keys rotate", &rotating),
        ("the application's own, remembered", &cached),
        ("the application's own, asked each time", &asked),
    ] {
        report.alone(
            &format!("admissions per second of one core, {what}"),
            "/s",
            1e6 / median(figures),
            "printed",
        );
    }
    Ok(())
}

/// A limit that all pods count together, in Redis, beside the same that this pod counts alone.
pub(super) fn counted(bench: &Bench, report: &mut Report) -> Result<()> {
    const LIMITS: &str = "  limits: {user: {connections: 100}}\n";
    let redis = Redis::start()?;
    let limited = |more: &str| MANIFEST.replace("---\n", &format!("{LIMITS}{more}---\n"));
    let alone = Gateway::start(&limited(""), 2)?;
    let shared =
        Gateway::start(&limited(&format!("  redis: {{external: {{url: '{}'}}}}\n", redis.url())), 2)?;
    let tokens = (0..COUNT).map(token).collect::<Result<Vec<_>>>()?;
    let (mut by_pod, mut by_all, mut wall) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        by_pod.push(settled(&alone.server, &tokens)?);
        let start = Instant::now();
        by_all.push(round(&shared.server, "/shared", &tokens)?);
        wall.push(start.elapsed().as_secs_f64());
        std::thread::sleep(Duration::from_millis(300));
    }
    let decided = shared.metric("rtgw_limit_decisions_total{by=\"all\"}")?;
    if decided < (bench.rounds * COUNT) as f64 {
        bail!("only {decided} of {} admissions were counted in Redis", bench.rounds * COUNT);
    }
    let (figure, least) = (median(&by_all), median(&by_pod));
    let what = "CPU per admission, a limit counted in Redis, beside the pod's own";
    report.compared(what, "us", figure, least, figure / least, "printed");
    report.alone(
        "admissions per second, a limit counted in Redis, one client after the other",
        "/s",
        COUNT as f64 / median(&wall),
        "printed",
    );
    Ok(())
}

/// A manifest whose `auth` has this one way.
fn manifest(way: &str, settings: &str) -> String {
    format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: bench}}\nspec:\n  \
         auth:\n    {way}: {settings}\n  endpoints:\n  - {{name: shared, path: /shared, autoSubscribe: [{{channel: news}}, {{channel: \
         alerts}}], heartbeat: {{interval: 25s, timeout: 60s}}}}\n  channels: [{{pattern: news}}, {{pattern: alerts}}]\n"
    )
}
