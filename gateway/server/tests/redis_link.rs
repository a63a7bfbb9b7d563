//! The connection to Redis against real servers: TLS, users, databases, what is wrong said without a secret, and coming back.

#![allow(clippy::unwrap_used)]

mod support;

use std::path::PathBuf;
use std::time::Duration;

use redis::Value;
use rtgw::redis_link::{Address, Call, Link, Script, Trouble, dial};
use rtgw_config::checked::{RedisAddress, Secret};
use support::free_port;
use support::redis::Redis;
use tokio::time::{Instant, timeout};

static ECHO: Script = Script::new("return {KEYS[1], ARGV[1], redis.call('INCR', KEYS[1])}");

fn vector(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/tls").join(name)
}

fn at(url: String) -> RedisAddress {
    RedisAddress { url, password: None, ca: None }
}

fn secret(text: impl Into<Vec<u8>>) -> Option<Secret> {
    Some(Secret(text.into()))
}

async fn trouble(address: &RedisAddress) -> Trouble {
    dial(&Address::new(address).unwrap(), |_| {}).await.map(drop).unwrap_err()
}

async fn asked(address: &RedisAddress, command: &[&str]) -> String {
    let connection = dial(&Address::new(address).unwrap(), |_| {}).await.unwrap();
    let mut asked = redis::cmd(command[0]);
    asked.arg(&command[1..]);
    asked.query_async(&mut connection.commands()).await.unwrap()
}

/// A link that is kept until the test ends.
async fn kept(redis: &Redis) -> Link {
    let link = Link::new("test", Address::new(&at(redis.url())).unwrap());
    let keeper = link.clone();
    tokio::spawn(async move { keeper.keep().await });
    link.ready(support::PATIENCE).await.unwrap();
    link
}

#[tokio::test]
async fn tls_trusts_whom_the_secret_names_and_nobody_else() {
    let port = free_port();
    let file = |name: &str| vector(name).to_str().unwrap().to_owned();
    let _redis = Redis::start_with(&[
        "--bind",
        "127.0.0.1",
        "127.0.0.2",
        "--tls-port",
        &port.to_string(),
        "--tls-auth-clients",
        "no",
        "--tls-cert-file",
        &file("localhost.pem"),
        "--tls-key-file",
        &file("localhost.key"),
        "--tls-ca-cert-file",
        &file("ca.pem"),
    ]);
    let ca = std::fs::read(vector("ca.pem")).unwrap();
    let trusting = RedisAddress { ca: secret(ca), ..at(format!("rediss://localhost:{port}/2")) };
    assert_eq!(asked(&trusting, &["PING"]).await, "PONG");
    assert!(asked(&trusting, &["CLIENT", "INFO"]).await.contains(" db=2 "));
    // The system does not know who signed it.
    let doubting = trouble(&at(format!("rediss://localhost:{port}"))).await;
    assert_eq!((doubting.reason(), doubting.is_final()), ("tls", true), "{doubting}");
    // Told whom to trust, it connects without being made anew.
    let address = Address::new(&RedisAddress { ca: None, ..trusting.clone() }).unwrap();
    assert_eq!(dial(&address, |_| {}).await.unwrap_err().reason(), "tls");
    assert!(address.clone().renew(&trusting).unwrap());
    dial(&address, |_| {}).await.unwrap();
    let elsewhere = RedisAddress { url: format!("rediss://127.0.0.2:{port}"), ..trusting };
    assert_eq!(trouble(&elsewhere).await.reason(), "tls", "the name has to fit");
}

#[tokio::test]
async fn users_passwords_and_databases_are_as_the_address_says() {
    let redis = Redis::start();
    redis.cli(&["ACL", "SETUSER", "app", "on", ">hunter2", "~rtgw:*", "&rtgw:*", "+@all"]);
    let url = |rest: &str| redis.url().replace("redis://", &format!("redis://{rest}"));
    let app = RedisAddress { password: secret("hunter2"), ..at(format!("{}/3", url("app@"))) };
    assert_eq!(asked(&app, &["ACL", "WHOAMI"]).await, "app");
    assert!(asked(&app, &["CLIENT", "INFO"]).await.contains(" db=3 "));

    let denied = dial(&Address::new(&app).unwrap(), |_| {}).await.unwrap();
    let denied = redis::cmd("GET").arg("other").query_async::<Value>(&mut denied.commands()).await;
    assert_eq!(Trouble::from(denied.unwrap_err()).reason(), "permission");

    let wrong = trouble(&RedisAddress { password: secret("hunter3"), ..at(url("app@")) }).await;
    assert_eq!(wrong.reason(), "auth", "{wrong}");
    assert!(wrong.advice().contains("passwordRef"));
    assert!(!format!("{wrong} {wrong:?}").contains("hunter"), "{wrong:?}");
    redis.cli(&["CONFIG", "SET", "requirepass", "x"]);
    assert_eq!(trouble(&at(redis.url())).await.reason(), "auth");
    let nowhere = trouble(&RedisAddress { url: format!("{}/99", url("app@")), ..app }).await;
    assert_eq!(nowhere.reason(), "database", "{nowhere}");
    assert_eq!(trouble(&at(format!("redis://127.0.0.1:{}", free_port()))).await.reason(), "connect");
}

