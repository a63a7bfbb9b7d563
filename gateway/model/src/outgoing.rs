//! A publication with its encoded bytes: the first subscriber of a kind encodes, everyone else shares.

use std::sync::OnceLock;

use bytes::Bytes;

use crate::{Encoder, Micros, Publication, Variant};

/// A publication and one cell per (variant, shown channel), filled on first use and shared by all shards.
#[derive(Debug)]
pub struct Outgoing {
    publication: Publication,
    variants: u16,
    sensitive: bool,
    frames: Box<[OnceLock<Bytes>]>,
    /// When this pod heard it; for the fan-out histogram.
    pub heard: Micros,
}

impl Outgoing {
    /// Wraps a publication for an encoder with `variants` variants.
    pub fn new(publication: Publication, variants: usize, heard: Micros) -> Self {
        let cells = variants * publication.channels.len();
        let frames = (0..cells).map(|_| OnceLock::new()).collect();
        // Variants have numbers of one byte.
        let variants = u16::try_from(variants).unwrap_or(u16::MAX);
        Self { publication, variants, sensitive: false, frames, heard }
    }

    /// The same, to be compressed for nobody when `sensitive`: one of its channels says so, whichever channel a subscriber hears it by.
    #[must_use]
    pub fn sensitive(mut self, sensitive: bool) -> Self {
        self.sensitive = sensitive;
        self
    }

    /// The publication.
    pub fn publication(&self) -> &Publication {
        &self.publication
    }

    /// The frame for `variant`, showing the channel at index `channel`.
    pub fn frame(&self, variant: Variant, channel: usize, encoder: &dyn Encoder) -> &Bytes {
        let variant = if self.sensitive { encoder.uncompressed(variant) } else { variant };
        let shown = if encoder.shows_channel(variant) { channel } else { 0 };
        let cell = shown * usize::from(self.variants) + usize::from(variant.0);
        self.frames[cell].get_or_init(|| encoder.publication(variant, &self.publication, channel))
    }
}
