//! Who may ask for the pod's report.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Check;
use crate::checked::{Operator, OperatorKey};
use crate::problem::Problem;
use crate::public_key::PublicKey;
use crate::raw;

impl Check<'_> {
    pub(super) fn operator(&mut self, operator: &raw::Operator) -> Operator {
        let mut keys: Vec<OperatorKey> = Vec::new();
        for (at, raw::OperatorKey { kid, x }) in operator.keys.iter().enumerate() {
            if keys.iter().any(|known| known.kid == *kid) {
                self.error(format!("operator.keys[{at}].kid"), "is already the name of another key");
                continue;
            }
            let key = URL_SAFE_NO_PAD.decode(x).ok().and_then(|bytes| PublicKey::ed25519(&bytes).ok());
            match key {
                Some(key) => keys.push(OperatorKey { kid: kid.clone(), key }),
                None => {
                    let problem = Problem::error(format!("operator.keys[{at}].x"), "is no Ed25519 key");
                    self.problems.add(problem.hint("its 32 bytes, in base64url without padding"));
                }
            }
        }
        Operator { audience: operator.audience.clone(), keys }
    }
}
