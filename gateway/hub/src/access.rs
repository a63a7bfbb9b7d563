//! The only place that can make a [`Grant`]: an unchecked subscription does not compile.
//!
//! The rules themselves (patterns, expressions) belong to the caller and are asked through [`Rules`]; what an answer means is
//! decided here.

use std::sync::Arc;

use rtgw_model::{
    ChannelName, ChannelPolicy, ConnectionKey, Denied, EndpointIx, ErrorCode, Expiry, Principal,
};

/// Counts the configurations of a process, the first is 1: tells what was decided before a reload from what was decided after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Revision(pub u32);

impl Revision {
    /// Decided by no configuration: older than all.
    pub const NONE: Self = Self(0);
    /// The configuration that the process started with.
    pub const FIRST: Self = Self(1);
}

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

    /// Which configuration these rules are of.
    fn revision(&self) -> Revision {
        Revision::FIRST
    }
}

/// What a shard needs of a new configuration: names only, nobody's permission. Asked on the shard's thread, so it must neither wait
/// nor evaluate.
pub trait Lookup: Send + Sync {
    /// Which configuration this is of; grows with every reload.
    fn revision(&self) -> Revision;

    /// The policy of the first rule whose pattern fits; `None` where no rule declares the channel any more.
    fn policy(&self, channel: &ChannelName) -> Option<Arc<ChannelPolicy>>;

    /// How many numbers of rules the process has given out.
    fn rules(&self) -> usize;

    /// How many numbers of endpoints the process has given out.
    fn endpoints(&self) -> usize;

    /// When holders of ending credentials are told and closed.
    fn expiry(&self) -> Expiry;
}

/// Proof that a channel may be heard or spoken on; made only by this module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    channel: ChannelName,
    policy: Arc<ChannelPolicy>,
    action: Action,
    revision: Revision,
    by_api: bool,
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

    /// Which configuration's rules granted it.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// Whether the application itself grants it, whatever the rule says of the client.
    pub fn by_api(&self) -> bool {
        self.by_api
    }
}

/// Asks whether `asker` may do `action` on the channel named `channel`.
///
/// # Errors
/// `bad_request` for an ill-formed name, `unknown_channel` for an undeclared one, `forbidden` where the rule says no.
pub fn ask(rules: &dyn Rules, action: Action, channel: &str, asker: &Asker<'_>) -> Result<Grant, Denied> {
    let channel = parse(channel)?;
    match rules.decide(action, &channel, asker) {
        None => Err(undeclared()),
        Some((_, Verdict::Deny)) => Err(Denied::new(
            ErrorCode::Forbidden,
            match action {
                Action::Subscribe => "the channel's rule does not let this connection subscribe",
                Action::Publish => "the channel's rule does not let this connection publish",
            },
        )),
        Some((policy, Verdict::Allow)) => {
            Ok(Grant { channel, policy, action, revision: rules.revision(), by_api: false })
        }
    }
}

/// Lets the application itself subscribe somebody: the channel must be declared, its rule is not asked.
///
/// # Errors
/// `bad_request` for an ill-formed name, `unknown_channel` for an undeclared one.
pub fn by_api(lookup: &dyn Lookup, channel: &str) -> Result<Grant, Denied> {
    let channel = parse(channel)?;
    let policy = lookup.policy(&channel).ok_or_else(undeclared)?;
    Ok(Grant { channel, policy, action: Action::Subscribe, revision: lookup.revision(), by_api: true })
}

/// What one configuration says of the channels that a connection hears; made only by this module.
#[derive(Clone, Debug)]
pub struct Review {
    revision: Revision,
    /// With whether it may still be heard.
    channels: Box<[(ChannelName, bool)]>,
}

impl Review {
    /// Nothing may be heard any more: the answer where asking failed, whatever configuration was asked.
    pub fn refused(channels: &[ChannelName]) -> Self {
        Self {
            revision: Revision(u32::MAX),
            channels: channels.iter().map(|channel| (channel.clone(), false)).collect(),
        }
    }

    /// Which configuration's rules were asked.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// The channels asked about, each with whether it may still be heard.
    pub fn channels(&self) -> &[(ChannelName, bool)] {
        &self.channels
    }
}

/// Asks again whether `asker` may hear the channels that it hears.
pub fn review(rules: &dyn Rules, channels: &[ChannelName], asker: &Asker<'_>) -> Review {
    let may = |channel: &ChannelName| {
        matches!(rules.decide(Action::Subscribe, channel, asker), Some((_, Verdict::Allow)))
    };
    Review {
        revision: rules.revision(),
        channels: channels.iter().map(|channel| (channel.clone(), may(channel))).collect(),
    }
}

fn parse(channel: &str) -> Result<ChannelName, Denied> {
    ChannelName::parse(channel)
        .map_err(|why| Denied::new(ErrorCode::BadRequest, format!("the channel name {why}")))
}

fn undeclared() -> Denied {
    Denied::new(ErrorCode::UnknownChannel, "no channel of that name is declared")
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
                permission: 0,
                filters: Box::default(),
                delivery: Default::default(),
                history: None,
                presence: Default::default(),
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
