//! The command line: one verb that runs, one that prints the CRD.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use rtgw_crds::cluster::PullPolicy;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

use crate::controller::{self, Options};
use crate::probes::{self, Health};
use crate::settings::Settings;

/// Makes RealtimeGateway objects true: their pods, their configuration, their Redis.
#[derive(Debug, Parser)]
#[command(name = "rtgw-operator", version)]
pub struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Looks after objects until SIGTERM or Ctrl-C.
    ///
    /// Example: rtgw-operator run --namespace chat --gateway-image ghcr.io/realtime-gateway/rtgw:0.1.0
    Run(Box<Run>),
    /// Prints the CustomResourceDefinition.
    ///
    /// Example: rtgw-operator crd | kubectl apply --server-side -f -
    Crd,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// A namespace to look after; may be given several times. Absent: all of them.
    #[arg(long = "namespace", value_name = "NS")]
    namespaces: Vec<String>,
    /// Metrics and probes.
    #[arg(long, value_name = "ADDR:PORT", default_value = "0.0.0.0:9090")]
    metrics: SocketAddr,
    /// Image of gateways that name none.
    #[arg(long, value_name = "IMAGE", default_value = concat!("ghcr.io/realtime-gateway/rtgw:", env!("CARGO_PKG_VERSION")))]
    gateway_image: String,
    /// Image of a managed Redis that names none.
    #[arg(long, value_name = "IMAGE", default_value = "docker.io/library/redis:8")]
    redis_image: String,
    /// When nodes fetch images whose object says nothing.
    #[arg(long, value_name = "POLICY", value_enum, default_value_t = Pull::IfNotPresent)]
    pull_policy: Pull,
    /// A field of `spec.podTemplate` that objects may override beside the usual ones, such as spec.runtimeClassName; may be given several times.
    #[arg(long = "allow-override", value_name = "FIELD")]
    allowed_overrides: Vec<String>,
    /// A repository whose images objects may name; may be given several times. Absent: any.
    #[arg(long = "allow-image", value_name = "PREFIX")]
    allowed_images: Vec<String>,
    /// How logs look; text on a terminal, JSON otherwise.
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// The operator's own namespace, where its Lease and its key live.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NS", default_value = "rtgw-system", hide = true)]
    own_namespace: String,
    /// Names this process among the operators that may lead.
    #[arg(long, env = "POD_NAME", value_name = "NAME", hide = true)]
    own_name: Option<String>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Pull {
    #[value(name = "IfNotPresent")]
    IfNotPresent,
    #[value(name = "Always")]
    Always,
    #[value(name = "Never")]
    Never,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

impl Cli {
    /// Does what was asked for.
    ///
    /// # Errors
    /// It could not be started, or had to end.
    pub fn run(self) -> anyhow::Result<()> {
        match self.verb {
            Verb::Run(run) => run.run(),
            Verb::Crd => crd(),
        }
    }
}

/// The definition as JSON, which `kubectl` reads as well as YAML.
fn crd() -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(&rtgw_crds::definition::definition())?;
    writeln!(std::io::stdout().lock(), "{text}").context("standard output")
}

impl Run {
    fn run(self) -> anyhow::Result<()> {
        logs(self.log_format)?;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().enable_all().thread_name("runtime").build()?;
        runtime.block_on(self.serve())
    }

    async fn serve(self) -> anyhow::Result<()> {
        let stop = CancellationToken::new();
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            stopped.cancel();
        });
        let health = Health::default();
        let listener =
            probes::bind(self.metrics).await.with_context(|| format!("--metrics {}", self.metrics))?;
        let probes = tokio::spawn(probes::serve(listener, health.clone(), stop.clone()));
        let client = controller::connect().await?;
        let ended = controller::run(client, self.options(), health, stop.clone()).await;
        stop.cancel();
        probes.await??;
        ended
    }

    fn options(self) -> Options {
        let unique = || format!("rtgw-operator-{:08x}", fastrand::u32(..));
        Options {
            namespaces: self.namespaces,
            instance: self.own_name.unwrap_or_else(unique),
            settings: Settings {
                namespace: self.own_namespace,
                gateway_image: self.gateway_image,
                redis_image: self.redis_image,
                pull_policy: match self.pull_policy {
                    Pull::IfNotPresent => PullPolicy::IfNotPresent,
                    Pull::Always => PullPolicy::Always,
                    Pull::Never => PullPolicy::Never,
                },
                allowed_overrides: self.allowed_overrides,
                allowed_images: self.allowed_images,
                keys: Vec::new(),
            },
        }
    }
}

fn logs(format: Option<LogFormat>) -> anyhow::Result<()> {
    let format =
        format.unwrap_or(if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json });
    let filter = EnvFilter::try_from_env("RTGW_LOG").unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => logs.try_init(),
        LogFormat::Json => logs.json().flatten_event(true).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logs: {error}"))
}
