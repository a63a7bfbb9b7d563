//! Files of a manifest that change, and what the gateway says of it.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::gateway::Gateway;
use crate::support::{eventually, http};

pub const KEY: &str = "0123456789abcdef0123456789abcdef";

/// A manifest in a folder of its own.
pub struct Manifest(pub PathBuf);

impl Manifest {
    pub fn new(name: &str, content: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("rtgw-reload-{name}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let manifest = Self(folder.join("gateway.yaml"));
        manifest.write(content);
        manifest
    }

    /// Replaces the content as an editor does.
    pub fn write(&self, content: &str) {
        let beside = self.0.with_extension("new");
        fs::write(&beside, content).unwrap();
        fs::rename(beside, &self.0).unwrap();
    }

    pub fn serve(&self, arguments: &[&str]) -> Gateway {
        Gateway::serve(&self.0, arguments)
    }
}

impl Drop for Manifest {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(self.0.parent().unwrap()));
    }
}

/// A manifest with the lines of a `spec` and the Secret `auth`.
pub fn manifest(spec: &str) -> String {
    with_keys(spec, &[("jwt", KEY)])
}

pub fn with_keys(spec: &str, keys: &[(&str, &str)]) -> String {
    let spec: String = spec.lines().map(|line| format!("  {line}\n")).collect();
    let keys: String = keys.iter().map(|(key, value)| format!("  {key}: {value}\n")).collect();
    format!(
        "apiVersion: realtime-gateway.dev/v1alpha1\nkind: RealtimeGateway\nmetadata: {{name: test}}\nspec:\n{spec}---\n\
         apiVersion: v1\nkind: Secret\nmetadata: {{name: auth}}\nstringData:\n{keys}"
    )
}

pub fn token(key: &str, claims: Value) -> String {
    let mut claims = claims;
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    claims["exp"] = json!(now + 600);
    let key = jsonwebtoken::EncodingKey::from_secret(key.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

pub fn reloads(gateway: &Gateway, result: &str) -> u64 {
    gateway.metric("rtgw_config_reloads_total", &format!("result=\"{result}\"")) as u64
}

pub fn revision(gateway: &Gateway) -> String {
    http::get(gateway.admin, "/v1/info").json()["revision"].as_str().unwrap().to_owned()
}

/// Waits for the reload after `before` ones.
#[track_caller]
pub fn reloaded(gateway: &Gateway, before: u64) {
    eventually("the configuration is reloaded", || (reloads(gateway, "accepted") > before).then_some(()));
}

pub fn publish(admin: SocketAddr, channel: &str, number: u64) {
    let body = json!({"channel": channel, "event": "n", "data": number});
    assert_eq!(http::post(admin, "/v1/publish", &body).status, 200);
}

pub const ISSUER: &str =
    "auth:\n  issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]\n";

/// Writes `content` and has it run.
#[track_caller]
pub fn change(file: &Manifest, gateway: &Gateway, content: &str) {
    let (before, refused) = (reloads(gateway, "accepted"), reloads(gateway, "refused"));
    file.write(content);
    gateway.process.signal("HUP");
    reloaded(gateway, before);
    assert_eq!(reloads(gateway, "refused"), refused, "{}", gateway.process.stderr());
}
