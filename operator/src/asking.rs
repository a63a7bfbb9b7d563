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
    // The connection lives as long as the answer is awaited, and no task outlives it.
    tokio::select! {
        answer = answer => answer,
        ended = connection => Err(broken(&match ended { Ok(()) => "closed without an answer".to_owned(), Err(error) => error.to_string() })),
    }
}
