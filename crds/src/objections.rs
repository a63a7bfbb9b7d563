//! What a gateway in a cluster can get wrong beside its configuration: names, images, networks, and fields that need each other. The
//! API server says the same by the rules of [`crate::definition`].

use std::time::Duration;

use ipnet::IpNet;
use rtgw_config::raw::{Drain, DurationText, Quantity};
use rtgw_config::{Problem, Problems, defaults};

use crate::cluster::{Image, ManagedRedis, Resources};
use crate::exposure::{NetworkPolicy, Peer};
use crate::gateway::{RealtimeGateway, Redis};

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// Names everything that `gateway` cannot have.
pub(crate) fn raise(gateway: &RealtimeGateway, problems: &mut Problems) {
    let name = &gateway.metadata.name;
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    // The names of Services, which are made from it, begin with a letter.
    let begins = name.starts_with(|first: char| first.is_ascii_lowercase());
    if !name.bytes().all(plain) || !begins || name.ends_with('-') {
        let problem = Problem::error("metadata.name", "is not a name");
        problems.add(problem.hint("a lower-case letter, then letters, digits and `-`"));
    }
    let spec = &gateway.spec;
    if let Some(redis) = &spec.redis {
        redis_members(redis, problems);
    }
    let shared = spec.redis.as_ref().is_some_and(|redis| redis.managed.is_some() || redis.external.is_some());
    if !shared && spec.replicas.is_some_and(|replicas| replicas > 1) {
        let message = "need a Redis, or clients of one pod would not hear what is published in another";
        let problem = Problem::error("spec.replicas", message);
        problems.add(problem.hint("set redis.managed: {} or redis.external, or replicas to 1"));
    }
    if let Some(image) = &spec.image {
        image_parts(image, problems);
    }
    let connections = spec.limits.as_ref().and_then(|limits| limits.pod.as_ref()?.connections);
    if let Some(drain) = &spec.drain {
        drain_times(drain, connections, problems);
    }
    if let Some(resources) = &spec.resources {
        amounts(resources, problems);
    }
    if let Some(policy) = &spec.network_policy {
        peers(policy, problems);
    }
}

fn redis_members(redis: &Redis, problems: &mut Problems) {
    if redis.managed.is_some() && redis.embedded.is_some() {
        let message = "has several members: only one of managed, embedded and external can be meant";
        problems.add(Problem::error("spec.redis", message));
    }
    let Some(ManagedRedis { image, memory, persistence }) = &redis.managed else { return };
    bytes("spec.redis.managed.memory", memory.as_ref(), [16 * MIB, 1024 * GIB], problems);
    let size = persistence.as_ref().map(|persistence| &persistence.size);
    bytes("spec.redis.managed.persistence.size", size, [16 * MIB, 65_536 * GIB], problems);
    if image.as_deref().is_some_and(|image| !is_image(image)) {
        let problem = Problem::error("spec.redis.managed.image", "is not an image");
        problems.add(problem.hint("for example docker.io/library/redis:8"));
    }
}

fn image_parts(image: &Image, problems: &mut Problems) {
    if image.repository.as_deref().is_some_and(|text| !is_repository(text)) {
        let problem = Problem::error("spec.image.repository", "is not the name of an image");
        problems.add(problem.hint(
            "for example ghcr.io/realtime-gateway/rtgw: no scheme, and the version belongs into tag or digest",
        ));
    }
    if image.tag.as_deref().is_some_and(|text| !is_tag(text)) {
        let problem = Problem::error("spec.image.tag", "is not a tag");
        problems.add(problem.hint("letters, digits and `_.-`, for example 1.4.2"));
    }
    if image.digest.as_deref().is_some_and(|text| !is_digest(text)) {
        let problem = Problem::error("spec.image.digest", "is not a digest");
        problems.add(problem.hint("`sha256:` and 64 hexadecimal digits"));
    }
}

fn is_image(text: &str) -> bool {
    let (rest, digest) = text.split_once('@').map_or((text, None), |(rest, digest)| (rest, Some(digest)));
    // A colon before a slash belongs to a port.
    let (name, tag) = match rest.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
        _ => (rest, None),
    };
    is_repository(name) && tag.is_none_or(is_tag) && digest.is_none_or(is_digest)
}

fn is_repository(text: &str) -> bool {
    let part = |text: &str, joints: &[u8]| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        text.bytes().all(|byte| word(byte) || joints.contains(&byte))
            && text.bytes().next().is_some_and(word)
            && text.bytes().last().is_some_and(word)
    };
    let (host, path) = text.split_once('/').map_or((text, None), |(host, path)| (host, Some(path)));
    let host = match (host.split_once(':'), path) {
        (Some((host, port)), Some(_)) if is_port(port) => host,
        (Some(_), _) => return false,
        (None, _) => host,
    };
    part(host, b".-") && path.is_none_or(|path| path.split('/').all(|one| part(one, b"._-")))
}

