//! The console in a real browser, as `make run` shows it: figures that move, a subscriber's log, a publish form.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

mod support;

use support::browser::Browser;
use support::gateway::Gateway;
use support::root;

/// A browser in which the gateway's internal listener stands at the address that the quickstart's manifest names as an origin.
fn open(gateway: &Gateway) -> Browser {
    let browser = Browser::open(&[format!("--host-resolver-rules=MAP localhost:9090 {}", gateway.admin)]);
    browser.visit("http://localhost:9090/console/");
    browser
}

/// An expression for the number that an element shows.
fn number(id: &str) -> String {
    format!("Number(document.getElementById('{id}').textContent.replaceAll(',', ''))")
}

#[test]
fn the_page_moves_by_itself_and_publishes() {
    let gateway = Gateway::serve("examples/quickstart/gateway.yaml", &["--demo"]);
    let browser = open(&gateway);
    browser.wait_for("ready", "return document.getElementById('status').textContent === 'ready'");
    browser.wait_for("its own connection", &format!("return {} === 1", number("connections")));
    browser.wait_for("deliveries a second", &format!("return {} > 0", number("deliveries")));
    browser.wait_for("publications a second", &format!("return {} > 0", number("publications")));
    let earlier = browser.run("return document.getElementById('uptime').textContent");
    let script = format!("return document.getElementById('uptime').textContent !== {earlier}");
    browser.wait_for("uptime moves", &script);
    browser.wait_for(
        "demo events in the log",
        "return document.querySelectorAll('#log li').length > 4 && document.getElementById('log').textContent.includes('order.')",
    );

    browser.run(
        "document.getElementById('to').value = 'demo:orders';
         document.getElementById('event').value = 'greeting';
         document.getElementById('data').value = '{\"text\": \"<b>not markup</b>\"}';
         document.getElementById('publish').requestSubmit();",
    );
    browser.wait_for(
        "what was published in the log, as text",
        "return document.getElementById('log').textContent.includes('<b>not markup</b>')",
    );
    assert_eq!(browser.run("return document.querySelectorAll('#log b').length"), 0);
    browser.wait_for(
        "an id",
        "return document.getElementById('published').textContent.startsWith('published as')",
    );

    let screenshot = root().join("target/screenshots/console.png");
    std::fs::create_dir_all(screenshot.parent().unwrap()).unwrap();
    std::fs::write(&screenshot, browser.screenshot()).unwrap();
    assert_eq!(browser.console(), Vec::<String>::new());
}

#[test]
fn mistakes_are_explained_on_the_page() {
    let gateway = Gateway::serve("examples/quickstart/gateway.yaml", &[]);
    let browser = open(&gateway);
    browser.wait_for("ready", "return document.getElementById('status').textContent === 'ready'");
    let publish = |channel: &str, data: &str| {
        browser.run(&format!(
            "document.getElementById('to').value = '{channel}';
             document.getElementById('data').value = '{data}';
             document.getElementById('publish').requestSubmit();"
        ));
    };
    publish("room:lobby", "{");
    browser
        .wait_for("not JSON", "return document.getElementById('published').textContent.includes('not JSON')");
    publish("nowhere", "1");
    browser.wait_for(
        "undeclared",
        "return document.getElementById('published').textContent.includes('channel')",
    );
    drop(gateway);
    browser
        .wait_for("the gateway is away", "return document.getElementById('status').textContent === 'away'");
}

#[test]
fn where_there_are_keys_the_page_asks_for_one() {
    let gateway = Gateway::serve("gateway/server/tests/vectors/api.yaml", &[]);
    let browser = open(&gateway);
    let asks = "return document.getElementById('access').checkVisibility()";
    let enter = |key: &str| {
        browser.run(&format!(
            "document.getElementById('key').value = '{key}';
             document.getElementById('access').requestSubmit();"
        ));
    };
    browser.wait_for("it asks", asks);
    enter("wrong-s3cret-wrong-s3cret");
    browser.wait_for(
        "a wrong key is told",
        "return document.getElementById('status').textContent.includes('no such API key')",
    );
    browser.wait_for("it asks again", asks);
    enter("admin-s3cret-admin-s3cret");
    browser.wait_for("ready", "return document.getElementById('status').textContent === 'ready'");
    assert_eq!(browser.run(asks), false);
    browser.run(
        "document.getElementById('to').value = 'jobs:1';
         document.getElementById('publish').requestSubmit();",
    );
    browser.wait_for(
        "published with the key",
        "return document.getElementById('published').textContent.startsWith('published as')",
    );
    // It ends with the tab, and no request brings it by itself.
    let kept = "return [sessionStorage.getItem('key'), localStorage.length, document.cookie, document.getElementById('key').value]";
    assert_eq!(browser.run(kept), serde_json::json!(["admin-s3cret-admin-s3cret", 0, "", ""]));
}
