//! Asks one pod for its report: one connection, one second, no redirect, no proxy. Whatever is not a report is no answer.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rtgw_config::pod::{PodReport, REPORT_BYTES, REPORT_PATH};
use tokio::net::TcpStream;
use tokio::time;

/// A pod that takes longer is not well.
const PATIENCE: Duration = Duration::from_secs(1);

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nothing within [`PATIENCE`].
    #[error("no answer within a second")]
    Late,
    /// No connection, or one that broke.
    #[error("{0}")]
    Broken(String),
    /// Another status than 200.
    #[error("answered {0}")]
    Status(StatusCode),
    /// Something else than a report.
    #[error("the answer {0}")]
    Unreadable(#[from] rtgw_config::pod::Unreadable),
}

/// The report of the pod at `address`.
///
/// # Errors
/// It gave none.
pub async fn ask(address: IpAddr, port: u16, token: &str) -> Result<PodReport, Silence> {
    let asked = time::timeout(PATIENCE, exchange(SocketAddr::new(address, port), token)).await;
    asked.map_err(|_| Silence::Late)?
}

async fn exchange(address: SocketAddr, token: &str) -> Result<PodReport, Silence> {
    let broken = |error: &dyn std::fmt::Display| Silence::Broken(error.to_string());
    let stream = TcpStream::connect(address).await.map_err(|error| broken(&error))?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
    let request = Request::get(REPORT_PATH)
        // Brackets around IPv6 are the formatter's.
        .header(header::HOST, address.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .map_err(|error| broken(&error))?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|error| broken(&error))?;
        if response.status() != StatusCode::OK {
            return Err(Silence::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), REPORT_BYTES + 1).collect().await;
        let body = body.map_err(|error| broken(&error))?.to_bytes();
        Ok(PodReport::read(&body)?)
    };
    let driven = async {
        match connection.await {
            // An answer that came together with the end lies in its channel; without one, the request fails by itself.
            Ok(()) => std::future::pending().await,
            Err(error) => broken(&error),
        }
    };
    // The connection lives as long as the answer is awaited, and no task outlives it.
    tokio::select! {
        biased;
        answer = answer => answer,
        error = driven => Err(error),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::net::Ipv4Addr;

    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// What a pod that says `answer` in one piece, and closes, is heard to say.
    async fn heard(answer: String) -> Result<PodReport, Silence> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let pod = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
        });
        let heard = ask(Ipv4Addr::LOCALHOST.into(), port, "token").await;
        pod.await.unwrap();
        heard
    }

    #[tokio::test]
    async fn an_answer_that_comes_together_with_the_end_is_heard() {
        let report = json!({
            "bootId": "b", "version": "0.1.0", "config": {"versions": [1], "lastGood": false},
            "secrets": {"loaded": [], "missing": [], "more": 0}, "capacity": 10, "connections": 3,
            "handshakesPerSecond": 0.0, "outboundBytes": 0, "cpu": {"usedMillis": 0, "availableMillis": 1000},
            "delivering": true, "phase": "Serving", "terminating": false, "remaining": 0,
        });
        let body = report.to_string();
        for _ in 0..20 {
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                body.len()
            );
            assert_eq!(heard(answer).await.unwrap().connections, 3);
        }
    }

    #[tokio::test]
    async fn what_is_no_report_is_said() {
        assert!(matches!(heard(String::new()).await, Err(Silence::Broken(_))));
        let refused = "HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
        assert!(matches!(heard(refused.into()).await, Err(Silence::Status(StatusCode::UNAUTHORIZED))));
        let cut = "HTTP/1.1 200 OK\r\ncontent-length: 100\r\nconnection: close\r\n\r\n{";
        assert!(matches!(heard(cut.into()).await, Err(Silence::Broken(_))));
    }
}
