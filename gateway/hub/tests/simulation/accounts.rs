//! What has to add up when everything has come to rest.

use crate::world::World;

pub(crate) struct Outcome {
    pub(crate) delivered: u64,
    pub(crate) slow_consumers: u64,
    pub(crate) joined: u64,
    /// Publications that a newer one replaced.
    pub(crate) superseded: u64,
    /// Publications that waited for sockets that died.
    pub(crate) lost: u64,
    pub(crate) expired: u64,
    /// Channels that reviews took away.
    pub(crate) taken: u64,
    pub(crate) refreshed: u64,
    /// Joins and leaves that clients heard of.
    pub(crate) arrivals: u64,
    /// Holes told to clients that missed something there.
    pub(crate) holes: u64,
    /// Connections closed for the pod's memory.
    pub(crate) shed: u64,
}

impl World {
    /// What was put into outboxes came out or is counted, and nothing is held for those who have gone.
    pub(crate) fn judge_accounts(&mut self, outcome: &mut Outcome) {
        let handed_out: u64 = self.clients.iter().map(|client| client.handed_out).sum();
        let counters = self.shard.counters();
        outcome.superseded = counters.superseded.iter().sum();
        let dropped = |reason| -> u64 {
            counters.dropped.iter().filter(|((_, why), _)| *why == reason).map(|(_, count)| count).sum()
        };
        let (lost, slow) = (dropped("connection_lost") + dropped("shed"), dropped("slow_consumer"));
        let gone = slow + outcome.superseded;
        // What was put into an outbox was handed out, or is counted as dropped; the slow ones' drops are partly of what did not go in.
        let accounted = handed_out + lost;
        let delivered: u64 = counters.deliveries.iter().sum();
        assert!(
            accounted <= delivered && delivered <= accounted + gone && (gone > 0 || delivered == accounted),
            "seed {}: {delivered} deliveries, {handed_out} handed out, {lost} lost, {gone} for the slow",
            self.seed
        );
        assert_eq!(counters.outbound_bytes, 0, "seed {}: bytes held for nobody", self.seed);
        assert_eq!(self.account.used(), 0, "seed {}: memory held for nobody", self.seed);
        assert_eq!(counters.held_bytes, 0, "seed {}: bytes held back for nobody", self.seed);
        outcome.lost = lost;
    }
}
