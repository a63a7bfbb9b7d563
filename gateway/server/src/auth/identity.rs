//! Who a token's bearer is: the `auth.identity` expressions.

use rtgw_config::checked::Auth;

use crate::expressions::{CallerScope, EvaluateError, Scalar, ScalarExpression};
use crate::refusal::Refusal;

/// The identity expressions, ready to be asked.
#[derive(Debug)]
pub(super) struct Identity {
    user: ScalarExpression,
    tenant: Option<ScalarExpression>,
}

impl Identity {
    pub(super) fn new(auth: &Auth) -> Self {
        Self {
            user: ScalarExpression::new(&auth.user),
            tenant: auth.tenant.as_ref().map(ScalarExpression::new),
        }
    }

    /// The user, never empty, and the tenant, empty where the claims name none.
    ///
    /// # Errors
    /// 401 where the user is no text, or the tenant is another kind of value: rules compare both with texts, and a number would
    /// quietly be nobody's.
    pub(super) fn of(&self, scope: &CallerScope<'_>) -> Result<(Box<str>, Box<str>), Refusal> {
        let user = self.user.evaluate(scope).and_then(Scalar::into_text);
        let user = user.ok().filter(|user| !user.is_empty()).ok_or_else(|| {
            invalid(format!(
                "the token names no user: `{}` must give a text that is not empty",
                self.user.source()
            ))
        })?;
        let tenant = match &self.tenant {
            None => "".into(),
            Some(expression) => match expression.evaluate(scope).and_then(Scalar::into_text) {
                Ok(tenant) => tenant,
                Err(EvaluateError::Kind { found, .. }) if found != "null_type" => {
                    let source = expression.source();
                    return Err(invalid(format!(
                        "the token's tenant is no text: `{source}` gives a {found}"
                    )));
                }
                Err(_) => "".into(),
            },
        };
        Ok((user, tenant))
    }
}

fn invalid(message: String) -> Refusal {
    Refusal::new(401, "token_invalid", message)
}
