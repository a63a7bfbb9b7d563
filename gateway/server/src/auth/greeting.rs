//! The first message of a connection.

use bytes::Bytes;
use rtgw_config::checked::{Endpoint, Envelope, Greeting as Configured, Protocol};
use rtgw_model::{ConnectionKey, Timestamp};
use rtgw_protocol::json;

use crate::expressions::{EvaluateError, JsonPlan, Scope};

/// What an endpoint says first.
#[derive(Debug)]
pub(super) enum Greeting {
    /// Nothing.
    Nothing,
    /// What the envelope's default is.
    Default {
        /// How it is dressed.
        envelope: json::Envelope,
        /// How often the server pings, for clients that watch for it.
        ping_interval_ms: u32,
    },
    /// The manifest's message.
    Message(Box<JsonPlan>),
}

impl Greeting {
    pub(super) fn new(endpoint: &Endpoint) -> Self {
        match (&endpoint.greeting, endpoint.protocol) {
            (Configured::Disabled, _) | (Configured::Default, Protocol::Echo) => Self::Nothing,
            (Configured::Message(expression), _) => Self::Message(Box::new(JsonPlan::new(expression))),
            (Configured::Default, Protocol::Json) => Self::Default {
                envelope: match endpoint.envelope {
                    Envelope::Typed => json::Envelope::Typed,
                    Envelope::Event => json::Envelope::Event,
                    Envelope::Raw => json::Envelope::Raw,
                },
                ping_interval_ms: u32::try_from(endpoint.heartbeat.interval.as_millis()).unwrap_or(u32::MAX),
            },
        }
    }

    /// The payload.
    ///
    /// # Errors
    /// The manifest's message fails.
    pub(super) fn say(
        &self,
        scope: &dyn Scope,
        key: ConnectionKey,
        user: &str,
        at: Timestamp,
    ) -> Result<Option<Bytes>, EvaluateError> {
        match self {
            Self::Nothing => Ok(None),
            Self::Default { envelope, ping_interval_ms } => {
                Ok(json::greeting(*envelope, key, *ping_interval_ms, user, at))
            }
            Self::Message(plan) => plan.evaluate(scope, None).map(Some),
        }
    }
}
