//! The places that a connection takes, one after the other as admission goes on; all of them are given back by drop.

use std::net::IpAddr;
use std::sync::Arc;

use rtgw_config::checked::{Limits, UserPolicy};
use rtgw_model::{ConnectionId, Principal};
use smallvec::SmallVec;

use super::public::Public;
use crate::control;
use crate::limits::{
    self, Bound, Claim, Counted, Place, Seat, Subject, Tally, TenantConnection, Tenants, Users, Verdict,
    network_of,
};
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::transport::{Inbox, Permit};

/// So many connections of an address may be in their handshake, beside as many as it may hold.
const BEGINNING: u32 = 16;

/// Addresses decide how often that would be logged.
static FLOODS: Pace = Pace::every_ms(10_000);

/// What is counted by who connects. Outlives a configuration: its limits are those of whoever enters.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// Connections that are not upgraded yet.
    beginning: Arc<Tally>,
    addresses: Arc<Tally>,
    tenants: Arc<Tenants>,
}

/// Places taken so far.
#[derive(Debug, Default)]
pub(super) struct Taken {
    address: Option<Counted>,
    user: Option<Counted>,
    tenant: Option<TenantConnection>,
    all: Option<Claim>,
}

impl Public {
    /// Counts a connection from `ip` until it is upgraded or ends. Those that say nothing must not use up the pod's places for
    /// handshakes; a trusted proxy brings those of many clients, so it is not counted.
    ///
    /// # Errors
    /// 429.
    pub(super) fn begin(&self, ip: IpAddr) -> Result<Option<Counted>, Refusal> {
        let Some(most) = self.parts.config.limits.ip.connections.filter(|_| !self.addresses.trusts(ip))
        else {
            return Ok(None);
        };
        let entered = self.tallies.beginning.enter(&network_of(ip), most.saturating_add(BEGINNING));
        entered.map(Some).map_err(|_| {
            if let Some(unsaid) = FLOODS.due() {
                tracing::warn!(%ip, unsaid, "connections are refused: the address has too many that ask for nothing yet");
            }
            at_limit("ip_limit", "your address has too many connections that are not upgraded; close one")
        })
    }
}

impl Taken {
    /// The place of the address, before anything is known about the client.
    ///
    /// # Errors
    /// 429.
    pub(super) fn by_address(public: &Public, ip: IpAddr) -> Result<Self, Refusal> {
        let Some(most) = public.parts.config.limits.ip.connections else { return Ok(Self::default()) };
        let entered = public.tallies.addresses.enter(&network_of(ip), most);
        Ok(Self { address: Some(entered.map_err(|_| address_full())?), ..Self::default() })
    }

    /// The places of the user and the tenant.
    ///
    /// # Errors
    /// 429.
    pub(super) fn by_identity(&mut self, public: &Public, principal: &Principal) -> Result<(), Refusal> {
        let Limits { user, tenant, .. } = &public.parts.config.limits;
        let most = match user {
            Some(user) if user.policy == UserPolicy::RefuseNew => user.connections,
            _ => u32::MAX,
        };
        let users = &public.parts.users;
        self.user = users.enter(&principal.tenant, &principal.user, most).map_err(|_| user_full())?;
        if let Some(limit) = tenant {
            let tenants = &public.tallies.tenants;
            let most = limit.connections.unwrap_or(u32::MAX);
            let entered = tenants.enter(&principal.tenant, most, limit.messages_per_second);
            self.tenant = entered.map_err(|_| tenant_full())?;
        }
        Ok(())
    }

    /// The places among those of all pods, where they are counted together: one round trip, or none where nothing is limited.
    ///
    /// # Errors
    /// 429, or 503 where all pods together are full.
    pub(super) async fn among_all(
        &mut self,
        public: &Public,
        ip: IpAddr,
        principal: &Principal,
    ) -> Result<(), Refusal> {
        let Some(census) = &public.parts.census else { return Ok(()) };
        let bounds = bounds(&public.parts.config.limits, ip, principal, census.reaches());
        if bounds.is_empty() {
            return Ok(());
        }
        let subjects: SmallVec<[Subject; 4]> = bounds.iter().map(|bound| bound.subject).collect();
        match census.enter(bounds).await {
            Verdict::In(claim) => self.all = Some(claim),
            Verdict::Refused(bound) => return Err(refused(subjects.get(bound), ip, principal)),
        }
        Ok(())
    }

