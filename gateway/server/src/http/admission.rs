//! From a good handshake to a session, in the order of the contract: origin, limits of the pod, the gateway and the address,
//! credentials, limits of the user and the tenant, `admit`, required channels. Nothing is held while a credential is judged but the
//! handshake itself and the address's own place: who is slow to be known takes no place from others who are quick.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use rtgw_hub::{Grant, Opening};
use rtgw_model::Admission;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::error;

use super::endpoint::Door;
use super::front::{Front, retire};
use super::places::{self, Taken};
use super::public::Public;
use super::wire::Wire;
use crate::auth::{Admitted, ConnectRequest, Credential, Presented};
use crate::control;
use crate::limits::{self, Place, Rate};
use crate::refusal::Refusal;
use crate::revocations::Revocations;
use crate::transport::{Handoff, Inbox, Permit, ShardInput, SocketProtocol};

/// How long a credential may take to be judged where others have to be asked.
const JUDGEMENT: Duration = Duration::from_secs(5);

/// A handshake that could become a session.
pub(super) struct Candidate {
    pub(super) public: Arc<Public>,
    pub(super) request: ConnectRequest,
    /// What was agreed.
    pub(super) wire: Wire,
    /// Cancelled once nobody is taken any more.
    pub(super) stop: CancellationToken,
    /// Places held so far.
    pub(super) taken: Taken,
}

/// What a candidate becomes after its 101.
pub(super) enum Entry {
    /// A session.
    Session(Box<Adoption>),
    /// Nothing yet: its credential comes as the first message.
    Awaited(Box<Candidate>),
}

/// A hand-over that waits for its socket.
pub(super) struct Adoption {
    inbox: Arc<dyn Inbox>,
    opening: Opening,
    protocol: SocketProtocol,
    deflate: bool,
    message_bytes: usize,
    permit: Box<dyn Permit>,
    revocations: Arc<Revocations>,
    front: Arc<Front>,
}

impl Candidate {
    /// All steps, as far as the request allows.
    ///
    /// # Errors
    /// What to answer instead of the upgrade.
    pub(super) async fn enter(mut self) -> Result<Entry, Refusal> {
        let taken = self.check_before_credentials()?;
        let presented = self.public.parts.admitter.presented(&self.request)?;
        if presented.awaited {
            drop(presented);
            self.taken = taken;
            return Ok(Entry::Awaited(Box::new(self)));
        }
        self.enter_as(presented, taken).await.map(|adoption| Entry::Session(Box::new(adoption)))
    }

    /// The steps that are left once the first message has brought `token`.
    ///
    /// # Errors
    /// What to close with.
    pub(super) async fn enter_with(&mut self, token: String) -> Result<Adoption, Refusal> {
        self.renew()?;
        let taken = std::mem::take(&mut self.taken);
        let presented = self.public.parts.admitter.presented(&self.request)?;
        self.enter_as(Presented { credential: Some(Credential::of_message(token)), ..presented }, taken).await
    }

    /// Goes on under the configuration of now: a reload may have come while the message was awaited.
    fn renew(&mut self) -> Result<(), Refusal> {
        let now = self.public.front.load().filter(|now| !Arc::ptr_eq(now, &self.public));
        let Some(now) = now else { return Ok(()) };
        let ix = self.door()?.ix;
        let gone = || Refusal::new(404, "not_found", "this endpoint is gone");
        self.request.endpoint = now.doors.iter().position(|door| door.ix == ix).ok_or_else(gone)?;
        self.public = now;
        Ok(())
    }

    /// What is asked of everybody: the origin, then the limits of the pod, the gateway and the address.
    fn check_before_credentials(&self) -> Result<Taken, Refusal> {
        let public = &self.public;
        public.parts.admitter.origin(&self.request)?;
        if public.rate.as_deref().is_some_and(Rate::is_empty) {
            return Err(busy());
        }
        if public.parts.connections.is_full() {
            return Err(full());
        }
        if parts_full(public) {
            return Err(places::gateway_full());
        }
        let taken = Taken::by_address(public, self.request.ip)?;
        // Who is refused for its address alone uses up nothing of the pod's rate, or one address could shut out all others.
        if public.rate.as_ref().is_some_and(|rate| !rate.take()) { Err(busy()) } else { Ok(taken) }
    }

    /// The credential and the steps behind it.
    async fn enter_as(&self, presented: Presented<'_>, mut taken: Taken) -> Result<Adoption, Refusal> {
        let parts = &self.public.parts;
        let identified = in_time(&self.public, parts.admitter.identify(&self.request, presented)).await?;
        taken.by_identity(&self.public, &identified.principal)?;
        let admitted = parts.admitter.admit(identified)?;
        let place = self.place(&admitted)?;
        // The last question: who is not let in takes nobody's place in any pod.
        taken.among_all(&self.public, self.request.ip, &admitted.principal).await?;
        self.adoption(admitted, taken, place)
    }

    /// The settings of the endpoint.
    ///
    /// # Errors
    /// There is no such endpoint, which would be a fault of ours.
    pub(super) fn door(&self) -> Result<&Door, Refusal> {
        self.public.doors.get(self.request.endpoint).ok_or_else(internal)
    }

    /// Counts how the handshake ended.
    pub(super) fn count(&self, result: &'static str) {
        if let Ok(door) = self.door() {
            self.public.parts.handshakes.count(door.ix, result);
        }
    }

