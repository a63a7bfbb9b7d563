//! A token bucket for what a connection may send.

use rtgw_model::{InboundRate, Millis};

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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    millitokens: i64,
    at: Millis,
}

impl Bucket {
    pub(crate) fn full(rate: Option<InboundRate>, now: Millis) -> Self {
        Self { millitokens: rate.map_or(0, |rate| i64::from(rate.burst) * 1000), at: now }
    }

    pub(crate) fn take(&mut self, rate: InboundRate, now: Millis) -> Verdict {
        let burst = i64::from(rate.burst.max(1)) * 1000;
        let elapsed = i64::try_from(now.since(self.at)).unwrap_or(i64::MAX);
        let earned = elapsed.saturating_mul(i64::from(rate.per_second));
        self.millitokens = self.millitokens.saturating_add(earned).min(burst);
        self.at = now;
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
        let mut bucket = Bucket::full(Some(RATE), Millis(0));
        let verdicts: Vec<_> = (0..11).map(|_| bucket.take(RATE, Millis(0))).collect();
        assert_eq!(verdicts[..5], [Verdict::Within; 5]);
        assert_eq!(verdicts[5..9], [Verdict::Above; 4]);
        assert_eq!(verdicts[9], Verdict::Abuse);
    }

    #[test]
    fn tokens_come_back_with_time() {
        let mut bucket = Bucket::full(Some(RATE), Millis(0));
        for _ in 0..5 {
            bucket.take(RATE, Millis(0));
        }
        assert_eq!(bucket.take(RATE, Millis(100)), Verdict::Within);
        assert_eq!(bucket.take(RATE, Millis(110)), Verdict::Above);
        assert_eq!(bucket.take(RATE, Millis(60_000)), Verdict::Within);
    }
}
