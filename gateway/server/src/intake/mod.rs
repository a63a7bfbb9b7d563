//! Where publications enter the pod: looks up the shards with a subscriber and posts to their inboxes.
//!
//! **Order.** What is promised is the order of one caller: a broker calls from inside its own order (its lock, or its one reader), a
//! source from its one task, and each call has posted to every shard before it returns. So every shard sees a broker's publications in
//! the order of their ids, and a source's in the order it read them. Between two callers there is no order to keep (what a source brings
//! past the broker has no id), and two shards may see them interleaved differently; a lock around the posts would buy nothing.

mod counts;
mod interests;
mod registry;
mod room;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwapOption;
pub use counts::{Counts, DropReason, Origin};
pub use interests::Interests;
pub use registry::MAX_SHARDS;
use registry::{Registry, Shards};
pub use room::Room;
use rtgw_hub::{GapScope, Input};
use rtgw_model::{Announced, Arrival, ChannelName, GapReason, Outgoing, Position, Publication, RuleIx};
use smallvec::SmallVec;

use crate::broker::{BrokerSink, Generation, PresenceSink};
use crate::latest::Latest;
use crate::recovery::Tails;
use crate::sources::SourceSink;
use crate::transport::{Clock, Inbox, ShardInput};

/// Most bytes of a publication's data.
pub const DATA_BYTES: usize = 1024 * 1024;

/// The way from brokers and sources to the shards. Nothing here waits.
pub struct Intake {
    inboxes: Vec<Arc<dyn Inbox>>,
    registry: Registry,
    variants: AtomicUsize,
    clock: Clock,
    counts: Arc<Counts>,
    sensitive: Sensitive,
    latest: ArcSwapOption<Latest>,
    tails: Arc<Tails>,
}

/// Whether a publication for these channels may not be compressed.
pub type Sensitive = Box<dyn Fn(&[ChannelName]) -> bool + Send + Sync>;

/// A publication and who listens: for each of its channels with a subscriber the shards and the rule.
struct Delivery {
    outgoing: Arc<Outgoing>,
    interested: SmallVec<[(Shards, RuleIx); 4]>,
}

impl Delivery {
    fn shards(&self) -> Shards {
        self.interested.iter().fold(Shards::default(), |all, (shards, _)| all.union(*shards))
    }

    /// The rule by which `shard` would have heard it. (That its inbox was full a shard knows by itself, and tells the gap in order.)
    fn rule_of(&self, shard: usize) -> RuleIx {
        let hears = self.interested.iter().find(|(shards, _)| shards.contains(shard));
        hears.or(self.interested.first()).map_or(RuleIx(0), |(_, rule)| *rule)
    }
}

/// An intake that cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} shards were asked for, at most {MAX_SHARDS} can be told apart")]
pub struct TooManyShards(pub usize);

impl Intake {
    /// An intake over the inboxes of all shards, by their index, for an encoder with `variants` variants.
    /// `clock` is the shards'.
    ///
    /// # Errors
    /// [`TooManyShards`].
    pub fn new(
        inboxes: Vec<Arc<dyn Inbox>>,
        variants: usize,
        clock: Clock,
        counts: Arc<Counts>,
    ) -> Result<Self, TooManyShards> {
        if inboxes.len() > MAX_SHARDS {
            return Err(TooManyShards(inboxes.len()));
        }
        let sensitive: Sensitive = Box::new(|_| false);
        let (variants, latest, tails) = (AtomicUsize::new(variants), ArcSwapOption::empty(), Arc::default());
        Ok(Self { inboxes, registry: Registry::new(), variants, clock, counts, sensitive, latest, tails })
    }

    /// The same, asking `sensitive` about every publication that somebody hears.
    #[must_use]
    pub fn asking(mut self, sensitive: Sensitive) -> Self {
        self.sensitive = sensitive;
        self
    }

    /// Tells `latest` what is heard from now on.
    pub fn remember(&self, latest: Option<Arc<Latest>>) {
        self.latest.store(latest);
    }

    /// The ends of histories that go on with what is delivered here.
    pub fn tails(&self) -> &Arc<Tails> {
        &self.tails
    }

    /// The encoder has so many variants from now on.
    pub fn grow(&self, variants: usize) {
        self.variants.fetch_max(variants, Ordering::Relaxed);
    }

    /// Channels with a subscriber in this pod.
    pub fn channels(&self) -> usize {
        self.registry.len()
    }

    /// Whether the channel has a subscriber in this pod.
    pub fn carries(&self, channel: &ChannelName) -> bool {
        self.registry.interested(channel).is_some()
    }

    /// The counts.
    pub fn counts(&self) -> &Arc<Counts> {
        &self.counts
    }

