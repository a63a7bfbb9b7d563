//! Hears who comes and goes on all pods.

use std::sync::Arc;
use std::time::Duration;

use redis::{PushInfo, PushKind, Value};
use rtgw_model::{Arrival, ChannelName};
use tokio::time::sleep;

use super::super::presence::PresenceSink;
use super::{RedisPresence, unpack};
use crate::redis_link::{Backoff, Connection, Quiet, Trouble, dial};

/// How often the connection is asked whether it lives.
const HEALTH_INTERVAL: Duration = Duration::from_secs(1);

impl RedisPresence {
    /// Keeps a subscribed connection.
    pub(super) async fn hear(&self) {
        let (mut backoff, mut log) = (Backoff::default(), Quiet::default());
        // Also before the first connection, if that took more than one try: clients may be there already.
        let mut missed = false;
        loop {
            let trouble = match self.subscribed().await {
                Err(trouble) => trouble,
                Ok(connection) => {
                    log.end();
                    backoff.reset();
                    if missed {
                        self.sink.unheard();
                    }
                    until_lost(&connection).await
                }
            };
            missed = true;
            if log.speaks(trouble.reason()) {
                let reason = trouble.reason();
                tracing::warn!(error = %trouble, reason, "joins and leaves are not heard: {}", trouble.advice());
            }
            sleep(backoff.delay()).await;
        }
    }

    async fn subscribed(&self) -> Result<Connection, Trouble> {
        let sink = Arc::clone(&self.sink);
        let connection = dial(&self.address, move |push| receive(&*sink, &push)).await?;
        connection.commands().subscribe(&self.topic).await?;
        Ok(connection)
    }
}

/// A frozen Redis keeps its sockets open, so it is asked for a sign of life.
async fn until_lost(connection: &Connection) -> Trouble {
    let mut commands = connection.commands();
    loop {
        tokio::select! {
            () = connection.closed() => return Trouble::Closed,
            () = sleep(HEALTH_INTERVAL) => {}
        }
        match redis::cmd("PING").query_async::<Value>(&mut commands).await.map_err(Trouble::from) {
            Ok(_) => {}
            // An error of the server (LOADING, BUSY) is an answer.
            Err(trouble) if trouble.is_answer() && !trouble.is_final() => {}
            Err(trouble) => return trouble,
        }
    }
}

fn receive(sink: &dyn PresenceSink, push: &PushInfo) {
    if push.kind != PushKind::Message {
        return;
    }
    if let Some(Value::BulkString(said)) = push.data.get(1) {
        match news(said) {
            Some((channel, arrival)) => sink.arrival(channel, arrival),
            None => tracing::debug!(bytes = said.len(), "no news of presence; ignored"),
        }
    }
}

/// The kind, the length of the channel in two bytes, the channel; but for a crowd also the connection and the member.
pub(super) fn news(said: &[u8]) -> Option<(ChannelName, Arrival)> {
    let (kind, rest) = said.split_first()?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (channel, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let channel = ChannelName::parse(std::str::from_utf8(channel).ok()?).ok()?;
    let member = || rest.split_at_checked(32).and_then(|(key, member)| unpack(key, member));
    let arrival = match kind {
        b'+' => Arrival::Joined(member()?),
        b'-' => Arrival::Left(member()?),
        b'!' => Arrival::Crowded,
        _ => return None,
    };
    Some((channel, arrival))
}
