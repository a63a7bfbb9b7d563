//! What shards ask of the server, bound after the shards have started: they and the parts that answer them need each other.

use std::sync::{Arc, OnceLock};

use rtgw_hub::{Ask, Present};
use rtgw_model::{ChannelName, ConnectionKey, RuleIx};

use crate::intake::Interests;
use crate::presence::Roster;
use crate::questions::Questions;
use crate::transport::Outward;

/// Passes wishes on. Nothing asks before the first socket is adopted, and no socket is before [`Link::bind`].
#[derive(Default)]
pub(super) struct Link(OnceLock<(Interests, Arc<Questions>, Arc<Roster>)>);

impl Link {
    /// Names who answers; once.
    pub(super) fn bind(&self, interests: Interests, questions: Arc<Questions>, roster: Arc<Roster>) {
        if self.0.set((interests, questions, roster)).is_err() {
            tracing::error!("the shards were bound twice; the first binding stays");
        }
    }
}

impl Outward for Link {
    fn ask(&self, ask: Ask) {
        if let Some((_, questions, _)) = self.0.get() {
            questions.ask(ask);
        }
    }

    fn want(&self, shard: u16, channel: ChannelName, rule: RuleIx) {
        if let Some((interests, ..)) = self.0.get() {
            interests.want(shard, channel, rule);
        }
    }

    fn unwant(&self, shard: u16, channel: ChannelName) {
        if let Some((interests, ..)) = self.0.get() {
            interests.unwant(shard, &channel);
        }
    }

    fn present(&self, present: Present) {
        if let Some((.., roster)) = self.0.get() {
            roster.present(present);
        }
    }

    fn absent(&self, connection: ConnectionKey, channel: ChannelName) {
        if let Some((.., roster)) = self.0.get() {
            roster.absent(connection, channel);
        }
    }
}
