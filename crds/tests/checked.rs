//! What a manifest becomes: every field at its place, and the default of every field that is absent.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::time::Duration;

use rtgw_config::checked::*;
use rtgw_config::expression::Expression;
use rtgw_crds::{Manifests, Text};

fn checked(content: &str) -> Checked {
    let text = Text { name: "file.yaml".into(), content: content.into() };
    Manifests::read(&[text]).check(None).unwrap().checked
}

fn cel(text: &str) -> Expression {
    Expression::compile(text).unwrap()
}

#[test]
fn absent_fields_have_their_defaults() {
    let checked = checked(include_str!("corpus/good/smallest.yaml"));
    assert_eq!((checked.name.as_str(), checked.namespace.as_str()), ("chat", "default"));
    let endpoint = &checked.endpoints[0];
    assert_eq!((endpoint.protocol, endpoint.envelope), (Protocol::Json, Envelope::Typed));
    assert!(!endpoint.metadata && !endpoint.seq && !endpoint.stats_public && endpoint.admit.is_none());
    assert!(endpoint.auto_subscribe.is_empty() && endpoint.stats_paths.is_empty());
    assert!(matches!(endpoint.greeting, Greeting::Default));
    assert_eq!(endpoint.health_paths, ["/health"]);
    let seconds = Duration::from_secs;
    assert_eq!(endpoint.heartbeat, Heartbeat { interval: seconds(25), timeout: seconds(60), idle: None });
    assert_eq!(endpoint.compression, Compression::None);
    assert!(endpoint.auth.anonymous);
    let places = [TokenPlace::Header, TokenPlace::Query, TokenPlace::Subprotocol, TokenPlace::ApiKeyHeader];
    assert_eq!(endpoint.auth.token_from, places);
    assert_eq!(endpoint.auth.allowed_origins, Origins::SameHost);
    assert_eq!((checked.auth.user.clone(), checked.auth.tenant.clone()), (cel("claims.sub"), None));
    let channel = &checked.channels[0];
    assert_eq!((channel.subscribe.clone(), channel.publish.clone()), (cel("user != ''"), cel("false")));
    assert_eq!(checked.redis, Redis::Embedded);
    assert_eq!(checked.log_level, LogLevel::Info);
    let limits = Limits {
        gateway_connections: None,
        user: None,
        ip: IpLimits::default(),
        tenant: None,
        pod_connections: None,
        handshakes_per_second: None,
        outbound_memory_percent: 25,
        pod_channels: 200_000,
        message_bytes: 64 * 1024,
        messages_per_second: Some(100),
        burst: 200,
        queue_bytes: 256 * 1024,
        queue_messages: 1024,
        subscriptions: 128,
    };
    assert_eq!(checked.limits, limits);
}

#[test]
fn limits_by_client_are_as_written() {
    let limits = checked(include_str!("corpus/good/full.yaml")).limits;
    assert_eq!(limits.user, Some(UserLimits { connections: 10, policy: UserPolicy::CloseOldest }));
    assert_eq!(limits.gateway_connections, Some(50_000));
    let networks: Vec<String> = limits.ip.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(networks, ["10.0.0.0/8", "fd00::/8", "192.0.2.7/32"]);
    assert_eq!((limits.ip.connections, limits.ip.proxy_protocol), (Some(100), true));
    let tenant = TenantLimits { connections: Some(5000), messages_per_second: Some(2000) };
    assert_eq!(limits.tenant, Some(tenant));
    let limits = checked(include_str!("corpus/good/limits-of-nobody.yaml")).limits;
    assert_eq!(limits.user, Some(UserLimits { connections: 1, policy: UserPolicy::RefuseNew }));
}

