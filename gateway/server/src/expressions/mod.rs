//! Evaluates the manifest's CEL: what an expression may see (scopes), and what it gives (yes or no, a scalar, JSON, channel names).
//!
//! Values are bound only when an expression asks for them, and JSON that is only carried is cut from its raw text instead of
//! being converted. Everything here computes on the calling thread, which must have 8 MiB of stack, and never is a shard's.

mod caller;
mod command;
mod condition;
mod cut;
mod json;
mod mapping;
mod message;
mod meter;
mod names;
mod scalar;
mod scope;
mod slow;
mod value;

#[cfg(test)]
mod mapping_tests;
#[cfg(test)]
mod meter_tests;
#[cfg(test)]
mod tests;

pub use caller::{CallerScope, Connection, Target};
pub use command::CommandScope;
pub use condition::{Condition, Known};
pub use json::JsonPlan;
pub use mapping::{DropReason, Mapped, MappingRules, Origin, SourceMessage};
pub use names::{ChannelList, ChannelTemplate, NameError};
pub use scalar::{Scalar, ScalarExpression};
pub use scope::{EvaluateError, Scope};
