//! Where the pods of a gateway meet: which Redis the configuration names, each as one address that all parts share.

use anyhow::{Context, Result};
use parking_lot::Mutex;
use rtgw_config::checked::{Checked, PreviousRedis, Redis, RedisAddress, WriteTo};
use tokio::sync::watch;

use crate::broker::Stages;
use crate::redis_link::{Address, AddressError, choose};

/// The Redis of the configuration of now.
pub(super) struct Meeting {
    /// That of the command line, which goes before what a manifest says.
    instead: Option<RedisAddress>,
    /// As they are written, and in use.
    known: Mutex<Vec<(RedisAddress, Address)>>,
    /// Where leases are held ([`leases`]); empty without a Redis.
    leases: watch::Sender<Vec<(Address, bool)>>,
}

/// Whether there is a Redis to meet in.
pub(super) fn meets(config: &Checked, instead: Option<&RedisAddress>) -> bool {
    choose(instead, None, &config.redis).is_some()
}

impl Meeting {
    /// None before the first [`Meeting::renewed`]; always `instead`, where there is one.
    pub(super) fn new(instead: Option<RedisAddress>) -> Self {
        Self { instead, known: Mutex::default(), leases: watch::Sender::default() }
    }

    /// Which Redis there are; nothing of those that run changes.
    ///
    /// # Errors
    /// An address that cannot be used.
    pub(super) fn stages(&self, config: &Checked) -> Result<Option<Stages>> {
        self.stages_of(config, Address::new)
    }

    /// The same. Those that are known go on with new credentials, also under connections that live.
    ///
    /// # Errors
    /// As [`Meeting::stages`].
    pub(super) fn renewed(&self, config: &Checked) -> Result<Option<Stages>> {
        let mut used = Vec::new();
        let stages = self.stages_of(config, |written| {
            let address = self.address(written)?;
            used.push((written.clone(), address.clone()));
            Ok(address)
        })?;
        *self.known.lock() = used;
        let leases = stages.as_ref().map_or_else(Vec::new, leases);
        self.leases.send_if_modified(|before| {
            let same = before.len() == leases.len()
                && before.iter().zip(&leases).all(|(one, other)| one.1 == other.1 && one.0.is_at(&other.0));
            *before = leases;
            !same
        });
        Ok(stages)
    }

    fn address(&self, written: &RedisAddress) -> Result<Address, AddressError> {
        for (before, address) in self.known.lock().iter() {
            if before == written || address.renew(written)? {
                return Ok(address.clone());
            }
        }
        Address::new(written)
    }

    /// Where leases are held.
    pub(super) fn leases(&self) -> watch::Receiver<Vec<(Address, bool)>> {
        self.leases.subscribe()
    }

    fn stages_of(
        &self,
        config: &Checked,
        mut used: impl FnMut(&RedisAddress) -> Result<Address, AddressError>,
    ) -> Result<Option<Stages>> {
        if let Some(instead) = &self.instead {
            return Ok(Some(Stages { current: used(instead).context("--redis")?, previous: None }));
        }
        let Redis::External(current) = &config.redis else { return Ok(None) };
        let current = used(current).context("spec.redis.external")?;
        let previous = match &config.previous_redis {
            None => None,
            Some(PreviousRedis { address, write_to }) => {
                Some((used(address).context("spec.redis.previous.external")?, *write_to))
            }
        };
        Ok(Some(Stages { current, previous }))
    }
}

/// In every Redis that this pod may write, and whether nobody reads without the lease there. What pods of two stages side by side need has
/// one in common, so that two never read at once. The next one is not needed before it has to be reached, but held if it can be: once the
/// pods have gone there, it is what publications are fenced by.
fn leases(stages: &Stages) -> Vec<(Address, bool)> {
    match &stages.previous {
        None => vec![(stages.current.clone(), true)],
        Some((previous, write_to)) => {
            vec![(previous.clone(), true), (stages.current.clone(), *write_to == WriteTo::Current)]
        }
    }
}
