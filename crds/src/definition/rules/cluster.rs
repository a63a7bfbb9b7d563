//! What only a cluster looks at: image, drain, resources, network policies.

use super::{Rule, spelling};

/// Name of an image with a tag or a digest.
pub(super) const IMAGE: &str =
    "^[a-z0-9]+([._:/-]+[a-z0-9]+)*(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$";

/// Each list of peers, and the networks in it.
const PEERS: [[&str; 3]; 3] = [
    [
        "networkPolicy.clientsFrom[]",
        "networkPolicy.clientsFrom[].ipBlock.cidr",
        "networkPolicy.clientsFrom[].ipBlock.except[]",
    ],
    [
        "networkPolicy.apiFrom[]",
        "networkPolicy.apiFrom[].ipBlock.cidr",
        "networkPolicy.apiFrom[].ipBlock.except[]",
    ],
    [
        "networkPolicy.metricsFrom[]",
        "networkPolicy.metricsFrom[].ipBlock.cidr",
        "networkPolicy.metricsFrom[].ipBlock.except[]",
    ],
];

pub(super) fn rules() -> Vec<Rule> {
    let mut rules = vec![
        Rule::new(
            "image.repository",
            "self.matches('^[a-z0-9]+([.-]+[a-z0-9]+)*(:[0-9]{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$') && !self.matches('^[^/]*:[0-9]*$')",
            "is not the name of an image, such as ghcr.io/realtime-gateway/rtgw: no scheme, and the version belongs into tag or digest",
        ),
        Rule::new(
            "image.tag",
            "self.matches('^[A-Za-z0-9_][A-Za-z0-9_.-]*$')",
            "is not a tag: letters, digits and _ . -, such as 1.4.2",
        ),
        Rule::new(
            "image.digest",
            "self.matches('^sha256:[0-9a-f]{64}$')",
            "is not a digest: sha256: and 64 hexadecimal digits",
        ),
        spelling::duration("drain.cordonDelay", "1s", "5m"),
        spelling::duration("drain.timeout", "1s", "24h"),
        Rule::new(
            "",
            "!has(self.drain) || !has(self.drain.timeout) || !self.drain.timeout.matches('^([0-9]{1,5}(h|m|s|ms)){1,4}$') || \
             !has(self.limits) || !has(self.limits.pod) || !has(self.limits.pod.connections) || \
             2 * self.limits.pod.connections <= duration(self.drain.timeout).getSeconds() * self.drain.?maxPerSecond.orValue(200)",
            "drain.timeout is too short for limits.pod.connections at half of drain.maxPerSecond (200 where it is absent), so clients would be cut: raise timeout or maxPerSecond",
        )
        .about(".drain"),
    ];
    for at in ["resources.requests.cpu", "resources.limits.cpu"] {
        rules.push(Rule::new(
            at,
            "string(self).matches('^([0-9]{1,6}([.][0-9]{1,3})?|[0-9]{1,9}m)$') && string(self).matches('[1-9]')",
            "is not an amount of CPU: cores such as 1 or \"1.5\", or thousandths such as 250m",
        ));
    }
    for at in ["resources.requests.memory", "resources.limits.memory"] {
        rules.push(spelling::bytes(at, "16Mi", "65536Gi"));
    }
    for [peer, network, except] in PEERS {
        rules.push(Rule::new(
            peer,
            "has(self.ipBlock) != (has(self.podSelector) || has(self.namespaceSelector))",
            "must be either ipBlock, or podSelector and namespaceSelector or one of them",
        ));
        rules.push(spelling::network(network));
        rules.push(spelling::network(except));
    }
    rules
}
