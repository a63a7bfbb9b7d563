//! The crates as cargo sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// A crate.
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// An SPDX expression; empty where none is given.
    pub license: String,
    /// Where cargo found it; `None` for the workspace's own.
    pub source: Option<String>,
    /// Names of what it depends on, development excluded.
    pub uses: BTreeSet<String>,
    /// Names of what its tests depend on.
    pub uses_in_tests: BTreeSet<String>,
}

/// The workspace and everything it links.
pub struct Metadata {
    /// By cargo's own identifier.
    pub packages: BTreeMap<String, Package>,
    /// What each is linked with, development included only for the workspace's own.
    edges: BTreeMap<String, Vec<String>>,
}

impl Metadata {
    /// Asks cargo.
    ///
    /// # Errors
    /// What cargo said, when it fails.
    pub fn read() -> Result<Self, String> {
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version", "1", "--locked"])
            // The targets of deny.toml: what others would link is in the lock file and in no program of ours.
            .args([
                "--filter-platform",
                "x86_64-unknown-linux-gnu",
                "--filter-platform",
                "aarch64-unknown-linux-gnu",
            ])
            .current_dir(crate::root())
            .output()
            .map_err(|error| error.to_string())?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let json: Value = serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())?;
        Ok(Self {
            packages: list(&json["packages"])
                .map(|package| (text(&package["id"]), read_package(package)))
                .collect(),
            edges: list(&json["resolve"]["nodes"]).map(|node| (text(&node["id"]), links(node))).collect(),
        })
    }

    /// The workspace's own crates.
    pub fn own(&self) -> impl Iterator<Item = &Package> {
        self.packages.values().filter(|package| package.source.is_none())
    }

    /// Names of all crates that `name` is linked with, directly or not; none for an unknown name.
    pub fn linked_with(&self, name: &str) -> BTreeSet<&str> {
        let start = self.packages.iter().find(|(_, package)| package.name == name).map(|(id, _)| id);
        let mut seen: BTreeSet<&String> = BTreeSet::new();
        let mut open: Vec<&String> = start.into_iter().collect();
        while let Some(id) = open.pop() {
            for next in self.edges.get(id).into_iter().flatten() {
                if seen.insert(next) {
                    open.push(next);
                }
            }
        }
        seen.into_iter().filter_map(|id| self.packages.get(id)).map(|package| package.name.as_str()).collect()
    }
}

fn read_package(package: &Value) -> Package {
    let named = |wanted: fn(&str) -> bool| {
        list(&package["dependencies"])
            .filter(|dependency| wanted(dependency["kind"].as_str().unwrap_or("normal")))
            .map(|dependency| text(&dependency["name"]))
            .collect()
    };
    Package {
        name: text(&package["name"]),
        version: text(&package["version"]),
        license: text(&package["license"]),
        source: package["source"].as_str().map(str::to_owned),
        uses: named(|kind| kind != "dev"),
        uses_in_tests: named(|kind| kind == "dev"),
    }
}

/// Identifiers of what a node is linked with outside its tests.
fn links(node: &Value) -> Vec<String> {
    list(&node["deps"])
        .filter(|dependency| list(&dependency["dep_kinds"]).any(|kind| kind["kind"].as_str() != Some("dev")))
        .map(|dependency| text(&dependency["pkg"]))
        .collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
