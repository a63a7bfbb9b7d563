//! Which presence knows who hears what: that of the one process, or one in Redis.

use std::sync::Arc;

use rtgw_config::checked::{Checked, Redis};
use tokio_util::sync::CancellationToken;

use super::Options;
use crate::broker::{MemoryPresence, RedisPresence};
use crate::intake::Intake;
use crate::presence::Roster;
use crate::redis_link::{Address, AddressError, Names};
use crate::rulebook::Rulebook;

/// This pod's part in presence, and the Redis where it is kept, if it is.
#[derive(Clone)]
pub(super) struct Presences {
    pub(super) roster: Arc<Roster>,
    redis: Option<Arc<RedisPresence>>,
}

impl Presences {
    /// In the Redis that the command line or the configuration names, else in memory.
    pub(super) fn choose(
        config: &Checked,
        options: &Options,
        intake: &Arc<Intake>,
        rules: &Arc<Rulebook>,
    ) -> Result<Self, AddressError> {
        let roster = |presence| Roster::new(Arc::clone(rules), presence, Arc::clone(intake.counts()));
        let address = match (&options.redis, &config.redis) {
            (Some(address), _) | (None, Redis::External(address)) => address,
            (None, Redis::Embedded) => {
                let presence = Arc::new(MemoryPresence::new(Arc::clone(intake) as _));
                return Ok(Self { roster: roster(presence), redis: None });
            }
        };
        let names = Names::new(&config.namespace, &config.name);
        let redis = RedisPresence::new(Address::new(address)?, names, Arc::clone(intake) as _);
        Ok(Self { roster: roster(Arc::clone(&redis) as _), redis: Some(redis) })
    }

    /// Plays the part until `stop`, and takes leave.
    pub(super) async fn keep(self, stop: CancellationToken) {
        let keep = self.roster.keep(&stop);
        match &self.redis {
            None => keep.await,
            // Needed until the leave is taken.
            Some(redis) => tokio::select! {
                () = keep => {}
                () = redis.run() => {}
            },
        }
    }
}
