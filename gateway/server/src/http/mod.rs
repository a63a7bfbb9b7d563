//! HTTP: the public listener with its upgrades, stats and health, and the internal listener beside it.

mod accept;
mod address;
mod admission;
mod connection;
mod cors;
mod endpoint;
mod farewell;
mod first_message;
mod front;
mod internal;
mod linger;
mod pages;
mod places;
mod public;
mod response;
mod upgrade;
mod variants;
mod wire;

pub use accept::listen;
pub use front::Front;
pub use internal::{Internal, InternalParts, Waiting, openapi};
pub use public::{Public, PublicParts};
pub use variants::{EndpointVariants, variants};
