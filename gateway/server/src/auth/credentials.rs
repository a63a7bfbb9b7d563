//! One place that judges any credential: keys of programs, tokens of issuers, and what only the application knows, in this order.

use std::sync::Arc;

use rtgw_config::checked::{Auth, KeyScope};
use rtgw_model::Timestamp;
use tokio_util::sync::CancellationToken;

use super::api_keys::ApiKeys;
use super::jws::looks_signed;
use super::token::Issuers;
use super::verdict::{AuthError, Verified};
use super::webhook::{Question, Webhook};
use crate::outbound::Outbound;

/// Judges the credentials of one configuration; shared by all threads.
#[derive(Debug)]
pub struct Credentials {
    keys: ApiKeys,
    issuers: Issuers,
    webhook: Option<Webhook>,
}

impl Credentials {
    /// Prepares `auth`; what has to be asked elsewhere is asked over `outbound`.
    pub fn new(auth: &Auth, outbound: &Outbound) -> Self {
        Self::with(auth, None, outbound)
    }

    /// Prepares `auth`, which takes the place of what this was prepared from. Published keys and answers of the webhook that both have
    /// by the same settings go on; somebody has to run the new one's [`Self::keep_keys`] and to stop the old one's.
    pub fn renewed(&self, auth: &Auth, outbound: &Outbound) -> Self {
        Self::with(auth, Some(self), outbound)
    }

    fn with(auth: &Auth, before: Option<&Self>, outbound: &Outbound) -> Self {
        let webhook = auth.webhook.as_ref();
        let asked = before.and_then(|before| before.webhook.as_ref());
        Self {
            keys: ApiKeys::new(&auth.api_keys),
            issuers: Issuers::new(&auth.issuers, before.map(|before| &before.issuers), outbound),
            webhook: webhook.map(|webhook| Webhook::renewed(webhook, asked, outbound)),
        }
    }

    /// Fetches published keys, at once and then as they grow old, until `stop`. Without it tokens that need such keys are
    /// [`AuthError::Unavailable`].
    pub async fn keep_keys(&self, stop: &CancellationToken) {
        self.issuers.keep_keys(stop).await;
    }

    /// Keys of programs.
    pub fn keys(&self) -> &ApiKeys {
        &self.keys
    }

    /// What a connection may be made with `question.credential` at the time `at`. Done at the first poll, unless a published key is
    /// not known yet or the application has to be asked.
    ///
    /// # Errors
    /// [`AuthError`].
    pub async fn verify(&self, question: &Question<'_>, at: Timestamp) -> Result<Verified, AuthError> {
        let credential = question.credential;
        let may_be_key = question.place.may_hold_api_key();
        if let Some(key) = self.keys.key(credential).filter(|_| may_be_key) {
            if !key.may(&KeyScope::Connect) {
                return Err(AuthError::NoConnect);
            }
            let claims = key.claims().to_owned();
            return Ok(Verified { claims, expires: None, scopes: Some(Arc::clone(key.scopes())) });
        }
        match (self.issuers.verify(credential, at).await, &self.webhook) {
            // Boxed, so that those who need not wait carry no room for it.
            (Err(AuthError::Token(error)), Some(webhook)) if error.is_foreign() => {
                Box::pin(webhook.verify(question, at)).await
            }
            (Err(AuthError::Token(error)), None)
                if error.is_foreign() && !self.keys.is_empty() && !looks_signed(credential) =>
            {
                Err(AuthError::Unknown)
            }
            (verdict, _) => verdict,
        }
    }
}
