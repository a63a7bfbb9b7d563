//! Presence in real servers.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicU32;

use rtgw_config::checked::RedisAddress;

use super::super::conformance::presence::{self, Heard, Stage, joins};
use super::*;

/// A server without persistence; killed when dropped.
struct Server(Child, u16);

impl Server {
    fn start() -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--save", "", "--appendonly", "no"]);
        let child =
            command.stdout(Stdio::null()).spawn().expect("redis-server is installed (tools/setup.sh)");
        Self(child, port)
    }

    async fn pod(
        &self,
        gateway: u32,
        sink: Arc<dyn PresenceSink>,
    ) -> (Arc<RedisPresence>, tokio::task::JoinHandle<()>) {
        let url = format!("redis://127.0.0.1:{}", self.1);
        let address = Address::new(&RedisAddress { url, password: None, ca: None }).unwrap();
        let names = Names::new("test", &format!("gateway-{gateway}"));
        let presence = RedisPresence::new(address, names, sink);
        let running = Arc::clone(&presence);
        let task = tokio::spawn(async move { running.run().await });
        let heard = async {
            let mut asked = redis::cmd("PUBSUB");
            asked.arg("NUMSUB").arg(&presence.topic);
            presence.link.ready(Duration::from_secs(10)).await.unwrap();
            while presence.link.query::<(String, u64)>(&asked).await.unwrap().1 == 0 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), heard).await.unwrap();
        (presence, task)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keeps_the_contract() {
    let (server, gateways) = (Server::start(), AtomicU32::new(0));
    presence::run(|sink| {
        let gateway = gateways.fetch_add(1, Ordering::Relaxed);
        let (server, sink) = (&server, sink);
        async move { server.pod(gateway, sink).await.0 as Arc<dyn Presence> }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_stops_renewing_is_counted_no_more_and_cleared_away() {
    let server = Server::start();
    let (heard, deaf) = (Arc::new(Heard::default()), Arc::new(Heard::default()));
    let (alive, _) = server.pod(0, Arc::clone(&heard) as _).await;
    let (dead, task) = server.pod(0, deaf as _).await;
    for pod in [&alive, &dead] {
        assert_eq!(pod.renew(false).await, Ok(Lease::Anew), "the first lease");
        assert_eq!(pod.renew(false).await, Ok(Lease::Holds));
    }
    let stage = Stage { presence: Arc::clone(&alive) as _, heard: Arc::clone(&heard) };
    // Ann is on both, bob only on the one that dies.
    stage.say(&[joins("a", 1, "ann")]).await;
    dead.change(&[joins("a", 2, "ann"), joins("a", 3, "bob"), joins("b", 4, "bob")]).await.unwrap();
    assert_eq!((stage.counts("a").await, stage.counts("b").await), ((3, 2), (1, 1)));
    assert_eq!(stage.heard.told(3).await, ["+1", "+3", "+4"]);
    task.abort();
    let begun = Instant::now();
    while begun.elapsed() < LEASE + Duration::from_millis(100) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        alive.renew(false).await.unwrap();
    }
    assert_eq!((stage.counts("a").await, stage.counts("b").await), ((1, 1), (0, 0)));
    let mut told = stage.heard.told(5).await.split_off(3);
    told.sort();
    assert_eq!(told, ["-3", "-4"]);
    // Nothing of it is left behind.
    let keys: Vec<String> = alive.link.query(redis::cmd("KEYS").arg("*")).await.unwrap();
    assert!(keys.iter().all(|key| !key.contains(&dead.pod()) && !key.contains("{b}")), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_forgot_says_so_and_takes_nothing_from_a_pod_without_a_lease() {
    let server = Server::start();
    let (pod, _) = server.pod(0, Arc::new(Heard::default()) as _).await;
    assert!(pod.change(&[joins("a", 1, "ann")]).await.is_err(), "no lease yet");
    pod.renew(false).await.unwrap();
    pod.change(&[joins("a", 1, "ann")]).await.unwrap();
    pod.link.query::<Value>(&redis::cmd("FLUSHALL")).await.unwrap();
    assert!(pod.change(&[joins("a", 2, "bob")]).await.is_err());
    assert_eq!(pod.renew(false).await, Ok(Lease::Anew));
    pod.change(&[joins("a", 1, "ann")]).await.unwrap();
    let page = pod.page(&presence::channel("a"), None, 9).await.unwrap();
    assert_eq!((page.clients, page.users), (1, 1));
}

#[test]
fn news_that_are_none_are_ignored() {
    for said in [&b""[..], b"+", b"+\0\x09a", b"+\0\x01a", b"?\0\x01a", b"!\0\x03a b", b"!\xff\xff"] {
        assert_eq!(news::news(said), None, "{said:?}");
    }
    assert_eq!(news::news(b"!\0\x01a"), Some((presence::channel("a"), rtgw_model::Arrival::Crowded)));
}