    /// Takes the place, which others may have taken meanwhile.
    fn place(&self, admitted: &Admitted) -> Result<Place, Refusal> {
        let parts = &self.public.parts;
        let most = parts.config.limits.gateway_connections;
        let place = parts
            .connections
            .take(most)
            .ok_or_else(|| if parts.connections.is_full() { full() } else { places::gateway_full() })?;
        if !parts.room.has_place_for(admitted.auto.iter().map(Grant::channel)) {
            let message = "this pod carries as many channels as it may; try later";
            return Err(unavailable("channels_full", message));
        }
        Ok(place)
    }

    fn adoption(&self, admitted: Admitted, taken: Taken, place: Place) -> Result<Adoption, Refusal> {
        let (parts, door) = (&self.public.parts, self.door()?);
        // Asked after the place is taken: a drain stops the listener first and counts the places then, so it sees one of the two.
        if self.stop.is_cancelled() {
            return Err(draining());
        }
        let inbox = parts.inboxes.get(usize::from(place.shard())).ok_or_else(internal)?;
        let Admitted { key, principal, auto, greeting } = admitted;
        let admission = Admission {
            key,
            endpoint: door.ix,
            variant: door.variants.of(self.wire.protocol, self.wire.window),
            batch: self.wire.batch,
            principal,
            greeting,
            heartbeat: door.heartbeat,
            outbox: door.outbox,
            rate: door.rate,
            subscriptions: door.subscriptions,
        };
        Ok(Adoption {
            inbox: Arc::clone(inbox),
            opening: Opening { admission, auto },
            protocol: self.wire.protocol,
            deflate: self.wire.window.is_some(),
            message_bytes: door.message_bytes,
            permit: taken.permit(&self.public, place),
            revocations: Arc::clone(parts.admitter.revocations()),
            front: Arc::clone(&self.public.front),
        })
    }
}

impl Adoption {
    /// Gives the socket and what was read ahead of it to its shard.
    pub(super) fn hand_over(self, stream: TcpStream, read_ahead: Bytes) {
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => {
                error!(%error, "cannot take a socket out of the HTTP server");
                return;
            }
        };
        let Self { inbox, opening, protocol, deflate, message_bytes, permit, revocations, front } = self;
        let (key, principal) = (opening.admission.key, Arc::clone(&opening.admission.principal));
        let endpoint = opening.admission.endpoint;
        let handoff = Handoff { stream, read_ahead, opening, protocol, deflate, message_bytes, permit };
        if let Err(error) = inbox.post(ShardInput::Adopt(Box::new(handoff))) {
            error!(%error, "a shard did not take a socket");
        }
        control::recheck(&*inbox, &revocations, key, &principal);
        // The same for an endpoint that a reload has taken away.
        if !front.has(endpoint) {
            retire(&*inbox, control::connection(key), endpoint);
        }
    }
}

/// What `judging` finds, unless it takes too long or too many wait already. Polled once before anything else: by then most are done.
///
/// # Errors
/// Those of `judging`, or 503.
pub(super) async fn in_time<T>(
    public: &Public,
    judging: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let mut judging = pin!(judging);
    if let Some(judged) = (&mut judging).now_or_never() {
        return judged;
    }
    wait(&public.judging, judging).await
}

async fn wait<T>(
    places: &Semaphore,
    judging: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let unavailable = |message| Err(unavailable("auth_unavailable", message));
    let Ok(_place) = places.try_acquire() else {
        return unavailable("too many credentials wait to be judged; try later");
    };
    let judged = tokio::time::timeout(JUDGEMENT, judging).await;
    judged.unwrap_or_else(|_| unavailable("the credential could not be judged in time; try later"))
}

/// Whether this pod alone holds as many as all pods may.
fn parts_full(public: &Public) -> bool {
    let most = public.parts.config.limits.gateway_connections;
    most.is_some_and(|most| public.parts.connections.held() >= most)
}

/// The pod ends.
pub(super) fn draining() -> Refusal {
    unavailable("draining", "this pod is about to end; connect again")
}

fn busy() -> Refusal {
    unavailable("busy", "this pod is asked for more connections per second than it takes; try later")
}

fn full() -> Refusal {
    unavailable("full", "this pod holds as many connections as it may; try later")
}

fn unavailable(code: &'static str, message: &'static str) -> Refusal {
    Refusal { retry_after: Some(limits::retry_after()), ..Refusal::new(503, code, message) }
}

/// A fault that is not the client's.
pub(super) fn internal() -> Refusal {
    Refusal::new(500, "internal", "a fault of the server")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_judgement_that_does_not_come_is_not_waited_for() {
        let places = Semaphore::new(1);
        let start = tokio::time::Instant::now();
        let never = wait(&places, std::future::pending::<Result<(), _>>());
        let (first, second) = tokio::join!(never, async {
            tokio::time::sleep(JUDGEMENT / 2).await;
            wait(&places, async { Ok(()) }).await
        });
        for refusal in [first.unwrap_err(), second.unwrap_err()] {
            assert_eq!((refusal.status, refusal.code), (503, "auth_unavailable"));
            assert!(refusal.retry_after.is_some());
        }
        assert_eq!(start.elapsed(), JUDGEMENT);
        let late = async {
            tokio::time::sleep(JUDGEMENT / 2).await;
            Ok(7)
        };
        assert_eq!(wait(&places, late).await, Ok(7), "the place was given back");
    }
}
