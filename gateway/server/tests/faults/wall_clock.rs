//! A wall clock that a test sets, for one process: a library in front of libc, so that the program under test is the one that ships.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::support::{free_port, root};

/// The clock of those processes that are started with its environment.
pub struct WallClock {
    file: File,
    path: PathBuf,
}

impl Drop for WallClock {
    fn drop(&mut self) {
        drop(std::fs::remove_file(&self.path));
    }
}

impl WallClock {
    /// A clock that is right.
    pub fn new() -> Self {
        let name = format!("faults-clock-{}-{}", std::process::id(), free_port());
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let file = File::create(&path).unwrap();
        let clock = Self { file, path };
        clock.set(0);
        clock
    }

    /// Goes wrong by this many seconds, at once.
    pub fn set(&self, seconds: i64) {
        self.file.write_all_at(&seconds.to_ne_bytes(), 0).unwrap();
    }

    /// What a process is to be started with.
    pub fn environment(&self) -> [(&'static str, String); 2] {
        let path = self.path.display().to_string();
        [("LD_PRELOAD", library().display().to_string()), ("WALL_CLOCK_OFFSET", path)]
    }
}

/// Built once per run.
fn library() -> &'static PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let source = root().join("gateway/server/tests/faults/wall_clock.c");
        let library = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
            .join(format!("faults-wall-clock-{}.so", std::process::id()));
        let mut build = Command::new("cc");
        build
            .args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o"])
            .arg(&library)
            .arg(source)
            .arg("-ldl");
        assert!(build.status().unwrap().success(), "{build:?}");
        library
    })
}
