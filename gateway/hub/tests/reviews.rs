//! Answers that come too late to be true, one at a time; the simulation mixes them.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "simulation/lines.rs"]
mod lines;

use std::sync::Arc;

use lines::Lines;
use rtgw_hub::access::{self, Action, Asker, Lookup, Revision, Rules, Verdict};
use rtgw_hub::{
    Answer, Ask, Control, Effect, Fill, Input, Opening, Order, Question, Shard, ShardSettings, SweepBudget,
    Tally, TurnBudget,
};
use rtgw_model::{
    Admission, ChannelName, ChannelPolicy, ConnectionId, ConnectionKey, EndpointIx, Expiry, Heartbeat,
    Intent, Millis, Now, OutboxLimits, Principal, Request, RuleIx, Timestamp, Variant,
};

const EXPIRY: Expiry = Expiry { warn_ms: 60_000, grace_ms: 25_000 };
const NOW: Now = Now { at: Millis(0), wall: Timestamp(0) };

/// One configuration: whether every channel is for everybody or for nobody.
#[derive(Clone, Copy)]
struct Rule {
    revision: u32,
    open: bool,
}

impl Lookup for Rule {
    fn revision(&self) -> Revision {
        Revision(self.revision)
    }
    fn policy(&self, _: &ChannelName) -> Option<Arc<ChannelPolicy>> {
        let (rule, permission) = (RuleIx(0), u64::from(self.open));
        let (filters, delivery) = (Box::default(), Default::default());
        Some(Arc::new(ChannelPolicy {
            rule,
            pattern: "{x}".into(),
            permission,
            filters,
            delivery,
            history: None,
            presence: Default::default(),
        }))
    }
    fn rules(&self) -> usize {
        1
    }
    fn endpoints(&self) -> usize {
        1
    }
    fn expiry(&self) -> Expiry {
        EXPIRY
    }
}

impl Rules for Rule {
    fn decide(
        &self,
        _: Action,
        channel: &ChannelName,
        _: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)> {
        Some((self.policy(channel)?, if self.open { Verdict::Allow } else { Verdict::Deny }))
    }
    fn revision(&self) -> Revision {
        Revision(self.revision)
    }
}

struct Rig {
    shard: Shard,
    client: ConnectionId,
}

impl Rig {
    /// A shard with a client that hears nothing.
    fn new() -> Self {
        let settings = ShardSettings { index: 0, endpoints: 1, rules: 1, expiry: EXPIRY, seed: 1 };
        let mut shard = Shard::new(settings, Arc::new(Lines));
        let client = Self::admit(&mut shard, 1);
        Self { shard, client }
    }

    fn admit(shard: &mut Shard, key: u128) -> ConnectionId {
        let principal = Principal {
            user: "ann".into(),
            tenant: "".into(),
            claims: "{}".into(),
            ip: [127, 0, 0, 1].into(),
            query: "".into(),
            expires: None,
        };
        let admission = Admission {
            key: ConnectionKey(key),
            endpoint: EndpointIx(0),
            variant: Variant(0),
            principal: Arc::new(principal),
            greeting: None,
            heartbeat: Heartbeat { interval_ms: 25_000, timeout_ms: 60_000, idle_ms: 0 },
            outbox: OutboxLimits { bytes: 100_000, messages: 100 },
            batch: false,
            rate: None,
            subscriptions: 10,
        };
        shard.open(NOW, Opening { admission, auto: Vec::new() })
    }

    fn subscribe(&mut self) {
        let channel = "a".into();
        let intent =
            Intent::Subscribe { channel, filters: Default::default(), recover: None, presence: false };
        self.shard.handle(NOW, Input::Received(self.client, Ok(Request { id: Some("1".into()), intent })));
    }

    fn reconfigure(&mut self, rule: Rule) {
        self.shard.handle(NOW, Input::Reconfigured(Arc::new(rule)));
    }

    /// The questions since the last call; the broker carries everything at once.
    fn questions(&mut self) -> Vec<Ask> {
        while self.shard.sweep(NOW, SweepBudget { steps: 10, reviews: 1 }) {}
        let mut asked = Vec::new();
        let effects: Vec<Effect> = self.shard.effects().collect();
        for effect in effects {
            match effect {
                Effect::Ask(ask) => asked.push(*ask),
                Effect::Want(channel, _) => self.shard.handle(NOW, Input::Ready(channel, None)),
                _ => {}
            }
        }
        asked
    }

    fn question(&mut self) -> Ask {
        let mut asked = self.questions();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.pop().unwrap()
    }

    /// Answers by one configuration.
    fn answer(&mut self, ask: &Ask, rule: Rule) {
        let asker = Asker { key: ask.key, endpoint: ask.endpoint, principal: &ask.principal };
        let answer = match &ask.question {
            Question::Subscribe(channel) => {
                Answer::Subscribe(access::ask(&rule, Action::Subscribe, channel, &asker))
            }
            Question::Reauthorize(channels) => {
                Answer::Reauthorized(ask.principal.clone(), access::review(&rule, channels, &asker))
            }
            other => panic!("{other:?}"),
        };
        self.shard.handle(NOW, Input::Answered(ask.connection, answer));
    }