#[tokio::test]
async fn a_script_is_sent_once_and_again_where_it_is_forgotten() {
    let redis = Redis::start();
    let link = kept(&redis).await;
    let mut call = Call::default();
    call.key("k").arg("a");
    for round in 1..4 {
        let answer: (String, String, u64) = link.invoke(&ECHO, &call).await.unwrap();
        assert_eq!(answer, ("k".to_owned(), "a".to_owned(), round));
        if round == 2 {
            redis.cli(&["SCRIPT", "FLUSH"]);
        }
    }
    let calls = |command: &str| redis.cli(&["INFO", "commandstats"]).contains(command);
    assert!(calls("cmdstat_eval:calls=2,"), "{}", redis.cli(&["INFO", "commandstats"]));
}

#[tokio::test]
async fn a_link_comes_back_within_two_seconds() {
    let mut redis = Redis::start();
    let link = kept(&redis).await;
    let ping = redis::cmd("PING");
    redis.kill();
    let mut changes = link.changes();
    timeout(support::PATIENCE, changes.wait_for(Option::is_none)).await.unwrap().unwrap();
    assert!(matches!(link.query::<Value>(&ping).await, Err(Trouble::Down)), "at once, not in time");
    // Longer than every delay between attempts.
    tokio::time::sleep(Duration::from_secs(2)).await;
    redis.restart();
    let since = Instant::now();
    link.ready(support::PATIENCE).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
    link.query::<Value>(&ping).await.unwrap();

    redis.freeze();
    let since = Instant::now();
    timeout(support::PATIENCE, changes.wait_for(Option::is_none)).await.unwrap().unwrap();
    assert!(since.elapsed() < Duration::from_secs(4), "a frozen one is noticed: {:?}", since.elapsed());
    redis.thaw();
    let since = Instant::now();
    link.ready(support::PATIENCE).await.unwrap();
    assert!(since.elapsed() < Duration::from_secs(2), "{:?}", since.elapsed());
}

#[tokio::test]
async fn a_new_password_is_used_from_the_next_connection_on() {
    let redis = Redis::start();
    let link = kept(&redis).await;
    redis.cli(&["CONFIG", "SET", "requirepass", "hunter2"]);
    redis.cli(&["-a", "hunter2", "--no-auth-warning", "CLIENT", "KILL", "TYPE", "normal"]);
    let mut changes = link.changes();
    timeout(support::PATIENCE, changes.wait_for(Option::is_none)).await.unwrap().unwrap();
    let renewed = RedisAddress { password: secret("hunter2"), ..at(redis.url()) };
    link.replace(Address::new(&renewed).unwrap());
    link.ready(support::PATIENCE).await.unwrap();
    link.query::<Value>(&redis::cmd("PING")).await.unwrap();
}

#[tokio::test]
async fn a_replica_is_left() {
    let redis = Redis::start();
    let link = kept(&redis).await;
    redis.cli(&["REPLICAOF", "127.0.0.1", &free_port().to_string()]);
    let mut changes = link.changes();
    changes.mark_unchanged();
    let refused = link.query::<Value>(redis::cmd("SET").arg("k").arg("v")).await.unwrap_err();
    assert_eq!(refused.reason(), "read_only");
    timeout(support::PATIENCE, changes.wait_for(Option::is_none)).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_is_found_wrong_while_it_is_down_does_not_end_the_next_connection() {
    let mut redis = Redis::start();
    let link = kept(&redis).await;
    redis.kill();
    let mut changes = link.changes();
    timeout(support::PATIENCE, changes.wait_for(Option::is_none)).await.unwrap().unwrap();
    link.renew();
    redis.restart();
    timeout(support::PATIENCE, changes.wait_for(Option::is_some)).await.unwrap().unwrap();
    // Within this the next one would have been looked for.
    let ended = timeout(Duration::from_millis(300), changes.changed()).await;
    assert!(ended.is_err(), "the connection is kept");
    // While there is one, it is made anew.
    link.renew();
    timeout(support::PATIENCE, changes.wait_for(Option::is_none)).await.unwrap().unwrap();
    timeout(support::PATIENCE, changes.wait_for(Option::is_some)).await.unwrap().unwrap();
}
