//! Begins another epoch for some channels: those that Redis has a position of, found by going through its keys.
//!
//! Nobody knows which channels exist but Redis. It is asked for a part at a time, so that it has other things to do in between; a position
//! that is made meanwhile is a new one.

use rtgw_model::ChannelName;

use super::super::Concerned;
use super::Redis;
use super::scripts::fresh;
use crate::redis_link::{Call, Kind, Script, Trouble};

static OUTDATE: Script = Script::new(include_str!("outdate.lua"));

/// Keys that are looked at together.
const SCANNED: usize = 1_000;

impl Redis {
    /// See [`super::super::Broker::outdate`].
    pub(super) async fn outdate_all(&self, concerned: &Concerned) -> Result<(), Trouble> {
        let positions = self.scripts.names.of(Kind::Position, "*");
        let mut cursor = 0_u64;
        loop {
            let mut scan = redis::cmd("SCAN");
            scan.arg(cursor).arg("MATCH").arg(&positions).arg("COUNT").arg(SCANNED);
            let (next, found): (u64, Vec<Vec<u8>>) = self.link.query(&scan).await?;
            let mut call = Call::default();
            call.arg(&fresh()[..]);
            let meant: Vec<_> = found.iter().filter(|key| self.is_concerned(key, concerned)).collect();
            for key in &meant {
                call.key(&key[..]);
            }
            if !meant.is_empty() {
                self.link.invoke::<u64>(&OUTDATE, &call).await?;
            }
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
        // What this pod carries is compared now rather than in a while.
        self.signals.check.notify_one();
        Ok(())
    }

    fn is_concerned(&self, key: &[u8], concerned: &Concerned) -> bool {
        let name = std::str::from_utf8(key).ok().and_then(|key| self.scripts.names.tag(Kind::Position, key));
        name.and_then(|name| ChannelName::parse(name).ok()).is_some_and(|channel| concerned(&channel))
    }
}
