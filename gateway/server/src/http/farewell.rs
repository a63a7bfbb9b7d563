//! The end of a connection that was upgraded and became no session: a close frame that arrives.

use std::borrow::Cow;

use rtgw_model::Close;
use rtgw_protocol::websocket::{close, frame};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tracing::debug;

use super::linger::linger;
use crate::refusal::Refusal;

/// A refusal as a close: the reason names the delay where there is one, else the code of the refusal.
pub(super) fn close_of(refusal: &Refusal) -> Close {
    let reason: Cow<'static, str> = match refusal.retry_after {
        Some(seconds) => format!("after={}", u64::from(seconds) * 1000).into(),
        None => refusal.code.into(),
    };
    Close::new(refusal.close_code(), reason)
}

/// Closes `stream` with `code`.
pub(super) async fn say(stream: TcpStream, code: u16, reason: &str) {
    send(stream, &close::encode_payload(code, reason)).await;
}

/// Answers a client's close: with its code, where it gave one (RFC 6455 section 5.5.1).
pub(super) async fn answer(stream: TcpStream, code: Option<u16>) {
    send(stream, &code.map_or_else(Vec::new, |code| close::encode_payload(code, ""))).await;
}

async fn send(mut stream: TcpStream, payload: &[u8]) {
    let mut bytes = Vec::new();
    frame::encode(frame::OpCode::Close, false, payload, &mut bytes);
    match stream.write_all(&bytes).await {
        Ok(()) => linger(stream).await,
        Err(error) => debug!(%error, "a refused client left before it was told"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_refusal_has_its_code_in_the_table() {
        for (status, code) in [
            (400, 1002),
            (401, 4401),
            (403, 4403),
            (404, 4403),
            (413, 1009),
            (429, 4429),
            (500, 4500),
            (503, 1013),
        ] {
            let refusal = Refusal::new(status, "the_code", "");
            let close = close_of(&refusal);
            assert_eq!((close.code.code(), &*close.reason), (code, "the_code"), "{status}");
            let later = close_of(&Refusal { retry_after: Some(3), ..refusal });
            assert_eq!((later.code.code(), &*later.reason), (code, "after=3000"), "{status}");
        }
    }
}
