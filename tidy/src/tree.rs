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

    /// Whether it stands in a folder of integration tests or benchmarks, or is named as unit tests are.
    pub fn is_test(&self) -> bool {
        ["tests", "benches", "fuzz_targets"]
            .iter()
            .any(|folder| self.folder().split('/').any(|part| part == *folder))
            || self.name() == "tests.rs"
            || self.name().ends_with("_tests.rs")
    }

    /// Where the files of the module `name` declared in this one may be.
    pub fn places_of(&self, name: &str) -> [String; 2] {
        let stem = self.name().trim_end_matches(".rs");
        // Children of `mod.rs` and of crate roots stand beside it, those of any other file in a folder of its name.
        let folder = if matches!(stem, "mod" | "lib" | "main") || self.is_root() {
            self.folder().to_owned()
        } else {
            format!("{}/{stem}", self.folder())
        };
        [format!("{folder}/{name}.rs"), format!("{folder}/{name}/mod.rs")]
    }

    /// Whether cargo finds the file by itself, without a `mod`.
    pub fn is_root(&self) -> bool {
        let mut folders = self.folder().rsplit('/');
        let (parent, grandparent) = (folders.next().unwrap_or_default(), folders.next().unwrap_or_default());
        let found = |name: &str| matches!(name, "tests" | "benches" | "examples" | "bin" | "fuzz_targets");
        (parent == "src" && matches!(self.name(), "lib.rs" | "main.rs"))
            || self.name() == "build.rs"
            || (found(parent) && (parent == "bin" || !self.folder().contains("src/")))
            || (found(grandparent) && self.name() == "main.rs")
    }
}

/// The root of the repository that cargo runs this in: a build folder that was copied must not have another one judged.
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    let here = Path::new(&here);
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
