//! Bounds, with their defaults.

use super::Check;
use crate::checked::{IpLimits, Limits, TenantLimits, UserLimits, UserPolicy};
use crate::defaults;
use crate::problem::Problem;
use crate::raw;

/// Room for the smallest command.
const LEAST_MESSAGE: u32 = 128;
const MOST_MESSAGE: u32 = 64 << 20;
/// Room for one frame of an ordinary publication.
const LEAST_QUEUE: u32 = 4 << 10;
const MOST_QUEUE: u32 = 1 << 30;

impl Check<'_> {
    pub(super) fn limits(&mut self, limits: Option<&raw::Limits>, auth: Option<&raw::Auth>) -> Limits {
        let pod = limits.and_then(|limits| limits.pod.clone()).unwrap_or_default();
        let connection = limits.and_then(|limits| limits.connection.clone()).unwrap_or_default();
        let message_bytes = self.bytes(
            "spec.limits.connection.messageBytes",
            connection.message_bytes.as_ref(),
            defaults::MESSAGE_BYTES,
            [LEAST_MESSAGE, MOST_MESSAGE],
        );
        let queue_bytes = self.bytes(
            "spec.limits.connection.queueBytes",
            connection.queue_bytes.as_ref(),
            defaults::QUEUE_BYTES,
            [LEAST_QUEUE, MOST_QUEUE],
        );
        let gateway = limits.and_then(|limits| limits.gateway);
        Limits {
            gateway_connections: gateway.map(|gateway| gateway.connections),
            user: limits.and_then(|limits| limits.user.as_ref()).map(user),
            ip: limits.and_then(|limits| limits.ip.as_ref()).map(|ip| self.ip(ip)).unwrap_or_default(),
            tenant: limits.and_then(|limits| limits.tenant.as_ref()).map(|limit| self.tenant(limit, auth)),
            pod_connections: pod.connections,
            handshakes_per_second: pod.handshakes_per_second,
            outbound_memory_percent: pod.outbound_memory_percent.unwrap_or(defaults::OUTBOUND_MEMORY_PERCENT),
            pod_channels: pod.channels.unwrap_or(defaults::POD_CHANNELS),
            message_bytes: usize::try_from(message_bytes).unwrap_or(usize::MAX),
            messages_per_second: Some(
                connection.messages_per_second.unwrap_or(defaults::MESSAGES_PER_SECOND),
            ),
            burst: connection.burst.unwrap_or(defaults::BURST),
            queue_bytes,
            queue_messages: connection.queue_messages.unwrap_or(defaults::QUEUE_MESSAGES),
            subscriptions: connection.subscriptions.unwrap_or(defaults::SUBSCRIPTIONS),
        }
    }

    fn ip(&mut self, limits: &raw::IpLimits) -> IpLimits {
        let path = "spec.limits.ip";
        if *limits == raw::IpLimits::default() {
            let problem = Problem::error(path, "bounds nothing");
            self.problems.add(problem.hint("give it connections, trustedProxies, or both; or leave it out"));
        }
        let listed = limits.trusted_proxies.as_deref().unwrap_or_default();
        let proxy_protocol = limits.proxy_protocol.unwrap_or(false);
        if proxy_protocol && limits.trusted_proxies.is_none() {
            let problem = Problem::error(
                format!("{path}.proxyProtocol"),
                "needs trustedProxies: without one every connection would be closed",
            );
            self.problems
                .add(problem.hint("trustedProxies: the networks of your balancer, such as [10.0.0.0/8]"));
        }
        let trusted_proxies = self.networks(&format!("{path}.trustedProxies"), listed);
        IpLimits { connections: limits.connections, trusted_proxies, proxy_protocol }
    }

    fn tenant(&mut self, limits: &raw::TenantLimits, auth: Option<&raw::Auth>) -> TenantLimits {
        let path = "spec.limits.tenant";
        if *limits == raw::TenantLimits::default() {
            let problem = Problem::error(path, "bounds nothing");
            self.problems
                .add(problem.hint("give it connections, messagesPerSecond, or both; or leave it out"));
        }
        let identity = auth.and_then(|auth| auth.identity.as_ref());
        if identity.and_then(|identity| identity.tenant.as_ref()).is_none() {
            let problem = Problem::warning(path, "bounds nobody: no client has a tenant");
            self.problems.add(problem.hint("auth.identity.tenant says which claim names it"));
        }
        let raw::TenantLimits { connections, messages_per_second } = *limits;
        TenantLimits { connections, messages_per_second }
    }
}

fn user(limits: &raw::UserLimits) -> UserLimits {
    let policy = match limits.policy.unwrap_or_default() {
        raw::UserPolicy::RefuseNew => UserPolicy::RefuseNew,
        raw::UserPolicy::CloseOldest => UserPolicy::CloseOldest,
    };
    UserLimits { connections: limits.connections, policy }
}
