//! What was revoked before it expired: tokens by their id, or what a user, a tenant or everybody was issued before a moment.
//!
//! Every entry ends, at the latest when the last token that it concerns has expired by itself, so the list stays as long as what
//! was revoked of late. Asked at admission and at every refresh; connections that are open when an entry comes are closed by
//! [`Control::revoke`](crate::control::Control::revoke).

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;
use rtgw_model::{Principal, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// Most entries: a few MiB. More is no list of exceptions; then the signing key has to go.
pub const ENTRIES: usize = 100_000;

/// What an entry concerns. `issued_before` means the claim `iat`, whole seconds: what was issued in the second of that moment counts
/// as before, and so does what does not say when it was issued; `None` is whenever issued.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Revoked {
    /// The token with this `jti`.
    Token(Box<str>),
    /// Everything of this user.
    User(Box<str>, Option<Timestamp>),
    /// Everything of this tenant.
    Tenant(Box<str>, Option<Timestamp>),
    /// Everything that anybody was issued before.
    Everyone(Timestamp),
}

/// The list is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{ENTRIES} revocations are in force; replace the signing key instead of adding more")]
pub struct Full;

/// An entry as pods write it for each other.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tenant: Option<Box<str>>,
    /// Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    issued_before: Option<i64>,
}

impl From<Revoked> for Written {
    fn from(revoked: Revoked) -> Self {
        let nothing = Self { jti: None, user: None, tenant: None, issued_before: None };
        let issued_before = |before: Option<Timestamp>| before.map(|before| before.0);
        match revoked {
            Revoked::Token(jti) => Self { jti: Some(jti), ..nothing },
            Revoked::User(user, before) => {
                Self { user: Some(user), issued_before: issued_before(before), ..nothing }
            }
            Revoked::Tenant(tenant, before) => {
                Self { tenant: Some(tenant), issued_before: issued_before(before), ..nothing }
            }
            Revoked::Everyone(before) => Self { issued_before: Some(before.0), ..nothing },
        }
    }
}

impl TryFrom<Written> for Revoked {
    type Error = &'static str;

    fn try_from(written: Written) -> Result<Self, Self::Error> {
        let before = written.issued_before.map(Timestamp);
        match (written.jti, written.user, written.tenant, before) {
            (Some(jti), None, None, None) => Ok(Self::Token(jti)),
            (None, Some(user), None, before) => Ok(Self::User(user, before)),
            (None, None, Some(tenant), before) => Ok(Self::Tenant(tenant, before)),
            (None, None, None, Some(before)) => Ok(Self::Everyone(before)),
            _ => Err("names no subject, or several"),
        }
    }
}

/// The revocations in force.
#[derive(Debug, Default)]
pub struct Revocations {
    /// There is a list elsewhere, and it has not been read since the start.
    unread: AtomicBool,
    /// False while nothing was ever revoked: then nobody's claims are read for it.
    any: AtomicBool,
    entries: RwLock<Entries>,
}