#[test]
fn endpoints_and_credentials_are_as_written() {
    let checked = checked(include_str!("corpus/good/full.yaml"));
    let [ws, raw] = checked.endpoints.as_slice() else { panic!("two endpoints") };
    assert!(ws.metadata && ws.seq && !ws.auth.anonymous);
    assert_eq!(ws.admit, Some(cel("'member' in claims.roles")));
    let whens: Vec<bool> = ws.auto_subscribe.iter().map(|item| item.when.is_some()).collect();
    assert_eq!(whens, [false, true]);
    assert_eq!(ws.auto_subscribe[1].channel.literal(), Some("dashboard:admins"));
    assert!(matches!(&ws.greeting, Greeting::Message(message) if message.uses("connection")));
    assert_eq!(
        (&ws.auth.token_from[..], &ws.auth.allowed_origins),
        (&[TokenPlace::Query][..], &Origins::Any)
    );
    assert_eq!(
        (&ws.stats_paths[..], &ws.health_paths[..]),
        (&["/ws/stats".to_owned()][..], &["/health".to_owned(), "/healthz".to_owned()][..])
    );
    assert_eq!(ws.heartbeat.idle, Some(Duration::from_secs(600)));
    assert!(matches!(raw.greeting, Greeting::Disabled));
    assert_eq!((raw.envelope, raw.compression), (Envelope::Raw, Compression::Shared { min_bytes: 256 }));
    // What an endpoint does not override it has from `spec.auth`.
    assert_eq!(raw.auth.token_from, [TokenPlace::Header, TokenPlace::Query]);
    let listed = vec!["https://app.example.com".to_owned(), "null".to_owned()];
    assert_eq!(raw.auth.allowed_origins, Origins::Listed(listed));
    let issuer = &checked.auth.issuers[0];
    assert!(
        matches!(&issuer.keys, IssuerKeys::Hmac(keys) if keys[0].0 == b"for-trying-out-only-0123456789abcdef")
    );
    assert_eq!(
        (issuer.issuer.as_deref(), &issuer.audience[..]),
        (Some("https://id.example.com"), &["chat".to_owned()][..])
    );
    assert_eq!(issuer.leeway, Duration::from_secs(60));
    assert_eq!(checked.auth.tenant, Some(cel("claims.workspace_id")));
}

#[test]
fn sources_and_limits_are_as_written() {
    let checked = checked(include_str!("corpus/good/full.yaml"));
    let [jobs, other] = checked.sources.as_slice() else { panic!("two sources") };
    let SourceKind::RedisPubSub(RedisPubSub { channels, patterns, redis }) = &jobs.kind else {
        panic!("Pub/Sub")
    };
    assert_eq!((&channels[..], redis), (&["botrix:jobs:updates".to_owned()][..], &None));
    assert!(matches!(&patterns[0], SourcePattern::Glob(glob) if glob == "jobs.*"));
    assert!(
        matches!(&patterns[1], SourcePattern::Captures { glob, pattern } if glob == "workspace:*" && pattern.captures() == ["id"])
    );
    let rule = &jobs.publish[0];
    assert_eq!(rule.tags["job_id"].path().unwrap(), ["msg", "job_id"]);
    assert!(matches!(&rule.channels, PublishChannels::List(list) if list[0].literal() == Some("jobs")));
    assert!(matches!(&jobs.publish[1].channels, PublishChannels::From(_)));
    let password = Some(Secret(b"hunter2".to_vec()));
    assert_eq!(
        other.redis(),
        Some(&RedisAddress { url: "redis://app@cache:6379/1".into(), password: password.clone(), ca: None })
    );
    assert_eq!(
        checked.redis,
        Redis::External(RedisAddress {
            url: "rediss://cache:6379".into(),
            password,
            ca: Some(Secret(b"pem".to_vec()))
        })
    );
    assert_eq!((checked.limits.pod_connections, checked.limits.message_bytes), (Some(10_000), 1 << 20));
    assert_eq!((checked.limits.queue_bytes, checked.limits.queue_messages), (262_144, 256));
    assert_eq!(checked.log_level, LogLevel::Warn);
}

#[test]
fn streams_have_a_group_of_their_own_unless_one_is_named() {
    let checked = checked(include_str!("corpus/good/streams.yaml"));
    let streams: Vec<&RedisStream> = checked
        .sources
        .iter()
        .filter_map(
            |source| if let SourceKind::RedisStream(stream) = &source.kind { Some(stream) } else { None },
        )
        .collect();
    assert_eq!((&*streams[0].group, streams[0].start), ("rtgw:shop/chat:orders", StreamStart::New));
    assert_eq!((&*streams[1].group, streams[1].start), ("rtgw", StreamStart::Beginning));
    assert!(checked.sources.iter().all(Source::through_the_broker));
    let ingest: Vec<Ingest> = checked.sources.iter().map(|source| source.ingest).collect();
    assert_eq!(ingest, [Ingest::EveryPod, Ingest::EveryPod, Ingest::OnePod, Ingest::OnePod]);
    assert!(checked.sources[0].publish[0].idempotency_key.is_some());
    assert_eq!(checked.sources[1].redis().unwrap().url, "redis://other:6379/2");
}

