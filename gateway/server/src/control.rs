//! What the application orders of this pod's connections, carried to all shards and counted.

use std::sync::Arc;

use rtgw_config::checked::Checked;
use rtgw_hub::access::{self, Lookup};
use rtgw_hub::{ChannelViewer, ConnectionViewer, Grant, Input, Order, Renewal, Tally, Target};
use rtgw_model::{
    ChannelName, Close, CloseCode, ConnectionId, ConnectionKey, Denied, ErrorCode, Principal, Timestamp,
};
use tokio::sync::oneshot;

use crate::clock;
use crate::intake::Room;
use crate::revocations::{Full, Revocations, Revoked};
use crate::rulebook::Rulebook;
use crate::transport::{Inbox, ShardInput};

/// The way to all connections of this pod.
#[derive(Clone)]
pub struct Control {
    inboxes: Arc<[Arc<dyn Inbox>]>,
    rules: Arc<Rulebook>,
    revocations: Arc<Revocations>,
    /// Its bound on channels; without one there is none.
    room: Option<Arc<Room>>,
}

impl Control {
    /// Over the inboxes of all shards.
    pub fn new(inboxes: Arc<[Arc<dyn Inbox>]>, rules: Arc<Rulebook>, revocations: Arc<Revocations>) -> Self {
        Self { inboxes, rules, revocations, room: None }
    }

    /// The same, which has connections hear no more channels than `room` has places for.
    #[must_use]
    pub fn within(self, room: Arc<Room>) -> Self {
        Self { room: Some(room), ..self }
    }

    /// Has connections hear a channel, whatever its rule says of them; returns how many hear it by this order now. Those at their
    /// limit of subscriptions are left as they are.
    ///
    /// # Errors
    /// `bad_request` for an ill-formed name, `unknown_channel` for an undeclared one.
    pub async fn subscribe(&self, target: Target, channel: &str) -> Result<u64, Denied> {
        let grant = access::by_api(&*self.rules.load(), channel)?;
        Ok(self.order(target, Order::Subscribe(grant)).await)
    }

    /// Whether [`Control::subscribe`] would be taken for each of `channels`, and there is a place for those that this pod does not
    /// carry yet.
    ///
    /// # Errors
    /// Those of [`Control::subscribe`], and `not_available` where there are not as many places.
    pub fn may_subscribe(&self, channels: &[&str]) -> Result<(), Denied> {
        let rules = self.rules.load();
        let grants = channels.iter().map(|channel| access::by_api(&*rules, channel));
        let grants = grants.collect::<Result<Vec<Grant>, Denied>>()?;
        match &self.room {
            Some(room) if !room.has_place_for(grants.iter().map(Grant::channel)) => {
                let message = "this pod carries as many channels as it may; try later";
                Err(Denied::new(ErrorCode::NotAvailable, message))
            }
            _ => Ok(()),
        }
    }

    /// Has connections hear a channel no more; returns how many did.
    ///
    /// # Errors
    /// `bad_request` for an ill-formed name.
    pub async fn unsubscribe(&self, target: Target, channel: &str) -> Result<u64, Denied> {
        let channel = ChannelName::parse(channel)
            .map_err(|why| Denied::new(ErrorCode::BadRequest, format!("the channel name {why}")))?;
        Ok(self.order(target, Order::Unsubscribe(channel)).await)
    }

    /// Closes connections; returns how many.
    pub async fn disconnect(&self, target: Target, close: Close) -> u64 {
        self.order(target, Order::Close(close)).await
    }

    /// Has connections go on under another credential of the same user and tenant; returns how many do.
    pub async fn renew(&self, target: Target, renewal: Renewal) -> u64 {
        self.order(target, Order::Renew(renewal)).await
    }

    /// Lets nobody in, and lets nobody refresh, whom `revoked` concerns, until `until`, and closes those who are in with 4401; returns
    /// how many.
    ///
    /// # Errors
    /// [`Full`]: nothing happened.
    pub async fn revoke(&self, revoked: Revoked, until: Timestamp) -> Result<u64, Full> {
        // First the list: who comes between the two is refused, and who was let in before is closed by the order.
        self.revocations.add(&revoked, until, clock::wall())?;
        let target: Target = Arc::new(move |_, principal| revoked.concerns(principal));
        Ok(self.order(target, Order::Close(revocation())).await)
    }

