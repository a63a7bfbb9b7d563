//! Starting the shard threads, and what happens when one of them fails.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use arc_swap::ArcSwap;
use rtgw_hub::Account;
use rtgw_model::{CommandNames, Encoder};

use super::event_loop::EventLoop;
use super::handoff::{Inbox, Outward, ShardInput};
use super::settings::Settings;

/// A shard's stack: its deepest call is a JSON decoder of bounded depth; evaluation of expressions happens elsewhere.
const STACK_BYTES: usize = 1 << 20;

/// The running shards.
pub struct Transport {
    /// The way into each shard, by its index.
    pub inboxes: Vec<Arc<dyn Inbox>>,
    threads: Vec<JoinHandle<()>>,
}

impl Transport {
    /// Waits until every shard has ended after its [`ShardInput::Stop`].
    pub fn join(self) {
        for thread in self.threads {
            // A shard that panicked has ended the process, so there is no error to see here.
            let _ended = thread.join();
        }
    }

    fn stop(self) {
        for inbox in &self.inboxes {
            // Never refused: only publications are.
            let _posted = inbox.post(ShardInput::Stop);
        }
        self.join();
    }
}

/// Starts the shards; `commands` are those that the manifest defines, `memory` is what the outboxes of all hold.
///
/// # Errors
/// A poll or thread could not be made; then none runs. More shards than numbers for them are an invalid input.
pub fn start(
    settings: Settings,
    encoder: Arc<dyn Encoder>,
    outward: Arc<dyn Outward>,
    commands: Arc<ArcSwap<CommandNames>>,
    memory: Arc<Account>,
) -> io::Result<Transport> {
    let shards = u16::try_from(settings.shards.max(1))
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "at most 65535 shards"))?;
    let mut transport = Transport { inboxes: Vec::new(), threads: Vec::new() };
    let spawn_shard = move |index| {
        let (encoder, outward) = (Arc::clone(&encoder), Arc::clone(&outward));
        EventLoop::new(index, &settings, encoder, outward, Arc::clone(&commands), Arc::clone(&memory))
            .and_then(|event_loop| spawn(index, event_loop))
    };
    for index in 0..shards {
        match spawn_shard(index) {
            Ok((inbox, thread)) => {
                transport.inboxes.push(inbox);
                transport.threads.push(thread);
            }
            Err(error) => {
                transport.stop();
                return Err(error);
            }
        }
    }
    Ok(transport)
}

fn spawn(index: u16, event_loop: EventLoop) -> io::Result<(Arc<dyn Inbox>, JoinHandle<()>)> {
    let inbox = event_loop.inbox();
    let run = move || match catch_unwind(AssertUnwindSafe(|| event_loop.run())) {
        Ok(Ok(())) => {}
        Ok(Err(error)) => fail(index, &error.to_string()),
        Err(panic) => fail(index, panic_message(&*panic)),
    };
    let thread = Builder::new().name(format!("shard-{index}")).stack_size(STACK_BYTES).spawn(run)?;
    Ok((inbox, thread))
}

/// Ends the process. A shard that is gone would leave thousands of sockets open and silent, which no client and no probe
/// notices for long; a process that is gone is noticed at once, its clients come back, and its supervisor starts it anew.
fn fail(index: u16, why: &str) -> ! {
    tracing::error!(
        shard = index,
        why,
        "an I/O shard failed; the process ends, because its sockets would hang in silence"
    );
    std::process::exit(1)
}

fn panic_message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}
