//! A real browser: headless Chromium, driven over the WebDriver protocol.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::Command;

use base64::Engine;
use serde_json::{Value, json};

use super::process::Process;
use super::{eventually, free_port, http};

/// A browser window; closed when dropped.
pub struct Browser {
    driver: Process,
    address: SocketAddr,
    session: String,
}

impl Browser {
    /// Opens a window; `arguments` are Chromium's own.
    #[track_caller]
    pub fn open(arguments: &[String]) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let driver = Process::start(Command::new("chromedriver").arg(format!("--port={}", address.port())));
        eventually("chromedriver listens", || {
            http::try_get(address, "/status").filter(|answer| answer.status == 200)
        });
        // Root may not use Chromium's sandbox, and containers have a small /dev/shm.
        let fixed = [
            "--headless=new",
            "--no-sandbox",
            "--disable-dev-shm-usage",
            "--disable-gpu",
            "--window-size=1280,1000",
            // A browser that looks for updates is not a test's business.
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-quic",
            "--no-first-run",
        ];
        let arguments: Vec<&str> = fixed.into_iter().chain(arguments.iter().map(String::as_str)).collect();
        let wish = json!({"capabilities": {"alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let answer = http::post(address, "/session", &wish);
        let session =
            answer.json()["value"]["sessionId"].as_str().unwrap_or_else(|| panic!("{answer:?}")).to_owned();
        Self { driver, address, session }
    }

    /// Goes to a page and waits until it is loaded.
    #[track_caller]
    pub fn visit(&self, url: &str) {
        self.post("url", &json!({ "url": url }));
    }

    /// Runs the body of a function in the page; its answer.
    #[track_caller]
    pub fn run(&self, script: &str) -> Value {
        self.post("execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs `script` until it answers something else than null, false or nothing.
    #[track_caller]
    pub fn wait_for(&self, what: &str, script: &str) -> Value {
        eventually(what, || {
            let value = self.run(script);
            (!matches!(value, Value::Null | Value::Bool(false))).then_some(value)
        })
    }

    /// What the page wrote to its console since the last call.
    pub fn console(&self) -> Vec<String> {
        let lines = self.post("se/log", &json!({"type": "browser"}));
        lines
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(|line| line["message"].as_str().map(str::to_owned))
            .collect()
    }

    /// The page as a PNG.
    #[track_caller]
    pub fn screenshot(&self) -> Vec<u8> {
        let answer = http::get(self.address, &format!("/session/{}/screenshot", self.session)).json();
        base64::engine::general_purpose::STANDARD.decode(answer["value"].as_str().unwrap()).unwrap()
    }

    #[track_caller]
    fn post(&self, command: &str, body: &Value) -> Value {
        let answer = http::post(self.address, &format!("/session/{}/{command}", self.session), body);
        assert_eq!(answer.status, 200, "{command}: {answer:?}");
        answer.json()["value"].clone()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        http::delete(self.address, &format!("/session/{}", self.session));
        self.driver.signal("TERM");
    }
}
