//! Sources and the log over reloads: who is told of a gap, and who hears nothing of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::stage::{Manifest, change, manifest};
use crate::support::eventually;
use crate::support::gateway::Gateway;
use crate::support::redis::Redis;
use crate::support::socket::Socket;

/// A source that brings what is published under `heard:` of its name to the channel of its name.
fn source(name: &str, from: &str) -> String {
    format!(
        "{{name: {name}, redisPubSub: {{channels: ['{from}']}}, publish: [{{channels: ['{name}'], event: \"'n'\", data: msg}}]}}"
    )
}

fn spec(sources: &[String], level: &str) -> String {
    manifest(&format!(
        "auth: {{anonymous: Allow}}\nendpoints: [{{name: ws, path: /ws, greeting: {{disabled: true}}}}]\n\
         channels: [{{pattern: jobs, subscribe: 'true'}}, {{pattern: news, subscribe: 'true'}}, {{pattern: extra, subscribe: 'true'}}]\n\
         sources: [{}]\nobservability: {{logLevel: {level}}}",
        sources.join(", ")
    ))
}

async fn subscribed(gateway: &Gateway, channel: &str) -> Socket {
    let mut socket = Socket::open(&gateway.url("/ws")).await;
    socket.send(&json!({"type": "subscribe", "channel": channel})).await;
    socket.json_of_type("subscribed").await;
    socket
}

fn gap(channel: &str) -> Value {
    json!({"channel": channel, "reason": "source_reconnected"})
}

/// Published at Redis, which has to have this many listeners.
fn say(redis: &Redis, channel: &str, number: u32) {
    assert_eq!(redis.cli(&["PUBLISH", channel, &number.to_string()]), "1", "{channel}");
}

