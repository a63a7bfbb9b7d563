//! Decides whether a request becomes a connection.

use std::sync::Arc;

use rtgw_config::checked::{AutoSubscribe, Checked, Endpoint, EndpointAuth, TokenPlace, WhenUnknown};
use rtgw_hub::Grant;
use rtgw_hub::access::{self, Action, Asker};
use rtgw_model::{ConnectionKey, EndpointIx, Principal, RuleIx, Timestamp};

use super::credential::{self, Credential, Query};
use super::greeting::Greeting;
use super::identity::Identity;
use super::webhook::Question;
use super::{Admitted, ConnectRequest, Credentials, Identified, Presented, Verified, origin};
use crate::clock;
use crate::expressions::{CallerScope, ChannelTemplate, Condition, Connection};
use crate::outbound::Outbound;
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::revocations::Revocations;
use crate::rules::CompiledRules;

/// Claims decide whether a greeting fails, so clients decide how often that would be logged.
static GREETINGS: Pace = Pace::every_ms(10_000);

/// The admission of one configuration; shared by all threads of the runtime.
#[derive(Debug)]
pub struct Admitter {
    credentials: Arc<Credentials>,
    outbound: Outbound,
    identity: Identity,
    doors: Vec<Door>,
    rules: Arc<CompiledRules>,
    revocations: Arc<Revocations>,
    when_unknown: WhenUnknown,
}

/// One endpoint.
#[derive(Debug)]
struct Door {
    name: Box<str>,
    ix: EndpointIx,
    auth: EndpointAuth,
    admit: Option<Condition>,
    auto: Vec<Auto>,
    greeting: Greeting,
}

#[derive(Debug)]
struct Auto {
    channel: ChannelTemplate,
    when: Option<Condition>,
}

impl Admitter {
    /// Prepares the admission of `config`; `rules` are of the same configuration.
    pub fn new(config: &Checked, rules: Arc<CompiledRules>) -> Self {
        let outbound = Outbound::new();
        let credentials = Arc::new(Credentials::new(&config.auth, &outbound));
        Self::with(config, rules, credentials, outbound)
    }

    /// Prepares the admission of `config`, which takes the place of this one: published keys, answers of the webhook and revocations
    /// go on. Somebody has to keep the new credentials' keys fresh and to stop whoever did for the old ones.
    #[must_use]
    pub fn renewed(&self, config: &Checked, rules: Arc<CompiledRules>) -> Self {
        let credentials = Arc::new(self.credentials.renewed(&config.auth, &self.outbound));
        let revocations = Arc::clone(&self.revocations);
        Self::with(config, rules, credentials, self.outbound.clone()).with_revocations(revocations)
    }

    fn with(
        config: &Checked,
        rules: Arc<CompiledRules>,
        credentials: Arc<Credentials>,
        outbound: Outbound,
    ) -> Self {
        Self {
            credentials,
            outbound,
            identity: Identity::new(&config.auth),
            doors: config
                .endpoints
                .iter()
                .enumerate()
                .map(|(place, endpoint)| {
                    Door::new(rules.endpoint_number(place).unwrap_or_default(), endpoint)
                })
                .collect(),
            rules,
            revocations: Arc::default(),
            when_unknown: config.auth.when_unknown,
        }
    }

    /// What judges credentials; somebody has to keep its keys fresh.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }

    /// The same with what has been revoked.
    #[must_use]
    pub fn with_revocations(self, revocations: Arc<Revocations>) -> Self {
        Self { revocations, ..self }
    }

    /// The number of the endpoint at this place of the configuration.
    pub fn endpoint_number(&self, endpoint: usize) -> EndpointIx {
        self.doors.get(endpoint).map_or(EndpointIx(u16::MAX), |door| door.ix)
    }

    /// The number of the channel rule at this place of the configuration.
    pub fn rule_number(&self, place: usize) -> Option<RuleIx> {
        self.rules.number(place)
    }

    /// What has been revoked.
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// Whether the page that sent `request` may use the endpoint; cheap, so it can be asked before any limit is.
    ///
    /// # Errors
    /// 403, or 400 where there are several origins.
    pub fn origin(&self, request: &ConnectRequest) -> Result<(), Refusal> {
        origin::check(&self.door(request.endpoint)?.auth.allowed_origins, &request.headers)
    }

