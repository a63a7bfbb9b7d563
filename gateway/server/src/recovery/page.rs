//! Histories page by page, for clients and the API.

use std::sync::Arc;
use std::time::Duration;

use rtgw_model::{ChannelName, Denied, ErrorCode, Position, Publication};
use tokio::sync::Semaphore;

use crate::broker::{Broker, HistoryError, PAGE, Page};

/// How long the broker may take.
const TIMEOUT: Duration = Duration::from_secs(3);
/// Pages that are read at a time.
const READS: usize = 64;
/// What a publication costs besides its data.
const OVERHEAD: usize = 256;

/// A part of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Most publications, at most [`PAGE`]; 0 asks only where the channel stands.
    pub limit: u32,
    /// Behind this offset, or with `reverse` before it.
    pub since: Option<u64>,
    /// From the newest to the oldest.
    pub reverse: bool,
    /// About so many bytes; one publication is always given.
    pub bytes: usize,
}

/// A page that could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// No rule says that it is kept.
    #[error("the channel keeps no history")]
    NotKept,
    /// The broker cannot be asked, or not by so many.
    #[error("{0}")]
    Unavailable(String),
    /// Or does not answer.
    #[error("the broker did not answer in time")]
    Timeout,
}

impl From<PageError> for Denied {
    fn from(error: PageError) -> Self {
        let code = match error {
            PageError::NotKept | PageError::Unavailable(_) => ErrorCode::NotAvailable,
            PageError::Timeout => ErrorCode::Timeout,
        };
        Self::new(code, error.to_string())
    }
}

/// A page that was read.
#[derive(Debug)]
pub struct Read {
    /// In the order asked for.
    pub publications: Vec<Publication>,
    /// Where the channel stood.
    pub top: Position,
    /// [`Wanted::since`] of the next page, where there is one.
    pub next: Option<u64>,
}

/// Reads pages.
pub struct Pages {
    broker: Arc<dyn Broker>,
    reads: Semaphore,
}

impl Pages {
    /// Of the histories of `broker`.
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, reads: Semaphore::new(READS) }
    }

    /// A page.
    ///
    /// # Errors
    /// [`PageError`].
    pub async fn read(&self, channel: &ChannelName, wanted: Wanted) -> Result<Read, PageError> {
        let Ok(_place) = self.reads.try_acquire() else {
            return Err(PageError::Unavailable(
                "too many histories are being read; try again later".to_owned(),
            ));
        };
        let Wanted { limit, since, reverse, bytes } = wanted;
        let page = Page { since, limit: limit.min(PAGE), reverse };
        let kept = tokio::time::timeout(TIMEOUT, self.broker.history(channel, page)).await;
        let kept = kept.map_err(|_| PageError::Timeout)?.map_err(|error| match error {
            HistoryError::NotKept => PageError::NotKept,
            HistoryError::Unavailable(_) | HistoryError::Left(_) => PageError::Unavailable(error.to_string()),
        })?;
        let mut publications = kept.publications;
        let mut left = bytes;
        let fit = publications.iter().take_while(|one| {
            let fits = left > 0;
            left = left.saturating_sub(one.data.len() + OVERHEAD);
            fits
        });
        let fit = fit.count();
        publications.truncate(fit);
        let last = publications.last().and_then(|last| last.position(0)).map(|last| last.offset);
        let more = |last: &u64| if reverse { *last > kept.oldest } else { *last < kept.top.offset };
        Ok(Read { publications, top: kept.top, next: last.filter(more) })
    }
}
