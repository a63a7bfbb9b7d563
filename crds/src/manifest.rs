//! Texts of YAML to checked configurations: finds the gateways and the Secrets in them, and checks each gateway whole.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use rtgw_config::references::{self, SecretPlace};
use rtgw_config::{
    Accepted, Problem, Problems, Secrets, changes, check_operator, checked, defaults, raw, schema, shape,
    suggest, yaml,
};
use serde::Deserialize;
use serde_json::Value;

use crate::gateway::RealtimeGateway;
use crate::{API_VERSION, KIND, objections, project, secret};

/// Made once: building a schema costs more than checking a manifest against it.
pub(crate) static OBJECT: LazyLock<Value> = LazyLock::new(schema::of::<RealtimeGateway>);
static CONFIG: LazyLock<Value> = LazyLock::new(schema::of::<raw::Config>);

/// A text and where it came from.
#[derive(Clone, Debug)]
pub struct Text {
    /// A file's name, for messages.
    pub name: String,
    /// YAML.
    pub content: String,
}

/// What was found in some texts.
#[derive(Debug, Default)]
pub struct Manifests {
    gateways: Vec<Found>,
    /// By namespace.
    secrets: BTreeMap<String, Secrets>,
    /// Of whatever namespace is the gateway's.
    mounted: Secrets,
    problems: Problems,
    ignored: Vec<String>,
}

/// A gateway, not checked yet.
#[derive(Debug)]
struct Found {
    name: String,
    form: Form,
    document: Value,
}

/// What one gateway is written with.
#[derive(Clone, Debug)]
pub struct Sketch {
    spec: Value,
    secrets: Secrets,
    generation: Option<u64>,
    operator: Option<checked::Operator>,
}

impl Sketch {
    /// Every reference to a Secret.
    pub fn references(&self) -> Vec<SecretPlace> {
        references::written(&self.spec)
    }

    /// The Secrets that there are for it.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Who may ask for the pod's report, where that much is right.
    pub fn operator(&self) -> Option<&checked::Operator> {
        self.operator.as_ref()
    }

    /// The generation that the operator wrote; `None` for a manifest.
    pub fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// Paths at which `newer` differs, Secrets by their keys. Holds no value.
    pub fn changes(&self, newer: &Self) -> Vec<String> {
        let mut changes = changes::changes("spec", &self.spec, &newer.spec);
        changes.extend(changes::changed_secrets(&self.secrets, &newer.secrets));
        changes
    }
}

/// How a gateway is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Form {
    /// A RealtimeGateway.
    Object,
    /// The file that the operator writes.
    Config,
}

impl Manifests {
    /// Reads `texts`. What is wrong with them is kept and told with the first answer.
    pub fn read(texts: &[Text]) -> Self {
        let mut manifests = Self::default();
        for text in texts {
            manifests.text(text);
        }
        let ignored = std::mem::take(&mut manifests.ignored);
        if !ignored.is_empty() {
            let message = format!("ignored: {}", ignored.join(", "));
            let hint = format!("only {KIND} and Secret are read outside a cluster");
            manifests.problems.also(Problem::warning("files", message).hint(hint));
        }
        manifests
    }

    /// The same with Secrets that are mounted beside the texts. One that a text has too counts as the text says.
    #[must_use]
    pub fn with_mounted(self, mounted: Secrets) -> Self {
        Self { mounted, ..self }
    }

    /// Names of the gateways, in the order of the texts.
    pub fn names(&self) -> Vec<&str> {
        self.gateways.iter().map(|found| found.name.as_str()).collect()
    }

    /// What the gateway called `name`, or the only one, is written with, to be compared with what it is written with later.
    pub fn sketch(&self, name: Option<&str>) -> Option<Sketch> {
        let found = self.choose(name).ok()?;
        let (namespace, generation) = match found.form {
            Form::Object => (found.document.pointer("/metadata/namespace"), None),
            Form::Config => {
                (found.document.get("namespace"), found.document.get("generation").and_then(Value::as_u64))
            }
        };
        let namespace = namespace.and_then(Value::as_str).unwrap_or(defaults::NAMESPACE);
        let spec = found.document.get("spec").cloned().unwrap_or_default();
        let secrets = self.secrets_of(namespace);
        let operator = found.document.get("operator").filter(|_| found.form == Form::Config);
        let operator = operator.and_then(|operator| raw::Operator::deserialize(operator).ok());
        let operator = operator.and_then(|operator| check_operator(&operator).ok());
        Some(Sketch { spec, secrets, generation, operator })
    }

    /// Checks the gateway called `name`, or the only one.
    ///
    /// # Errors
    /// There is no such gateway or a choice between several, or everything that is wrong with it and with the texts.
    pub fn check(&self, name: Option<&str>) -> Result<Accepted, Vec<Problem>> {
        let mut problems = self.problems.clone();
        match self.choose(name) {
            Ok(found) => self.check_one(found, problems),
            // Where a text could not be read the gateway may be in it.
            Err(_) if !problems.is_acceptable() => Err(problems.into_vec()),
            Err(problem) => {
                problems.also(problem);
                Err(problems.into_vec())
            }
        }
    }