#[derive(Debug, Default)]
struct Entries {
    by_subject: HashMap<Subject, Vec<Entry>>,
    count: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Subject {
    Token(Box<str>),
    User(Box<str>),
    Tenant(Box<str>),
    Everyone,
}

impl Subject {
    fn revoked(&self, before: Option<Timestamp>) -> Revoked {
        match self {
            Self::Token(jti) => Revoked::Token(jti.clone()),
            Self::User(user) => Revoked::User(user.clone(), before),
            Self::Tenant(tenant) => Revoked::Tenant(tenant.clone(), before),
            Self::Everyone => Revoked::Everyone(before.unwrap_or_default()),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    issued_before: Option<Timestamp>,
    until: Timestamp,
}

impl Revoked {
    fn parts(&self) -> (Subject, Option<Timestamp>) {
        match self {
            Self::Token(jti) => (Subject::Token(jti.clone()), None),
            Self::User(user, before) => (Subject::User(user.clone()), *before),
            Self::Tenant(tenant, before) => (Subject::Tenant(tenant.clone()), *before),
            Self::Everyone(before) => (Subject::Everyone, Some(*before)),
        }
    }

    /// Whether it concerns `principal`. Nobody, who has no credential, is not concerned.
    pub fn concerns(&self, principal: &Principal) -> bool {
        let issued = || Issued::of(principal);
        match self {
            _ if principal.claims.is_empty() => false,
            Self::Token(jti) => issued().jti.is_some_and(|own| *own == **jti),
            Self::User(user, before) => principal.user == *user && issued().is_before(*before),
            Self::Tenant(tenant, before) => {
                !tenant.is_empty() && principal.tenant == *tenant && issued().is_before(*before)
            }
            Self::Everyone(before) => issued().is_before(Some(*before)),
        }
    }
}

impl Revocations {
    /// Nothing yet, of a list that is still to be read.
    pub fn unread() -> Self {
        Self { unread: AtomicBool::new(true), ..Self::default() }
    }

    /// The list has been read.
    pub fn learn(&self) {
        self.unread.store(false, Ordering::Release);
    }

    /// Whether nobody can say what is revoked, because the list was never read.
    pub fn is_unread(&self) -> bool {
        self.unread.load(Ordering::Acquire)
    }

    /// Whether an entry is here that lasts until `until` at least.
    pub fn has(&self, revoked: &Revoked, until: Timestamp) -> bool {
        let (subject, issued_before) = revoked.parts();
        let entries = self.entries.read();
        let own = entries.by_subject.get(&subject).map(Vec::as_slice).unwrap_or_default();
        own.iter().any(|entry| entry.issued_before == issued_before && entry.until >= until)
    }

    /// All entries that have not ended at `now`, and when each ends.
    pub fn in_force(&self, now: Timestamp) -> Vec<(Revoked, Timestamp)> {
        let entries = self.entries.read();
        let all = entries
            .by_subject
            .iter()
            .flat_map(|(subject, own)| own.iter().map(move |entry| (subject, entry)));
        let entry =
            |(subject, entry): (&Subject, &Entry)| (subject.revoked(entry.issued_before), entry.until);
        all.filter(|(_, entry)| entry.until > now).map(entry).collect()
    }

    /// Adds an entry that is in force until `until`; one that is there already stays in force for the longer of both times.
    ///
    /// # Errors
    /// [`Full`]: the entry is not in force.
    pub fn add(&self, revoked: &Revoked, until: Timestamp, now: Timestamp) -> Result<(), Full> {
        let (subject, issued_before) = revoked.parts();
        let mut entries = self.entries.write();
        let own = entries.by_subject.get_mut(&subject);
        let known = own.and_then(|own| own.iter_mut().find(|entry| entry.issued_before == issued_before));
        if let Some(known) = known {
            known.until = known.until.max(until);
            return Ok(());
        }
        if entries.count >= ENTRIES {
            entries.clear_ended(now);
        }
        if entries.count >= ENTRIES {
            return Err(Full);
        }
        entries.by_subject.entry(subject).or_default().push(Entry { issued_before, until });
        entries.count += 1;
        self.any.store(true, Ordering::Release);
        Ok(())
    }

    /// Whether an entry in force at `now` concerns `principal`.
    pub fn refuse(&self, principal: &Principal, now: Timestamp) -> bool {
        if !self.any.load(Ordering::Acquire) || principal.claims.is_empty() {
            return false;
        }
        let issued = Issued::of(principal);
        let entries = self.entries.read();
        let concerned = |subject: &Subject| {
            entries.by_subject.get(subject).is_some_and(|own| {
                own.iter().any(|entry| entry.until > now && issued.is_before(entry.issued_before))
            })
        };
        issued.jti.as_deref().is_some_and(|jti| concerned(&Subject::Token(jti.into())))
            || concerned(&Subject::User(principal.user.clone()))
            || (!principal.tenant.is_empty() && concerned(&Subject::Tenant(principal.tenant.clone())))
            || concerned(&Subject::Everyone)
    }

    /// Entries, those that have ended and were not cleared away yet included.
    pub fn len(&self) -> usize {
        self.entries.read().count
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Entries {
    fn clear_ended(&mut self, now: Timestamp) {
        self.by_subject.retain(|_, own| {
            own.retain(|entry| entry.until > now);
            !own.is_empty()
        });
        self.count = self.by_subject.values().map(Vec::len).sum();
    }
}

/// What claims say of the token itself (RFC 7519, sections 4.1.6 and 4.1.7).
#[derive(Debug, Default)]
struct Issued<'c> {
    jti: Option<Cow<'c, str>>,
    /// Seconds.
    iat: Option<f64>,
}

impl<'c> Issued<'c> {
    fn of(principal: &'c Principal) -> Self {
        #[derive(Default, Deserialize)]
        struct Claims<'c> {
            #[serde(borrow)]
            jti: Option<&'c RawValue>,
            #[serde(borrow)]
            iat: Option<&'c RawValue>,
        }
        let claims: Claims<'c> = serde_json::from_str(&principal.claims).unwrap_or_default();
        Self {
            jti: claims.jti.and_then(|raw| text(raw.get())),
            iat: claims.iat.and_then(|raw| serde_json::from_str(raw.get()).ok()),
        }
    }

    fn is_before(&self, moment: Option<Timestamp>) -> bool {
        match (moment, self.iat) {
            (Some(moment), Some(iat)) => iat <= (moment.0 as f64 / 1000.0).floor(),
            _ => true,
        }
    }
}

/// A JSON string, borrowed where it has no escapes.
fn text(json: &str) -> Option<Cow<'_, str>> {
    match serde_json::from_str::<&str>(json) {
        Ok(text) => Some(Cow::Borrowed(text)),
        Err(_) => serde_json::from_str::<String>(json).ok().map(Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const NOW: Timestamp = Timestamp(1_000_000);
    const LATER: Timestamp = Timestamp(2_000_000);

    fn principal(user: &str, tenant: &str, claims: &str) -> Principal {
        Principal {
            user: user.into(),
            tenant: tenant.into(),
            claims: claims.into(),
            ip: std::net::IpAddr::from([127, 0, 0, 1]),
            query: "".into(),
            expires: None,
        }
    }

    /// Asks the list and the entry itself: they must agree, because one refuses and the other closes.
    fn refused(revoked: &Revoked, principal: &Principal) -> bool {
        let list = Revocations::default();
        list.add(revoked, LATER, NOW).unwrap();
        let refused = list.refuse(principal, NOW);
        assert_eq!(refused, revoked.concerns(principal), "{revoked:?} {principal:?}");
        assert!(!list.refuse(principal, LATER), "an entry ends");
        refused
    }

    #[test]
    fn a_token_is_revoked_by_its_id() {
        let token = Revoked::Token("a\"b".into());
        assert!(refused(&token, &principal("ann", "", r#"{"jti":"a\"b","sub":"ann"}"#)));
        assert!(refused(&token, &principal("ann", "", r#"{"jti":"\u0061\"b"}"#)));
        for other in [r#"{"jti":"a"}"#, r#"{"jti":7}"#, r#"{"sub":"a\"b"}"#, "{}", ""] {
            assert!(!refused(&token, &principal("ann", "", other)), "{other}");
        }
    }

    #[test]
    fn what_was_issued_before_is_revoked_and_what_comes_after_is_not() {
        let at = Some(Timestamp(500_900));
        for revoked in [
            Revoked::User("ann".into(), at),
            Revoked::Tenant("acme".into(), at),
            Revoked::Everyone(Timestamp(500_900)),
        ] {
            let of = |claims: &str| refused(&revoked, &principal("ann", "acme", claims));
            assert!(of(r#"{"iat":499}"#) && of(r#"{"iat":500}"#) && of(r#"{"iat":499.5}"#), "{revoked:?}");
            assert!(!of(r#"{"iat":501}"#) && !of(r#"{"iat":1e9}"#), "{revoked:?}");
            assert!(of("{}") && of(r#"{"iat":"501"}"#), "who does not say when is not trusted: {revoked:?}");
            assert!(!of(""), "nobody has no credential");
            let other = refused(&revoked, &principal("bob", "other", r#"{"iat":1}"#));
            assert_eq!(other, matches!(revoked, Revoked::Everyone(_)));
        }
        assert!(refused(&Revoked::User("ann".into(), None), &principal("ann", "", r#"{"iat":9e9}"#)));
        assert!(!refused(&Revoked::Tenant("".into(), Some(LATER)), &principal("ann", "x", "{}")));
        assert!(!refused(&Revoked::Tenant("".into(), None), &principal("ann", "", "{}")));
    }

    #[test]
    fn the_list_is_bounded_and_clears_what_has_ended() {
        let list = Revocations::default();
        for entry in 0..ENTRIES {
            list.add(&Revoked::Token(entry.to_string().into()), LATER, NOW).unwrap();
        }
        let one_more = Revoked::Token("one more".into());
        assert_eq!(list.add(&one_more, LATER, NOW), Err(Full));
        list.add(&Revoked::Token("7".into()), LATER, NOW).unwrap();
        list.add(&one_more, Timestamp(3_000_000), LATER).unwrap();
        assert_eq!(list.len(), 1);
    }

    #[test]
    fn entries_are_written_and_read_as_they_are() {
        let at = Some(Timestamp(7));
        let list = Revocations::unread();
        assert!(list.is_unread());
        let all = [
            (Revoked::Token("a\"b".into()), r#"{"jti":"a\"b"}"#),
            (Revoked::User("ann".into(), at), r#"{"user":"ann","issuedBefore":7}"#),
            (Revoked::Tenant("acme".into(), None), r#"{"tenant":"acme"}"#),
            (Revoked::Everyone(Timestamp(7)), r#"{"issuedBefore":7}"#),
        ];
        for (revoked, text) in &all {
            assert_eq!(serde_json::to_string(revoked).unwrap(), *text);
            assert_eq!(serde_json::from_str::<Revoked>(text).unwrap(), *revoked);
            list.add(revoked, LATER, NOW).unwrap();
            assert!(list.has(revoked, LATER) && !list.has(revoked, Timestamp(LATER.0 + 1)));
        }
        list.learn();
        assert!(!list.is_unread());
        let mut kept = list.in_force(NOW);
        kept.sort_by_key(|(revoked, _)| all.iter().position(|(one, _)| one == revoked));
        assert_eq!(kept, all.map(|(revoked, _)| (revoked, LATER)));
        assert!(list.in_force(LATER).is_empty());
        for bad in ["{}", r#"{"jti":"a","user":"b"}"#, r#"{"jti":"a","issuedBefore":1}"#, r#"{"role":"x"}"#] {
            assert!(serde_json::from_str::<Revoked>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_entry_added_again_lasts_longer_and_never_shorter() {
        let list = Revocations::default();
        let user = Revoked::User("ann".into(), None);
        for until in [NOW, LATER, NOW] {
            list.add(&user, until, NOW).unwrap();
        }
        assert!(list.refuse(&principal("ann", "", "{}"), Timestamp(LATER.0 - 1)));
        assert_eq!(list.len(), 1);
    }
}
