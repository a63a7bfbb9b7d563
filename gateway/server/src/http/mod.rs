//! HTTP: the public listener with its upgrades, stats and health, and the internal listener beside it.

mod accept;
mod connection;
mod endpoint;
mod linger;
mod public;
mod response;
mod upgrade;

pub use accept::accept;
pub use endpoint::{Admission, Agreed, Negotiate};
pub use public::{Public, PublicParts};
