//! What pods tell each other is sealed: nobody who can write to Redis, but has not the gateway's secrets, orders a pod about; and nothing
//! is obeyed twice.
//!
//! A sealed message is a byte for the version, 32 bytes of HMAC-SHA256 over that byte and the body, and the body. The key is derived
//! (HKDF-SHA256, RFC 5869) from all secrets of the manifest together, with the gateway's name, so that none of those who know one of them
//! can make it.

use std::collections::HashMap;
use std::time::Duration;

use ring::{hkdf, hmac};
use rtgw_config::Checked;
use rtgw_config::checked::{IssuerKeys, PreviousRedis, Redis, RedisAddress, Secret, WriteTo};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::message::Message;

/// The version of what is written here.
const VERSION: u8 = 1;
/// Length of the tag.
const TAG: usize = 32;
/// Largest message that is looked at.
pub(super) const MOST_BYTES: usize = 1024 * 1024;
/// How far a message's time may be from ours: both are Redis's own, so only the way counts.
const FRESH_MS: u64 = 30_000;
/// How long the key of before a reload is believed: pods do not read their files at the same moment.
const OVERLAP: Duration = Duration::from_secs(600);
/// Senders that are remembered, far more than there are pods within [`FRESH_MS`].
const SENDERS: usize = 4096;

/// Why a message is ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// Larger than any of ours.
    TooLarge,
    /// Of another version.
    Version,
    /// Not sealed with our key.
    Forged,
    /// Sealed, but not understood.
    Malformed,
    /// Too old, from before this pod began, or from the future.
    Stale,
    /// Heard before.
    Replayed,
    /// More came than could be carried out.
    Overflow,
}

impl Ignored {
    /// Every reason.
    pub const ALL: [Self; 7] = [
        Self::TooLarge,
        Self::Version,
        Self::Forged,
        Self::Malformed,
        Self::Stale,
        Self::Replayed,
        Self::Overflow,
    ];

    /// The word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Version => "version",
            Self::Forged => "forged",
            Self::Malformed => "malformed",
            Self::Stale => "stale",
            Self::Replayed => "replayed",
            Self::Overflow => "overflow",
        }
    }
}

/// A message with what is needed to believe it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Body {
    /// The pod that sends it, a name of each process.
    pub(super) from: String,
    /// Its number among those of its sender, from 1 on.
    pub(super) number: u64,
    /// When it was sent, Unix milliseconds of Redis.
    pub(super) at: u64,
    /// What is said.
    pub(super) message: Message,
}

/// The keys that a pod believes.
pub(super) struct Keys {
    current: hmac::Key,
    /// Believed, too, some of them until then.
    others: Vec<(hmac::Key, Option<Instant>)>,
}

impl Keys {
    /// Those of the manifest's secrets; `None` where it has none.
    pub(super) fn of(config: &Checked) -> Option<Self> {
        let auth = &config.auth;
        let signing = auth.issuers.iter().flat_map(|issuer| match &issuer.keys {
            IssuerKeys::Hmac(secrets) => secrets.as_slice(),
            IssuerKeys::Public(_) | IssuerKeys::Jwks(_) => &[],
        });
        let api = auth.api_keys.iter().map(|key| &key.key);
        let asked = auth.webhook.iter().filter_map(|webhook| webhook.secret.as_ref());
        let secrets: Vec<&Secret> = signing.chain(api).chain(asked).collect();
        let gateway = format!("{}/{}", config.namespace, config.name);
        let derived = |secrets: &[&Secret]| {
            Self::derived(&gateway, secrets.iter().map(|secret| secret.0.as_slice()).collect())
        };
        if secrets.is_empty()
            && let Redis::External(current) = &config.redis
        {
            // Better than nothing: who reaches this Redis under another name cannot give orders. Of two, pods of the stage before know
            // the one that is written by that.
            let of = |address: &RedisAddress| derived(&address.password.iter().collect::<Vec<_>>());
            return match &config.previous_redis {
                None => of(current),
                Some(PreviousRedis { address, write_to: WriteTo::Previous }) => {
                    Some(of(address)?.beside(of(current)))
                }
                Some(PreviousRedis { address, .. }) => Some(of(current)?.beside(of(address))),
            };
        }
        derived(&secrets)
    }

    /// The same, which believes the key of `other`, too.
    fn beside(mut self, other: Option<Self>) -> Self {
        self.others.extend(other.map(|other| (other.current, None)));
        self
    }