    fn choose(&self, name: Option<&str>) -> Result<&Found, Problem> {
        let list = || self.names().join(", ");
        let Some(name) = name else {
            return match self.gateways.as_slice() {
                [] => Err(Problem::error("files", format!("there is no {KIND} in them"))),
                [only] => Ok(only),
                [first, others @ ..] if others.iter().all(|other| other.name == first.name) => Err(
                    Problem::error("files", format!("there are several gateways called `{}`", first.name)),
                ),
                _ => Err(Problem::error("files", format!("there are several gateways: {}", list()))
                    .hint("choose one with --name")),
            };
        };
        let mut named = self.gateways.iter().filter(|found| found.name == name);
        match (named.next(), named.next()) {
            (Some(found), None) => Ok(found),
            (Some(_), Some(_)) => {
                Err(Problem::error("files", format!("there are several gateways called `{name}`")))
            }
            (None, _) if self.gateways.is_empty() => {
                Err(Problem::error("files", format!("there is no {KIND} in them")))
            }
            (None, _) => Err(Problem::error("files", format!("there is no gateway called `{name}`"))
                .hint(format!("one of: {}", list()))),
        }
    }

    fn check_one(&self, found: &Found, mut problems: Problems) -> Result<Accepted, Vec<Problem>> {
        let mut value = found.document.clone();
        let config = match found.form {
            Form::Object => {
                shape::mend(&mut value, &OBJECT, &mut problems);
                read::<RealtimeGateway>(value).map(|gateway| prepare(&gateway, &mut problems))
            }
            Form::Config => {
                shape::mend(&mut value, &CONFIG, &mut problems);
                read::<raw::Config>(value)
            }
        };
        match config {
            Ok(config) => rtgw_config::check(&config, &self.secrets_of(&config.namespace), problems),
            Err(problem) => {
                problems.also(problem);
                Err(problems.into_vec())
            }
        }
    }

    fn secrets_of(&self, namespace: &str) -> Secrets {
        let mut secrets = self.secrets.get(namespace).cloned().unwrap_or_default();
        secrets.join(&self.mounted);
        for (other, theirs) in self.secrets.iter().filter(|(other, _)| other.as_str() != namespace) {
            theirs.names().for_each(|name| secrets.add_elsewhere(name, other));
        }
        secrets
    }

    fn text(&mut self, text: &Text) {
        let documents = match yaml::documents(&text.content) {
            Ok(documents) => documents,
            Err(error) => {
                let place = match error.position {
                    Some((line, column)) => format!("{}:{line}:{column}", text.name),
                    None => text.name.clone(),
                };
                self.problems.also(Problem::error(place, error.message));
                return;
            }
        };
        if documents.is_empty() {
            self.problems.also(Problem::error(&text.name, "is empty: a manifest is expected"));
        }
        for document in documents {
            match document.get("items").and_then(Value::as_array) {
                // `kubectl get -o yaml` of several objects.
                Some(items) if document.get("kind").and_then(Value::as_str) == Some("List") => {
                    items.iter().for_each(|item| self.document(&text.name, item));
                }
                _ => self.document(&text.name, &document),
            }
        }
    }

    fn document(&mut self, file: &str, document: &Value) {
        let field = |name: &str| document.get(name).and_then(Value::as_str);
        match (field("apiVersion"), field("kind")) {
            (Some(version), Some(kind)) if kind == KIND && version.starts_with("realtime-gateway.dev/") => {
                self.gateway(document, Form::Object);
            }
            (Some("v1"), Some("Secret")) => self.secret(file, document),
            (Some(_), Some(kind)) if kind != KIND && suggest::nearest(kind, [KIND].into_iter()).is_some() => {
                let problem = Problem::error(file, format!("has a document of the unknown kind `{kind}`"));
                self.problems.also(problem.hint(format!("did you mean `{KIND}`?")));
            }
            (Some(_), Some(kind)) => {
                let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("?");
                if self.ignored.len() < 16 {
                    self.ignored.push(format!("{kind}/{name}"));
                }
            }
            (None, None) if document.get("generation").is_some() && document.get("spec").is_some() => {
                self.gateway(document, Form::Config);
            }
            (_, None) if document.is_object() => {
                let problem = Problem::error(file, "has a document without `apiVersion` and `kind`");
                self.problems.also(
                    problem.hint(format!("begin it with `apiVersion: {API_VERSION}` and `kind: {KIND}`")),
                );
            }
            (None, Some(kind)) => {
                let problem =
                    Problem::error(file, format!("has a document of kind `{kind}` without `apiVersion`"));
                self.problems.also(problem.hint(format!("apiVersion: {API_VERSION}")));
            }
            _ => {
                self.problems.also(Problem::error(file, "has a document that is not an object with fields"));
            }
        }
    }

    fn gateway(&mut self, document: &Value, form: Form) {
        let place = match form {
            Form::Object => "/metadata/name",
            Form::Config => "/name",
        };
        let name = document.pointer(place).and_then(Value::as_str).unwrap_or_default().to_owned();
        self.gateways.push(Found { name, form, document: document.clone() });
    }

    fn secret(&mut self, file: &str, document: &Value) {
        let Some(name) = document.pointer("/metadata/name").and_then(Value::as_str) else {
            self.problems.also(Problem::error(file, "has a Secret without metadata.name"));
            return;
        };
        let namespace =
            document.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or(defaults::NAMESPACE);
        let values = secret::values(name, document, &mut self.problems);
        if !self.secrets.entry(namespace.to_owned()).or_default().add(name, values) {
            self.problems.also(Problem::error(format!("Secret/{name}"), "is there twice"));
        }
    }
}

pub(crate) fn read<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Problem> {
    serde_json::from_value(value)
        .map_err(|error| Problem::error("spec", format!("could not be read: {error}")))
}

/// What only this kind of object can get wrong, then the configuration it asks for.
fn prepare(gateway: &RealtimeGateway, problems: &mut Problems) -> raw::Config {
    let config = project::project(gateway);
    objections::raise(gateway, problems);
    let ignored = project::operator_only(&gateway.spec);
    if !ignored.is_empty() {
        problems.also(Problem::warning("spec", format!("ignored outside a cluster: {}", ignored.join(", "))));
    }
    config
}
