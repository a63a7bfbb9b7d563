//! Endpoints: their paths, greetings, heartbeats and the channels a connection hears without asking.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Check, reach, syntax};
use crate::checked::{
    AutoSubscribe, Channel, Compression, Endpoint, EndpointAuth, Envelope, Greeting, Heartbeat, Protocol,
};
use crate::defaults;
use crate::expression::Scope;
use crate::problem::Problem;
use crate::raw;
use crate::template::Part;

const HOUR: Duration = Duration::from_secs(3600);
const SECOND: Duration = Duration::from_secs(1);

/// What a path of the public listener serves.
#[derive(Clone, Copy, PartialEq)]
enum Page {
    Socket,
    Stats,
    Health,
}

/// Paths of the public listener and where each was written.
#[derive(Default)]
struct Paths(BTreeMap<String, (Page, String)>);

impl Check<'_> {
    pub(super) fn endpoints(
        &mut self,
        endpoints: &[raw::Endpoint],
        auth: Option<&raw::Auth>,
        channels: &[Channel],
    ) -> Vec<Endpoint> {
        self.unique("spec.endpoints", endpoints.iter().map(|endpoint| endpoint.name.as_str()));
        let mut paths = Paths::default();
        for (at, endpoint) in endpoints.iter().enumerate() {
            self.claim(&mut paths, Page::Socket, format!("spec.endpoints[{at}].path"), &endpoint.path);
        }
        for (at, endpoint) in endpoints.iter().enumerate() {
            for (n, path) in stats_paths(endpoint).iter().enumerate() {
                self.claim(&mut paths, Page::Stats, format!("spec.endpoints[{at}].stats.paths[{n}]"), path);
            }
            for (n, path) in written_health_paths(endpoint).unwrap_or_default().iter().enumerate() {
                self.claim(&mut paths, Page::Health, format!("spec.endpoints[{at}].health.paths[{n}]"), path);
            }
        }
        let checked = endpoints.iter().enumerate();
        checked.filter_map(|(at, endpoint)| self.endpoint(at, endpoint, auth, channels, &paths)).collect()
    }

    /// Takes a path for a page; two pages cannot have one path, but health says the same wherever it is asked.
    fn claim(&mut self, paths: &mut Paths, page: Page, place: String, path: &str) {
        if let Err(message) = syntax::path(path) {
            let hint = (!path.is_empty() && !path.starts_with('/')).then(|| format!("write \"/{path}\""));
            self.problems.add(Problem { hint, ..Problem::error(place, message) });
            return;
        }
        match paths.0.get(path) {
            Some((Page::Health, _)) if page == Page::Health => {}
            Some((_, first)) => {
                let message = format!("`{path}` is already taken by {first}");
                self.error(place, message);
            }
            None => {
                paths.0.insert(path.to_owned(), (page, place));
            }
        }
    }

    fn endpoint(
        &mut self,
        at: usize,
        endpoint: &raw::Endpoint,
        auth: Option<&raw::Auth>,
        channels: &[Channel],
        paths: &Paths,
    ) -> Option<Endpoint> {
        let path = format!("spec.endpoints[{at}]");
        let auth = self.endpoint_auth(&path, auth, endpoint.auth.as_ref());
        let admit = self.optional(&format!("{path}.admit"), endpoint.admit.as_ref(), &Scope::Admission);
        let greeting = self.greeting(&format!("{path}.greeting"), endpoint.greeting.as_ref());
        let heartbeat = self.heartbeat(&format!("{path}.heartbeat"), endpoint.heartbeat.as_ref());
        let auto_subscribe = self.auto_subscribe(&path, endpoint, &auth, channels);
        let compression = compression(endpoint);
        let protocol = match endpoint.protocol.unwrap_or_default() {
            raw::Protocol::Json => Protocol::Json,
            raw::Protocol::Echo => Protocol::Echo,
        };
        let envelope = match endpoint.envelope.unwrap_or_default() {
            raw::Envelope::Typed => Envelope::Typed,
            raw::Envelope::Event => Envelope::Event,
            raw::Envelope::Raw => Envelope::Raw,
        };
        let (metadata, seq) = (endpoint.metadata.unwrap_or(false), endpoint.seq.unwrap_or(false));
        self.agree(&path, endpoint, [metadata, seq], envelope, compression);
        Some(Endpoint {
            name: endpoint.name.clone(),
            path: endpoint.path.clone(),
            protocol,
            envelope,
            metadata,
            seq,
            admit: admit?,
            auto_subscribe,
            greeting: greeting?,
            auth,
            stats_paths: stats_paths(endpoint).to_vec(),
            stats_public: endpoint.stats.as_ref().and_then(|stats| stats.public).unwrap_or(false),
            health_paths: health_paths(endpoint, paths),
            heartbeat,
            compression,
        })
    }

    /// Fields of one endpoint that exclude each other, or say nothing together.
    fn agree(
        &mut self,
        path: &str,
        endpoint: &raw::Endpoint,
        [metadata, seq]: [bool; 2],
        envelope: Envelope,
        compression: Compression,
    ) {
        if seq && envelope == Envelope::Raw {
            let problem = Problem::error(
                format!("{path}.seq"),
                "cannot be added to the `Raw` envelope, which is the data alone",
            );
            self.problems.add(problem.hint("use `Typed` or `Event`, or take seq out"));
        }
        if seq && compression != Compression::None {
            let message = "cannot be combined with compression, which is done once for everyone";
            self.problems.add(
                Problem::error(format!("{path}.seq"), message)
                    .hint("set compression.mode: None, or take seq out"),
            );
        }
        if metadata && envelope == Envelope::Raw {
            let message = "cannot be added to the `Raw` envelope, which is the data alone";
            self.problems.add(Problem::error(format!("{path}.metadata"), message));
        }
        if endpoint.protocol.unwrap_or_default() == raw::Protocol::Echo {
            let written = [
                ("envelope", endpoint.envelope.is_some()),
                ("metadata", endpoint.metadata.is_some()),
                ("seq", endpoint.seq.is_some()),
                ("autoSubscribe", endpoint.auto_subscribe.is_some()),
                ("greeting", endpoint.greeting.is_some()),
            ];
            for (field, _) in written.into_iter().filter(|(_, written)| *written) {
                let message = "means nothing on an `Echo` endpoint, which has no channels";
                self.problems.add(Problem::warning(format!("{path}.{field}"), message));
            }
        }
    }

    fn greeting(&mut self, path: &str, greeting: Option<&raw::Greeting>) -> Option<Greeting> {
        let Some(greeting) = greeting else { return Some(Greeting::Default) };
        let disabled = greeting.disabled.unwrap_or(false);
        match &greeting.message {
            Some(_) if disabled => {
                self.error(path, "has a message and is disabled: only one of them can be meant");
                None
            }
            Some(message) => {
                self.expression(&format!("{path}.message"), message, &Scope::Admission).map(Greeting::Message)
            }
            None if disabled => Some(Greeting::Disabled),
            None => Some(Greeting::Default),
        }
    }

    fn heartbeat(&mut self, path: &str, heartbeat: Option<&raw::Heartbeat>) -> Heartbeat {
        let field = |name: &str| format!("{path}.{name}");
        let written = heartbeat.cloned().unwrap_or_default();
        let interval = self.duration(
            &field("interval"),
            written.interval.as_ref(),
            defaults::HEARTBEAT_INTERVAL,
            [SECOND, HOUR],
        );
        let timeout = self.duration(
            &field("timeout"),
            written.timeout.as_ref(),
            defaults::HEARTBEAT_TIMEOUT,
            [SECOND, 2 * HOUR],
        );
        if timeout <= interval {
            let text = |duration| raw::DurationText::of(duration).0;
            let (place, message) = match written.timeout {
                Some(_) => ("timeout", format!("must be longer than the interval, {}", text(interval))),
                None => (
                    "interval",
                    format!("must be shorter than the timeout, which is {} by default", text(timeout)),
                ),
            };
            self.error(field(place), message);
        }
        let idle = written.idle.as_ref();
        let idle = idle.map(|idle| self.duration(&field("idle"), Some(idle), HOUR, [SECOND, 24 * HOUR]));
        Heartbeat { interval, timeout, idle }
    }

    fn auto_subscribe(
        &mut self,
        path: &str,
        endpoint: &raw::Endpoint,
        auth: &EndpointAuth,
        channels: &[Channel],
    ) -> Vec<AutoSubscribe> {
        let mut checked = Vec::new();
        for (at, item) in endpoint.auto_subscribe.iter().flatten().enumerate() {
            let path = format!("{path}.autoSubscribe[{at}]");
            let channel = self.template(&format!("{path}.channel"), &item.channel, &Scope::Admission);
            let when = self.optional(&format!("{path}.when"), item.when.as_ref(), &Scope::Admission);
            let (Some(channel), Some(when)) = (channel, when) else { continue };
            self.reachable(&format!("{path}.channel"), &channel, channels);
            let claims = channel.parts.iter().any(|part| match part {
                Part::Text(_) => false,
                Part::Expression(expression) => {
                    ["claims", "user", "tenant"].iter().any(|name| expression.uses(name))
                }
            });
            if claims && when.is_none() && auth.anonymous {
                let message = "needs a claim, so anonymous clients, who have none, are refused with 403";
                let problem = Problem::warning(format!("{path}.channel"), message);
                self.problems.add(problem.hint("add `when: user != ''`, or deny anonymous clients"));
            }
            checked.push(AutoSubscribe { channel, when });
        }
        checked
    }

    /// Complains about a template that no declared pattern can ever fit.
    pub(super) fn reachable(
        &mut self,
        path: &str,
        template: &crate::template::Template,
        channels: &[Channel],
    ) {
        // A pattern that is itself refused may be the one that was meant.
        if self.problems.touches("spec.channels") {
            return;
        }
        if let Err(message) = reach::check(template) {
            self.error(path, message);
        } else if !channels.iter().any(|channel| reach::may_fit(template, &channel.pattern)) {
            let declared: Vec<&str> =
                channels.iter().take(8).map(|channel| channel.pattern.source()).collect();
            let hint = match declared.as_slice() {
                [] => "declare it under spec.channels".to_owned(),
                declared => format!("declare it under spec.channels, which has: {}", declared.join(", ")),
            };
            self.problems
                .add(Problem::error(path, "no pattern under spec.channels fits this channel").hint(hint));
        }
    }
}

