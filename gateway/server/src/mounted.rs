//! Secrets as Kubernetes mounts them: a folder for each, a file for each of its keys.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Read};
use std::path::{Path, PathBuf};

use rtgw_config::checked::Secret;
use rtgw_config::{Problem, Secrets};

/// Largest value, as for Secrets of Kubernetes.
const VALUE_BYTES: u64 = 1024 * 1024;
/// Most Secrets, more than a configuration can refer to.
const SECRETS: usize = 1024;
/// Most keys of one.
const KEYS: usize = 1024;

/// Name of a Secret -> key -> value.
pub type Mounted = BTreeMap<String, BTreeMap<String, Secret>>;

/// Everything in `folder`. A Secret without keys is none: its mount was optional. A folder that is not there holds nothing.
///
/// # Errors
/// What could not be read, by its place.
pub fn read(folder: &Path) -> Result<Mounted, Vec<Problem>> {
    let mut mounted = Mounted::new();
    let mut problems = Vec::new();
    for (name, path) in names(folder, SECRETS).map_err(|error| vec![problem(folder, &error)])? {
        match values(&path) {
            Ok(values) if values.is_empty() => {}
            Ok(values) => {
                mounted.insert(name, values);
            }
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(mounted) } else { Err(problems) }
}

/// The same for whoever looks references up.
pub fn secrets(mounted: &Mounted) -> Secrets {
    let mut secrets = Secrets::mounted();
    for (name, values) in mounted {
        secrets.add(name, values.clone());
    }
    secrets
}

fn values(folder: &Path) -> Result<BTreeMap<String, Secret>, Problem> {
    let mut values = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(values);
    }
    for (key, path) in names(folder, KEYS).map_err(|error| problem(folder, &error))? {
        match value(&path) {
            Ok(bytes) => {
                values.insert(key, Secret(bytes));
            }
            // Folders are of no meaning, and a swap of the mount may take away what was just listed.
            Err(error) if matches!(error.kind(), ErrorKind::IsADirectory | ErrorKind::NotFound) => {}
            Err(error) => return Err(problem(&path, &error)),
        }
    }
    Ok(values)
}

fn value(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(VALUE_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > VALUE_BYTES {
        return Err(io::Error::other("is larger than 1 MiB"));
    }
    Ok(bytes)
}

/// What `folder` holds, by name. Names that begin with `..` are Kubernetes' own: links that it swaps.
fn names(folder: &Path, most: usize) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with("..") {
            continue;
        }
        if names.len() == most {
            return Err(io::Error::other(format!("holds more than {most} entries")));
        }
        names.push((name, entry.path()));
    }
    Ok(names)
}

fn problem(path: &Path, error: &io::Error) -> Problem {
    Problem::error(path.display().to_string(), format!("could not be read: {error}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn secrets_are_read_as_kubernetes_mounts_them() {
        let folder = std::env::temp_dir().join(format!("rtgw-mounted-{}", std::process::id()));
        assert_eq!(read(&folder).unwrap(), Mounted::new(), "nothing is mounted");
        let data = folder.join("auth").join("..2026_11_21");
        fs::create_dir_all(&data).unwrap();
        fs::create_dir_all(folder.join("optional")).unwrap();
        fs::write(data.join("jwt"), [0xff, b'x']).unwrap();
        symlink("..2026_11_21", folder.join("auth").join("..data")).unwrap();
        symlink("..data/jwt", folder.join("auth").join("jwt")).unwrap();
        let mounted = read(&folder).unwrap();
        let expected = BTreeMap::from([("jwt".to_owned(), Secret(vec![0xff, b'x']))]);
        assert_eq!(mounted, Mounted::from([("auth".to_owned(), expected)]));
        fs::write(data.join("jwt"), vec![b'x'; 1024 * 1024 + 1]).unwrap();
        let problems = read(&folder).unwrap_err();
        assert!(problems.len() == 1 && problems[0].path.ends_with("auth/jwt"), "{problems:?}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
