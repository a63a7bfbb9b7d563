//! Files to a checked configuration: reads what the command line names, bounded, and lets `crds` judge it.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rtgw_config::yaml::FILE_BYTES;
use rtgw_config::{Accepted, Problem};
use rtgw_crds::{Manifests, Text};

/// Reads `files` (`-` is standard input) and checks the gateway called `name`, or the only one.
///
/// # Errors
/// Everything that is wrong, each with its place and, where that is not plain, what to do about it.
pub fn load(files: &[PathBuf], name: Option<&str>) -> Result<Accepted, Vec<Problem>> {
    read(files)?.check(name)
}

/// Reads `files` (`-` is standard input) without checking the gateways in them.
///
/// # Errors
/// Every file that could not be read.
pub fn read(files: &[PathBuf]) -> Result<Manifests, Vec<Problem>> {
    texts(files, None).map(|texts| Manifests::read(&texts))
}

/// What is in `files`, in their order. Standard input ends with its first reading, so whoever reads again has `stdin` from then.
///
/// # Errors
/// Every file that could not be read.
pub fn texts(files: &[PathBuf], stdin: Option<&Text>) -> Result<Vec<Text>, Vec<Problem>> {
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    for file in files {
        let known = stdin.filter(|_| file == Path::new("-"));
        match known.map_or_else(|| read_file(file), |text| Ok(text.clone())) {
            Ok(text) => texts.push(text),
            Err(problem) => problems.push(problem),
        }
    }
    if problems.is_empty() { Ok(texts) } else { Err(problems) }
}

fn read_file(file: &Path) -> Result<Text, Problem> {
    let (name, content) = if file == Path::new("-") {
        ("standard input".to_owned(), read_bounded(io::stdin().lock()))
    } else {
        (file.display().to_string(), File::open(file).and_then(read_bounded))
    };
    let bytes = content.map_err(|error| {
        let problem = Problem::error(&name, why(&error));
        if file.is_dir() { problem.hint("name the files in it") } else { problem }
    })?;
    match String::from_utf8(bytes) {
        Ok(content) => Ok(Text { name, content }),
        Err(_) => Err(Problem::error(name, "is not text (UTF-8)")),
    }
}

/// One byte more than is accepted, so that the check of the size sees that there is more.
fn read_bounded(source: impl Read) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    source.take(FILE_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".into(),
        io::ErrorKind::PermissionDenied => "may not be read by this user".into(),
        io::ErrorKind::IsADirectory => "is a directory".into(),
        _ => format!("could not be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problems(files: &[&Path]) -> Vec<String> {
        let files: Vec<PathBuf> = files.iter().map(|file| file.to_path_buf()).collect();
        load(&files, None).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = std::env::temp_dir().join(format!("rtgw-manifests-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (missing, empty) = (folder.join("missing.yaml"), folder.join("empty.yaml"));
        let (binary, broken) = (folder.join("binary.yaml"), folder.join("broken.yaml"));
        std::fs::write(&empty, "").unwrap();
        std::fs::write(&binary, [0xff, 0xfe, 0x00]).unwrap();
        std::fs::write(&broken, "a: 1\n b: 2\n").unwrap();
        let shown = |path: &Path| path.display().to_string();
        assert_eq!(
            problems(&[&missing, &binary, &folder]),
            [
                format!("error: {}: there is no such file", shown(&missing)),
                format!("error: {}: is not text (UTF-8)", shown(&binary)),
                format!("error: {}: is a directory\n  hint: name the files in it", shown(&folder)),
            ]
        );
        assert_eq!(
            problems(&[&empty]),
            [format!("error: {}: is empty: a manifest is expected", shown(&empty))]
        );
        let found = problems(&[&broken]);
        assert!(found.len() == 1 && found.iter().all(|one| one.contains("broken.yaml:2:")), "{found:?}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
