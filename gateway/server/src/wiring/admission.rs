//! The admitter of `auth` as the public listener asks for it.

use crate::auth::{Admitted, Admitter, ConnectRequest};
use crate::http;
use crate::refusal::Refusal;

/// Judges requests.
pub(super) struct Admission(pub(super) Admitter);

impl http::Admission for Admission {
    fn origin(&self, request: &ConnectRequest) -> Result<(), Refusal> {
        self.0.origin(request)
    }

    fn authenticate(&self, request: &ConnectRequest) -> Result<(), Refusal> {
        self.0.authenticate(request).map(|_| ())
    }

    fn admit(&self, request: ConnectRequest) -> Result<Admitted, Refusal> {
        self.0.admit(&request)
    }
}
