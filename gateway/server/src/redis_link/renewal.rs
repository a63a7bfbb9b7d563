//! New credentials for a connection that lives: Redis is told in place, so that nothing is interrupted and nothing is missed.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{RedisConnectionInfo, Value};
use tokio::sync::watch;
use tokio::time::timeout;

use super::address::{Credentials, login};
use super::{Address, Trouble};

/// How soon credentials that Redis refuses are shown again: the Secret may be ahead of Redis. Doubles up to the longest.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);

/// Has the connection behind `commands`, which began with `settings`, go on with the credentials of the moment, whenever they change. A
/// connection whose credentials are refused stays what it was. Ends only with the connection.
pub(super) async fn renew(
    address: Address,
    mut renewals: watch::Receiver<Credentials>,
    mut commands: MultiplexedConnection,
    mut settings: RedisConnectionInfo,
) {
    let mut patience = FIRST;
    loop {
        let wanted = renewals.borrow_and_update().settings.clone();
        let told = login(&wanted) == login(&settings) || {
            match authenticate(&mut commands, &wanted).await {
                Ok(()) => {
                    tracing::info!(redis = %address, "the connection goes on with new credentials");
                    address.taken(&wanted);
                    settings = wanted;
                    true
                }
                Err(trouble) => {
                    tracing::warn!(redis = %address, error = %trouble, reason = trouble.reason(),
                        "the connection keeps its old credentials: {}", trouble.advice());
                    false
                }
            }
        };
        let changed = if told {
            renewals.changed().await.is_ok()
        } else {
            let changed = timeout(patience, renewals.changed()).await;
            patience = (patience * 2).min(LONGEST);
            !matches!(changed, Ok(Err(_)))
        };
        if told {
            patience = FIRST;
        }
        if !changed {
            return;
        }
    }
}

/// Tells Redis who this is. Without a password there is nothing to tell: what the connection may do, it may.
async fn authenticate(
    commands: &mut MultiplexedConnection,
    settings: &RedisConnectionInfo,
) -> Result<(), Trouble> {
    let (user, password) = login(settings);
    let Some(password) = password else { return Ok(()) };
    let mut command = redis::cmd("AUTH");
    if let Some(user) = user {
        command.arg(user);
    }
    command.arg(password).query_async::<Value>(commands).await?;
    Ok(())
}
