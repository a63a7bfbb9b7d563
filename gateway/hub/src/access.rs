//! The only place that can make a [`Grant`]: an unchecked subscription does not compile.
//!
//! The rules themselves (patterns, expressions) belong to the caller and are asked through [`Rules`]; what an answer means is
//! decided here.

use std::sync::Arc;

use rtgw_model::{ChannelName, ChannelPolicy, ConnectionKey, Denied, EndpointIx, ErrorCode, Principal};

/// What is asked of a channel's rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// To hear the channel.
    Subscribe,
    /// To say something on it.
    Publish,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The connection's public id.
    pub key: ConnectionKey,
    /// The endpoint it came in by.
    pub endpoint: EndpointIx,
    /// Its identity.
    pub principal: &'a Principal,
}

/// What a rule says. A rule that fails says [`Verdict::Deny`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

/// The rules of one running configuration.
pub trait Rules {
    /// The first rule whose pattern fits `channel`, and what it says; `None` when no rule declares the channel.
    fn decide(
        &self,
        action: Action,
        channel: &ChannelName,
        asker: &Asker<'_>,
    ) -> Option<(Arc<ChannelPolicy>, Verdict)>;
}

/// Proof that a channel may be heard or spoken on; made only by this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    channel: ChannelName,
    policy: Arc<ChannelPolicy>,
    action: Action,
}

impl Grant {
    /// The channel.
    pub fn channel(&self) -> &ChannelName {
        &self.channel
    }

    /// The channel's delivery policy.
    pub fn policy(&self) -> &Arc<ChannelPolicy> {
        &self.policy
    }

    /// What is granted.
    pub fn action(&self) -> Action {
        self.action
    }
}

/// Asks whether `asker` may do `action` on the channel named `channel`.
///
/// # Errors
/// `bad_request` for an ill-formed name, `unknown_channel` for an undeclared one, `forbidden` where the rule says no.
pub fn ask(rules: &dyn Rules, action: Action, channel: &str, asker: &Asker<'_>) -> Result<Grant, Denied> {
    let channel = ChannelName::parse(channel)
        .map_err(|why| Denied::new(ErrorCode::BadRequest, format!("the channel name {why}")))?;
    match rules.decide(action, &channel, asker) {
        None => Err(Denied::new(ErrorCode::UnknownChannel, "no channel of that name is declared")),
        Some((_, Verdict::Deny)) => Err(Denied::new(
            ErrorCode::Forbidden,
            match action {
                Action::Subscribe => "the channel's rule does not let this connection subscribe",
                Action::Publish => "the channel's rule does not let this connection publish",
            },
        )),
        Some((policy, Verdict::Allow)) => Ok(Grant { channel, policy, action }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct One(Option<Verdict>);

    impl Rules for One {
        fn decide(&self, _: Action, _: &ChannelName, _: &Asker<'_>) -> Option<(Arc<ChannelPolicy>, Verdict)> {
            let policy = ChannelPolicy {
                rule: rtgw_model::RuleIx(0),
                pattern: "p".into(),
                filters: Box::default(),
                delivery: Default::default(),
            };
            self.0.map(|verdict| (Arc::new(policy), verdict))
        }
    }

    #[test]
    fn only_an_allowing_rule_gives_a_grant() {
        let principal = Principal {
            user: "u".into(),
            tenant: "".into(),
            claims: "".into(),
            ip: std::net::IpAddr::from([127, 0, 0, 1]),
            query: "".into(),
            expires: None,
        };
        let asker = Asker { key: ConnectionKey(1), endpoint: EndpointIx(0), principal: &principal };
        let code = |rules: One, name| {
            ask(&rules, Action::Subscribe, name, &asker).map_err(|denied| denied.code).err()
        };
        assert_eq!(code(One(Some(Verdict::Allow)), "p"), None);
        assert_eq!(code(One(Some(Verdict::Deny)), "p"), Some(ErrorCode::Forbidden));
        assert_eq!(code(One(None), "p"), Some(ErrorCode::UnknownChannel));
        assert_eq!(code(One(Some(Verdict::Allow)), "p p"), Some(ErrorCode::BadRequest));
    }
}
