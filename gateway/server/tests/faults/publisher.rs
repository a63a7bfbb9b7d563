//! Publishes numbers to one channel, one after the other, and keeps what became of each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::inlet::{ACCEPTED, Inlet};
use crate::ledger::{Publications, Sent};

/// A pace at which an outage lasts for many numbers and a debug build has no backlog.
const PACE: Duration = Duration::from_millis(8);
/// After this the publisher gives up on a request and knows nothing of what became of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// An inlet that failed is left alone for so many turns while there is another.
const AVOIDED_FOR: u64 = 25;
/// Who says a number again until it is accepted waits so long in between, and gives up at last.
const AGAIN: Duration = Duration::from_millis(50);
const INSISTS_FOR: Duration = Duration::from_secs(15);

/// What became of the numbers of one channel.
#[derive(Default)]
pub struct Book {
    /// Each number that was tried.
    pub numbers: Publications,
    /// How often what was answered.
    pub answers: BTreeMap<String, u64>,
}

impl Book {
    fn close(&mut self, number: u64, sent: Sent, answer: String) {
        self.numbers.insert(number, sent);
        *self.answers.entry(answer).or_default() += 1;
    }
}

/// A publisher at work; ends with its value.
pub struct Publisher {
    /// The channel.
    pub channel: &'static str,
    /// What became of its numbers.
    pub book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

impl Publisher {
    /// Publishes to `channel` through the inlets in turn.
    pub fn start(channel: &'static str, inlets: Vec<Inlet>, begin: Instant) -> Self {
        let (book, stop) = (Arc::<Mutex<Book>>::default(), Arc::<AtomicBool>::default());
        let work = publish(channel, inlets, begin, Arc::clone(&book), Arc::clone(&stop));
        Self { channel, book, stop, task: Some(tokio::spawn(work)) }
    }

    /// Ends after the number in hand.
    pub async fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(task) = self.task.take() {
            task.await.unwrap();
        }
    }
}

async fn publish(
    channel: &'static str,
    mut inlets: Vec<Inlet>,
    begin: Instant,
    book: Arc<Mutex<Book>>,
    stop: Arc<AtomicBool>,
) {
    let mut avoided = vec![0; inlets.len()];
    let mut turn = 0;
    for number in 1.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let begun = begin.elapsed();
        // Noted before it is asked for: a client may hear of it before the answer is here.
        book.lock().numbers.insert(number, Sent { begun, accepted: false });
        loop {
            turn += 1;
            let at = next(&avoided, turn);
            let answer = match tokio::time::timeout(PATIENCE, inlets[at].say(channel, number)).await {
                Ok(answer) => answer,
                Err(_) => "no answer".to_owned(),
            };
            let accepted = answer == ACCEPTED;
            if !accepted {
                avoided[at] = turn + AVOIDED_FOR;
            }
            let gives_up = !inlets[at].insists() || begin.elapsed() > begun + INSISTS_FOR;
            book.lock().close(number, Sent { begun, accepted }, answer);
            if accepted || gives_up {
                break;
            }
            tokio::time::sleep(AGAIN).await;
        }
        tokio::time::sleep(PACE).await;
    }
}

/// The inlet whose turn it is, unless it is to be left alone and another is not.
fn next(avoided: &[u64], turn: u64) -> usize {
    let count = avoided.len();
    let first = turn as usize % count;
    (0..count).map(|step| (first + step) % count).find(|at| avoided[*at] < turn).unwrap_or(first)
}