    pub(super) fn derived(gateway: &str, mut secrets: Vec<&[u8]>) -> Option<Self> {
        if secrets.is_empty() {
            return None;
        }
        secrets.sort_unstable();
        secrets.dedup();
        let mut material = Vec::new();
        for secret in secrets {
            material.extend((secret.len() as u64).to_be_bytes());
            material.extend(secret);
        }
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, gateway.as_bytes());
        let derived = salt.extract(&material);
        let key = derived.expand(&[b"rtgw control messages 1"], hmac::HMAC_SHA256).ok()?;
        Some(Self { current: key.into(), others: Vec::new() })
    }

    /// The same as the keys of after a reload: those of before are believed for a while.
    pub(super) fn after(mut self, before: &Self) -> Self {
        self.others.push((before.current.clone(), Some(Instant::now() + OVERLAP)));
        self
    }

    pub(super) fn seal(&self, body: &Body) -> Vec<u8> {
        // Never fails: every key is text.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let mut sealed = Vec::with_capacity(1 + TAG + body.len());
        sealed.push(VERSION);
        sealed.extend(tag(&self.current, &body).as_ref());
        sealed.extend(body);
        sealed
    }

    /// The body of a sealed message.
    ///
    /// # Errors
    /// Why it is to be ignored.
    pub(super) fn open(&self, sealed: &[u8]) -> Result<Body, Ignored> {
        if sealed.len() > MOST_BYTES {
            return Err(Ignored::TooLarge);
        }
        let (&version, rest) = sealed.split_first().ok_or(Ignored::Malformed)?;
        if version != VERSION {
            return Err(Ignored::Version);
        }
        let (tag, body) = rest.split_at_checked(TAG).ok_or(Ignored::Malformed)?;
        let now = Instant::now();
        let believed = |until: &Option<Instant>| until.is_none_or(|until| now < until);
        let fits = |key| verify(key, body, tag);
        if !fits(&self.current) && !self.others.iter().any(|(key, until)| believed(until) && fits(key)) {
            return Err(Ignored::Forged);
        }
        serde_json::from_slice(body).map_err(|_| Ignored::Malformed)
    }
}

fn tag(key: &hmac::Key, body: &[u8]) -> hmac::Tag {
    let mut context = hmac::Context::with_key(key);
    context.update(&[VERSION]);
    context.update(body);
    context.sign()
}

fn verify(key: &hmac::Key, body: &[u8], expected: &[u8]) -> bool {
    use subtle::ConstantTimeEq;
    tag(key, body).as_ref().ct_eq(expected).into()
}

/// What was heard of each sender: nothing is taken twice, and nothing from before this pod began.
pub(super) struct Window {
    began: Option<u64>,
    senders: HashMap<String, Heard>,
}

#[derive(Default)]
struct Heard {
    highest: u64,
    /// Bit n: the number `highest - n` was heard.
    recent: u128,
    at: u64,
}

impl Window {
    pub(super) fn new() -> Self {
        Self { began: None, senders: HashMap::new() }
    }

    /// Takes a message at `now`, the time of Redis in milliseconds.
    ///
    /// # Errors
    /// Why it is to be ignored.
    pub(super) fn take(&mut self, body: &Body, now: u64) -> Result<(), Ignored> {
        // What was sent earlier may have been obeyed by the process that this one follows.
        let began = *self.began.get_or_insert(now);
        if body.at < began.saturating_sub(1000).max(now.saturating_sub(FRESH_MS)) || body.at > now + FRESH_MS
        {
            return Err(Ignored::Stale);
        }
        if self.senders.len() >= SENDERS && !self.senders.contains_key(&body.from) {
            self.senders.retain(|_, heard| heard.at + 2 * FRESH_MS >= now);
            if self.senders.len() >= SENDERS {
                return Err(Ignored::Overflow);
            }
        }
        let heard = self.senders.entry(body.from.clone()).or_default();
        heard.take(body.number)?;
        heard.at = heard.at.max(body.at);
        Ok(())
    }
}

impl Heard {
    fn take(&mut self, number: u64) -> Result<(), Ignored> {
        if number > self.highest {
            let ahead = number - self.highest;
            let moved = u32::try_from(ahead).ok().and_then(|ahead| self.recent.checked_shl(ahead));
            (self.recent, self.highest) = (moved.unwrap_or(0) | 1, number);
            return Ok(());
        }
        let behind = self.highest - number;
        let bit = u32::try_from(behind).ok().and_then(|behind| 1_u128.checked_shl(behind));
        match bit {
            Some(bit) if self.recent & bit == 0 => {
                self.recent |= bit;
                Ok(())
            }
            _ => Err(Ignored::Replayed),
        }
    }
}

#[cfg(test)]
#[path = "seal_tests.rs"]
mod tests;
