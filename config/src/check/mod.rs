//! What shapes cannot say: names that must resolve, expressions that must compile, fields that must agree. Every problem is
//! collected; a part that has one is left out, and the rest is checked all the same.

mod api_keys;
mod auth;
mod channels;
mod commands;
mod delivery;
mod drain;
mod endpoints;
mod history;
mod issuers;
mod limits;
mod networks;
mod operator;
mod presence;
mod reach;
mod redis;
mod sources;
mod syntax;
mod token_places;

use std::time::Duration;

use crate::checked::{Checked, LogLevel, Operator, Secret, Written};
use crate::expression::{Expression, Scope};
use crate::problem::{Problem, Problems};
use crate::raw::{self, DurationText, Quantity, SecretRef};
use crate::secrets::Secrets;
use crate::suggest;
use crate::template::Template;

/// A configuration that needs no further check.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// Ready to run.
    pub checked: Checked,
    /// What is hardly meant as it stands.
    pub warnings: Vec<Problem>,
}

/// Checks `config`. `found` is what reading it already brought up; complaints about the same places are not repeated.
///
/// # Errors
/// Everything that is wrong, warnings included, errors first.
pub fn check(config: &raw::Config, secrets: &Secrets, found: Problems) -> Result<Accepted, Vec<Problem>> {
    let mut check = Check { secrets, problems: found };
    let checked = check.config(config);
    match checked {
        Some(checked) if check.problems.is_acceptable() => {
            Ok(Accepted { checked, warnings: check.problems.into_vec() })
        }
        _ => Err(check.problems.into_vec()),
    }
}

/// Checks what can be told of `config` by someone who may not see the Secrets that it names: every reference is taken to lead somewhere, and
/// nothing is said of what stands there.
///
/// # Errors
/// Everything that is wrong, warnings included, errors first.
pub fn check_without_secrets(config: &raw::Config, found: Problems) -> Result<Vec<Problem>, Vec<Problem>> {
    let secrets = Secrets::unseen();
    let mut check = Check { secrets: &secrets, problems: found };
    // Without its Secrets it is not whole, so only the problems are of use.
    let _ = check.config(config);
    let fits = check.problems.is_acceptable();
    let problems = check.problems.into_vec();
    if fits { Ok(problems) } else { Err(problems) }
}

/// Checks who may ask for a pod's report, alone: it holds also where the rest of the configuration is refused.
///
/// # Errors
/// Everything that is wrong with it.
pub fn check_operator(operator: &raw::Operator) -> Result<Operator, Vec<Problem>> {
    let mut check = Check { secrets: &Secrets::default(), problems: Problems::default() };
    let checked = check.operator(operator);
    if check.problems.is_acceptable() { Ok(checked) } else { Err(check.problems.into_vec()) }
}

/// One run over a configuration.
struct Check<'a> {
    secrets: &'a Secrets,
    problems: Problems,
}

