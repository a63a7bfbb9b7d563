//! Sources: ways in that every pod hears by itself, past the broker. A source is handed its [`SourceSink`] by the wiring.

use rtgw_hub::GapScope;
use rtgw_model::{GapReason, Publication, RuleIx};

/// Where a source delivers. Calls of one source keep their order and never wait.
pub trait SourceSink: Send + Sync {
    /// A mapped publication of the source at index `source` of the configuration, with the rules of its channels.
    fn publication(&self, source: u16, rules: &[RuleIx], publication: Publication);
    /// Publications of these channels may have been missed.
    fn gap(&self, scope: GapScope, reason: GapReason);
}