    /// All places as one permit; no larger than what is limited needs.
    pub(super) fn permit(self, public: &Public, place: Place) -> Box<dyn Permit> {
        let Self { address, user, tenant, all } = self;
        let limit = public.parts.config.limits.user;
        let order = match (limit, &user) {
            (Some(limit), Some(_)) if limit.policy == UserPolicy::CloseOldest => Some(Order {
                users: Arc::clone(&public.parts.users),
                // Where all pods have counted, they have found the oldest of all.
                most: if all.as_ref().is_some_and(Claim::is_by_all) { u32::MAX } else { limit.connections },
                seat: None,
            }),
            _ => None,
        };
        let few = Places { _place: place, user };
        if address.is_none() && tenant.is_none() && order.is_none() && all.is_none() {
            return Box::new(few);
        }
        Box::new(MorePlaces {
            places: few,
            _address: address,
            tenant,
            order,
            all,
            inboxes: Arc::clone(&public.inboxes),
        })
    }
}

/// What every connection holds.
struct Places {
    _place: Place,
    user: Option<Counted>,
}

impl Permit for Places {}

/// What connections hold under a limit of those who share something.
struct MorePlaces {
    places: Places,
    _address: Option<Counted>,
    tenant: Option<TenantConnection>,
    order: Option<Order>,
    all: Option<Claim>,
    inboxes: Arc<[Arc<dyn Inbox>]>,
}

/// A connection's seat among those of its user, of which the oldest gives way.
struct Order {
    users: Arc<Users>,
    most: u32,
    seat: Option<Seat>,
}

impl Permit for MorePlaces {
    fn adopted(&mut self, connection: ConnectionId) {
        if self.all.as_ref().is_some_and(|all| all.name(connection)) {
            // A newer one of another pod was quicker.
            control::replaced(&self.inboxes, connection);
        }
        let (Some(order), Some(user)) = (&mut self.order, &self.places.user) else { return };
        let (seat, oldest) = order.users.seat(user, connection, order.most);
        order.seat = Some(seat);
        if let Some(oldest) = oldest {
            control::replaced(&self.inboxes, oldest);
        }
    }

    fn is_metered(&self) -> bool {
        self.tenant.as_ref().is_some_and(TenantConnection::is_metered)
    }

    fn may_speak(&self) -> bool {
        self.tenant.as_ref().is_none_or(TenantConnection::may_speak)
    }
}

/// What all pods together are asked of a client: what has a limit, in the order of the contract. `reaches`: whether other pods can be
/// told that a connection of theirs gives way.
fn bounds(limits: &Limits, ip: IpAddr, principal: &Principal, reaches: bool) -> SmallVec<[Bound; 4]> {
    let Limits { gateway_connections, ip: address, user, tenant, .. } = limits;
    let refusing = |subject, most| Bound { subject, most, oldest_gives_way: false };
    let gateway = gateway_connections.map(|most| refusing(Subject::gateway(), most));
    let address = address.connections.map(|most| refusing(Subject::network(network_of(ip)), most));
    let user = user.filter(|_| !principal.user.is_empty()).map(|limit| Bound {
        oldest_gives_way: limit.policy == UserPolicy::CloseOldest,
        ..refusing(Subject::user(&principal.tenant, &principal.user), limit.connections)
    });
    let user = user.filter(|user| reaches || !user.oldest_gives_way);
    let tenant = tenant.and_then(|limit| limit.connections).filter(|_| !principal.tenant.is_empty());
    let tenant = tenant.map(|most| refusing(Subject::tenant(&principal.tenant), most));
    [gateway, address, user, tenant].into_iter().flatten().collect()
}

fn refused(subject: Option<&Subject>, ip: IpAddr, principal: &Principal) -> Refusal {
    match subject {
        Some(subject) if *subject == Subject::network(network_of(ip)) => address_full(),
        Some(subject) if *subject == Subject::user(&principal.tenant, &principal.user) => user_full(),
        Some(subject) if *subject == Subject::tenant(&principal.tenant) => tenant_full(),
        _ => gateway_full(),
    }
}

/// All pods together hold as many as they may.
pub(super) fn gateway_full() -> Refusal {
    let message = "this gateway holds as many connections as it may; try later";
    Refusal { retry_after: Some(limits::retry_after()), ..Refusal::new(503, "gateway_full", message) }
}

fn address_full() -> Refusal {
    at_limit("ip_limit", "your address has as many connections as it may; close one")
}

fn user_full() -> Refusal {
    at_limit("user_limit", "this user has as many connections as one user may; close one")
}

fn tenant_full() -> Refusal {
    at_limit("tenant_limit", "your tenant has as many connections as it may")
}

fn at_limit(code: &'static str, message: &'static str) -> Refusal {
    Refusal { retry_after: Some(limits::retry_when_one_left()), ..Refusal::new(429, code, message) }
}
