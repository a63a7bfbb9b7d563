//! A publication with its encoded bytes: the first subscriber of a kind encodes, everyone else shares.

use std::sync::{Arc, OnceLock};

use crate::{Encoded, Encoder, Micros, Publication, Variant};

/// As many as a [`Variant`] can name.
const VARIANTS: usize = 1 << u8::BITS;

/// A publication and one cell per (variant, shown channel), filled on first use and shared by all shards.
#[derive(Debug)]
pub struct Outgoing {
    publication: Publication,
    variants: u16,
    sensitive: bool,
    frames: Box<[OnceLock<Arc<Encoded>>]>,
    /// Cells of the variants that came after this publication: a reload may bring some while it is on its way.
    late: OnceLock<Box<[OnceLock<Arc<Encoded>>]>>,
    /// When this pod heard it; for the fan-out histogram.
    pub heard: Micros,
}

impl Outgoing {
    /// Wraps a publication for an encoder with `variants` variants.
    pub fn new(publication: Publication, variants: usize, heard: Micros) -> Self {
        let cells = variants * publication.channels.len();
        let frames = (0..cells).map(|_| OnceLock::new()).collect();
        let late = OnceLock::new();
        // Variants have numbers of one byte.
        let variants = u16::try_from(variants).unwrap_or(u16::MAX);
        Self { publication, variants, sensitive: false, frames, late, heard }
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
    pub fn frame(&self, variant: Variant, channel: usize, encoder: &dyn Encoder) -> &Arc<Encoded> {
        let variant = if self.sensitive { encoder.uncompressed(variant) } else { variant };
        let shown = if encoder.shows_channel(variant) { channel } else { 0 };
        let (variants, number) = (usize::from(self.variants), usize::from(variant.0));
        let cell = if number < variants {
            &self.frames[shown * variants + number]
        } else {
            &self.late()[shown * VARIANTS + number]
        };
        cell.get_or_init(|| Arc::new(Encoded::new(encoder.publication(variant, &self.publication, channel))))
    }

    #[cold]
    fn late(&self) -> &[OnceLock<Arc<Encoded>>] {
        let cells = VARIANTS * self.publication.channels.len();
        self.late.get_or_init(|| (0..cells).map(|_| OnceLock::new()).collect())
    }
}
