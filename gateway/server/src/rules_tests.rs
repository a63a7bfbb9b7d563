//! Which rule a channel falls under and whom it lets in.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::net::IpAddr;
use std::sync::LazyLock;

use proptest::prelude::*;
use rtgw_hub::access;
use rtgw_model::{ConnectionKey, ErrorCode, Principal};

use super::*;
use crate::fixture::checked;

const HEAD: &str = "\
endpoints:
- {name: ws, path: /ws}
- {name: other, path: /other}
auth: {anonymous: Allow}
channels:
";

fn rules(channels: &str) -> CompiledRules {
    CompiledRules::new(&checked(&format!("{HEAD}{channels}")))
}

fn principal(user: &str, claims: &'static str) -> Principal {
    Principal {
        user: user.into(),
        tenant: if user.is_empty() { "" } else { "acme" }.into(),
        claims: claims.into(),
        ip: IpAddr::from([10, 1, 2, 3]),
        query: "room=a%20b&room=c&x".into(),
        expires: None,
    }
}

fn ask(
    rules: &CompiledRules,
    action: Action,
    channel: &str,
    principal: &Principal,
) -> Result<RuleIx, ErrorCode> {
    let asker = Asker { key: ConnectionKey(0xab), endpoint: EndpointIx(1), principal };
    access::ask(rules, action, channel, &asker).map(|grant| grant.policy().rule).map_err(|denied| denied.code)
}

#[test]
fn the_first_pattern_that_fits_decides() {
    let rules = rules(
        "- {pattern: 'room:{r}:{s}'}\n\
         - {pattern: 'room:lobby'}\n\
         - {pattern: 'room:{r}'}\n\
         - {pattern: '{kind}:x'}\n\
         - {pattern: 'user:{id}'}\n\
         - {pattern: 'log:{rest*}'}\n",
    );
    let cases = [
        ("room:a:b", Some(0)),
        ("room:lobby", Some(1)),
        ("room:hall", Some(2)),
        ("room:x", Some(2)),
        ("user:x", Some(3)),
        ("user:y", Some(4)),
        ("log:x", Some(3)),
        ("log:y", Some(5)),
        ("log:y:z:1", Some(5)),
        ("room", None),
        ("room:a:b:c", None),
        ("log", None),
        ("other", None),
    ];
    for (channel, rule) in cases {
        let channel = ChannelName::parse(channel).unwrap();
        assert_eq!(rules.rule_of(&channel), rule.map(RuleIx), "{channel}");
    }
    let channel = ChannelName::parse("log:y:z").unwrap();
    assert_eq!(rules.find(&channel).unwrap().1, [("rest", "y:z")]);
    assert_eq!(&*rules.policies[5].pattern, "log:{rest*}");
}

