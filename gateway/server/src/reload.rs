//! Reads a configuration for the first time and again: what is accepted, and what a starting process falls back to.

use std::path::{Path, PathBuf};

use rtgw_config::{Checked, Problem};
use rtgw_crds::{Manifests, Sketch};

use crate::manifests;
use crate::watch::{Files, Read};

/// The file that the operator writes.
const CONFIG: &str = "config.yaml";
/// Beside it, also written by the operator: the last configuration that a pod acknowledged.
const LAST_GOOD: &str = "last-good.yaml";

/// A configuration that may run.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Ready to run.
    pub checked: Checked,
    /// What is hardly meant as it stands.
    pub warnings: Vec<Problem>,
    /// As written, to say later what changed.
    pub sketch: Sketch,
}

/// Judges what was read: the gateway called `name`, or the only one.
///
/// # Errors
/// Everything that is wrong.
pub fn judge(read: Read, name: Option<&str>) -> Result<Loaded, Vec<Problem>> {
    let manifests = Manifests::read(&read?);
    let accepted = manifests.check(name)?;
    let sketch = manifests.sketch(name).ok_or_else(|| vec![Problem::error("files", "hold no gateway")])?;
    Ok(Loaded { checked: accepted.checked, warnings: accepted.warnings, sketch })
}

/// A configuration to start with, and how to hear of the next one.
#[derive(Debug)]
pub struct Source {
    /// Where it came from.
    pub files: Files,
    /// What the files held.
    pub read: Read,
    /// Which gateway of the files.
    pub name: Option<String>,
    /// As written.
    pub sketch: Sketch,
    /// What was wrong with the files, where the process starts with an older configuration instead.
    pub refused: Vec<Problem>,
}

/// Reads `paths` for the first time. Where the operator's `config.yaml` is refused, the `last-good.yaml` beside it counts.
///
/// # Errors
/// Everything that is wrong with `paths`.
pub fn open(paths: Vec<PathBuf>, name: Option<String>) -> Result<(Loaded, Source), Vec<Problem>> {
    let (files, read) = Files::open(paths);
    let (loaded, refused) = match judge(read.clone(), name.as_deref()) {
        Ok(loaded) => (loaded, Vec::new()),
        Err(problems) => match last_good(files.paths(), name.as_deref()) {
            Some(loaded) => (loaded, problems),
            None => return Err(problems),
        },
    };
    let source = Source { files, read, name, sketch: loaded.sketch.clone(), refused };
    Ok((loaded, source))
}

/// What ran before, as the operator kept it; never in the place of a manifest.
fn last_good(paths: &[PathBuf], name: Option<&str>) -> Option<Loaded> {
    let is_config = |path: &&PathBuf| path.file_name().is_some_and(|name| name == CONFIG);
    let beside = |path: &PathBuf| path.parent().unwrap_or(Path::new("")).join(LAST_GOOD);
    paths.iter().find(is_config).filter(|path| beside(path).is_file())?;
    let instead: Vec<PathBuf> =
        paths.iter().map(|path| if is_config(&path) { beside(path) } else { path.clone() }).collect();
    let loaded = judge(manifests::texts(&instead, None), name).ok()?;
    loaded.sketch.generation().is_some().then_some(loaded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    fn config(generation: u64, path: &str) -> String {
        format!(
            "version: 1\ngeneration: {generation}\nname: test\nnamespace: default\n\
             spec: {{endpoints: [{{name: ws, path: {path}}}], auth: {{anonymous: Allow}}}}\n"
        )
    }

    #[test]
    fn a_refused_config_of_the_operator_falls_back_and_a_manifest_does_not() {
        let folder = std::env::temp_dir().join(format!("rtgw-last-good-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, good) = (folder.join("config.yaml"), folder.join("last-good.yaml"));
        fs::write(&path, config(8, "wrong")).unwrap();
        assert!(open(vec![path.clone()], None).is_err(), "there is nothing to fall back to");
        fs::write(&good, config(7, "/good")).unwrap();
        let (loaded, source) = open(vec![path.clone()], None).unwrap();
        assert_eq!((&*loaded.checked.endpoints[0].path, source.sketch.generation()), ("/good", Some(7)));
        assert!(source.refused.iter().any(|problem| problem.to_string().contains("endpoints[0].path")));
        fs::write(&path, config(8, "/ws")).unwrap();
        let (loaded, source) = open(vec![path.clone()], None).unwrap();
        assert_eq!((&*loaded.checked.endpoints[0].path, source.refused.len()), ("/ws", 0));
        let manifest = "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {name: test}\n\
                        spec: {endpoints: [{name: ws, path: /manifest}], auth: {anonymous: Allow}}\n";
        fs::write(&path, config(8, "wrong")).unwrap();
        fs::write(&good, manifest).unwrap();
        assert!(open(vec![path], None).is_err(), "a manifest is nobody's last good configuration");
        fs::remove_dir_all(&folder).unwrap();
    }
}
