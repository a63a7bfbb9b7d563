//! Which of a configuration's references to Secrets lead somewhere, and since when: by names, never by values.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rtgw_config::checked::Secret;
use rtgw_config::pod::{LoadedSecret, MissingSecret, SecretsReport};
use rtgw_crds::Sketch;

/// What was there at the last look, and when it last became another.
#[derive(Debug, Default)]
pub struct SecretsSeen(BTreeMap<String, (BTreeMap<String, Secret>, Timestamp)>);

impl SecretsSeen {
    /// What there is to say of the references of `sketch` at `now`.
    pub fn report(&mut self, sketch: &Sketch, now: Timestamp) -> SecretsReport {
        let mut keys: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut report = SecretsReport::default();
        for place in sketch.references() {
            if !sketch.secrets().has(&place.name, &place.key) {
                let missing = MissingSecret { path: place.path, name: place.name, key: place.key };
                report.missing.push(missing);
                continue;
            }
            let keys = keys.entry(place.name).or_default();
            if !keys.contains(&place.key) {
                keys.push(place.key);
            }
        }
        self.0.retain(|name, _| keys.contains_key(name));
        for (name, keys) in keys {
            let values = sketch.secrets().get(&name).cloned().unwrap_or_default();
            let seen = self.0.entry(name.clone()).or_insert_with(|| (values.clone(), now));
            if seen.0 != values {
                *seen = (values, now);
            }
            // Whole seconds say enough.
            let loaded_at = seen.1.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
            report.loaded.push(LoadedSecret { name, keys, loaded_at });
        }
        report
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rtgw_crds::{Manifests, Text};

    use super::*;

    fn sketch(old: &str) -> Sketch {
        let content = format!(
            "version: 1\ngeneration: 1\nname: a\nnamespace: default\nspec:\n  endpoints: [{{name: ws, path: /ws}}]\n  auth:\n    issuers:\n    \
             - {{name: app, secretRef: {{name: auth, key: jwt}}, previousSecretRef: {{name: auth, key: old}}}}\n    \
             - {{name: other, secretRef: {{name: elsewhere, key: jwt}}}}\n---\n\
             apiVersion: v1\nkind: Secret\nmetadata: {{name: auth}}\nstringData: {{jwt: a, {old}}}\n"
        );
        Manifests::read(&[Text { name: "config.yaml".into(), content }]).sketch(None).unwrap()
    }

    #[test]
    fn references_are_told_by_name_and_by_when_they_changed() {
        let mut seen = SecretsSeen::default();
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let report = seen.report(&sketch("unused: x"), at(0));
        let missing: Vec<&str> = report.missing.iter().map(|missing| &*missing.path).collect();
        assert_eq!(missing, ["spec.auth.issuers[0].previousSecretRef", "spec.auth.issuers[1].secretRef"]);
        let loaded = |at: &str, keys: &[&str]| LoadedSecret {
            name: "auth".into(),
            keys: keys.iter().map(|key| (*key).to_owned()).collect(),
            loaded_at: at.into(),
        };
        assert_eq!(report.loaded, [loaded("1970-01-01T00:00:00Z", &["jwt"])]);
        assert_eq!(seen.report(&sketch("unused: x"), at(5)).loaded, report.loaded, "nothing changed");
        let report = seen.report(&sketch("old: next"), at(7));
        assert_eq!(report.loaded, [loaded("1970-01-01T00:00:07Z", &["jwt", "old"])]);
        assert_eq!(report.missing.len(), 1);
        assert!(!format!("{seen:?}").contains("next"));
    }
}