    /// Closes those whom the list concerns as it is now, with 4401; returns how many.
    pub async fn close_revoked(&self) -> u64 {
        let (revocations, now) = (Arc::clone(&self.revocations), clock::wall());
        let target: Target = Arc::new(move |_, principal| revocations.refuse(principal, now));
        self.order(target, Order::Close(revocation())).await
    }

    /// Shows connections to `viewer`, only those who hear `channel` where one is named, and returns when all shards have done so;
    /// counts those for which it says true. It is called on the shards' threads and must not wait.
    pub async fn show(&self, target: Target, channel: Option<ChannelName>, viewer: ConnectionViewer) -> u64 {
        self.order(target, Order::Show(channel, viewer)).await
    }

    /// Shows the channels that somebody hears to `viewer`, each once for every shard, as [`Control::show`] does.
    pub async fn show_channels(&self, viewer: ChannelViewer) -> u64 {
        self.order(everyone(), Order::ShowChannels(viewer)).await
    }

    /// The name of every endpoint that connections may have come in by, by its number.
    pub fn endpoints(&self) -> Vec<Arc<str>> {
        self.rules.numbers().endpoints()
    }

    /// Has every question answered by the rules of `config` from now on, and every subscription judged by them.
    pub fn reload(&self, config: &Checked) {
        let rules: Arc<dyn Lookup> = self.rules.replace(config);
        for inbox in &*self.inboxes {
            post(&**inbox, Input::Reconfigured(Arc::clone(&rules)));
        }
    }

    async fn order(&self, target: Target, order: Order) -> u64 {
        let (send, counted) = oneshot::channel();
        let tally = Tally::new(move |count| {
            // Whoever ordered may have gone.
            let _told = send.send(count);
        });
        for inbox in &*self.inboxes {
            let (target, order, tally) = (Arc::clone(&target), order.clone(), Arc::clone(&tally));
            post(&**inbox, Input::Control(rtgw_hub::Control { target, order, tally }));
        }
        drop(tally);
        counted.await.unwrap_or(0)
    }
}

/// Closes a connection whose credential was revoked while it was on its way to its shard: asked after the hand-over, because the
/// order that came with the revocation may have passed the shard before it.
pub fn recheck(inbox: &dyn Inbox, revocations: &Revocations, key: ConnectionKey, principal: &Principal) {
    if revocations.refuse(principal, clock::wall()) {
        let order = Order::Close(revocation());
        let tally = Tally::new(|_| {});
        post(inbox, Input::Control(rtgw_hub::Control { target: connection(key), order, tally }));
    }
}

/// Closes a connection that gives way to a newer one of its user.
pub fn replaced(inboxes: &[Arc<dyn Inbox>], connection: ConnectionId) {
    if let Some(inbox) = inboxes.get(usize::from(connection.shard)) {
        post(&**inbox, Input::Close(connection, Close::new(CloseCode::Replaced, "replaced")));
    }
}

/// One connection.
pub fn connection(key: ConnectionKey) -> Target {
    Arc::new(move |own, _| own == key)
}

/// All connections of a user.
pub fn user(name: &str) -> Target {
    let name: Box<str> = name.into();
    Arc::new(move |_, principal| principal.user == name)
}

/// All connections of a tenant.
pub fn tenant(name: &str) -> Target {
    let name: Box<str> = name.into();
    Arc::new(move |_, principal| principal.tenant == name)
}

/// All connections.
pub fn everyone() -> Target {
    Arc::new(|_, _| true)
}

fn revocation() -> Close {
    Close::new(CloseCode::Unauthenticated, "the token has been revoked")
}

fn post(inbox: &dyn Inbox, input: Input) {
    // Never refused: only publications are.
    let _posted = inbox.post(ShardInput::Hub(input));
}
