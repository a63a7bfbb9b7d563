//! What comes of a credential.

use std::sync::Arc;

use rtgw_config::checked::KeyScope;
use rtgw_model::Timestamp;

use super::token_error::TokenError;
use crate::refusal::Refusal;

/// A credential that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// What it says of its bearer: a JSON object, as it was written.
    pub claims: String,
    /// When it ends; `None`: it does not.
    pub expires: Option<Timestamp>,
    /// Of an API key: what it may do.
    pub scopes: Option<Arc<[KeyScope]>>,
}

/// Why a credential does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// A token is not good.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The application does not know it.
    #[error("the credential is not known")]
    Unknown,
    /// An API key without the scope `connect`.
    #[error("this API key is not for connections: give it the scope `connect`")]
    NoConnect,
    /// Whoever has to be asked cannot be, or keys are not there yet.
    #[error("the credential cannot be checked at the moment: try again later")]
    Unavailable,
}

impl AuthError {
    /// What to answer.
    pub fn refusal(self) -> Refusal {
        let message = self.to_string();
        match self {
            Self::Token(error) => Refusal::new(401, error.code(), message),
            Self::Unknown => Refusal::new(401, "token_invalid", message),
            Self::NoConnect => Refusal::new(403, "forbidden", message),
            // Spread out, so that those who come back do not come back at once.
            Self::Unavailable => Refusal {
                retry_after: Some(fastrand::u32(2..=10)),
                ..Refusal::new(503, "auth_unavailable", message)
            },
        }
    }
}