    /// What `request` says of who sends it.
    ///
    /// # Errors
    /// 400 where a place of `tokenFrom` holds several credentials, 403 for a cookie that a foreign page could have sent.
    pub fn presented<'r>(&self, request: &'r ConnectRequest) -> Result<Presented<'r>, Refusal> {
        let door = self.door(request.endpoint)?;
        let query = Query::new(&request.query);
        let credential = credential::find(&door.auth, &request.headers, &query)?;
        let awaited = credential.is_none() && door.auth.token_from.contains(&TokenPlace::FirstMessage);
        Ok(Presented { credential, awaited, query: query.rest.into() })
    }

    /// Credential, then identity. Waits only where others must be asked about the credential, and the caller says how long;
    /// otherwise done at the first poll. Evaluates expressions on the polling thread, which must have 8 MiB of stack.
    ///
    /// # Errors
    /// What to answer instead of the upgrade.
    pub async fn identify(
        &self,
        request: &ConnectRequest,
        presented: Presented<'_>,
    ) -> Result<Identified, Refusal> {
        let door = self.door(request.endpoint)?;
        let key = connection_key()?;
        let Presented { credential, query, .. } = presented;
        let nobody = Principal {
            user: "".into(),
            tenant: "".into(),
            claims: "".into(),
            ip: request.ip,
            query,
            expires: None,
        };
        let principal = match credential {
            Some(credential) => self.recognize(door, key, nobody, &credential).await?,
            None if door.auth.anonymous => nobody,
            None => return Err(no_credential(&door.auth)),
        };
        self.check_revoked(&principal)?;
        Ok(Identified { endpoint: request.endpoint, key, principal })
    }

    /// Decides whether somebody known may connect, and with what: `admit`, auto-subscriptions, greeting. Computes on the calling
    /// thread, which must have 8 MiB of stack.
    ///
    /// # Errors
    /// What to answer instead of the upgrade.
    pub fn admit(&self, identified: Identified) -> Result<Admitted, Refusal> {
        let Identified { endpoint, key, principal } = identified;
        let door = self.door(endpoint)?;
        let at = clock::wall();
        let scope = scope(door, key, &principal, at);
        if let Some(admit) = &door.admit {
            check_admit(admit, &scope)?;
        }
        let asker = Asker { key, endpoint: door.ix, principal: &principal };
        let auto = self.auto_subscribe(door, &scope, &asker)?;
        let greeting = door.greeting.say(&scope, key, &principal.user, at).map_err(|error| {
            if let Some(unsaid) = GREETINGS.due() {
                let endpoint = &*door.name;
                tracing::warn!(endpoint, %error, unsaid, "a client is refused because the greeting's message fails for it");
            }
            Refusal::new(500, "internal", "the endpoint's greeting fails for this client; the gateway's log says why")
        })?;
        drop(scope);
        Ok(Admitted { key, principal: Arc::new(principal), auto, greeting })
    }

    /// Decides whether `request` comes from somebody who may connect, without making a connection: for pages that ask for the
    /// endpoint's credentials. The origin is asked only where a cookie is the credential: without CORS headers no foreign page can
    /// read the answer.
    ///
    /// # Errors
    /// What to answer instead of the page.
    pub async fn authenticate(&self, request: &ConnectRequest) -> Result<Principal, Refusal> {
        let Identified { key, principal, .. } = self.identify(request, self.presented(request)?).await?;
        let door = self.door(request.endpoint)?;
        if let Some(admit) = &door.admit {
            check_admit(admit, &scope(door, key, &principal, clock::wall()))?;
        }
        Ok(principal)
    }

    /// Judges a newer token of a connection by the rules of its endpoint. Whether it is of the same identity is the caller's
    /// question. Waits as [`Admitter::identify`] does.
    ///
    /// # Errors
    /// As at a handshake.
    pub async fn refresh(
        &self,
        endpoint: EndpointIx,
        key: ConnectionKey,
        known: &Principal,
        token: &str,
    ) -> Result<Principal, Refusal> {
        let door = self.doors.iter().find(|door| door.ix == endpoint);
        let door =
            door.ok_or_else(|| Refusal::new(404, "not_found", "this endpoint is gone; connect anew"))?;
        let nobody = Principal {
            user: "".into(),
            tenant: "".into(),
            claims: "".into(),
            ip: known.ip,
            query: known.query.clone(),
            expires: None,
        };
        let principal = self.recognize(door, key, nobody, &Credential::of_message(token)).await?;
        self.check_revoked(&principal)?;
        if let Some(admit) = &door.admit {
            check_admit(admit, &scope(door, key, &principal, clock::wall()))?;
        }
        Ok(principal)
    }

    fn check_revoked(&self, principal: &Principal) -> Result<(), Refusal> {
        let refuses = self.when_unknown == WhenUnknown::Refuse && !principal.claims.is_empty();
        if refuses && self.revocations.is_unread() {
            let message = "what has been revoked is not known yet; try later";
            let later = Some(fastrand::u32(1..=5));
            return Err(Refusal { retry_after: later, ..Refusal::new(503, "revocations_unknown", message) });
        }
        if self.revocations.refuse(principal, clock::wall()) {
            return Err(Refusal::new(401, "token_revoked", "the token has been revoked: get a new one"));
        }
        Ok(())
    }

    fn door(&self, endpoint: usize) -> Result<&Door, Refusal> {
        self.doors.get(endpoint).ok_or_else(|| Refusal::new(404, "not_found", "there is no such endpoint"))
    }

    /// `principal`, nobody so far, as the bearer of `credential`.
    async fn recognize(
        &self,
        door: &Door,
        key: ConnectionKey,
        mut principal: Principal,
        credential: &Credential<'_>,
    ) -> Result<Principal, Refusal> {
        let at = clock::wall();
        let Verified { claims, expires, .. } = self.verify(door, &principal, credential, at).await?;
        (principal.claims, principal.expires) = (claims.into(), expires);
        let connection = door.connection(key, &principal);
        let scope = CallerScope::new(connection, principal.claims.as_bytes(), at.0 / 1000);
        let (user, tenant) = self.identity.of(&scope)?;
        drop(scope);
        Ok(Principal { user, tenant, ..principal })
    }

    /// What `credential`, presented by `from`, stands for at the time `at`.
    async fn verify(
        &self,
        door: &Door,
        from: &Principal,
        credential: &Credential<'_>,
        at: Timestamp,
    ) -> Result<Verified, Refusal> {
        let question = Question {
            credential: &credential.text,
            place: credential.place,
            endpoint: &door.name,
            ip: from.ip,
            query: &from.query,
        };
        self.credentials.verify(&question, at).await.map_err(|error| {
            tracing::debug!(endpoint = &*door.name, place = ?credential.place, %error, "a credential is refused");
            error.refusal()
        })
    }

    fn auto_subscribe(
        &self,
        door: &Door,
        scope: &CallerScope<'_>,
        asker: &Asker<'_>,
    ) -> Result<Vec<Grant>, Refusal> {
        let mut grants: Vec<Grant> = Vec::with_capacity(door.auto.len());
        for auto in &door.auto {
            if auto.when.as_ref().is_some_and(|when| !when.holds(scope).unwrap_or(false)) {
                continue;
            }
            let channel = auto.channel.name(scope).map_err(|error| {
                tracing::debug!(endpoint = &*door.name, %error, "an auto-subscription has no channel");
                forbidden("the claims do not name a channel that every connection of this endpoint hears")
            })?;
            if grants.iter().any(|grant| *grant.channel() == channel) {
                continue;
            }
            let grant = access::ask(&*self.rules, Action::Subscribe, channel.as_str(), asker).map_err(|denied| {
                tracing::debug!(endpoint = &*door.name, %channel, reason = %denied.message, "an auto-subscription is refused");
                forbidden("a channel that every connection of this endpoint hears is not allowed for this one")
            })?;
            grants.push(grant);
        }
        Ok(grants)
    }
}

