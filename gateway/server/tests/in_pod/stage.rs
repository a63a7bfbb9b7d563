//! What Kubernetes does for a pod, and what the operator does beside it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use rtgw_config::pod::PodReport;
use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::{eventually, http};

/// UID of the object.
pub const OBJECT: &str = "0d6f6a5e-1111-4222-8333-944445555666";
/// UID of the pod.
pub const POD: &str = "77777777-1111-4222-8333-944445555666";
/// The pod's address, as the operator names it.
pub const HOST: (&str, &str) = ("host", "10.244.0.7:9090");
/// Signs clients' tokens.
pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// What is mounted into a pod.
pub struct Mounts {
    folder: PathBuf,
    versions: AtomicU32,
}

impl Mounts {
    pub fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rtgw-pod-{name}-{}", std::process::id()));
        drop(fs::remove_dir_all(&folder));
        fs::create_dir_all(folder.join("secrets")).unwrap();
        Self { folder, versions: AtomicU32::new(0) }
    }

    /// Mounts a ConfigMap with these files in the place of the last one, as the kubelet does: by the swap of a link.
    pub fn config(&self, files: &[(&str, &str)]) {
        self.swap(&self.folder.join("config"), files);
    }

    /// The same with a Secret. One without keys was optional and is not there.
    pub fn secret(&self, name: &str, keys: &[(&str, &str)]) {
        self.swap(&self.folder.join("secrets").join(name), keys);
    }

    fn swap(&self, mount: &Path, files: &[(&str, &str)]) {
        let version = format!("..v{}", self.versions.fetch_add(1, Ordering::Relaxed));
        fs::create_dir_all(mount.join(&version)).unwrap();
        for (name, content) in files {
            fs::write(mount.join(&version).join(name), content).unwrap();
        }
        symlink(&version, mount.join("..new")).unwrap();
        fs::rename(mount.join("..new"), mount.join("..data")).unwrap();
        for (name, _) in files {
            // It is there since an earlier version, or from now on.
            drop(symlink(Path::new("..data").join(name), mount.join(name)));
        }
        for entry in fs::read_dir(mount).unwrap().flatten() {
            let name = entry.file_name().into_string().unwrap();
            if !name.starts_with("..") && !files.iter().any(|(known, _)| *known == name) {
                fs::remove_file(entry.path()).unwrap();
            }
        }
    }

    fn arguments(&self) -> (PathBuf, String) {
        (self.folder.join("config/config.yaml"), self.folder.join("secrets").display().to_string())
    }

    /// The gateway, once it is ready.
    #[track_caller]
    pub fn serve(&self) -> Gateway {
        let (config, secrets) = self.arguments();
        Gateway::serve_in(&[("RTGW_POD_UID", Path::new(POD))], config, &["--secrets", &secrets])
    }

    /// The gateway, once it lives.
    #[track_caller]
    pub fn begin(&self) -> Gateway {
        let (config, secrets) = self.arguments();
        Gateway::begin(config, &["--secrets", &secrets])
    }
}

impl Drop for Mounts {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.folder));
    }
}

/// The operator's pair of keys number `seed`.
pub fn pair(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap()
}

/// What the operator writes; the keys 1 and 2 are its own.
pub fn config(generation: u64, spec: &str) -> String {
    let key =
        |seed| format!("{{kid: k{seed}, x: {}}}", URL_SAFE_NO_PAD.encode(pair(seed).public_key().as_ref()));
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    format!(
        "version: 1\ngeneration: {generation}\nrevision: r{generation}\nname: test\nnamespace: default\n\
         operator:\n  audience: {OBJECT}\n  keys: [{}, {}]\nspec:\n  drain: {{}}\n{spec}",
        key(1),
        key(2)
    )
}

/// A `spec` that lets anybody in.
pub fn open(path: &str) -> String {
    format!(
        "endpoints: [{{name: ws, path: {path}}}]\nauth: {{anonymous: Allow}}\nchannels: [{{pattern: news, subscribe: \"true\"}}]\n"
    )
}

/// A JWT with a signature of `pair`.
pub fn signed(pair: &Ed25519KeyPair, header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = URL_SAFE_NO_PAD.encode(pair.sign(text.as_bytes()));
    format!("{text}.{signature}")
}

pub fn now() -> u64 {
    UNIX_EPOCH.elapsed().unwrap().as_secs()
}

/// The operator's token of now, signed with the key number `seed`.
pub fn token(seed: u8) -> String {
    let header = json!({"alg": "EdDSA", "kid": format!("k{seed}"), "typ": "JWT"});
    signed(&pair(seed), &header, &json!({"aud": OBJECT, "iat": now(), "exp": now() + 60}))
}

/// `GET path` with `headers`.
#[track_caller]
pub fn ask(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> http::Answer {
    http::exchange(gateway.admin, "GET", path, headers, "")
}

/// What the pod tells the operator.
#[track_caller]
pub fn report(gateway: &Gateway) -> PodReport {
    let answer = ask(gateway, "/v1/pod", &[HOST, ("authorization", &format!("Bearer {}", token(1)))]);
    assert_eq!(answer.status, 200, "{answer:?}");
    PodReport::read(answer.body.as_bytes()).unwrap()
}

/// Waits for a report that `wanted` accepts.
#[track_caller]
pub fn reported(gateway: &Gateway, what: &str, wanted: impl Fn(&PodReport) -> bool) -> PodReport {
    eventually(what, || Some(report(gateway)).filter(&wanted))
}

/// Waits for the acknowledgement of a generation.
#[track_caller]
pub fn acknowledged(gateway: &Gateway, generation: u64) -> PodReport {
    let revision = format!("r{generation}");
    reported(gateway, "the generation is acknowledged", |report| {
        report.config.generation == Some(generation) && report.config.revision.as_deref() == Some(&revision)
    })
}