#[test]
fn rules_see_the_caller_the_captures_and_the_channel() {
    let rules = rules(
        "- {pattern: 'user:{user_id}', subscribe: user_id == user}\n\
         - {pattern: 'metrics:{tenant_id}', subscribe: tenant_id == tenant}\n\
         - {pattern: 'workspace:{w}', subscribe: \"claims.workspace_id == w || w in claims.workspaces\"}\n\
         - {pattern: 'admins', subscribe: claims.role == 'admin', publish: 'true'}\n\
         - {pattern: 'room:{room}', subscribe: \"connection.query.room == 'a b' && params.room == room && channel == 'room:' + room\"}\n\
         - {pattern: 'here', subscribe: \"connection.ip == '10.1.2.3' && connection.endpoint == 'other' && connection.id.endsWith('ab') && connection.id.size() == 32\"}\n\
         - {pattern: 'now', subscribe: claims.exp > now}\n\
         - {pattern: 'default'}\n",
    );
    let admin = principal("ann", r#"{"sub":"ann","role":"admin","workspaces":["w1","w2"],"exp":4000000000}"#);
    let nobody = principal("", "");
    let forbidden = Err(ErrorCode::Forbidden);
    let cases: [(&str, &Principal, Result<u16, ErrorCode>); 18] = [
        ("user:ann", &admin, Ok(0)),
        ("user:bob", &admin, forbidden),
        ("user:ann", &nobody, forbidden),
        ("metrics:acme", &admin, Ok(1)),
        ("metrics:acme", &nobody, forbidden),
        // The left side fails for want of the claim, and the right side decides.
        ("workspace:w2", &admin, Ok(2)),
        ("workspace:w3", &admin, forbidden),
        ("workspace:w2", &nobody, forbidden),
        ("admins", &admin, Ok(3)),
        ("admins", &nobody, forbidden),
        ("room:r", &nobody, Ok(4)),
        ("here", &nobody, Ok(5)),
        ("now", &admin, Ok(6)),
        ("now", &nobody, forbidden),
        ("default", &admin, Ok(7)),
        ("default", &nobody, forbidden),
        ("undeclared", &admin, Err(ErrorCode::UnknownChannel)),
        ("user:a b", &admin, Err(ErrorCode::BadRequest)),
    ];
    for (channel, principal, answer) in cases {
        let said = ask(&rules, Action::Subscribe, channel, principal);
        assert_eq!(said, answer.map(RuleIx), "{channel} for {:?}", principal.user);
    }
    assert_eq!(ask(&rules, Action::Publish, "admins", &nobody), Ok(RuleIx(3)));
    assert_eq!(ask(&rules, Action::Publish, "default", &admin), forbidden.map(RuleIx));
}

#[test]
fn a_rule_that_gives_no_bool_or_cannot_read_the_claims_denies() {
    let rules =
        rules("- {pattern: a, subscribe: \"'true'\"}\n- {pattern: b, subscribe: \"size(claims) == 0\"}\n");
    assert_eq!(ask(&rules, Action::Subscribe, "a", &principal("u", "{}")), Err(ErrorCode::Forbidden));
    assert_eq!(ask(&rules, Action::Subscribe, "b", &principal("u", "{}")), Ok(RuleIx(1)));
    assert_eq!(ask(&rules, Action::Subscribe, "b", &principal("u", "{\"a\":")), Err(ErrorCode::Forbidden));
}

#[test]
fn many_rules_are_found_by_their_first_segment() {
    let channels: String = (0..255).map(|n| format!("- {{pattern: 'p{n}:{{x}}'}}\n")).collect();
    let rules = rules(&format!("{channels}- {{pattern: '{{any}}:{{x}}'}}\n"));
    for (channel, rule) in [("p0:a", 0), ("p254:a", 254), ("p255:a", 255)] {
        assert_eq!(rules.rule_of(&ChannelName::parse(channel).unwrap()), Some(RuleIx(rule)));
    }
}

proptest! {
    #[test]
    fn the_index_finds_what_a_walk_over_all_rules_finds(name in "(a|b|c)(:(a|b|c)){0,3}") {
        static RULES: LazyLock<CompiledRules> = LazyLock::new(|| rules(
            "- {pattern: 'a:a'}\n- {pattern: '{x}:b:c'}\n- {pattern: 'a:{x}'}\n- {pattern: 'b:b:{x}'}\n- {pattern: 'b'}\n\
             - {pattern: '{x}:{y}:a:{z}'}\n- {pattern: 'c:{x*}'}\n",
        ));
        let rules = &*RULES;
        let channel = ChannelName::parse(&name).unwrap();
        let walked = rules.rules.iter().position(|rule| rule.pattern.matches(&name).is_some());
        prop_assert_eq!(rules.rule_of(&channel).map(|rule| usize::from(rule.0)), walked);
    }
}

#[test]
fn captures_are_what_a_template_escaped() {
    let rules = rules(
        "- {pattern: 'user:{id}', subscribe: id == user && params.id == user}\n\
         - {pattern: 'rest:{id}:{more*}', subscribe: id == user && more == params.more && more == 'a%3Ab'}\n",
    );
    let allowed =
        |channel: &str, user: &str| ask(&rules, Action::Subscribe, channel, &principal(user, "{}")).is_ok();
    for user in ["ann", "ann:x", "auth0|7", "ann%3Ax", "%61nn", "Zoë"] {
        assert!(allowed(&format!("user:{}", rtgw_model::escape_segment(user)), user), "{user}");
    }
    // Another spelling of somebody's name is not their channel.
    for channel in ["user:%61nn", "user:ann%3ax", "user:ann%253Ax"] {
        assert!(!allowed(channel, "ann") && !allowed(channel, "ann:x"), "{channel}");
    }
    assert!(allowed("rest:auth0%7C7:a%3Ab", "auth0|7") && !allowed("rest:auth0%7C7:a:b", "auth0|7"));
}
