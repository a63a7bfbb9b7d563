//! Questions over HTTP, a connection each, so that a Service may take another pod each time.

use std::io::{Error, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The status and body of the answer to `GET path`.
///
/// # Errors
/// The connection fails.
pub(crate) fn get(address: &str, path: &str) -> Result<(u16, String)> {
    ask(address, "GET", path, "", "")
}

/// The status and body of the answer to a request with these lines of a head.
///
/// # Errors
/// The connection fails, or what comes is no HTTP.
pub(crate) fn ask(address: &str, method: &str, path: &str, head: &str, body: &str) -> Result<(u16, String)> {
    let to: SocketAddr = address.parse().map_err(Error::other)?;
    let mut connection = TcpStream::connect_timeout(&to, PATIENCE)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    write!(
        connection,
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n{head}\r\n{body}"
    )?;
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| Error::other(format!("no answer of HTTP: {answer:?}")))?;
    Ok((status, answer.split_once("\r\n\r\n").map_or_else(String::new, |(_, body)| body.to_owned())))
}