fn stats_paths(endpoint: &raw::Endpoint) -> &[String] {
    endpoint.stats.as_ref().and_then(|stats| stats.paths.as_deref()).unwrap_or_default()
}

fn written_health_paths(endpoint: &raw::Endpoint) -> Option<&[String]> {
    endpoint.health.as_ref().and_then(|health| health.paths.as_deref())
}

/// As written; otherwise the usual one, unless an endpoint or a stats page stands there.
fn health_paths(endpoint: &raw::Endpoint, paths: &Paths) -> Vec<String> {
    let usual = defaults::HEALTH_PATH;
    match written_health_paths(endpoint) {
        Some(written) => written.to_vec(),
        None if paths.0.get(usual).is_some_and(|(page, _)| *page != Page::Health) => Vec::new(),
        None => vec![usual.to_owned()],
    }
}

fn compression(endpoint: &raw::Endpoint) -> Compression {
    let Some(written) = &endpoint.compression else { return Compression::None };
    match written.mode.unwrap_or_default() {
        raw::CompressionMode::None => Compression::None,
        raw::CompressionMode::Shared => {
            let least = written.min_bytes.unwrap_or(defaults::COMPRESSION_MIN_BYTES);
            Compression::Shared { min_bytes: usize::try_from(least).unwrap_or(usize::MAX) }
        }
    }
}
