//! What the operator writes, by the API server's own log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kubectl::PATIENCE;

/// Whose requests are counted.
const OPERATOR: &str = "system:serviceaccount:realtime:";
const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

/// A place in the log.
pub(crate) struct Since(u64);

impl Since {
    /// Its end.
    pub(crate) fn now() -> Self {
        Self(log().metadata().unwrap().len())
    }

    /// What the operator has written in `namespace` since: verb, resource, subresource, name.
    pub(crate) fn writes(&self, namespace: &str) -> Vec<String> {
        let mut log = log();
        log.seek(SeekFrom::Start(self.0)).unwrap();
        let mut text = String::new();
        log.read_to_string(&mut text).unwrap();
        // The last line may be half written.
        let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
        whole.lines().filter_map(|line| write_of(&serde_json::from_str(line).unwrap(), namespace)).collect()
    }
}

fn log() -> File {
    let path = std::env::var("AUDIT_LOG").expect("AUDIT_LOG names the API server's audit log");
    File::open(path).unwrap()
}

fn write_of(event: &Value, namespace: &str) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let object = &event["objectRef"];
    let (user, verb) = (text(&event["user"]["username"]), text(&event["verb"]));
    let counts = event["stage"] == "ResponseComplete"
        && user.starts_with(OPERATOR)
        && WRITES.contains(&verb.as_str())
        && object["namespace"] == namespace;
    counts.then(|| {
        let what = [text(&object["resource"]), text(&object["subresource"]), text(&object["name"])].join("/");
        format!("{verb} {what}")
    })
}

/// Waits until the operator has written nothing in `namespace` for so long.
pub(crate) fn quiet(namespace: &str, pause: Duration) {
    let began = Instant::now();
    loop {
        let since = Since::now();
        std::thread::sleep(pause);
        let writes = since.writes(namespace);
        if writes.is_empty() {
            return;
        }
        assert!(began.elapsed() < PATIENCE, "the operator goes on writing: {writes:?}");
    }
}
