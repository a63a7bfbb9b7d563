//! The end of a connection so that the last bytes arrive: shut our side down, discard what still comes, then go.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long the other side may take to close too.
const WAIT: Duration = Duration::from_secs(1);
/// How much of it is discarded; closing with unread bytes would reset the connection and could destroy the answer on its way.
const DISCARD: usize = 256 * 1024;

/// Ends `stream`.
pub(super) async fn linger(mut stream: TcpStream) {
    if stream.shutdown().await.is_err() {
        return;
    }
    let discard = async {
        let mut scratch = [0; 2048];
        let mut discarded = 0;
        while discarded < DISCARD {
            match stream.read(&mut scratch).await {
                Ok(0) | Err(_) => break,
                Ok(read) => discarded += read,
            }
        }
    };
    // Whether it closed in time makes no difference: the socket goes now.
    let _ = tokio::time::timeout(WAIT, discard).await;
}
