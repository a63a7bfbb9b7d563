//! How keys and channels of ours are called in Redis: `rtgw:NAMESPACE/NAME:KIND:{TAG}`.
//!
//! TAG stands in braces because a Redis Cluster keeps names with the same one together. It is the gateway's channel where the name
//! belongs to one (channel names have no braces), else a word of the kind's own.

use std::sync::Arc;

/// What a name is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Hash of a broker shard, by its number: the epoch of its ids and the last of them.
    Ids,
    /// Hash of a channel with history: its epoch and the last offset.
    Position,
    /// Stream of a channel with history: its latest publications by their offsets.
    History,
    /// Hash of a channel that keeps the latest value of each key.
    Latest,
    /// What was published under an idempotency key, by the digest.
    Once,
    /// Pub/Sub channel of a channel's publications.
    Topic,
    /// Set of the pods that count connections together; with a colon and a pod behind, the hash of its counts.
    Census,
    /// Pub/Sub channel of what pods tell all others, or one of them.
    Control,
    /// Sorted set of the pods that are there, by when they said so.
    Pods,
    /// Sorted set of what is revoked, by when that ends.
    Revoked,
    /// Pub/Sub channel of one pod: probes and positions, in the order of the publications around them.
    Pod,
    /// Sorted set of the pods that say who hears what, by the ends of their leases.
    PresencePods,
    /// Pub/Sub channel of who comes and goes, heard by all pods.
    PresenceNews,
    /// Set of the channels that a pod says something of, by the pod.
    PresenceChannels,
    /// Hash of a channel's members by their connections.
    PresenceMembers,
    /// Sorted set of the same connections, for pages.
    PresenceOrder,
    /// Hash of a channel's users: how many connections each has.
    PresenceUsers,
    /// There while a channel has too many members to tell of.
    PresenceCrowd,
    /// Set of the connections of a channel that one pod said; the pod stands behind the name.
    PresenceHeld,
    /// What pods that share a source announce to each other, by the source's name.
    SourceGap,
    /// Who reads a source that one pod reads, by the source's name.
    SourceLease,
    /// How often another has begun to read such a source.
    SourceTerm,
    /// What the pod that reads such a source announces to the others.
    SourceTakeover,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ids => "ids",
            Self::Position => "position",
            Self::History => "history",
            Self::Latest => "latest",
            Self::Once => "once",
            Self::Topic => "topic",
            Self::Census => "census",
            Self::Control => "control",
            Self::Pods => "pods",
            Self::Revoked => "revoked",
            Self::Pod => "pod",
            Self::PresencePods => "presence-pods",
            Self::PresenceNews => "presence-news",
            Self::PresenceChannels => "presence-channels",
            Self::PresenceMembers => "presence-members",
            Self::PresenceOrder => "presence-order",
            Self::PresenceUsers => "presence-users",
            Self::PresenceCrowd => "presence-crowd",
            Self::PresenceHeld => "presence-held",
            Self::SourceGap => "source-gap",
            Self::SourceLease => "source-lease",
            Self::SourceTerm => "source-term",
            Self::SourceTakeover => "source-takeover",
        }
    }
}

/// The names of one gateway; cheap to clone.
#[derive(Clone, Debug)]
pub struct Names {
    prefix: Arc<str>,
}

impl Names {
    /// Of the gateway `name` in `namespace`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { prefix: format!("rtgw:{namespace}/{name}:").into() }
    }

    /// The name of `kind` for `tag`.
    pub fn of(&self, kind: Kind, tag: &str) -> String {
        let Self { prefix } = self;
        let kind = kind.as_str();
        format!("{prefix}{kind}:{{{tag}}}")
    }

    /// The tag of a name of `kind`.
    pub fn tag<'a>(&self, kind: Kind, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(&*self.prefix)?.strip_prefix(kind.as_str())?;
        rest.strip_prefix(":{")?.strip_suffix('}')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_documentation() {
        let names = Names::new("default", "chat");
        let name = names.of(Kind::Topic, "room:7");
        assert_eq!(name, "rtgw:default/chat:topic:{room:7}");
        assert_eq!(names.tag(Kind::Topic, &name), Some("room:7"));
        assert_eq!(names.tag(Kind::Pod, &name), None);
        assert_eq!(Names::new("default", "chats").tag(Kind::Topic, &name), None);
    }
}
