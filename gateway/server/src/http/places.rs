//! The places that a connection takes, one after the other as admission goes on; all of them are given back by drop.

use std::net::IpAddr;
use std::sync::Arc;

use rtgw_config::checked::{Limits, UserPolicy};
use rtgw_hub::Input;
use rtgw_model::{Close, CloseCode, ConnectionId, Principal};

use super::public::Public;
use crate::limits::{self, Counted, Place, Seat, Tally, TenantConnection, Tenants, Users, network_of};
use crate::pace::Pace;
use crate::refusal::Refusal;
use crate::transport::{Inbox, Permit, ShardInput};

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
        let refused = |_| at_limit("ip_limit", "your address has as many connections as it may; close one");
        Ok(Self { address: Some(entered.map_err(refused)?), ..Self::default() })
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
        self.user = users.enter(&principal.tenant, &principal.user, most).map_err(|_| {
            at_limit("user_limit", "this user has as many connections as one user may; close one")
        })?;
        if let Some(limit) = tenant {
            let tenants = &public.tallies.tenants;
            let most = limit.connections.unwrap_or(u32::MAX);
            let entered = tenants.enter(&principal.tenant, most, limit.messages_per_second);
            self.tenant = entered
                .map_err(|_| at_limit("tenant_limit", "your tenant has as many connections as it may"))?;
        }
        Ok(())
    }

    /// All places as one permit; no larger than what is limited needs.
    pub(super) fn permit(self, public: &Public, place: Place) -> Box<dyn Permit> {
        let Self { address, user, tenant } = self;
        let limit = public.parts.config.limits.user;
        let order = match (limit, &user) {
            (Some(limit), Some(_)) if limit.policy == UserPolicy::CloseOldest => Some(Order {
                users: Arc::clone(&public.parts.users),
                most: limit.connections,
                inboxes: Arc::clone(&public.inboxes),
                seat: None,
            }),
            _ => None,
        };
        let few = Places { _place: place, user };
        if address.is_none() && tenant.is_none() && order.is_none() {
            return Box::new(few);
        }
        Box::new(MorePlaces { places: few, _address: address, tenant, order })
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
}

/// A connection's seat among those of its user, of which the oldest gives way.
struct Order {
    users: Arc<Users>,
    most: u32,
    inboxes: Arc<[Arc<dyn Inbox>]>,
    seat: Option<Seat>,
}

impl Permit for MorePlaces {
    fn adopted(&mut self, connection: ConnectionId) {
        let (Some(order), Some(user)) = (&mut self.order, &self.places.user) else { return };
        let (seat, oldest) = order.users.seat(user, connection, order.most);
        order.seat = Some(seat);
        if let Some(oldest) = oldest {
            order.close(oldest);
        }
    }

    fn is_metered(&self) -> bool {
        self.tenant.as_ref().is_some_and(TenantConnection::is_metered)
    }

    fn may_speak(&self) -> bool {
        self.tenant.as_ref().is_none_or(TenantConnection::may_speak)
    }
}

impl Order {
    fn close(&self, oldest: ConnectionId) {
        let Some(inbox) = self.inboxes.get(usize::from(oldest.shard)) else { return };
        let close = Close::new(CloseCode::Replaced, "replaced");
        if let Err(error) = inbox.post(ShardInput::Hub(Input::Close(oldest, close))) {
            tracing::error!(%error, "a shard did not close a user's oldest connection");
        }
    }
}

fn at_limit(code: &'static str, message: &'static str) -> Refusal {
    Refusal { retry_after: Some(limits::retry_when_one_left()), ..Refusal::new(429, code, message) }
}
