//! What this pod says: sealed and numbered, to one pod through a queue, to all of them at once.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;

use super::message::Message;
use super::order::Answer;
use super::seal::{Body, MOST_BYTES};
use super::{Others, Said, Way};
use crate::redis_link::{Call, Kind, Script, Trouble};

/// Says who is there, and learns the time.
static ANNOUNCE: Script = Script::new(include_str!("announce.lua"));
static TELL: Script = Script::new(include_str!("tell.lua"));
/// How often a pod says that it is there; `tell.lua` believes it for three times as long.
const ANNOUNCE_EVERY: Duration = Duration::from_secs(2);
/// After an attempt that failed.
const AGAIN: Duration = Duration::from_millis(200);
/// Messages that are sent at once.
const BATCH: usize = 64;
/// The word in names that belongs to no pod.
pub(super) const ALL: &str = "pods";

impl Others {
    /// Seals `message`; `None` while there is no key or no time.
    fn sealed(&self, message: Message) -> Option<Vec<u8>> {
        let keys = self.keys.load_full()?;
        let at = self.clock.now()?;
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let sealed = keys.seal(&Body { from: self.pod.clone(), number, at, message });
        (sealed.len() <= MOST_BYTES).then_some(sealed)
    }

    /// Sends `message` to all pods; those others that are there.
    pub(super) async fn tell_all(&self, message: Message) -> Result<HashSet<String>, Trouble> {
        let sealed = self.sealed(message).ok_or(Trouble::Down)?;
        let mut call = Call::default();
        call.key(self.names.of(Kind::Pods, ALL)).arg(self.names.of(Kind::Control, ALL)).arg(sealed);
        let (mut all, mut trouble) = (None::<HashSet<String>>, Trouble::Down);
        for way in self.ways() {
            match way.link.invoke::<HashSet<String>>(&TELL, &call).await {
                Ok(pods) => all.get_or_insert_default().extend(pods),
                Err(error) => trouble = error,
            }
        }
        let mut all = all.ok_or(trouble)?;
        all.remove(&self.pod);
        Ok(all)
    }

    /// Sends what waits, until dropped.
    pub(super) async fn speak(&self, said: &mut mpsc::Receiver<Said>) {
        let mut batch = Vec::with_capacity(BATCH);
        while said.recv_many(&mut batch, BATCH).await > 0 {
            let mut pipeline = redis::pipe();
            let all = batch.len() as u64;
            let mut sealed = 0_u64;
            for Said { channel, message } in batch.drain(..) {
                let answered = if let Message::Answer { id, .. } = &message { Some(*id) } else { None };
                let too_large = |id| {
                    let why = "the answer is too large for one message: ask for smaller pages".to_owned();
                    self.sealed(Message::Answer { id, answer: Answer::Refused(why) })
                };
                if let Some(bytes) = self.sealed(message).or_else(|| answered.and_then(too_large)) {
                    pipeline.cmd("PUBLISH").arg(channel).arg(bytes);
                    sealed += 1;
                }
            }
            let mut sent = 0;
            for way in self.ways() {
                if sealed > 0 && way.link.pipeline(&pipeline).await.is_ok() {
                    sent = sealed;
                }
            }
            self.counts.unsent.fetch_add(all - sent, Ordering::Relaxed);
        }
    }

    /// Says again and again that this pod is there, until dropped.
    pub(super) async fn announce(&self, way: &Way) {
        let mut call = Call::default();
        call.key(self.names.of(Kind::Pods, ALL)).arg(&self.pod);
        loop {
            let pause = match way.link.invoke::<u64>(&ANNOUNCE, &call).await {
                Ok(millis) => {
                    let counts =
                        self.ways.borrow().first().is_some_and(|first| first.address.is_at(&way.address));
                    if counts || self.clock.now().is_none() {
                        self.clock.set(millis);
                    }
                    ANNOUNCE_EVERY
                }
                Err(_) => AGAIN,
            };
            sleep(pause).await;
        }
    }

    /// Takes this pod off the list, so that nobody waits for its answers.
    pub async fn leave(&self) {
        let mut remove = redis::cmd("ZREM");
        remove.arg(self.names.of(Kind::Pods, ALL)).arg(&self.pod);
        // Otherwise it is forgotten a few seconds later.
        for way in self.ways() {
            let _removed = way.link.query::<u64>(&remove).await;
        }
    }
}
