//! Bounds, with their defaults.

use super::Check;
use crate::checked::Limits;
use crate::defaults;
use crate::raw;

/// Room for the smallest command.
const LEAST_MESSAGE: u32 = 128;
const MOST_MESSAGE: u32 = 64 << 20;
/// Room for one frame of an ordinary publication.
const LEAST_QUEUE: u32 = 4 << 10;
const MOST_QUEUE: u32 = 1 << 30;

impl Check<'_> {
    pub(super) fn limits(&mut self, limits: Option<&raw::Limits>) -> Limits {
        let pod = limits.and_then(|limits| limits.pod.clone()).unwrap_or_default();
        let connection = limits.and_then(|limits| limits.connection.clone()).unwrap_or_default();
        let message_bytes = self.bytes(
            "spec.limits.connection.messageBytes",
            connection.message_bytes.as_ref(),
            defaults::MESSAGE_BYTES,
            [LEAST_MESSAGE, MOST_MESSAGE],
        );
        let queue_bytes = self.bytes(
            "spec.limits.connection.queueBytes",
            connection.queue_bytes.as_ref(),
            defaults::QUEUE_BYTES,
            [LEAST_QUEUE, MOST_QUEUE],
        );
        Limits {
            pod_connections: pod.connections,
            handshakes_per_second: pod.handshakes_per_second,
            pod_channels: pod.channels.unwrap_or(defaults::POD_CHANNELS),
            message_bytes: usize::try_from(message_bytes).unwrap_or(usize::MAX),
            messages_per_second: Some(
                connection.messages_per_second.unwrap_or(defaults::MESSAGES_PER_SECOND),
            ),
            burst: connection.burst.unwrap_or(defaults::BURST),
            queue_bytes,
            queue_messages: connection.queue_messages.unwrap_or(defaults::QUEUE_MESSAGES),
            subscriptions: connection.subscriptions.unwrap_or(defaults::SUBSCRIPTIONS),
        }
    }
}
