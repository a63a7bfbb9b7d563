//! Admission as the public listener asks for it.

use crate::auth::{Admitted, ConnectRequest};
use crate::refusal::Refusal;

/// Judges requests. Answers come at once: nothing here waits.
pub trait Admission: Send + Sync {
    /// Whether the request's `Origin` may use the endpoint.
    ///
    /// # Errors
    /// 403.
    fn origin(&self, request: &ConnectRequest) -> Result<(), Refusal>;

    /// Whether the request's credentials are good for the endpoint; what its pages other than the socket ask.
    ///
    /// # Errors
    /// 401.
    fn authenticate(&self, request: &ConnectRequest) -> Result<(), Refusal>;

    /// Whether the request may be upgraded, and as whom.
    ///
    /// # Errors
    /// 401 or 403.
    fn admit(&self, request: ConnectRequest) -> Result<Admitted, Refusal>;
}
