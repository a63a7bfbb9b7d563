//! Networks in CIDR notation.

use std::net::IpAddr;

use ipnet::IpNet;

use super::Check;
use crate::problem::Problem;

impl Check<'_> {
    /// The networks listed at `path`, without those that are wrong.
    pub(super) fn networks(&mut self, path: &str, listed: &[String]) -> Vec<IpNet> {
        let mut networks = Vec::with_capacity(listed.len());
        for (at, text) in listed.iter().enumerate() {
            let path = format!("{path}[{at}]");
            match network(text) {
                Ok(network) => {
                    if network.prefix_len() == 0 {
                        let message = "trusts everybody: each client can choose its address";
                        let problem = Problem::warning(path, message);
                        self.problems.add(problem.hint("list the networks of your proxies alone"));
                    }
                    networks.push(network);
                }
                Err((message, hint)) => self.problems.add(Problem::error(path, message).hint(hint)),
            }
        }
        networks
    }
}

/// # Errors
/// What is wrong, and a hint.
fn network(text: &str) -> Result<IpNet, (String, String)> {
    if let Ok(address) = text.parse::<IpAddr>() {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        return Err((format!("`{text}` is an address"), format!("its network is {address}/{bits}")));
    }
    let Ok(network) = text.parse::<IpNet>() else {
        return Err((format!("`{text}` is no network"), "for example 10.0.0.0/8 or fd00::/8".into()));
    };
    if let (IpAddr::V6(address), 96..) = (network.addr(), network.prefix_len())
        && let Some(v4) = address.to_ipv4_mapped()
    {
        let hint = format!("write {v4}/{}", network.prefix_len() - 96);
        return Err((format!("`{text}` is an IPv4 network in the clothes of an IPv6 one"), hint));
    }
    if network != network.trunc() {
        let hint = format!("write {}", network.trunc());
        return Err((format!("`{text}` has bits behind its prefix"), hint));
    }
    Ok(network)
}