/// Nothing but this came.
async fn next(socket: &mut Socket, number: u32) {
    let message = socket.json().await;
    assert_eq!((&message["type"], &message["data"]), (&json!("n"), &json!(number)), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_source_tells_its_own_members_and_nobody_else() {
    let redis = Redis::start();
    let (jobs, news) = (source("jobs", "heard:jobs"), source("news", "heard:news"));
    let file = Manifest::new("sources", &spec(&[jobs.clone(), news.clone()], "Info"));
    let gateway = file.serve(&["--redis", &redis.url()]);
    for channel in ["heard:jobs", "heard:news"] {
        redis.wait_for_subscriber(channel);
    }
    let mut of_jobs = subscribed(&gateway, "jobs").await;
    let mut of_news = subscribed(&gateway, "news").await;
    let mut of_extra = subscribed(&gateway, "extra").await;
    say(&redis, "heard:jobs", 1);
    say(&redis, "heard:news", 1);
    next(&mut of_jobs, 1).await;
    next(&mut of_news, 1).await;

    // Of two sources one changes where it listens; the other one's connection to Redis stays.
    let listeners = || redis.cli(&["CLIENT", "LIST", "TYPE", "pubsub"]);
    let of = |list: &str| -> BTreeSet<String> {
        // A source has one subscription, as presence has; the broker has at least two.
        let sources = list.lines().filter(|line| line.contains(" sub=1 "));
        sources.filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
    };
    let before = eventually("all of them listen", || Some(of(&listeners())).filter(|found| found.len() == 3));
    change(&file, &gateway, &spec(&[source("jobs", "elsewhere"), news.clone()], "Info"));
    assert_eq!(of_jobs.json_of_type("gap").await["data"], gap("jobs"));
    say(&redis, "elsewhere", 2);
    say(&redis, "heard:news", 2);
    next(&mut of_jobs, 2).await;
    next(&mut of_news, 2).await;
    assert_eq!(redis.cli(&["PUBLISH", "heard:jobs", "3"]), "0", "nobody listens where it listened");
    let after = of(&listeners());
    assert_eq!((after.len(), after.intersection(&before).count()), (3, 2), "{after:?}");

    // Its order among the sources is no change, nor is anything else of the file.
    change(&file, &gateway, &spec(&[news.clone(), source("jobs", "elsewhere")], "Warn"));
    assert_eq!(of(&listeners()), after);

    // One under another name takes over: what came between the two is missed, so its members are told.
    change(
        &file,
        &gateway,
        &spec(&[news.clone(), source("jobs", "elsewhere").replace("name: jobs", "name: renamed")], "Info"),
    );
    assert_eq!(of_jobs.json_of_type("gap").await["data"], gap("jobs"));
    redis.wait_for_subscriber("elsewhere");
    say(&redis, "elsewhere", 4);
    next(&mut of_jobs, 4).await;

    // One goes: its channel is silent from then on. Then it is back, and says that there was a time without it.
    change(&file, &gateway, &spec(std::slice::from_ref(&news), "Info"));
    eventually("it listens no more", || (redis.cli(&["PUBLISH", "elsewhere", "5"]) == "0").then_some(()));
    change(&file, &gateway, &spec(&[news, jobs], "Info"));
    assert_eq!(of_jobs.json_of_type("gap").await["data"], gap("jobs"));
    redis.wait_for_subscriber("heard:jobs");
    say(&redis, "heard:jobs", 6);
    next(&mut of_jobs, 6).await;

    // All the while the others heard what was said to them and nothing else.
    say(&redis, "heard:news", 7);
    next(&mut of_news, 7).await;
    crate::stage::publish(gateway.admin, "extra", 7);
    next(&mut of_extra, 7).await;
    let gaps = |labels: &str| gateway.metric("rtgw_gaps_total", labels);
    eventually("three are counted", || (gaps("pattern=\"jobs\"") == 3.0).then_some(()));
    assert_eq!(gaps(""), 3.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_loses_nothing_to_reloads_that_do_not_concern_it() {
    let redis = Redis::start();
    let jobs = source("jobs", "heard:jobs");
    let file = Manifest::new("sources-calm", &spec(std::slice::from_ref(&jobs), "Info"));
    let gateway = file.serve(&["--redis", &redis.url()]);
    redis.wait_for_subscriber("heard:jobs");
    let mut of_jobs = subscribed(&gateway, "jobs").await;
    let client = ::redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    let (done, mut end) = tokio::sync::watch::channel(false);
    let publishing = tokio::spawn(async move {
        let mut sent = 0_u32;
        while !*end.borrow_and_update() {
            let taken: u32 = ::redis::cmd("PUBLISH")
                .arg("heard:jobs")
                .arg(sent)
                .query_async(&mut connection)
                .await
                .unwrap();
            assert_eq!(taken, 1);
            sent += 1;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        sent
    });
    for number in 0..10 {
        // Another source comes and goes beside it, and the log's level changes.
        let more = [jobs.clone(), source("news", &format!("heard:{number}"))];
        change(&file, &gateway, &spec(&more[..1 + number % 2], ["Debug", "Info"][number % 2]));
    }
    done.send(true).unwrap();
    let sent = publishing.await.unwrap();
    for number in 0..sent {
        next(&mut of_jobs, number).await;
    }
    eprintln!("{sent} messages during 10 reloads");
    assert!(sent > 100, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_speaks_as_the_file_says_from_the_reload_on() {
    let file = Manifest::new("log", &spec(&[], "Info"));
    let gateway = file.serve(&[]);
    // A refused credential is worth a line at `Debug` only; a reload one at `Info`.
    let debugs = || gateway.process.stderr().matches("a credential is refused").count();
    let infos = || gateway.process.stderr().matches("the configuration is reloaded").count();
    let refused = async || {
        let refused = Socket::try_open(&gateway.url("/ws?token=x"), &[]).await;
        assert_eq!(refused.err().unwrap().status(), 401);
    };
    refused().await;
    assert_eq!((debugs(), infos()), (0, 0), "{}", gateway.process.stderr());
    change(&file, &gateway, &spec(&[], "Debug"));
    eventually("the reload is said", || (infos() == 1).then_some(()));
    let deadline = std::time::Instant::now() + crate::support::PATIENCE;
    while debugs() == 0 {
        refused().await;
        assert!(std::time::Instant::now() < deadline, "{}", gateway.process.stderr());
    }
    change(&file, &gateway, &spec(&[], "Error"));
    let (quiet, said) = (debugs(), infos());
    refused().await;
    change(&file, &gateway, &spec(&[], "Error").replace("pattern: news", "pattern: other"));
    change(&file, &gateway, &spec(&[], "Info"));
    eventually("the log is back", || (infos() == said + 1).then_some(()));
    assert_eq!(debugs(), quiet, "{}", gateway.process.stderr());
}
