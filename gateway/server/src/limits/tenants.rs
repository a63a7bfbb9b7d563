//! Tenants: how many connections each has, and the one bucket that all of them send from.

use std::collections::VecDeque;
use std::sync::Arc;

use super::rate::Rate;
use super::tally::{AtLimit, Part, Parts};

/// Who shares what. Connections without a tenant are not counted.
#[derive(Debug, Default)]
pub struct Tenants {
    parts: Parts<Tenancy>,
}

#[derive(Debug, Default)]
struct Tenancy {
    tenants: Part<Tenant>,
    /// Tenants who had left when they were put here, in the order they did. Their buckets are kept until they are full again, a second at
    /// the longest: to leave and come back must not be a way to a full one.
    left: VecDeque<u64>,
}

#[derive(Debug, Default)]
struct Tenant {
    connections: u32,
    rate: Option<Arc<Rate>>,
}

/// One connection of a tenant, counted until it is dropped.
#[derive(Debug)]
pub struct TenantConnection {
    tenants: Arc<Tenants>,
    tenant: u64,
    rate: Option<Arc<Rate>>,
}

impl Tenants {
    /// Nobody.
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Counts a connection of `tenant`, whose messages are taken from the tenant's bucket of `messages_per_second`; no tenant (an empty
    /// name) is not counted.
    ///
    /// # Errors
    /// [`AtLimit`] where the tenant has `most` already.
    pub fn enter(
        self: &Arc<Self>,
        tenant: &str,
        most: u32,
        messages_per_second: Option<u32>,
    ) -> Result<Option<TenantConnection>, AtLimit> {
        if tenant.is_empty() {
            return Ok(None);
        }
        let key = self.parts.key(&tenant);
        let mut part = self.parts.lock(key);
        part.forget();
        let tenant = part.tenants.entry(key).or_default();
        if tenant.connections >= most {
            return Err(AtLimit);
        }
        tenant.connections += 1;
        // A bucket of another size is one of a configuration that has been replaced.
        if tenant.rate.as_ref().map(|rate| rate.per_second()) != messages_per_second {
            tenant.rate = messages_per_second.map(|per_second| Arc::new(Rate::new(per_second)));
        }
        let rate = tenant.rate.clone();
        Ok(Some(TenantConnection { tenants: Arc::clone(self), tenant: key, rate }))
    }
}

impl Tenancy {
    /// Forgets tenants who have left and whose buckets are full.
    fn forget(&mut self) {
        while let Some(key) = self.left.front() {
            match self.tenants.get(key) {
                Some(Tenant { connections: 0, rate: Some(rate) }) if !rate.is_full() => return,
                Some(Tenant { connections: 0, .. }) => drop(self.tenants.remove(key)),
                _ => {}
            }
            self.left.pop_front();
        }
    }
}

impl TenantConnection {
    /// Whether its messages are taken from a bucket.
    pub fn is_metered(&self) -> bool {
        self.rate.is_some()
    }

    /// Takes one message from the tenant's bucket; false when none is left.
    pub fn may_speak(&self) -> bool {
        self.rate.as_ref().is_none_or(|rate| rate.take())
    }
}

impl Drop for TenantConnection {
    fn drop(&mut self) {
        let mut part = self.tenants.parts.lock(self.tenant);
        let Some(tenant) = part.tenants.get_mut(&self.tenant) else { return };
        tenant.connections -= 1;
        if tenant.connections == 0 {
            part.left.push_back(self.tenant);
            part.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn known(tenants: &Tenants) -> usize {
        tenants.parts.sum(|part| part.tenants.len())
    }

    #[test]
    fn each_tenant_has_its_connections_and_its_bucket() {
        let tenants = Tenants::new();
        let enter = |tenant| tenants.enter(tenant, 2, Some(3));
        let (first, second) = (enter("a").unwrap().unwrap(), enter("a").unwrap().unwrap());
        assert_eq!(enter("a").unwrap_err(), AtLimit);
        let other = enter("b").unwrap().unwrap();
        assert!(enter("").unwrap().is_none());
        let spoken = [&first, &second, &first, &second].map(TenantConnection::may_speak);
        assert_eq!(spoken, [true, true, true, false]);
        assert!(other.may_speak());
        drop(first);
        assert!(enter("a").is_ok());
    }

    #[test]
    fn who_leaves_and_comes_back_finds_the_bucket_as_it_was() {
        let tenants = Tenants::new();
        let enter = || tenants.enter("a", 1, Some(2)).unwrap().unwrap();
        let first = enter();
        assert!(first.may_speak() && first.may_speak());
        drop(first);
        let again = enter();
        assert!(!again.may_speak());
        // Nobody is remembered whose bucket is full.
        let quiet = tenants.enter("b", 1, Some(2)).unwrap().unwrap();
        drop(quiet);
        let unlimited = tenants.enter("c", 1, None).unwrap().unwrap();
        assert!(unlimited.may_speak());
        drop(unlimited);
        assert_eq!(known(&tenants), 1);
        drop(again);
        std::thread::sleep(std::time::Duration::from_millis(1100));
        let part = tenants.parts.key(&"a");
        tenants.parts.lock(part).forget();
        assert_eq!(known(&tenants), 0);
    }

    #[test]
    fn another_rate_is_another_bucket() {
        let tenants = Tenants::new();
        let slow = tenants.enter("a", 9, Some(1)).unwrap().unwrap();
        assert!(slow.may_speak() && !slow.may_speak());
        let fast = tenants.enter("a", 9, Some(5)).unwrap().unwrap();
        assert!(fast.may_speak());
    }
}
