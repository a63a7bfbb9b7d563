//! Takes what was heard in its order, and hands on what is new: gaps and what is missing come before what is behind them.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use rtgw_hub::GapScope;
use rtgw_model::{ChannelName, GapReason, Publication};
use rtgw_protocol::pods::{self, STANDING, Stamp, Standing};

use super::interests::{Findings, Hole, Interests, Verdict};
use super::queue::Item;
use super::{Question, Redis};

/// Items taken from the queue at once.
const BATCH: usize = 128;
/// Channels of one gap.
const GAP: usize = 1_024;

/// Something heard, read.
pub(super) enum Heard {
    Publication(Publication, Stamp),
    Standing(Standing),
    Subscribed(ChannelName),
    Overflow,
}

/// What has to be done before the rest.
struct Repair {
    holes: Vec<Hole>,
    /// What is missing has lower numbers.
    before: u64,
    /// Who is answered afterwards.
    question: Option<Question>,
}

impl Redis {
    /// Delivers until dropped.
    pub(super) async fn deliver(&self) {
        loop {
            let items = self.queue.take(BATCH).await;
            let mut heard: VecDeque<Heard> =
                items.into_iter().filter_map(|item| self.read_item(item)).collect();
            while let Some(Repair { holes, before, question }) = self.hand_on(&mut heard) {
                self.repair(holes, before).await;
                if let Some(question) = question {
                    self.finish(&mut self.interests.lock(), question);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn read_item(&self, item: Item) -> Option<Heard> {
        match item {
            Item::Message(message) => self.read_message(&message),
            Item::Subscribed(channel) => Some(Heard::Subscribed(channel)),
            Item::Overflow => Some(Heard::Overflow),
        }
    }

    fn read_message(&self, message: &Bytes) -> Option<Heard> {
        let read = if message.first() == Some(&STANDING) {
            pods::standing(message).map(Heard::Standing)
        } else {
            pods::publication(message, self.pod)
                .map(|(publication, stamp)| Heard::Publication(publication, stamp))
        };
        match read {
            Ok(heard) => Some(heard),
            Err(error) => {
                let before = self.counts.malformed.fetch_add(1, Ordering::Relaxed);
                // Powers of two: the first is seen at once, a flood makes few lines.
                if (before + 1).is_power_of_two() {
                    tracing::warn!(%error, messages = before + 1, "a message of another pod is ignored");
                }
                None
            }
        }
    }

    /// Hands on until something has to be repaired first. Under one lock, so that a position that somebody reads is one of which the
    /// sink has been given everything.
    fn hand_on(&self, heard: &mut VecDeque<Heard>) -> Option<Repair> {
        let mut interests = self.interests.lock();
        let mut ready: Vec<Publication> = Vec::new();
        while let Some(next) = heard.pop_front() {
            match next {
                Heard::Publication(publication, stamp) => {
                    let (verdict, findings) = interests.hear(&publication.channels, &stamp);
                    if findings != Findings::default() {
                        self.flush(&mut ready);
                    }
                    let holes = self.tell(findings, stamp.id.epoch);
                    match verdict {
                        Verdict::Skip => {}
                        Verdict::Deliver => {
                            self.knowledge.saw(stamp.id);
                            ready.push(publication);
                        }
                        Verdict::Wait => {
                            let before = stamp.id.sequence;
                            heard.push_front(Heard::Publication(publication, stamp));
                            return Some(Repair { holes, before, question: None });
                        }
                    }
                }
                Heard::Subscribed(channel) => {
                    self.flush(&mut ready);
                    self.carry(&mut interests, channel, heard);
                }
                other => {
                    self.flush(&mut ready);
                    if let Some(repair) = self.note(&mut interests, other) {
                        return Some(repair);
                    }
                }
            }
        }
        self.flush(&mut ready);
        None
    }

    /// Redis has confirmed subscriptions. What a channel that keeps nothing missed meanwhile is told here: behind the last that was
    /// missed, and before the first that is heard again.
    fn carry(&self, interests: &mut Interests, first: ChannelName, heard: &mut VecDeque<Heard>) {
        let (mut unheard, mut next) = (Vec::new(), Some(first));
        while let Some(channel) = next {
            if interests.was_promised(&channel) {
                unheard.push(channel.clone());
            }
            if let Some((channel, generation, position)) = interests.subscribed(&channel) {
                self.sink.ready(channel, generation, position);
            }
            next = match heard.pop_front() {
                Some(Heard::Subscribed(channel)) => Some(channel),
                other => {
                    other.into_iter().for_each(|other| heard.push_front(other));
                    None
                }
            };
        }
        self.gap(&unheard, GapReason::BrokerReconnected);
    }

    fn note(&self, interests: &mut Interests, heard: Heard) -> Option<Repair> {
        match heard {
            Heard::Publication(..) | Heard::Subscribed(_) => {}
            Heard::Standing(standing) => {
                self.knowledge.stands(standing.epoch, standing.since, standing.sequence);
                let question = self.questions.lock().remove(&standing.nonce);
                if question.is_none() {
                    self.signals.notice.notify_one();
                }
                let channels = question.as_ref().map_or(&[][..], |question| &question.channels);
                let findings = interests.stand(standing.epoch, standing.sequence, channels, &standing.places);
                let holes = self.tell(findings, standing.epoch);
                if !holes.is_empty() {
                    return Some(Repair { holes, before: standing.sequence + 1, question });
                }
                question.into_iter().for_each(|question| self.finish(interests, question));
            }
            Heard::Overflow => {
                self.gap(&interests.unkept(), GapReason::Missed);
                self.signals.check.notify_one();
            }
        }
        None
    }

    /// A standing has been heard and everything before it delivered.
    fn finish(&self, interests: &mut Interests, question: Question) {
        for (channel, generation, position) in interests.answers(&question.channels) {
            self.sink.ready(channel, generation, position);
        }
        if let Some(heard) = question.heard {
            // Whoever asked may have stopped waiting.
            let _told = heard.send(());
        }
    }

    fn flush(&self, ready: &mut Vec<Publication>) {
        match ready.len() {
            0 => {}
            1 => ready.drain(..).for_each(|publication| self.sink.publication(publication)),
            _ => self.sink.publications(std::mem::take(ready)),
        }
    }

    /// Says what stopped counting; the holes are left to be repaired.
    fn tell(&self, findings: Findings, epoch: u64) -> Vec<Hole> {
        let Findings { reset, holes, went_back, new_epoch } = findings;
        if !reset.is_empty() {
            self.counts.reset.fetch_add(reset.len() as u64, Ordering::Relaxed);
            tracing::warn!(
                channels = reset.len(),
                "the positions of these channels count no more: Redis has lost what they kept, or a source's reader missed something"
            );
            self.gap(&reset, GapReason::BrokerReset);
        }
        if new_epoch {
            self.signals.check.notify_one();
        }
        if went_back {
            self.doubt(epoch);
        }
        holes
    }

    pub(super) fn gap(&self, channels: &[ChannelName], reason: GapReason) {
        for channels in channels.chunks(GAP) {
            self.sink.gap(GapScope::Channels(channels.into()), reason);
        }
    }
}
