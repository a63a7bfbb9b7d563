//! A token bucket for what a connection may send.

use rtgw_model::InboundRate;

/// What the bucket says of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Within the rate.
    Within,
    /// Above it: the message is refused.
    Above,
    /// Above it for a whole burst of refused messages: the grace is over.
    Abuse,
}

/// The bucket, in thousandths of a message. Below zero counts refused messages, so that a client that keeps pushing is closed while
/// one that slips once is only told.
///
/// When it was last taken from is known to its session, which notes when its client spoke.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    millitokens: i64,
}

impl Bucket {
    pub(crate) fn full(rate: Option<InboundRate>) -> Self {
        Self { millitokens: rate.map_or(0, |rate| i64::from(rate.burst) * 1000) }
    }

    /// One message, `since` milliseconds after the last one.
    pub(crate) fn take(&mut self, rate: InboundRate, since: u64) -> Verdict {
        let burst = i64::from(rate.burst.max(1)) * 1000;
        let elapsed = i64::try_from(since).unwrap_or(i64::MAX);
        let earned = elapsed.saturating_mul(i64::from(rate.per_second));
        self.millitokens = self.millitokens.saturating_add(earned).min(burst);
        let before = self.millitokens;
        self.millitokens = before.saturating_sub(1000).max(-burst);
        match before {
            1000.. => Verdict::Within,
            _ if self.millitokens <= -burst => Verdict::Abuse,
            _ => Verdict::Above,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: InboundRate = InboundRate { per_second: 10, burst: 5 };

    #[test]
    fn a_burst_passes_then_the_rate_then_abuse() {
        let mut bucket = Bucket::full(Some(RATE));
        let verdicts: Vec<_> = (0..11).map(|_| bucket.take(RATE, 0)).collect();
        assert_eq!(verdicts[..5], [Verdict::Within; 5]);
        assert_eq!(verdicts[5..9], [Verdict::Above; 4]);
        assert_eq!(verdicts[9], Verdict::Abuse);
    }

    #[test]
    fn tokens_come_back_with_time() {
        let mut bucket = Bucket::full(Some(RATE));
        for _ in 0..5 {
            bucket.take(RATE, 0);
        }
        assert_eq!(bucket.take(RATE, 100), Verdict::Within);
        assert_eq!(bucket.take(RATE, 10), Verdict::Above);
        assert_eq!(bucket.take(RATE, 59_890), Verdict::Within);
    }
}
