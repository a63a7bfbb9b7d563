//! How often a publication is compressed: counted by the encoder while many connections hear it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::child::Gateway;
use super::publisher::Publisher;
use super::receivers::Request;
use super::report::Report;

/// What clients offer, one for each window that the gateway compresses with.
const OFFERS: [&str; 2] = [
    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
    "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=9\r\n",
];
/// Connections of each offer.
const EACH: usize = 100;
/// Few enough for a socket to take them unread.
const PUBLICATIONS: usize = 50;
const MANIFEST: &str = "
apiVersion: realtime-gateway.dev/v1alpha1
kind: RealtimeGateway
metadata: {name: bench}
spec:
  auth: {anonymous: Allow}
  endpoints: [{name: ws, path: /ws, envelope: Raw, autoSubscribe: [{channel: news}], compression: {mode: Shared, minBytes: 1}}]
  channels: [{pattern: news, subscribe: 'true'}]
";

/// On two shards, because these share what they compressed too.
pub(super) fn measure(report: &mut Report) -> Result<()> {
    let gateway = Gateway::start(MANIFEST, 2)?;
    let request = Request { address: gateway.server.address, path: "/ws", token: None };
    let offers = OFFERS.iter().cycle().take(OFFERS.len() * EACH);
    let streams = offers.map(|offer| request.open_with(offer)).collect::<Result<Vec<_>>>()?;
    let mut publisher = Publisher::connect(gateway.admin)?;
    let before = gateway.metric("rtgw_compressions_total")?;
    let expected = gateway.metric("rtgw_deliveries_total")? + (PUBLICATIONS * streams.len()) as f64;
    for _ in 0..PUBLICATIONS {
        publisher.publish(["news"])?;
    }
    let deadline = Instant::now() + Duration::from_secs(20);
    while gateway.metric("rtgw_deliveries_total")? < expected {
        if Instant::now() > deadline {
            bail!("not every connection was delivered to");
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    let compressions = gateway.metric("rtgw_compressions_total")? - before;
    let each = compressions / (PUBLICATIONS * OFFERS.len()) as f64;
    let what = format!("compressions per publication and variant, {} connections", streams.len());
    report.alone(&what, "", each, "1 per variant");
    Ok(())
}
