//! Reads a configuration for the first time and again: what is accepted, and what a starting process falls back to.

use std::path::{Path, PathBuf};

use rtgw_config::pod::{CONFIG_FILE, LAST_GOOD_FILE};
use rtgw_config::{Checked, Problem};
use rtgw_crds::{Manifests, Sketch};

use crate::mounted;
use crate::watch::{Files, Read};

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

/// A configuration that may not run.
#[derive(Clone, Debug)]
pub struct Refused {
    /// Everything that is wrong.
    pub problems: Vec<Problem>,
    /// As written, where that much could be read.
    pub sketch: Option<Box<Sketch>>,
}

impl From<Vec<Problem>> for Refused {
    fn from(problems: Vec<Problem>) -> Self {
        Self { problems, sketch: None }
    }
}

impl Refused {
    /// Whether nothing is wrong but that Secrets are not there yet, which are to be mounted.
    pub fn only_waits(&self) -> bool {
        let Some(sketch) = self.sketch.as_deref().filter(|sketch| sketch.secrets().are_mounted()) else {
            return false;
        };
        let missing: Vec<String> = sketch
            .references()
            .into_iter()
            .filter(|place| !sketch.secrets().has(&place.name, &place.key))
            .map(|place| place.path)
            .collect();
        let waits = |problem: &Problem| {
            let of = |path: &String| {
                problem.path.strip_prefix(path.as_str()).is_some_and(|rest| matches!(rest, ".name" | ".key"))
            };
            missing.iter().any(of)
        };
        !missing.is_empty() && self.problems.iter().filter(|problem| problem.is_error()).all(waits)
    }
}

/// Judges what was read: the gateway called `name`, or the only one.
///
/// # Errors
/// Everything that is wrong.
pub fn judge(read: Read, name: Option<&str>) -> Result<Loaded, Refused> {
    let content = read?;
    let mut manifests = Manifests::read(&content.texts);
    if let Some(mounted) = &content.secrets {
        manifests = manifests.with_mounted(mounted::secrets(mounted));
    }
    let sketch = manifests.sketch(name);
    match (manifests.check(name), sketch) {
        (Ok(accepted), Some(sketch)) => {
            Ok(Loaded { checked: accepted.checked, warnings: accepted.warnings, sketch })
        }
        (Ok(_), None) => Err(vec![Problem::error("files", "hold no gateway")].into()),
        (Err(problems), sketch) => Err(Refused { problems, sketch: sketch.map(Box::new) }),
    }
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
    pub refused: Option<Refused>,
}

/// Files that hold nothing to start with.
#[derive(Debug)]
pub struct Unusable {
    /// Why.
    pub refused: Refused,
    /// The files.
    pub files: Files,
    /// What they held.
    pub read: Read,
    /// Which gateway of the files.
    pub name: Option<String>,
}

/// Reads `paths`, and the folder of mounted `secrets`, for the first time. Where the operator's `config.yaml` is refused, the
/// `last-good.yaml` beside it counts.
///
/// # Errors
/// Everything that is wrong with `paths`.
pub fn open(
    paths: Vec<PathBuf>,
    secrets: Option<PathBuf>,
    name: Option<String>,
) -> Result<(Loaded, Source), Box<Unusable>> {
    let (files, read) = Files::open(paths, secrets);
    choose(files, read, name)
}

/// Of what `files` hold, which is known to be `read`, what to start with.
///
/// # Errors
/// Everything that is wrong with it.
pub fn choose(files: Files, read: Read, name: Option<String>) -> Result<(Loaded, Source), Box<Unusable>> {
    let (loaded, refused) = match judge(read.clone(), name.as_deref()) {
        Ok(loaded) => (loaded, None),
        Err(refused) => match last_good(&files, name.as_deref()) {
            Some(loaded) => (loaded, Some(refused)),
            None => return Err(Box::new(Unusable { refused, files, read, name })),
        },
    };
    let source = Source { files, read, name, sketch: loaded.sketch.clone(), refused };
    Ok((loaded, source))
}

/// What ran before, as the operator kept it; never in the place of a manifest.
fn last_good(files: &Files, name: Option<&str>) -> Option<Loaded> {
    let paths = files.paths();
    let is_config = |path: &&PathBuf| path.file_name().is_some_and(|name| name == CONFIG_FILE);
    let beside = |path: &PathBuf| path.parent().unwrap_or(Path::new("")).join(LAST_GOOD_FILE);
    paths.iter().find(is_config).filter(|path| beside(path).is_file())?;
    let instead: Vec<PathBuf> =
        paths.iter().map(|path| if is_config(&path) { beside(path) } else { path.clone() }).collect();
    let loaded = judge(files.beside(&instead), name).ok()?;
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
        assert!(open(vec![path.clone()], None, None).is_err(), "there is nothing to fall back to");
        fs::write(&good, config(7, "/good")).unwrap();
        let (loaded, source) = open(vec![path.clone()], None, None).unwrap();
        assert_eq!((&*loaded.checked.endpoints[0].path, source.sketch.generation()), ("/good", Some(7)));
        assert!(
            source
                .refused
                .unwrap()
                .problems
                .iter()
                .any(|problem| problem.to_string().contains("endpoints[0].path"))
        );
        fs::write(&path, config(8, "/ws")).unwrap();
        let (loaded, source) = open(vec![path.clone()], None, None).unwrap();
        assert_eq!((&*loaded.checked.endpoints[0].path, source.refused.is_some()), ("/ws", false));
        let manifest = "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {name: test}\n\
                        spec: {endpoints: [{name: ws, path: /manifest}], auth: {anonymous: Allow}}\n";
        fs::write(&path, config(8, "wrong")).unwrap();
        fs::write(&good, manifest).unwrap();
        assert!(open(vec![path], None, None).is_err(), "a manifest is nobody's last good configuration");
        fs::remove_dir_all(&folder).unwrap();
    }
}