impl Check<'_> {
    fn config(&mut self, config: &raw::Config) -> Option<Checked> {
        let spec = &config.spec;
        if config.version != raw::VERSION {
            let message = format!("is {}: this program reads version {}", config.version, raw::VERSION);
            self.error("version", message);
        }
        let auth = self.auth(spec.auth.as_ref());
        let mut channels = self.channels(spec.channels.as_deref().unwrap_or_default());
        let endpoints = self.endpoints(&spec.endpoints, spec.auth.as_ref(), &channels);
        let commands = self.commands(spec.commands.as_ref(), &channels);
        commands::note_asked_tags(&commands, &mut channels);
        let gateway = format!("{}/{}", config.namespace, config.name);
        let sources = self.sources(spec.sources.as_deref().unwrap_or_default(), &channels, &gateway);
        let redis = self.redis(spec.redis.as_ref());
        let previous_redis = self.previous_redis(spec.redis.as_ref(), redis.as_ref());
        let limits = self.limits(spec.limits.as_ref(), spec.auth.as_ref());
        let operator = config.operator.as_ref().map(|operator| self.operator(operator));
        let drain = spec.drain.as_ref().map(|drain| self.drain(drain));
        let level = spec.observability.as_ref().and_then(|observability| observability.log_level);
        Some(Checked {
            name: config.name.clone(),
            namespace: config.namespace.clone(),
            revision: config.revision.clone(),
            operator,
            written: Written(serde_json::to_value(spec).unwrap_or_default()),
            endpoints,
            auth: auth?,
            channels,
            commands,
            sources,
            redis: redis?,
            previous_redis: previous_redis?,
            limits,
            drain,
            log_level: match level.unwrap_or_default() {
                raw::LogLevel::Error => LogLevel::Error,
                raw::LogLevel::Warn => LogLevel::Warn,
                raw::LogLevel::Info => LogLevel::Info,
                raw::LogLevel::Debug => LogLevel::Debug,
            },
        })
    }

    fn error(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.problems.add(Problem::error(path, message));
    }

    fn expression(&mut self, path: &str, text: &str, scope: &Scope<'_>) -> Option<Expression> {
        match Expression::compile_in(text, scope) {
            Ok(expression) => Some(expression),
            Err(error) => {
                let problem = Problem { hint: error.hint(), ..Problem::error(path, error.to_string()) };
                self.problems.add(problem);
                None
            }
        }
    }

    /// Outer `None`: there is one and it is wrong.
    #[expect(clippy::option_option, reason = "absent and wrong are different things here")]
    fn optional(
        &mut self,
        path: &str,
        text: Option<&String>,
        scope: &Scope<'_>,
    ) -> Option<Option<Expression>> {
        match text {
            None => Some(None),
            Some(text) => self.expression(path, text, scope).map(Some),
        }
    }

    fn template(&mut self, path: &str, text: &str, scope: &Scope<'_>) -> Option<Template> {
        match Template::parse_in(text, scope) {
            Ok(template) => Some(template),
            Err(error) => {
                let problem = Problem { hint: error.hint(), ..Problem::error(path, error.to_string()) };
                self.problems.add(problem);
                None
            }
        }
    }

    /// The duration at `path`, `default` where it is absent or wrong.
    fn duration(
        &mut self,
        path: &str,
        text: Option<&DurationText>,
        default: Duration,
        range: [Duration; 2],
    ) -> Duration {
        let Some(text) = text else { return default };
        let Some(duration) = text.parse() else {
            self.problems
                .add(Problem::error(path, "is not a duration").hint("for example 30s, 5m, 1h30m or 250ms"));
            return default;
        };
        let [least, most] = range;
        if duration < least || duration > most {
            let (least, most) = (DurationText::of(least).0, DurationText::of(most).0);
            self.error(path, format!("is {}: must be from {least} to {most}", text.0));
            return default;
        }
        duration
    }

    /// The amount of bytes at `path`, `default` where it is absent or wrong.
    fn bytes(&mut self, path: &str, amount: Option<&Quantity>, default: u32, range: [u32; 2]) -> u32 {
        let Some(amount) = amount else { return default };
        let Some(bytes) = amount.bytes() else {
            let problem = Problem::error(path, "is not an amount of bytes");
            self.problems
                .add(problem.hint("a whole number, or one with k, M, G, Ki, Mi or Gi behind it: 64Ki"));
            return default;
        };
        match u32::try_from(bytes) {
            Ok(bytes) if (range[0]..=range[1]).contains(&bytes) => bytes,
            _ => {
                let [least, most] = range.map(|edge| match Quantity::of(u64::from(edge)) {
                    Quantity::Text(text) => text,
                    Quantity::Number(number) => number.to_string(),
                });
                self.error(path, format!("is {bytes} bytes: must be from {least} to {most}"));
                default
            }
        }
    }

    /// The value behind a reference at `path`, taken to the letter.
    fn secret(&mut self, path: &str, reference: &SecretRef) -> Option<Secret> {
        let value = self.stored(path, reference)?;
        if value.0.ends_with(b"\n") {
            let (name, key) = (&reference.name, &reference.key);
            let message = format!(
                "the key `{key}` of the Secret `{name}` ends with a line break, which counts as part of it"
            );
            self.problems.add(Problem::warning(format!("{path}.key"), message).hint("`echo -n` writes none"));
        }
        Some(value)
    }

    /// The value behind a reference at `path`.
    fn stored(&mut self, path: &str, reference: &SecretRef) -> Option<Secret> {
        if self.secrets.are_unseen() {
            return None;
        }
        let (name, key) = (&reference.name, &reference.key);
        let Some(values) = self.secrets.get(name) else {
            let known: Vec<&str> = self.secrets.names().collect();
            let hint = match (self.secrets.elsewhere(name), suggest::nearest(name, known.into_iter())) {
                (Some(namespace), _) => {
                    format!("there is one in the namespace `{namespace}`, which is not the gateway's")
                }
                (None, Some(near)) => format!("did you mean `{near}`?"),
                (None, None) if self.secrets.are_mounted() => {
                    "create it; one that is new to the configuration is mounted with the next rollout".into()
                }
                (None, None) => "put the Secret into the same file, behind a line of `---`".into(),
            };
            self.problems.add(
                Problem::error(format!("{path}.name"), format!("there is no Secret `{name}`")).hint(hint),
            );
            return None;
        };
        let Some(value) = values.get(key) else {
            // The key may be among what could not be read.
            if self.problems.touches(&format!("Secret/{name}")) {
                return None;
            }
            let known: Vec<&str> = values.keys().map(String::as_str).collect();
            let problem =
                Problem::error(format!("{path}.key"), format!("the Secret `{name}` has no key `{key}`"));
            self.problems.add(problem.hint(suggest::one_of(key, &known)));
            return None;
        };
        if value.0.is_empty() {
            self.error(format!("{path}.key"), format!("the key `{key}` of the Secret `{name}` is empty"));
            return None;
        }
        Some(value.clone())
    }

    /// Complains about a name that an earlier item of the same list has.
    fn unique<'n>(&mut self, list: &str, names: impl Iterator<Item = &'n str>) {
        let mut seen: Vec<&str> = Vec::new();
        for (at, name) in names.enumerate() {
            let path = format!("{list}[{at}].name");
            if let Some(first) = seen.iter().position(|earlier| *earlier == name) {
                self.error(&path, format!("`{name}` is already the name of {list}[{first}]"));
            } else if let Err(problem) = syntax::label(name) {
                self.problems.add(Problem::error(path, problem).hint("lower-case letters, digits and `-`"));
            }
            seen.push(name);
        }
    }
}
