//! What pods say to each other.

use serde::{Deserialize, Serialize};

use super::order::{Answer, Order};

/// A message between pods. A pod of another version that does not understand it ignores and counts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) enum Message {
    /// To all: do this, and answer.
    Order {
        /// Names the question among those of its sender.
        id: u64,
        /// What.
        order: Order,
    },
    /// To the one who asked.
    Answer {
        /// The question.
        id: u64,
        /// What came of it.
        answer: Answer,
    },
    /// To one: a connection of yours gives way to a newer one of its user.
    GiveWay {
        /// Whose, hexadecimal.
        subject: String,
        /// Its number in its pod.
        stamp: u64,
    },
}
