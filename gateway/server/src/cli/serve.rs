//! `rtgw serve`: holds sockets until a signal, then drains.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use rtgw_config::checked::{Checked, LogLevel, RedisAddress};
use rtgw_config::pod::POD_UID_ENV;
use tokio_util::sync::CancellationToken;

use super::Failure;
use crate::drain::Signals;
use crate::reload::{self, Loaded, Source, Unusable};
use crate::telemetry::{self, LogFormat};
use crate::waiting;
use crate::wiring::{self, Bound, Options};

/// Expressions are evaluated on the runtime's threads, and their library recurses: deep but bounded trees need this much.
const STACK_BYTES: usize = 8 << 20;

/// Holds sockets: serves the gateway of a manifest until SIGTERM or Ctrl-C, then closes what is left at a bounded rate.
///
/// Example: rtgw serve -f examples/quickstart/gateway.yaml --demo
#[derive(Debug, clap::Args)]
pub(super) struct Serve {
    /// Manifests: a RealtimeGateway and the Secrets it names, in any number of YAML documents; `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Secrets as files, as Kubernetes mounts them: DIR/NAME/KEY. A start waits for those that the configuration names.
    #[arg(long, value_name = "DIR")]
    secrets: Option<PathBuf>,
    /// Which gateway, where the files hold several.
    #[arg(long, value_name = "GATEWAY")]
    name: Option<String>,
    /// The public listener: clients.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    /// The internal listener: API, console, metrics, probes.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:9090")]
    admin: SocketAddr,
    /// Use this Redis instead of what the manifest says. A password belongs into the manifest's Secret or the environment.
    #[arg(long, value_name = "URL", env = "RTGW_REDIS", hide_env_values = true)]
    redis: Option<String>,
    /// I/O threads; one per core unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: Option<u16>,
    /// How logs look; text on a terminal, JSON otherwise.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Publish a few lifelike events per second.
    #[arg(long)]
    demo: bool,
}

impl Serve {
    pub(super) fn run(self) -> Result<(), Failure> {
        let redis = self.redis.as_deref().map(redis).transpose()?;
        let format = self.log_format.unwrap_or_else(LogFormat::detect);
        let pod_uid = std::env::var(POD_UID_ENV).ok().filter(|uid| !uid.is_empty());
        let found = match reload::open(self.files, self.secrets, self.name) {
            Err(unusable) if unusable.refused.only_waits() => {
                telemetry::start(LogLevel::Info, format)?;
                let Some(found) = waiting::for_secrets(*unusable, self.admin, pod_uid.as_deref())? else {
                    return Ok(());
                };
                telemetry::set_level(found.0.checked.log_level);
                found
            }
            opened => {
                let found = opened.map_err(|unusable| refused(&unusable))?;
                telemetry::start(found.0.checked.log_level, format)?;
                found
            }
        };
        let (config, source) = warned(found);
        let options = Options {
            listen: self.listen,
            admin: self.admin,
            redis,
            shards: self.shards.map(usize::from),
            demo: self.demo,
            pod_uid,
        };
        let token = first_token(&config);
        let paths: Vec<String> = config.endpoints.iter().map(|endpoint| endpoint.path.clone()).collect();
        let bound = wiring::bind(config, options)?.following(source);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .thread_stack_size(STACK_BYTES)
            .thread_name("runtime")
            .enable_all()
            .build()?;
        let welcome = welcome(&bound, &paths, token, if self.demo { crate::demo::CHANNEL } else { "" })?;
        runtime.block_on(async {
            let mut signals = Signals::new()?;
            let stop = CancellationToken::new();
            let signalled = stop.clone();
            tokio::spawn(async move {
                signals.next().await;
                signalled.cancel();
                signals.next().await;
                tracing::warn!("a second signal: ending at once");
                std::process::exit(1);
            });
            bound.serve(stop, |_| print(&welcome)).await
        })?;
        // Blocking tasks, if any are left, must not hold up the end.
        runtime.shutdown_background();
        Ok(())
    }
}

fn refused(unusable: &Unusable) -> Failure {
    Failure::Refused(super::check::text(&unusable.refused.problems))
}

/// The configuration to start with; its files are looked at again from then on.
fn warned((loaded, source): (Loaded, Source)) -> (Checked, Source) {
    if !loaded.warnings.is_empty() {
        super::report(&super::check::text(&loaded.warnings));
    }
    (loaded.checked, source)
}

/// The URL of `--redis`; what is wrong with it is a wrong command line.
fn redis(url: &str) -> Result<RedisAddress, Failure> {
    let address = RedisAddress { url: url.to_owned(), password: None, ca: None };
    match crate::redis_link::Address::new(&address) {
        Ok(_) => Ok(address),
        Err(error) => Err(Failure::Refused(format!("error: --redis: {error}"))),
    }
}

/// A token to paste, where the manifest has a key that signs.
fn first_token(config: &Checked) -> Option<String> {
    super::token::sign(config, "demo", &[], std::time::Duration::from_secs(24 * 3600)).ok()
}

/// Prints lines for whoever still listens: sockets do not depend on it, unlike the verbs whose output is their purpose.
fn print(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    let _ = lines.iter().try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
}

/// What a person needs first. A program that reads stdout gets the same lines; logs are elsewhere.
fn welcome(
    bound: &Bound,
    paths: &[String],
    token: Option<String>,
    channel: &str,
) -> anyhow::Result<Vec<String>> {
    let public = bound.public()?;
    let mut lines = Vec::new();
    if let Some(path) = paths.first() {
        lines.push(format!("clients   ws://{public}{path}"));
    }
    lines.push(format!("console   http://{}/console/", bound.internal()?));
    if std::io::stdout().is_terminal()
        && let (Some(token), Some(path)) = (token, paths.first())
    {
        lines.push(format!("token     {token}"));
        let program = std::env::current_exe().context("this program's path")?;
        let line = format!("try       {} subscribe ws://{public}{path} {channel}", program.display());
        lines.push(line.trim_end().to_owned());
    }
    Ok(lines)
}
