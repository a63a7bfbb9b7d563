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
