//! Inside the server, parts do not know each other; only the wiring knows every part.

use std::collections::{BTreeMap, BTreeSet};

use tidy::{code_of, files, modules_used, shipped};

use crate::assert_none;

const SERVER: &str = "gateway/server/src/";
const PARTS: &[&str] = &["broker", "sources", "transport", "auth", "limits"];
const WIRING: &str = "wiring";

/// Module at the top of the server -> modules at the top that its code names, unit tests excluded.
fn edges() -> BTreeMap<String, BTreeSet<String>> {
    let mut edges: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let Some(path) = file.path.strip_prefix(SERVER).filter(|path| path.ends_with(".rs")) else {
            continue;
        };
        if file.is_test() {
            continue;
        }
        let module = path.split('/').next().unwrap_or(path).trim_end_matches(".rs").to_owned();
        edges.entry(module).or_default().extend(modules_used(&shipped(&code_of(&file.text))));
    }
    edges
}

#[test]
fn no_part_reaches_another() {
    let edges = edges();
    let mut offenders = Vec::new();
    for part in PARTS {
        let mut seen = BTreeSet::from([(*part).to_owned()]);
        let mut open = vec![vec![(*part).to_owned()]];
        while let Some(way) = open.pop() {
            for next in way.last().and_then(|last| edges.get(last)).into_iter().flatten() {
                if !seen.insert(next.clone()) {
                    continue;
                }
                let way: Vec<String> = way.iter().cloned().chain([next.clone()]).collect();
                if PARTS.contains(&next.as_str()) || next == WIRING {
                    offenders.push(way.join(" -> "));
                } else {
                    open.push(way);
                }
            }
        }
    }
    assert_none(
        &offenders,
        "broker, sources, transport, auth and limits know no sibling, directly or through a third module",
    );
}

#[test]
fn only_the_program_starts_the_wiring() {
    let offenders: Vec<String> = edges()
        .into_iter()
        .filter(|(module, used)| {
            used.contains(WIRING) && !["wiring", "lib", "main", "cli"].contains(&module.as_str())
        })
        .map(|(module, _)| format!("{module} -> {WIRING}"))
        .collect();
    assert_none(&offenders, "what knows every part is known by none of them");
}
