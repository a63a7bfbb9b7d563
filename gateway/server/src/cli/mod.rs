//! The command line: one verb a file. Results go to stdout, everything else to stderr.
//!
//! Exit codes: 0; 64 for a wrong command line or a refused configuration; 1 for a failed start or run.

mod admin;
mod bench;
mod check;
mod credential;
mod positions;
mod publish;
mod serve;
mod subscribe;
mod token;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use rtgw_config::Checked;

use crate::manifests;

/// A wrong command line or a refused configuration (`EX_USAGE`).
const REFUSED: u8 = 64;

/// Holds live connections: WebSocket clients on one side, publishers on the other.
#[derive(Debug, Parser)]
#[command(name = "rtgw", version, arg_required_else_help = true, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Bench(bench::Bench),
    Check(check::Check),
    Publish(publish::Publish),
    Serve(serve::Serve),
    Subscribe(subscribe::Subscribe),
    Token(token::Token),
}

/// How a verb ends when it does not end well.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or the command line is refused; every problem, one a line or block.
    Refused(String),
    /// The start or the run failed.
    Failed(anyhow::Error),
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Runs the verb that `arguments` name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let verb = match CommandLine::try_parse_from(arguments) {
        Ok(CommandLine { verb }) => verb,
        Err(error) => {
            // Help and version are answers, not mistakes. A closed pipe is no reason to fail.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS };
        }
    };
    let outcome = match verb {
        Verb::Bench(bench) => bench.run(),
        Verb::Check(check) => check.run(),
        Verb::Publish(publish) => publish.run(),
        Verb::Serve(serve) => serve.run(),
        Verb::Subscribe(subscribe) => subscribe.run(),
        Verb::Token(token) => token.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Refused(problems)) => {
            report(&problems);
            ExitCode::from(REFUSED)
        }
        Err(Failure::Failed(error)) => {
            report(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// The checked gateway of some manifests; warnings go to stderr.
fn accepted(files: &[PathBuf], name: Option<&str>) -> Result<Checked, Failure> {
    match manifests::load(files, name) {
        Ok(accepted) => {
            if !accepted.warnings.is_empty() {
                report(&check::text(&accepted.warnings));
            }
            Ok(accepted.checked)
        }
        Err(problems) => Err(Failure::Refused(check::text(&problems))),
    }
}

fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "{}", text.trim_end());
}

/// Writes a line of results; a reader that went away ends the program quietly, as `| head` expects.
fn print_line(line: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => Ok(written?),
    }
}

/// A runtime for the verbs that are clients.
fn client_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}
