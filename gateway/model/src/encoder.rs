//! The contract between the hub and the wire formats: who turns values into bytes.

use bytes::Bytes;

use crate::{Close, Message, Publication};

/// A numbered way to encode: (wire, envelope, metadata, seq, compression). Numbered when the configuration is checked; equal
/// numbers give equal bytes for equal publications, so the bytes are shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Variant(pub u8);

/// Encodes for the variants of one configuration. All bytes are complete frames, ready for a socket.
pub trait Encoder: Send + Sync {
    /// How many variants there are; [`Variant`]s are below it. Only grows, with reloads.
    fn variants(&self) -> usize;

    /// A publication as the variant dresses it. `channel` is the index in `publication.channels` of the channel that is
    /// shown; it matters only where [`Encoder::shows_channel`] is true.
    fn publication(&self, variant: Variant, publication: &Publication, channel: usize) -> Bytes;

    /// The variant that differs only in that nothing is compressed; the same where nothing was.
    fn uncompressed(&self, variant: Variant) -> Variant {
        variant
    }

    /// Whether the bytes of a publication name the channel.
    fn shows_channel(&self, variant: Variant) -> bool;

    /// Whether each publication gets a per-connection number by [`Encoder::splice`].
    fn numbers(&self, variant: Variant) -> bool;

    /// Appends `frame`, a shared frame of a variant that [`Encoder::numbers`], with `seq` spliced in.
    fn splice(&self, variant: Variant, frame: &[u8], seq: u64, out: &mut Vec<u8>);

    /// Joins the whole frames in `frames[from..]`, where they are messages that may share one, for a connection with
    /// [`crate::Admission::batch`].
    fn join(&self, frames: &mut Vec<u8>, from: usize);

    /// Whether such a connection would misread this whole frame when it comes as it is.
    fn joins_alone(&self, frame: &[u8]) -> bool;

    /// A message to one connection.
    fn message(&self, variant: Variant, message: &Message) -> Bytes;

    /// A heartbeat of the wire.
    fn ping(&self, variant: Variant) -> Bytes;

    /// The answer to a heartbeat of the client; `payload` is at most 125 bytes.
    fn pong(&self, variant: Variant, payload: &[u8]) -> Bytes;

    /// The wire's last frame.
    fn close(&self, variant: Variant, close: &Close) -> Bytes;
}
