//! `rtgw check`: everything that is wrong with manifests, without starting anything.

use std::path::PathBuf;

use rtgw_config::{Accepted, Problem};

use super::{Failure, print_line, report};
use crate::manifests;

/// Checks manifests and prints every error and warning with its place; nothing is started.
///
/// Example: rtgw check -f gateway.yaml
#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// A manifest (RealtimeGateway and the Secrets it names, any number of YAML documents); `-` is standard input.
    #[arg(short, long = "file", value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Only this gateway.
    #[arg(long, value_name = "GATEWAY")]
    name: Option<String>,
}

impl Check {
    pub(super) fn run(&self) -> Result<(), Failure> {
        let manifests = manifests::read(&self.files).map_err(|problems| Failure::Refused(text(&problems)))?;
        let names: Vec<Option<&str>> = match &self.name {
            Some(name) => vec![Some(name)],
            None if manifests.names().len() > 1 => manifests.names().into_iter().map(Some).collect(),
            None => vec![None],
        };
        let mut refused: Vec<String> = Vec::new();
        for name in &names {
            match manifests.check(*name) {
                Ok(accepted) => {
                    if !accepted.warnings.is_empty() {
                        report(&text(&accepted.warnings));
                    }
                    print_line(&summary(&accepted))?;
                }
                Err(problems) if names.len() > 1 => {
                    refused.push(format!("{}:\n{}", name.unwrap_or("?"), text(&problems)));
                }
                Err(problems) => refused.push(text(&problems)),
            }
        }
        if refused.is_empty() { Ok(()) } else { Err(Failure::Refused(refused.join("\n"))) }
    }
}

/// Problems as they are printed, one after the other.
pub(super) fn text(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

fn summary(accepted: &Accepted) -> String {
    let checked = &accepted.checked;
    let count = |number: usize, one: &str| format!("{number} {one}{}", if number == 1 { "" } else { "s" });
    format!(
        "{}/{}: {}, {}, {}: ok",
        checked.namespace,
        checked.name,
        count(checked.endpoints.len(), "endpoint"),
        count(checked.channels.len(), "channel"),
        count(checked.sources.len(), "source"),
    )
}
