//! Everything that talks to Redis begins here: addresses, connections, scripts, and the names of keys.
//!
//! - [`Address`]: a checked address with its TLS, user, password and database; prints no credential.
//! - [`dial`]: one connection, with a callback for what Redis pushes. It is what a [`Link`] is made of, and what those need who
//!   subscribe and have to know when a connection ends.
//! - [`Link`]: one connection for commands that comes back by itself. [`Link::query`], [`Link::pipeline`] and [`Link::invoke`] fail at
//!   once while there is none ([`Trouble::Down`]), so that whoever has something better to do than to wait can do it; [`Link::ready`]
//!   waits. Somebody has to run [`Link::keep`].
//! - [`Script`]: a Lua script, in a `.lua` file of its own that begins with what it is for. `EVALSHA` is sent; only a Redis that does
//!   not know the script is sent its text.
//! - [`Fence`]: a right that a script checks in the same step in which it writes.
//! - [`Inflow`]: what waits between a connection's reader and whoever works it off, bounded.
//! - [`Names`]: how keys and channels of ours are called. Whoever needs another kind adds it to [`Kind`].
//!
//! [`Address::renew`] changes the credentials under all connections of an address and its clones, without an interruption.
//!
//! What goes wrong is a [`Trouble`], which says in a word of a fixed table why ([`Trouble::reason`], for metrics), and what to do about
//! it ([`Trouble::advice`], for logs). Neither holds a credential.

mod address;
mod backoff;
mod dial;
mod fence;
mod inflow;
mod link;
mod names;
mod quiet;
mod renewal;
mod script;
mod task;
mod trouble;

pub use address::{Address, AddressError, choose};
pub use backoff::Backoff;
pub use dial::{Connection, dial};
pub use fence::Fence;
pub use inflow::{Inflow, Session, Waiting};
pub use link::{Greeting, Link};
pub use names::{Kind, Names};
pub use quiet::Quiet;
pub use script::{Call, Script};
pub use task::Task;
pub use trouble::Trouble;
