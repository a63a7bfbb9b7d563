//! The files of the repository, without what is built or downloaded.

use std::fs;
use std::path::{Path, PathBuf};

/// Folders that hold nothing written by hand.
const SKIPPED: &[&str] =
    &[".git", ".cache", ".venv", "node_modules", "target", "corpus", "artifacts", "__pycache__"];

/// A text file of the repository.
pub struct File {
    /// Relative to the repository's root, with `/`.
    pub path: String,
    /// Its content.
    pub text: String,
}

impl File {
    /// Whether the name ends with `.extension`.
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }

    /// The file's name without its folder.
    pub fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The folder, empty at the root.
    pub fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Whether it is Rust compiled only for tests: an integration test, a benchmark, or a module of unit tests.
    pub fn is_test(&self) -> bool {
        ["tests", "benches"].iter().any(|folder| self.folder().split('/').any(|part| part == *folder))
            || self.name() == "tests.rs"
            || self.name().ends_with("_tests.rs")
    }
}

/// The repository's root.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Every text file, sorted by path.
pub fn files() -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = entry.path();
            // A worktree's `.git` is a file.
            if SKIPPED.contains(&name.as_str()) || name.starts_with("target-") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if let (Ok(text), Ok(relative)) = (fs::read_to_string(&path), path.strip_prefix(&root)) {
                found.push(File { path: relative.to_string_lossy().replace('\\', "/"), text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}
