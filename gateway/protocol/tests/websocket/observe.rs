//! A receiver that writes down what the decoder shows.

use rtgw_protocol::websocket::{Decoder, Flow, Incoming, Progress, Rules, Violation};

/// An owned [`Incoming`], or the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    Close(Option<(u16, String)>),
    Fail(u16),
}

impl From<Incoming<'_>> for Seen {
    fn from(incoming: Incoming<'_>) -> Self {
        match incoming {
            Incoming::Text(text) => Self::Text(text.to_owned()),
            Incoming::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Incoming::Ping(bytes) => Self::Ping(bytes.to_vec()),
            Incoming::Pong(bytes) => Self::Pong(bytes.to_vec()),
            Incoming::Close(close) => Self::Close(close.map(|(code, reason)| (code, reason.to_owned()))),
        }
    }
}

/// What a decoder showed, and after how many bytes it refused the rest.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    pub(crate) seen: Vec<Seen>,
    pub(crate) failed_after: Option<usize>,
    pub(crate) decoder: Decoder,
    /// No more messages than bytes: a decoder that repeats itself fails, and does not fill the machine's memory.
    most: usize,
}

/// Feeds `wire` in reads that end at the given lengths, pausing after every message for which `pause` is true, and resuming at
/// once or after the next read.
pub(crate) fn observe(
    rules: Rules,
    wire: &[u8],
    reads: impl IntoIterator<Item = usize>,
    pause: &mut dyn FnMut() -> bool,
) -> Observed {
    let mut observed = Observed { most: wire.len(), ..Observed::default() };
    let mut at = 0;
    for read in reads {
        let end = (at + read).min(wire.len());
        // The caller's buffer is overwritten by its next read; nothing of it may be needed again.
        let mut buffer = wire[at..end].to_vec();
        at = end;
        if observed.call(pause, |decoder, on| decoder.decode(&rules, &mut buffer, on))
            == Some(Progress::Paused)
        {
            while pause()
                && observed.call(pause, |decoder, on| decoder.resume(&rules, on)) == Some(Progress::Paused)
            {
            }
        }
        if observed.failed_after.is_none() && matches!(observed.seen.last(), Some(Seen::Fail(_))) {
            observed.failed_after = Some(at);
        }
    }
    while observed.call(pause, |decoder, on| decoder.resume(&rules, on)) == Some(Progress::Paused) {}
    observed
}

type Call<'a> = &'a mut dyn FnMut(Incoming<'_>) -> Flow;

impl Observed {
    fn call(
        &mut self,
        pause: &mut dyn FnMut() -> bool,
        call: impl FnOnce(&mut Decoder, Call<'_>) -> Result<Progress, Violation>,
    ) -> Option<Progress> {
        let (seen, most) = (&mut self.seen, self.most);
        let result = call(&mut self.decoder, &mut |incoming| {
            seen.push(incoming.into());
            assert!(seen.len() <= most, "a message is shown twice");
            if pause() { Flow::Pause } else { Flow::Continue }
        });
        result.map_err(|violation| self.seen.push(Seen::Fail(violation.code().code()))).ok()
    }
}
