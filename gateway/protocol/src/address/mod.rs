//! Who a client is, according to those who stand in between: balancers say it before the first byte of a connection ([`proxy`]),
//! HTTP proxies in header fields of each request ([`forwarded`]). Who is believed, the caller knows.

pub mod forwarded;
pub mod proxy;

#[cfg(test)]
mod forwarded_tests;
#[cfg(test)]
mod proxy_tests;
