//! Whom a count is about, in the 17 bytes that Redis keeps: names may be long, and are nobody's business there.

use std::net::IpAddr;

use ring::digest::{Context, SHA256};

/// A letter for the kind and half of a digest of the name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Subject([u8; Subject::BYTES]);

impl Subject {
    /// Length of [`Subject::as_bytes`].
    pub const BYTES: usize = 17;

    /// Everybody.
    pub fn gateway() -> Self {
        Self::of(b'g', &[])
    }

    /// A network, as [`network_of`](crate::limits::network_of) gives it.
    pub fn network(ip: IpAddr) -> Self {
        Self::of(b'a', &[ip.to_string().as_bytes()])
    }

    /// A user of a tenant.
    pub fn user(tenant: &str, user: &str) -> Self {
        Self::of(b'u', &[tenant.as_bytes(), user.as_bytes()])
    }

    /// A tenant.
    pub fn tenant(name: &str) -> Self {
        Self::of(b't', &[name.as_bytes()])
    }

    fn of(kind: u8, names: &[&[u8]]) -> Self {
        let mut context = Context::new(&SHA256);
        for name in names {
            // Lengths in front keep `a`, `bc` and `ab`, `c` apart.
            context.update(&(name.len() as u64).to_be_bytes());
            context.update(name);
        }
        let mut bytes = [kind; Self::BYTES];
        let digest = context.finish();
        for (to, from) in bytes.iter_mut().skip(1).zip(digest.as_ref()) {
            *to = *from;
        }
        Self(bytes)
    }

    /// As it came from another pod; `None` for what none would send.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.try_into().ok()?)).filter(|subject| b"gaut".contains(&subject.0[0]))
    }

    /// As Redis keeps it.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether the order of its connections is kept, not only their number.
    pub(super) fn is_ordered(self) -> bool {
        self.0[0] == b'u'
    }
}

impl std::fmt::Debug for Subject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", char::from(self.0[0]))?;
        self.0[1..5].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_and_names_are_kept_apart() {
        let ip = IpAddr::from([127, 0, 0, 1]);
        let all = [
            Subject::gateway(),
            Subject::network(ip),
            Subject::tenant("127.0.0.1"),
            Subject::user("a", "bc"),
            Subject::user("ab", "c"),
            Subject::user("", "abc"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all[..at].iter().all(|other| other != one), "{one:?}");
            assert_eq!(Subject::from_bytes(one.as_bytes()), Some(*one));
        }
        assert_eq!(Subject::user("a", "b"), Subject::user("a", "b"));
        assert_eq!(Subject::from_bytes(b"short"), None);
        assert_eq!(Subject::from_bytes(&[b'x'; 17]), None);
    }
}