fn is_port(text: &str) -> bool {
    (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_tag(text: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    text.len() <= 128
        && text.bytes().next().is_some_and(word)
        && text.bytes().all(|byte| word(byte) || b".-".contains(&byte))
}

fn is_digest(text: &str) -> bool {
    text.strip_prefix("sha256:").is_some_and(|hex| {
        hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    })
}

fn drain_times(drain: &Drain, connections: Option<u32>, problems: &mut Problems) {
    let (second, day) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
    let delay = [second, Duration::from_secs(300)];
    duration("spec.drain.cordonDelay", drain.cordon_delay.as_ref(), delay, problems);
    let timeout = duration("spec.drain.timeout", drain.timeout.as_ref(), [second, day], problems);
    let (Some(timeout), Some(connections)) = (timeout, connections) else { return };
    let rate = u64::from(drain.max_per_second.unwrap_or(defaults::DRAIN_PER_SECOND));
    if 2 * u64::from(connections) > timeout.as_secs() * rate {
        let message = format!(
            "is too short: at half of {rate} clients per second, {connections} of them (limits.pod.connections) take {}, and the rest would be cut",
            DurationText::of(Duration::from_secs((2 * u64::from(connections)).div_ceil(rate))).0
        );
        problems.add(Problem::error("spec.drain.timeout", message).hint("raise it, or maxPerSecond"));
    }
}

fn duration(
    path: &str,
    text: Option<&DurationText>,
    [least, most]: [Duration; 2],
    problems: &mut Problems,
) -> Option<Duration> {
    let text = text?;
    let Some(found) = text.parse() else {
        let problem = Problem::error(path, "is not a duration");
        problems.add(problem.hint("for example 30s, 5m, 1h30m or 250ms"));
        return None;
    };
    if found < least || found > most {
        let [least, most] = [least, most].map(|edge| DurationText::of(edge).0);
        problems.add(Problem::error(path, format!("is {}: must be from {least} to {most}", text.0)));
        return None;
    }
    Some(found)
}

fn amounts(resources: &Resources, problems: &mut Problems) {
    for (kind, amounts) in [("requests", &resources.requests), ("limits", &resources.limits)] {
        let Some(amounts) = amounts else { continue };
        if amounts.cpu.as_ref().is_some_and(|cpu| !cpu.is_amount()) {
            let problem = Problem::error(format!("spec.resources.{kind}.cpu"), "is not an amount of CPU");
            problems.add(problem.hint("cores such as 1 or \"1.5\", or thousandths such as 250m"));
        }
        let path = format!("spec.resources.{kind}.memory");
        bytes(&path, amounts.memory.as_ref(), [16 * MIB, 65_536 * GIB], problems);
    }
}

fn bytes(path: &str, amount: Option<&Quantity>, [least, most]: [u64; 2], problems: &mut Problems) {
    let Some(amount) = amount else { return };
    match amount.bytes() {
        Some(bytes) if (least..=most).contains(&bytes) => {}
        Some(bytes) => {
            let [least, most] = [least, most].map(|edge| match Quantity::of(edge) {
                Quantity::Text(text) => text,
                Quantity::Number(number) => number.to_string(),
            });
            problems.add(Problem::error(path, format!("is {bytes} bytes: must be from {least} to {most}")));
        }
        None => {
            let problem = Problem::error(path, "is not an amount of bytes");
            problems.add(problem.hint("a whole number, or one with k, M, G, Ki, Mi or Gi behind it: 64Ki"));
        }
    }
}

fn peers(policy: &NetworkPolicy, problems: &mut Problems) {
    let lists = [
        ("clientsFrom", &policy.clients_from),
        ("apiFrom", &policy.api_from),
        ("metricsFrom", &policy.metrics_from),
    ];
    for (list, peers) in lists {
        for (at, peer) in peers.iter().flatten().enumerate() {
            one_peer(&format!("spec.networkPolicy.{list}[{at}]"), peer, problems);
        }
    }
}

fn one_peer(path: &str, peer: &Peer, problems: &mut Problems) {
    let selects = peer.pod_selector.is_some() || peer.namespace_selector.is_some();
    if selects == peer.ip_block.is_some() {
        let message = "must be either ipBlock, or podSelector and namespaceSelector or one of them";
        problems.add(Problem::error(path, message));
    }
    let Some(block) = &peer.ip_block else { return };
    let others = block.except.iter().flatten().enumerate();
    let all = others.map(|(at, text)| (format!("{path}.ipBlock.except[{at}]"), text));
    for (path, text) in all.chain([(format!("{path}.ipBlock.cidr"), &block.cidr)]) {
        if !text.parse::<IpNet>().is_ok_and(|network| network == network.trunc()) {
            let problem = Problem::error(path, format!("`{text}` is no network"));
            problems
                .add(problem.hint("for example 10.0.0.0/8 or fd00::/8, with no bits set behind its prefix"));
        }
    }
}
