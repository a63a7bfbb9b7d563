//! Where a credential may stand, over raw sockets: every place, their order, and what is refused.
#![allow(clippy::unwrap_used, clippy::panic)]

mod http_support;

use http_support::{Answer, Rig, token, token_of};
use serde_json::json;

const SPEC: &str = "
auth:
  issuers: [{name: app, algorithms: [HS256], secretRef: {name: auth, key: jwt}}]
  allowedOrigins: ['https://app.test']
endpoints:
- {name: ws, path: /ws, stats: {paths: [/stats]}}
- {name: open, path: /open, auth: {anonymous: Allow, tokenFrom: [Query], allowedOrigins: ['*']}}
- name: page
  path: /page
  stats: {paths: [/page/stats]}
  auth: {tokenFrom: ['Cookie:session', Header]}
- {name: reversed, path: /reversed, auth: {tokenFrom: [ApiKeyHeader, Subprotocol, Query, Header]}}
- {name: members, path: /members, admit: \"'member' in claims.roles\"}
- name: rooms
  path: /rooms
  autoSubscribe:
  - channel: 'user:{claims.sub}'
  - {channel: admins, when: claims.role == 'admin'}
  - {channel: secret, when: claims.curious}
- {name: required, path: /required, autoSubscribe: [{channel: admins}]}
channels:
- {pattern: 'user:{id}'}
- {pattern: admins, subscribe: claims.role == 'admin'}
- {pattern: secret, subscribe: 'false'}
";

fn rig() -> Rig {
    Rig::new(SPEC)
}

/// Who was let in, or the status and code of the refusal.
fn shake(rig: &Rig, path: &str, lines: &[&str]) -> Result<(String, Answer), (u16, String)> {
    let answer = rig.client().shake(path, lines).answer();
    if answer.status == 101 {
        let user = rig.next_handoff().opening.admission.principal.user.to_string();
        return Ok((user, answer));
    }
    assert!(rig.adopted_nothing());
    Err((answer.status, answer.code()))
}

fn user(rig: &Rig, path: &str, lines: &[&str]) -> Result<String, u16> {
    shake(rig, path, lines).map(|(user, _)| user).map_err(|(status, _)| status)
}

#[test]
fn each_place_holds_a_token_and_the_first_decides() {
    let rig = rig();
    let (a, b, c, d) = (token("a"), token("b"), token("c"), token("d"));
    let header = format!("Authorization: Bearer {a}");
    let query = format!("?token={b}");
    let offer = format!("Sec-WebSocket-Protocol: rtgw.json.v1, bearer, {c}");
    let key = format!("X-API-Key: {d}");
    let name = |name: &str| Ok(name.to_owned());
    assert_eq!(user(&rig, "/ws", &[&header]), name("a"));
    assert_eq!(user(&rig, &format!("/ws{query}"), &[]), name("b"));
    assert_eq!(user(&rig, "/ws", &[&offer]), name("c"));
    assert_eq!(user(&rig, "/ws", &[&key]), name("d"));
    // All at once: by the order of the list, whatever the order of the lines.
    assert_eq!(user(&rig, &format!("/ws{query}"), &[&key, &offer, &header]), name("a"));
    assert_eq!(user(&rig, &format!("/ws{query}"), &[&key, &offer]), name("b"));
    assert_eq!(user(&rig, "/ws", &[&key, &offer]), name("c"));
    assert_eq!(user(&rig, &format!("/reversed{query}"), &[&header, &offer, &key]), name("d"));
    assert_eq!(user(&rig, &format!("/reversed{query}"), &[&header, &offer]), name("c"));
    assert_eq!(user(&rig, &format!("/reversed{query}"), &[&header]), name("b"));
    // The first place decides even where it is wrong and a later one is right.
    assert_eq!(
        shake(&rig, &format!("/ws{query}"), &["Authorization: Bearer x"]).unwrap_err().1,
        "token_invalid"
    );
    assert_eq!(shake(&rig, "/ws?token=", &[&key]).unwrap_err().1, "token_invalid");
    // An endpoint with places of its own reads no others, and anonymous clients are those without a credential.
    assert_eq!(user(&rig, "/open", &[&header, &key]), name(""));
    assert_eq!(user(&rig, &format!("/open{query}"), &[]), name("b"));
    assert_eq!(user(&rig, "/open?token=x", &[]), Err(401));
    assert_eq!(user(&rig, "/ws", &[]), Err(401));
    assert_eq!(rig.connections.held(), 0);
}

#[test]
fn a_token_among_the_subprotocols_is_answered_but_never_repeated() {
    let rig = rig();
    let token = token("a");
    for (offers, chosen) in [
        (format!("bearer, {token}"), "bearer"),
        (format!("authorization, {token}"), "authorization"),
        (format!("access_token,{token}"), "access_token"),
        (format!("bearer, {token}, rtgw.json.v1"), "rtgw.json.v1"),
        (format!("chat, bearer, {token}"), "bearer"),
    ] {
        let (user, answer) = shake(&rig, "/ws", &[&format!("Sec-WebSocket-Protocol: {offers}")]).unwrap();
        assert_eq!((user.as_str(), answer.header("sec-websocket-protocol")), ("a", Some(chosen)), "{offers}");
        assert!(!format!("{answer:?}").contains(&token));
    }
    // Two lines are one list.
    let lines = ["Sec-WebSocket-Protocol: access_token", &format!("Sec-WebSocket-Protocol: {token}")];
    assert_eq!(user(&rig, "/ws", &lines), Ok("a".to_owned()));
}

#[test]
fn what_stands_twice_is_refused() {
    let rig = rig();
    let token = token("a");
    let bearer = format!("Authorization: Bearer {token}");
    let key = format!("X-API-Key: {token}");
    let offer = format!("Sec-WebSocket-Protocol: bearer, {token}");
    let cookie = format!("Cookie: session={token}");
    let (page, origin) = ("/page", "Origin: https://app.test");
    for (path, lines) in [
        ("/ws".to_owned(), vec![&*bearer, &*bearer]),
        ("/ws".to_owned(), vec!["Authorization: Basic YTpi", &*bearer]),
        (format!("/ws?token={token}&token={token}"), vec![]),
        (format!("/ws?token={token}&access_token={token}"), vec![]),
        ("/ws".to_owned(), vec![&*offer, &*offer]),
        ("/ws".to_owned(), vec![&*key, &*key]),
        ("/ws".to_owned(), vec![&*bearer, origin, origin]),
        (page.to_owned(), vec![origin, &*cookie, &*cookie]),
        (page.to_owned(), vec![origin, &*format!("{cookie}; session=x")]),
    ] {
        assert_eq!(
            shake(&rig, &path, &lines).unwrap_err(),
            (400, "bad_request".to_owned()),
            "{path} {lines:?}"
        );
    }
}

#[test]
fn a_cookie_needs_a_listed_origin() {
    let rig = rig();
    let cookie = format!("Cookie: other=1; session={}", token("c"));
    let bearer = format!("Authorization: Bearer {}", token("h"));
    assert_eq!(user(&rig, "/page", &["Origin: https://app.test", &cookie, &bearer]), Ok("c".to_owned()));
    assert_eq!(shake(&rig, "/page", &[&cookie]).unwrap_err(), (403, "origin_needed".to_owned()));
    // Not even with a good token elsewhere: the first place decides.
    assert_eq!(shake(&rig, "/page", &[&cookie, &bearer]).unwrap_err().1, "origin_needed");
    for origin in ["https://evil.test", "http://gateway.test", "null", ""] {
        let line = format!("Origin: {origin}");
        assert_eq!(
            shake(&rig, "/page", &[&cookie, &line]).unwrap_err(),
            (403, "origin_not_allowed".to_owned())
        );
    }
    // Programs without the cookie go on to the next place.
    assert_eq!(user(&rig, "/page", &[&bearer]), Ok("h".to_owned()));
    assert_eq!(
        user(&rig, "/ws", &["Origin: https://app.test", &cookie]),
        Err(401),
        "read only where it is named"
    );
    // Pages ask for the same.
    let stats = |lines: &str| {
        let request = format!("GET /page/stats HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        let answer = rig.client().send(request.as_bytes()).answer();
        (answer.status, answer.header("access-control-allow-credentials").map(str::to_owned))
    };
    assert_eq!(stats(&format!("{cookie}\r\nOrigin: https://app.test\r\n")), (200, Some("true".to_owned())));
    assert_eq!(stats(&format!("{cookie}\r\n")), (403, None));
    assert_eq!(stats(&format!("{cookie}\r\nOrigin: https://evil.test\r\n")), (403, None));
    assert_eq!(stats(&format!("{bearer}\r\n")), (200, None));
}

#[test]
fn stats_take_the_credential_from_every_place_of_the_endpoint() {
    let rig = rig();
    let token = token("a");
    let stats = |query: &str, lines: &str| {
        let request = format!("GET /stats{query} HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
        rig.client().send(request.as_bytes()).answer().status
    };
    assert_eq!(stats("", ""), 401);
    assert_eq!(stats("", &format!("Authorization: Bearer {token}\r\n")), 200);
    assert_eq!(stats("", &format!("X-API-Key: {token}\r\n")), 200);
    assert_eq!(stats("", "X-API-Key: nonsense\r\n"), 401);
    assert_eq!(stats(&format!("?token={token}"), ""), 200);
    assert_eq!(stats(&format!("?token={token}&token={token}"), ""), 400);
    assert_eq!(stats("?token=nonsense", &format!("X-API-Key: {token}\r\n")), 401, "the first place decides");
}

#[test]
fn admit_and_required_channels_come_last() {
    let rig = rig();
    let bearer = |claims| format!("Authorization: Bearer {}", token_of(claims));
    let member = bearer(json!({"sub": "m", "roles": ["member"]}));
    assert_eq!(user(&rig, "/members", &[&member]), Ok("m".to_owned()));
    let other = bearer(json!({"sub": "o", "roles": []}));
    assert_eq!(shake(&rig, "/members", &[&other]).unwrap_err(), (403, "forbidden".to_owned()));
    let without = bearer(json!({"sub": "o"}));
    assert_eq!(shake(&rig, "/members", &[&without]).unwrap_err().0, 403, "`admit` that fails is no");
    assert_eq!(
        shake(&rig, "/members", &["Authorization: Bearer x"]).unwrap_err().0,
        401,
        "credentials first"
    );

    let channels = |line: &str| {
        assert_eq!(rig.client().shake("/rooms", &[line]).answer().status, 101);
        let auto = rig.next_handoff().opening.auto;
        auto.iter().map(|grant| grant.channel().to_string()).collect::<Vec<_>>()
    };
    assert_eq!(user(&rig, "/required", &[&without]), Err(403));
    assert_eq!(user(&rig, "/required", &[&bearer(json!({"sub": "a", "role": "admin"}))]), Ok("a".to_owned()));
    assert_eq!(channels(&without), ["user:o"], "a `when` that fails skips");
    assert_eq!(channels(&bearer(json!({"sub": "o", "role": "user", "curious": false}))), ["user:o"]);
    let curious = bearer(json!({"sub": "o", "curious": true}));
    assert_eq!(
        user(&rig, "/rooms", &[&curious]),
        Err(403),
        "a `when` that holds makes the channel a required one"
    );
    assert_eq!(channels(&bearer(json!({"sub": "a", "role": "admin"}))), ["user:a", "admins"]);
}

#[test]
fn browsers_can_read_every_refusal() {
    let rig = rig();
    let close = |rig: &Rig, path: &str, lines: &[&str]| {
        let mut client = rig.client();
        let lines: Vec<&str> =
            lines.iter().copied().chain(["Sec-WebSocket-Protocol: rtgw.json.v1"]).collect();
        let answer = client.shake(path, &lines).answer();
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, Some("rtgw.json.v1")));
        let close = client.close();
        assert!(client.rest().is_empty());
        close
    };
    let said = |code, reason: &str| (code, reason.to_owned());
    let expired = format!("Authorization: Bearer {}", token_of(json!({"sub": "a", "exp": 1})));
    let bearer = format!("Authorization: Bearer {}", token("a"));
    assert_eq!(close(&rig, "/ws", &[]), said(4401, "token_missing"));
    assert_eq!(close(&rig, "/ws", &["Authorization: Bearer x"]), said(4401, "token_invalid"));
    assert_eq!(close(&rig, "/ws", &[&expired]), said(4401, "token_expired"));
    assert_eq!(close(&rig, "/ws", &["Origin: https://evil.test"]), said(4403, "origin_not_allowed"));
    assert_eq!(close(&rig, "/members", &[&bearer]), said(4403, "forbidden"));
    assert_eq!(close(&rig, "/ws?token=a&token=b", &[]), said(1002, "bad_request"));
    let busy = Rig::new(&format!("{SPEC}limits: {{pod: {{handshakesPerSecond: 1}}}}\n"));
    let codes: Vec<u16> = (0..4).map(|_| close(&busy, "/ws", &[]).0).collect();
    assert!(
        codes.starts_with(&[4401]) && codes.contains(&1013),
        "a refusal counts as a handshake: {codes:?}"
    );
    assert!(rig.adopted_nothing() && rig.connections.held() == 0);
}
