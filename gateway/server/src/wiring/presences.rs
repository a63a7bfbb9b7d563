//! Which presence knows who hears what: that of the one process, or one in Redis.

use std::sync::Arc;

use rtgw_config::checked::Checked;
use tokio_util::sync::CancellationToken;

use crate::broker::{MemoryPresence, Switching, SwitchingPresence};
use crate::intake::Intake;
use crate::presence::Roster;
use crate::redis_link::Names;
use crate::rulebook::Rulebook;

/// This pod's part in presence, and the Redis where it is kept, if it is.
#[derive(Clone)]
pub(super) struct Presences {
    pub(super) roster: Arc<Roster>,
    pub(super) redis: Option<Arc<SwitchingPresence>>,
}

impl Presences {
    /// In the Redis of the broker, else in memory.
    pub(super) fn choose(
        config: &Checked,
        redis: Option<&Switching>,
        intake: &Arc<Intake>,
        rules: &Arc<Rulebook>,
    ) -> Self {
        let roster = |presence| Roster::new(Arc::clone(rules), presence, Arc::clone(intake.counts()));
        let Some(stage) = redis.map(|redis| redis.stage().borrow().clone()) else {
            let presence = Arc::new(MemoryPresence::new(Arc::clone(intake) as _));
            return Self { roster: roster(presence), redis: None };
        };
        let names = Names::new(&config.namespace, &config.name);
        let redis = SwitchingPresence::new(&stage, names, Arc::clone(intake) as _);
        Self { roster: roster(Arc::clone(&redis) as _), redis: Some(redis) }
    }

    /// Plays the part until `stop`, and takes leave.
    pub(super) async fn keep(self, stop: CancellationToken) {
        self.roster.keep(&stop).await;
    }
}
