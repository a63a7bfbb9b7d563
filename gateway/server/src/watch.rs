//! Notices that files have changed, by looking at what is in them: a mounted ConfigMap changes by the swap of a link, an editor writes
//! anew, truncates or renames, and all of it ends in other content under the same name.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rtgw_config::Problem;
use rtgw_crds::Text;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::manifests;
use crate::mounted::{self, Mounted};

/// How often the files are looked at.
pub const EVERY: Duration = Duration::from_millis(500);
/// Content counts once it was the same twice, so far apart: a file that is just being written is not half a configuration.
const SETTLED: Duration = Duration::from_millis(50);
/// How often a file that goes on changing is looked at before it waits for the next round.
const LOOKS: usize = 20;

/// What the files hold, or what is wrong with reading them.
pub type Read = Result<Content, Vec<Problem>>;

/// What files hold.
#[derive(Clone, Debug)]
pub struct Content {
    /// Manifests.
    pub texts: Vec<Text>,
    /// Secrets that are mounted beside them; `None` where none are meant to be.
    pub secrets: Option<Mounted>,
}

/// Files to watch. Standard input is read once: what it said is kept.
#[derive(Debug)]
pub struct Files {
    paths: Vec<PathBuf>,
    secrets: Option<PathBuf>,
    stdin: Option<Text>,
}

impl Files {
    /// Reads `paths` (`-` is standard input) and the folder of mounted Secrets for the first time.
    pub fn open(paths: Vec<PathBuf>, secrets: Option<PathBuf>) -> (Self, Read) {
        let mut files = Self { paths, secrets, stdin: None };
        let first = files.read();
        let at = files.paths.iter().position(|path| path == Path::new("-"));
        files.stdin = at.and_then(|at| first.as_ref().ok()?.texts.get(at).cloned());
        (files, first)
    }

    /// The files' paths.
    pub fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// What the files hold now.
    pub fn read(&self) -> Read {
        self.beside(&self.paths)
    }

    /// What `paths` hold now, with the same Secrets.
    pub fn beside(&self, paths: &[PathBuf]) -> Read {
        let texts = manifests::texts(paths, self.stdin.as_ref())?;
        let secrets = self.secrets.as_deref().map(mounted::read).transpose()?;
        Ok(Content { texts, secrets })
    }
}

/// Tells changes of some files.
#[derive(Debug)]
pub struct Watch {
    files: Files,
    last: Read,
    hangup: Signal,
}

impl Watch {
    /// Watches `files`, whose content is known to be `last`, and takes over SIGHUP, which means to look at once and to tell in any case.
    ///
    /// # Errors
    /// Where the system refuses the handler of the signal.
    pub fn new(files: Files, last: Read) -> io::Result<Self> {
        Ok(Self { files, last, hangup: signal(SignalKind::hangup())? })
    }

    /// The files' paths.
    pub fn paths(&self) -> &[PathBuf] {
        self.files.paths()
    }

    /// The files, watched no more.
    pub fn into_files(self) -> Files {
        self.files
    }

    /// Waits for other content than told last, or for SIGHUP.
    pub async fn next(&mut self) -> Read {
        loop {
            let asked = tokio::select! {
                biased;
                _ = self.hangup.recv() => true,
                () = tokio::time::sleep(EVERY) => false,
            };
            if asked {
                tracing::info!("SIGHUP: reading the configuration");
            }
            let read = if asked { self.settled(None).await } else { self.changed().await };
            if let Some(read) = read {
                self.last = read.clone();
                return read;
            }
        }
    }

    async fn changed(&self) -> Option<Read> {
        let read = self.files.read();
        if same(&read, &self.last) {
            return None;
        }
        let read = self.settled(Some(read)).await?;
        // Changed and changed back.
        (!same(&read, &self.last)).then_some(read)
    }

    /// What the files hold once they rest.
    async fn settled(&self, first: Option<Read>) -> Option<Read> {
        let mut before = first.unwrap_or_else(|| self.files.read());
        for _ in 0..LOOKS {
            tokio::time::sleep(SETTLED).await;
            let now = self.files.read();
            if same(&now, &before) {
                return Some(now);
            }
            before = now;
        }
        None
    }
}

fn same(one: &Read, other: &Read) -> bool {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            let same_texts = one.texts.len() == other.texts.len()
                && one.texts.iter().zip(&other.texts).all(|(one, other)| one.content == other.content);
            same_texts && one.secrets == other.secrets
        }
        (Err(one), Err(other)) => {
            one.iter().map(ToString::to_string).eq(other.iter().map(ToString::to_string))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    async fn next(watch: &mut Watch) -> Result<String, usize> {
        let read = tokio::time::timeout(Duration::from_secs(20), watch.next()).await.unwrap();
        read.map(|read| read.texts[0].content.clone()).map_err(|problems| problems.len())
    }

    #[tokio::test]
    async fn every_way_to_change_a_file_is_noticed() {
        let folder = std::env::temp_dir().join(format!("rtgw-watch-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        // As Kubernetes mounts: a link to a folder through another link that is swapped.
        for (version, content) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir_all(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("config.yaml"), content).unwrap();
        }
        let (data, path) = (folder.join("..data"), folder.join("config.yaml"));
        symlink("v1", &data).unwrap();
        symlink("..data/config.yaml", &path).unwrap();
        let (files, first) = Files::open(vec![path.clone()], None);
        assert_eq!(first.as_ref().unwrap().texts[0].content, "one");
        let mut watch = Watch::new(files, first).unwrap();

        symlink("v2", folder.join("..new")).unwrap();
        fs::rename(folder.join("..new"), &data).unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Ok("two"));

        fs::write(folder.join("edited"), "three").unwrap();
        fs::rename(folder.join("edited"), &path).unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Ok("three"));

        fs::remove_file(&path).unwrap();
        assert_eq!(next(&mut watch).await, Err(1));
        fs::write(&path, "three").unwrap();
        assert_eq!(next(&mut watch).await.as_deref(), Ok("three"));

        // Nothing else is told: the same content, written again, is not.
        fs::write(&path, "three").unwrap();
        assert!(tokio::time::timeout(EVERY * 3, watch.next()).await.is_err());
        fs::remove_dir_all(&folder).unwrap();
    }
}