#[test]
fn commands_are_as_written() {
    let checked = checked(include_str!("corpus/good/commands.yaml"));
    let command = |name: &str| checked.commands.iter().find(|command| command.name == name).unwrap();
    let CommandAction::ReplyLatest { event, tags, or_else_any, .. } = &command("request_metrics").action
    else {
        panic!("{:?}", command("request_metrics"))
    };
    assert_eq!(
        (event, &tags["metric_type"], or_else_any),
        (&cel("'metrics_update'"), &cel("data.metric_type"), &true)
    );
    assert!(matches!(
        &command("typing").action,
        CommandAction::PublishTo { data: None, ephemeral: true, .. }
    ));
    assert!(matches!(
        &command("room:say").action,
        CommandAction::PublishTo { data: Some(_), ephemeral: false, .. }
    ));
    assert_eq!(command("room:say").when, Some(cel("user != ''")));
    let webhook = |name: &str| match &command(name).action {
        CommandAction::Webhook(webhook) => webhook.clone(),
        other => panic!("{other:?}"),
    };
    let (ask, lookup) = (webhook("ask"), webhook("lookup"));
    assert_eq!(
        (ask.url.as_str(), ask.timeout, ask.max_in_flight),
        ("http://app/rt", Duration::from_secs(2), 64)
    );
    assert_eq!((lookup.timeout, lookup.max_in_flight), (Duration::from_secs(2), 8));
    assert_eq!(lookup.key.0, b"for-trying-out-only-0123456789abcdef");
}

#[test]
fn secrets_are_not_shown() {
    let shown = format!("{:?}", checked(include_str!("corpus/good/full.yaml")));
    assert!(
        !shown.contains("hunter2") && !shown.contains("for-trying-out") && shown.contains("Secret(7 bytes)")
    );
}

#[test]
fn one_gateway_is_chosen_by_its_name() {
    let text =
        Text { name: "file.yaml".into(), content: include_str!("corpus/bad/two-gateways.yaml").into() };
    let manifests = Manifests::read(&[text]);
    assert_eq!(manifests.names(), ["chat", "news"]);
    assert_eq!(manifests.check(Some("news")).unwrap().checked.name, "news");
    let problems = manifests.check(Some("new")).unwrap_err();
    assert_eq!(
        problems[0].to_string(),
        "error: files: there is no gateway called `new`\n  hint: one of: chat, news"
    );
}

#[test]
fn secrets_may_stand_in_another_file() {
    let (gateway, secret) = include_str!("corpus/good/tokens.yaml").split_once("---").unwrap();
    let text = |name: &str, content: &str| Text { name: name.into(), content: content.into() };
    let accepted = Manifests::read(&[text("a.yaml", gateway), text("b.yaml", secret)]).check(None).unwrap();
    assert_eq!(accepted.checked.auth.issuers.len(), 1);
}

#[test]
fn credentials_are_as_written() {
    let auth = checked(include_str!("corpus/good/credentials.yaml")).auth;
    let names = |at: usize| auth.issuers[at].algorithms.iter().map(|one| one.name()).collect::<Vec<_>>();
    assert_eq!(
        (names(0), names(1), names(3)),
        (vec!["HS256", "HS384"], vec!["RS256", "PS512"], vec!["RS256"])
    );
    assert!(
        matches!(&auth.issuers[0].keys, IssuerKeys::Hmac(keys) if keys.len() == 2 && keys[1].0.starts_with(b"for-trying-out-before"))
    );
    assert!(matches!(&auth.issuers[2].keys, IssuerKeys::Public(keys) if keys.len() == 2));
    let seconds = Duration::from_secs;
    let IssuerKeys::Jwks(jwks) = &auth.issuers[3].keys else { panic!("jwks") };
    assert_eq!(
        (jwks.url.host(), jwks.refresh, jwks.stale_for),
        ("id.example.com", seconds(300), seconds(3600))
    );
    let IssuerKeys::Jwks(jwks) = &auth.issuers[4].keys else { panic!("jwks") };
    assert_eq!((jwks.refresh, jwks.stale_for), (seconds(30), Duration::ZERO));
    let [backend, service] = auth.api_keys.as_slice() else { panic!("two keys") };
    assert_eq!((backend.scopes.len(), backend.claims.as_str()), (7, r#"{"sub":"backend"}"#));
    assert_eq!(service.claims, r#"{"role":"bot","teams":["a","b"],"sub":"service"}"#);
    assert!(
        matches!(&service.scopes[2], KeyScope::Publish(pattern) if pattern.matches("jobs:1:2").is_some())
    );
    let webhook = auth.webhook.unwrap();
    assert_eq!(
        (webhook.timeout, webhook.cache_for, webhook.max_in_flight),
        (Duration::from_millis(1500), seconds(30), 8)
    );
    assert_eq!(webhook.url.as_str(), "http://app/rt/auth");
    assert!(webhook.secret.is_some());
}