    /// Posts the publication to every shard with a subscriber of one of its channels: encoded at most once per variant, by the first
    /// shard that needs it.
    fn deliver(&self, publication: Publication) {
        let Some(delivery) = self.prepare(publication) else { return };
        for shard in delivery.shards().iter() {
            if !self.post(shard, Input::Publication(Arc::clone(&delivery.outgoing))) {
                self.counts.drop_one(delivery.rule_of(shard), DropReason::InboxFull);
            }
        }
    }

    /// The same for several that came together: each shard is handed its own in one piece, and woken once for all of them.
    fn deliver_all(&self, publications: Vec<Publication>) {
        let deliveries: Vec<Delivery> =
            publications.into_iter().filter_map(|publication| self.prepare(publication)).collect();
        for (shard, inbox) in self.inboxes.iter().enumerate() {
            let own = || deliveries.iter().filter(|delivery| delivery.shards().contains(shard));
            let input =
                |delivery: &Delivery| ShardInput::Hub(Input::Publication(Arc::clone(&delivery.outgoing)));
            let inputs: Vec<ShardInput> = own().map(input).collect();
            if inputs.is_empty() {
                continue;
            }
            for (delivery, posted) in own().zip(inbox.post_all(inputs)) {
                if posted.is_err() {
                    self.counts.drop_one(delivery.rule_of(shard), DropReason::InboxFull);
                }
            }
        }
    }

    /// `None` where nobody listens, or the data is too large.
    fn prepare(&self, publication: Publication) -> Option<Delivery> {
        if let Some(latest) = &*self.latest.load() {
            latest.note(&publication, self.clock.millis());
        }
        let interested: SmallVec<[(Shards, RuleIx); 4]> =
            publication.channels.iter().filter_map(|channel| self.registry.interested(channel)).collect();
        let (_, first) = interested.first()?;
        if publication.data.len() > DATA_BYTES {
            self.counts.drop_one(*first, DropReason::TooLarge);
            return None;
        }
        let outgoing = self.dress(publication);
        // Before any shard has it: whoever asks for the past of what a shard has heard finds it there.
        self.tails.note(&outgoing);
        Some(Delivery { outgoing, interested })
    }

    /// The publication as subscribers share it.
    pub fn dress(&self, publication: Publication) -> Arc<Outgoing> {
        // Here, where all channels are known: a shard knows those that it has members of.
        let sensitive = (self.sensitive)(&publication.channels);
        let variants = self.variants.load(Ordering::Relaxed);
        Arc::new(Outgoing::new(publication, variants, self.clock.micros()).sensitive(sensitive))
    }

    fn fan_out_gap(&self, scope: &GapScope, reason: GapReason) {
        self.tails.gap(scope);
        let shards = match scope {
            // Rules are not indexed: a shard without such a channel has nobody to tell.
            GapScope::All | GapScope::Rules(_) => Shards::of_all(self.inboxes.len()),
            GapScope::Channels(channels) => channels
                .iter()
                .filter_map(|channel| self.registry.interested(channel))
                .fold(Shards::default(), |all, (shards, _)| all.union(shards)),
        };
        for shard in shards.iter() {
            self.post(shard, Input::Gap(scope.clone(), reason));
        }
    }

    /// False when the shard's inbox was full.
    fn post(&self, shard: usize, input: Input) -> bool {
        self.inboxes.get(shard).is_none_or(|inbox| inbox.post(ShardInput::Hub(input)).is_ok())
    }
}

impl BrokerSink for Intake {
    fn publication(&self, publication: Publication) {
        self.deliver(publication);
    }

    fn publications(&self, publications: Vec<Publication>) {
        self.deliver_all(publications);
    }

    fn ready(&self, channel: ChannelName, generation: Generation, position: Option<Position>) {
        for shard in self.registry.carried(&channel, generation).iter() {
            self.post(shard, Input::Ready(channel.clone(), position));
        }
    }

    fn gap(&self, scope: GapScope, reason: GapReason) {
        self.fan_out_gap(&scope, reason);
    }
}

impl PresenceSink for Intake {
    fn arrival(&self, channel: ChannelName, arrival: Arrival) {
        let Some((shards, _)) = self.registry.interested(&channel) else { return };
        let variants = self.variants.load(Ordering::Relaxed);
        let announced = Arc::new(Announced::new(channel, arrival, self.clock.now().wall, variants));
        for shard in shards.iter() {
            self.post(shard, Input::Announced(Arc::clone(&announced)));
        }
    }

    fn unheard(&self) {
        for shard in Shards::of_all(self.inboxes.len()).iter() {
            self.post(shard, Input::Unheard);
        }
    }
}

impl SourceSink for Intake {
    fn publication(&self, source: u16, rules: &[RuleIx], publication: Publication) {
        let (origin, timestamp) = (Origin::Source(source), publication.timestamp);
        self.counts.published(origin, rules.iter().copied());
        self.deliver(publication);
        self.counts.handed_over(origin, timestamp);
    }

    fn gap(&self, scope: GapScope, reason: GapReason) {
        self.fan_out_gap(&scope, reason);
    }
}
