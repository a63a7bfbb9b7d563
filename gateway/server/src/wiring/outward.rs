//! What shards ask of the server, bound after the shards have started: they and the parts that answer them need each other.

use std::sync::{Arc, OnceLock};

use rtgw_hub::{Ask, Input, Present};
use rtgw_model::{ChannelName, ConnectionKey, RuleIx};

use crate::intake::Interests;
use crate::presence::Roster;
use crate::questions::Questions;
use crate::transport::{Inbox, Outward, ShardInput};

/// Who answers: for channels, for questions, for who hears what, and the shards themselves.
pub(super) type Answering = (Interests, Arc<Questions>, Arc<Roster>, Vec<Arc<dyn Inbox>>);

/// Passes wishes on. Nothing asks before the first socket is adopted, and no socket is before [`Link::bind`].
#[derive(Default)]
pub(super) struct Link(OnceLock<Answering>);

impl Link {
    /// Names who answers; once.
    pub(super) fn bind(&self, answering: Answering) {
        if self.0.set(answering).is_err() {
            tracing::error!("the shards were bound twice; the first binding stays");
        }
    }
}

impl Outward for Link {
    fn ask(&self, ask: Ask) {
        if let Some((_, questions, ..)) = self.0.get() {
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
        if let Some((_, _, roster, _)) = self.0.get() {
            roster.present(present);
        }
    }

    fn absent(&self, connection: ConnectionKey, channel: ChannelName) {
        if let Some((_, _, roster, _)) = self.0.get() {
            roster.absent(connection, channel);
        }
    }

    fn relieve(&self, shard: u16) {
        if let Some((.., shards)) = self.0.get()
            && let Some(inbox) = shards.get(usize::from(shard))
        {
            // Never refused: only publications are.
            let _posted = inbox.post(ShardInput::Hub(Input::Relieve));
        }
    }
}