impl Door {
    fn new(ix: EndpointIx, endpoint: &Endpoint) -> Self {
        let auto = |auto: &AutoSubscribe| Auto {
            channel: ChannelTemplate::new(&auto.channel),
            when: auto.when.as_ref().map(Condition::new),
        };
        Self {
            name: endpoint.name.as_str().into(),
            ix,
            auth: endpoint.auth.clone(),
            admit: endpoint.admit.as_ref().map(Condition::new),
            auto: endpoint.auto_subscribe.iter().map(auto).collect(),
            greeting: Greeting::new(endpoint),
        }
    }

    fn connection<'a>(&'a self, key: ConnectionKey, principal: &'a Principal) -> Connection<'a> {
        Connection { key, ip: principal.ip, endpoint: &self.name, query: &principal.query }
    }
}

fn scope<'a>(door: &'a Door, key: ConnectionKey, principal: &'a Principal, at: Timestamp) -> CallerScope<'a> {
    CallerScope::new(door.connection(key, principal), principal.claims.as_bytes(), at.0 / 1000)
        .with_identity(&principal.user, &principal.tenant)
}

fn check_admit(admit: &Condition, scope: &CallerScope<'_>) -> Result<(), Refusal> {
    match admit.holds(scope) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(error) => tracing::debug!(expression = admit.source(), %error, "`admit` failed and refuses"),
    }
    Err(forbidden("this endpoint does not admit this client"))
}

/// 128 bits that nobody can guess: knowing a connection's id must not help to find another's.
fn connection_key() -> Result<ConnectionKey, Refusal> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        tracing::error!(%error, "the system gives no random bytes");
        internal()
    })?;
    Ok(ConnectionKey(u128::from_le_bytes(bytes)))
}

fn no_credential(auth: &EndpointAuth) -> Refusal {
    let places: Vec<&str> = auth.token_from.iter().filter_map(how).collect();
    Refusal::new(401, "token_missing", format!("a token is needed: send it as {}", places.join(", or as ")))
}

/// How a request sends a credential there; none of them is the first message's place.
fn how(place: &TokenPlace) -> Option<&'static str> {
    match place {
        TokenPlace::Header => Some("`Authorization: Bearer TOKEN`"),
        TokenPlace::Query => Some("the query parameter `token`"),
        TokenPlace::Subprotocol => Some("the subprotocols `bearer, TOKEN`"),
        TokenPlace::ApiKeyHeader => Some("the header `X-API-Key`"),
        TokenPlace::Cookie(_) => Some("the application's cookie"),
        TokenPlace::FirstMessage => None,
    }
}

fn forbidden(message: &'static str) -> Refusal {
    Refusal::new(403, "forbidden", message)
}

fn internal() -> Refusal {
    Refusal::new(500, "internal", "a fault of the server")
}
