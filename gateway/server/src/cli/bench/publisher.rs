//! Publishes through the HTTP API over one kept connection, as a backend would.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use anyhow::{Context, Result, bail};

use super::frames::data;

/// A kept connection to the internal listener.
pub(super) struct Publisher {
    stream: BufReader<TcpStream>,
    host: SocketAddr,
    body: String,
}

impl Publisher {
    pub(super) fn connect(admin: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(admin)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream), host: admin, body: String::new() })
    }

    /// Publishes one message to each of `channels`, in one request.
    pub(super) fn publish<'a>(&mut self, channels: impl IntoIterator<Item = &'a str>) -> Result<()> {
        self.publish_data(channels, data)
    }

    /// The same with other data.
    pub(super) fn publish_data<'a>(
        &mut self,
        channels: impl IntoIterator<Item = &'a str>,
        data: impl Fn() -> String,
    ) -> Result<()> {
        self.body.clear();
        self.body.push_str("{\"publications\":[");
        for (at, channel) in channels.into_iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let data = data();
            self.body.push_str(&format!(
                "{comma}{{\"channel\":\"{channel}\",\"event\":\"e\",\"tags\":{{\"k\":\"v\"}},\"data\":{data}}}"
            ));
        }
        self.body.push_str("]}");
        let head = format!(
            "POST /v1/batch HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            self.host,
            self.body.len()
        );
        let stream = self.stream.get_mut();
        stream.write_all(&[head.as_bytes(), self.body.as_bytes()].concat())?;
        self.answer()
    }

    fn answer(&mut self) -> Result<()> {
        let mut status = String::new();
        self.stream.read_line(&mut status)?;
        let mut length = 0;
        loop {
            let mut line = String::new();
            self.stream.read_line(&mut line)?;
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().context("a content length")?;
            }
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        if !status.starts_with("HTTP/1.1 200") {
            bail!("publishing: {} {}", status.trim_end(), String::from_utf8_lossy(&body));
        }
        Ok(())
    }
}
