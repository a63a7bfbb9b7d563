//! Limits: amounts of bytes, networks, and limits that bound nothing.

use super::{Rule, spelling};

pub(super) fn rules() -> Vec<Rule> {
    vec![
        spelling::bytes("limits.connection.messageBytes", "128", "64Mi"),
        spelling::bytes("limits.connection.queueBytes", "4Ki", "1Gi"),
        spelling::network("limits.ip.trustedProxies[]"),
        Rule::new(
            "limits.ip",
            "has(self.connections) || has(self.trustedProxies) || has(self.proxyProtocol)",
            "bounds nothing: give it connections, trustedProxies or both, or leave it out",
        ),
        Rule::new(
            "limits.ip",
            "!self.?proxyProtocol.orValue(false) || has(self.trustedProxies)",
            "needs trustedProxies, without which every connection would be closed: list the networks of your balancer, such as [10.0.0.0/8]",
        )
        .about(".proxyProtocol"),
        Rule::new(
            "limits.tenant",
            "has(self.connections) || has(self.messagesPerSecond)",
            "bounds nothing: give it connections, messagesPerSecond or both, or leave it out",
        ),
    ]
}