    /// What the client has been told since the last call.
    fn told(&mut self) -> String {
        self.shard.advance(NOW, TurnBudget { connections: 10, deliveries: 10, bytes: 1 << 20 });
        let (mut cork, mut told) = (Vec::new(), String::new());
        while let Some(connection) = self.shard.next_dirty() {
            cork.clear();
            while let Fill::Cork = self.shard.fill(connection, &mut cork) {
                told += std::str::from_utf8(&cork).unwrap();
                cork.clear();
            }
        }
        told
    }

    /// A client that hears `a` by the first configuration.
    fn member() -> Self {
        let mut rig = Self::new();
        rig.subscribe();
        let asked = rig.question();
        rig.answer(&asked, Rule { revision: 1, open: true });
        assert!(rig.questions().is_empty());
        assert_eq!(rig.told(), "subscribed 1 a\n");
        rig
    }
}

#[test]
fn the_same_rule_asks_nobody() {
    let mut rig = Rig::member();
    rig.reconfigure(Rule { revision: 2, open: true });
    assert!(rig.questions().is_empty());
    assert_eq!(rig.told(), "");
}

#[test]
fn a_denial_of_a_configuration_that_is_gone_takes_nothing_away() {
    let mut rig = Rig::member();
    let (closed, open) = (Rule { revision: 2, open: false }, Rule { revision: 3, open: true });
    rig.reconfigure(closed);
    let late = rig.question();
    rig.reconfigure(open);
    assert!(rig.questions().is_empty(), "one review at a time");
    rig.answer(&late, closed);
    let again = rig.question();
    assert_eq!(rig.told(), "");
    rig.answer(&again, open);
    assert!(rig.questions().is_empty());
    assert_eq!(rig.told(), "");
}

#[test]
fn a_permission_of_a_configuration_that_is_gone_lets_nobody_stay() {
    let mut rig = Rig::member();
    let (other, closed) = (Rule { revision: 2, open: false }, Rule { revision: 3, open: false });
    rig.reconfigure(other);
    let late = rig.question();
    rig.reconfigure(closed);
    // Judged before the reload, whatever that came to.
    rig.answer(&late, Rule { revision: 1, open: true });
    let again = rig.question();
    rig.answer(&again, closed);
    assert_eq!(rig.told(), "unsubscribed - a permission_changed\n");
}

#[test]
fn a_grant_of_before_the_reload_is_asked_again() {
    let mut rig = Rig::new();
    rig.subscribe();
    let late = rig.question();
    let closed = Rule { revision: 2, open: false };
    rig.reconfigure(closed);
    rig.answer(&late, Rule { revision: 1, open: true });
    assert_eq!(rig.told(), "");
    let again = rig.question();
    assert_eq!(again.question, Question::Subscribe("a".into()));
    rig.answer(&again, closed);
    assert_eq!(rig.told(), "error 1 forbidden\n");
}

#[test]
fn a_grant_that_is_ahead_of_the_shard_is_not_asked_again() {
    let mut rig = Rig::member();
    let mut ahead = Rule { revision: 2, open: false };
    rig.reconfigure(ahead);
    let asked = rig.question();
    ahead.revision = 3;
    ahead.open = true;
    rig.answer(&asked, ahead);
    rig.reconfigure(ahead);
    assert!(rig.questions().is_empty());
    assert_eq!(rig.told(), "");
}

#[test]
fn who_was_let_in_by_a_configuration_that_the_shard_never_had_is_asked() {
    let mut rig = Rig::new();
    let closed = Rule { revision: 1, open: false };
    // Somebody else is in the channel, by the application's will, so that it has the rule of the beginning.
    let second = Rig::admit(&mut rig.shard, 2);
    let order = Order::Subscribe(access::by_api(&closed, "a").unwrap());
    let target = Arc::new(|key, _: &Principal| key == ConnectionKey(2));
    rig.shard.handle(
        NOW,
        Input::Control(Control { target, order, tally: Tally::new(|count| assert_eq!(count, 1)) }),
    );
    assert!(rig.questions().is_empty());
    assert_eq!(rig.told(), "subscribed - a\n");
    rig.subscribe();
    let asked = rig.question();
    rig.answer(&asked, Rule { revision: 2, open: true });
    assert_eq!(rig.told(), "subscribed 1 a\n");
    // As closed as in the beginning, but not as in between.
    let closed = Rule { revision: 3, open: false };
    rig.reconfigure(closed);
    let asked = rig.question();
    assert_eq!((asked.connection, second == rig.client), (rig.client, false));
    rig.answer(&asked, closed);
    assert_eq!(rig.told(), "unsubscribed - a permission_changed\n");
}

#[test]
fn who_stayed_by_a_configuration_that_the_shard_never_had_is_asked() {
    let mut rig = Rig::member();
    rig.reconfigure(Rule { revision: 2, open: false });
    let asked = rig.question();
    rig.answer(&asked, Rule { revision: 3, open: true });
    // As closed as the shard knows it, but not as the answer was.
    let closed = Rule { revision: 4, open: false };
    rig.reconfigure(closed);
    let asked = rig.question();
    rig.answer(&asked, closed);
    assert_eq!(rig.told(), "unsubscribed - a permission_changed\n");
}

#[test]
fn an_older_configuration_that_comes_late_is_ignored() {
    let mut rig = Rig::member();
    rig.reconfigure(Rule { revision: 3, open: true });
    rig.reconfigure(Rule { revision: 2, open: false });
    assert!(rig.questions().is_empty());
}
