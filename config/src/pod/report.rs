//! What a pod says of itself: `GET /v1/pod`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::REPORT_BYTES;

/// A pod as it is now. Readers ignore members that they do not know: a newer gateway may say more.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodReport {
    /// UID of the pod; absent outside a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    /// Names this run of the process: another one means that the pod's container was started again.
    pub boot_id: String,
    /// Version of the program.
    pub version: String,
    /// Which configuration runs, and what is wrong with the one that does not.
    pub config: ConfigReport,
    /// Secrets that the configuration names.
    pub secrets: SecretsReport,
    /// Connections that this pod can really hold.
    pub capacity: u32,
    /// Connections now.
    pub connections: u32,
    /// Handshakes that ended well or badly, a second, over the last seconds.
    pub handshakes_per_second: f64,
    /// Bytes that wait for clients.
    pub outbound_bytes: u64,
    /// Processors, over the last seconds.
    pub cpu: Cpu,
    /// Whether publications reach this pod and leave it.
    pub delivering: bool,
    /// Whether it wants connections.
    pub phase: Phase,
    /// Whether it was told to end.
    pub terminating: bool,
    /// Connections that are still to be closed before a pod may go.
    pub remaining: u32,
}

/// Which configuration runs. One is acknowledged when its generation and its revision stand here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ConfigReport {
    /// Versions of the format that this pod reads.
    pub versions: Vec<u32>,
    /// Generation of the one that runs; absent where none runs yet, and for a manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// Its revision: the operator's where it wrote one. Absent where none runs yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// Whether the pod started with `last-good.yaml`, because `config.yaml` was refused.
    pub last_good: bool,
    /// What the files hold and the pod does not run; absent when they are right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<Refused>,
}

/// A configuration that was refused whole.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    /// Its generation, where it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// What is wrong, at most 16.
    pub problems: Vec<Fault>,
    /// How many more there are.
    pub more: u32,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Fault {
    /// Where: `spec.endpoints[0].path`.
    pub path: String,
    /// What, as the end of a sentence that the path begins.
    pub message: String,
}

/// Secrets that the configuration in the files names, whether it runs or not. Never a value, nor anything made of one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretsReport {
    /// Those that are there, with the keys that are asked for.
    pub loaded: Vec<LoadedSecret>,
    /// References that lead nowhere.
    pub missing: Vec<MissingSecret>,
    /// How many more of both there are than fit.
    pub more: u32,
}

/// A Secret that is there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LoadedSecret {
    /// Its name.
    pub name: String,
    /// Keys that the configuration asks for.
    pub keys: Vec<String>,
    /// When its content last became another, RFC 3339.
    pub loaded_at: String,
}

/// A reference to a Secret, or a key of one, that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MissingSecret {
    /// Which field refers to it: `spec.auth.issuers[0].secretRef`.
    pub path: String,
    /// Name of the Secret.
    pub name: String,
    /// Key within it.
    pub key: String,
}

/// Processor time, in thousandths of one core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Cpu {
    /// Used.
    pub used_millis: u32,
    /// What there is: the cgroup's quota, else the machine's cores.
    pub available_millis: u32,
}

/// Whether a pod wants connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum Phase {
    /// It has delivered nothing yet, or waits for a Secret.
    Starting,
    /// It does.
    Serving,
    /// It takes them, but wants no more.
    Cordoned,
    /// It takes none, and closes those that it holds.
    Evacuating,
}

/// Why a report cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Above [`REPORT_BYTES`].
    #[error("is larger than {REPORT_BYTES} bytes")]
    TooLarge,
    /// No JSON, or not of this shape.
    #[error("is no report of a pod")]
    Malformed,
}

/// Items of a list in a report.
const ITEMS: usize = 16;
/// Bytes of a text in a report: a path, a message, a name.
const TEXT: usize = 256;

impl PodReport {
    /// Reads what a pod answered.
    ///
    /// # Errors
    /// It is too large, or no report.
    pub fn read(json: &[u8]) -> Result<Self, Unreadable> {
        if json.len() > REPORT_BYTES {
            return Err(Unreadable::TooLarge);
        }
        serde_json::from_slice(json).map_err(|_| Unreadable::Malformed)
    }

    /// As it is sent: JSON of at most [`REPORT_BYTES`]. Long texts are cut and long lists end early, the shorter the more there is.
    pub fn to_json(&self) -> Vec<u8> {
        let mut report = self.clone();
        let mut items = ITEMS;
        loop {
            report.bound(items);
            // Never fails: every key is text and every number finite.
            let json = serde_json::to_vec(&report).unwrap_or_default();
            if json.len() <= REPORT_BYTES || items == 0 {
                return json;
            }
            items /= 2;
        }
    }

    fn bound(&mut self, items: usize) {
        for text in [self.uid.as_mut(), self.config.revision.as_mut()].into_iter().flatten() {
            cut(text);
        }
        if !self.handshakes_per_second.is_finite() {
            self.handshakes_per_second = 0.0;
        }
        self.config.versions.truncate(ITEMS);
        if let Some(refused) = &mut self.config.refused {
            end(&mut refused.problems, items, &mut refused.more);
            for problem in &mut refused.problems {
                cut(&mut problem.path);
                cut(&mut problem.message);
            }
        }
        let secrets = &mut self.secrets;
        end(&mut secrets.missing, items, &mut secrets.more);
        end(&mut secrets.loaded, items, &mut secrets.more);
        for secret in &mut secrets.loaded {
            end(&mut secret.keys, items, &mut secrets.more);
        }
        // Names of Secrets and keys have at most 253 characters: cut, they would be other names.
        secrets.missing.iter_mut().for_each(|missing| cut(&mut missing.path));
    }
}

/// Ends `list` after `items`; `more` counts what is left out.
fn end<T>(list: &mut Vec<T>, items: usize, more: &mut u32) {
    let beyond = list.len().saturating_sub(items);
    *more = more.saturating_add(u32::try_from(beyond).unwrap_or(u32::MAX));
    list.truncate(items);
}

fn cut(text: &mut String) {
    if text.len() > TEXT {
        text.truncate(text.floor_char_boundary(TEXT - '…'.len_utf8()));
        text.push('…');
    }
}
