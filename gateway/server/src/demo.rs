//! `--demo`: a few lifelike events a second, so that a first look shows something moving.

use std::time::Duration;

use bytes::Bytes;
use rtgw_model::Timestamp;
use serde_json::json;

use crate::publishing::{Draft, NotPublished, Publisher};

/// The channel of the demo's events, declared by the quickstart's manifest.
pub const CHANNEL: &str = "demo:orders";
const REGIONS: [&str; 4] = ["eu", "us", "apac", "latam"];
const STEPS: [&str; 4] = ["placed", "paid", "packed", "shipped"];

/// Publishes until its future is dropped; returns only when the manifest does not declare the demo's channel.
pub async fn publish(publisher: Publisher, now: impl Fn() -> Timestamp) {
    let mut random = fastrand::Rng::new();
    let mut number = 1_000;
    let mut open: Vec<(u32, usize)> = Vec::new();
    loop {
        tokio::time::sleep(Duration::from_millis(random.u64(120..520))).await;
        // A new order now and then; otherwise one that is open goes a step further.
        if open.is_empty() || (open.len() < 8 && random.u8(0..3) == 0) {
            number += 1;
            open.push((number, 0));
        }
        let at = random.usize(0..open.len());
        let (order, step) = open[at];
        if step + 1 == STEPS.len() {
            open.swap_remove(at);
        } else {
            open[at].1 += 1;
        }
        let region = REGIONS[order as usize % REGIONS.len()];
        let data = json!({"order": order, "status": STEPS[step], "region": region, "total": f64::from(order % 97) + 0.95});
        let draft = Draft {
            channels: vec![CHANNEL.to_owned()],
            event: format!("order.{}", STEPS[step]),
            data: Bytes::from(data.to_string()),
            tags: vec![
                ("region".to_owned(), region.to_owned()),
                ("status".to_owned(), STEPS[step].to_owned()),
            ],
            ..Draft::default()
        };
        match publisher.accept(draft, now()).await {
            Ok(_) => {}
            Err(NotPublished::Invalid(error)) => {
                tracing::warn!(%error, "--demo publishes to {CHANNEL}, which this manifest does not take");
                return;
            }
            Err(NotPublished::Broker(error)) => tracing::debug!(%error, "a demo event was not published"),
        }
    }
}
