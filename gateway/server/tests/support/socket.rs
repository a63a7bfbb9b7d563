//! A WebSocket client of another author, tungstenite, with waiting that fails in time.

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::{Error, Message, http};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::PATIENCE;

/// An open connection.
pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    /// Opens `url`.
    pub async fn open(url: &str) -> Self {
        Self::try_open(url, &[]).await.unwrap_or_else(|refused| panic!("{url}: {refused:?}"))
    }

    /// Opens `url` with more headers; a refusal is the HTTP answer.
    ///
    /// # Errors
    /// What the server refused with.
    pub async fn try_open(
        url: &str,
        headers: &[(&'static str, &str)],
    ) -> Result<Self, Box<http::Response<Option<Vec<u8>>>>> {
        let mut request = url.into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match tokio_tungstenite::connect_async(request).await {
            Ok((stream, _)) => Ok(Self(stream)),
            Err(Error::Http(answer)) => Err(answer),
            Err(error) => panic!("{url}: {error}"),
        }
    }

    /// Sends a JSON object.
    pub async fn send(&mut self, value: &Value) {
        self.0.send(Message::text(value.to_string())).await.unwrap();
    }

    /// The next text message.
    pub async fn text(&mut self) -> String {
        // One deadline for all of it: pings in between do not make the wait longer.
        let waiting = async {
            loop {
                match self.message().await {
                    Message::Text(text) => return text.as_str().to_owned(),
                    Message::Close(frame) => panic!("closed: {frame:?}"),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("no message within {PATIENCE:?}"))
    }

    /// The next text message as JSON.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// The next JSON message whose `type` is `kind`; others are dropped.
    pub async fn json_of_type(&mut self, kind: &str) -> Value {
        loop {
            let value = self.json().await;
            if value["type"] == kind {
                return value;
            }
        }
    }

    /// The next message as JSON, or the close.
    ///
    /// # Errors
    /// The close's code and reason, where it has them.
    pub async fn json_or_close(&mut self) -> Result<Value, Option<CloseFrame>> {
        let waiting = async {
            loop {
                match self.message().await {
                    Message::Text(text) => return Ok(serde_json::from_str(text.as_str()).unwrap()),
                    Message::Close(frame) => return Err(frame),
                    _ => {}
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("no message within {PATIENCE:?}"))
    }

    /// Waits for the server's close.
    pub async fn closed(&mut self) -> Option<CloseFrame> {
        let waiting = async {
            loop {
                if let Message::Close(frame) = self.message().await {
                    return frame;
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting)
            .await
            .unwrap_or_else(|_| panic!("no close within {PATIENCE:?}"))
    }

    async fn message(&mut self) -> Message {
        self.0.next().await.expect("the connection ended without a close").unwrap()
    }
}
