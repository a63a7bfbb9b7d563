//! The server's side of the opening handshake (RFC 6455 section 4.2), as a pure function of the request.

use base64::{
    Engine as _, alphabet, engine::DecodePaddingMode, engine::GeneralPurpose, engine::GeneralPurposeConfig,
};
use sha1::{Digest as _, Sha1};

use super::{extension, extension::DeflateAnswer, subprotocol};

/// Appended to the key before hashing (RFC 6455 section 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The only version there is.
const VERSION: &str = "13";

/// Reads keys. Clients exist whose last character carries bits beyond the 16 bytes; nothing depends on these.
const KEY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::RequireCanonical),
);

/// The header fields of a request.
pub trait Headers {
    /// Every value of the field, in order. `name` is in lower case.
    fn values<'a>(&'a self, name: &'static str) -> impl Iterator<Item = &'a [u8]> + Clone;
}

/// What an endpoint can agree to.
#[derive(Clone, Copy, Debug)]
pub struct Supported<'a> {
    /// Subprotocols, see [`subprotocol`].
    pub subprotocols: &'a [&'static str],
    /// Whether permessage-deflate may be negotiated.
    pub deflate: bool,
}

/// A handshake to be answered with 101.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The value of `Sec-WebSocket-Accept`.
    pub accept_key: String,
    /// The value of `Sec-WebSocket-Protocol`.
    pub subprotocol: Option<&'static str>,
    /// Compression, where it was agreed.
    pub deflate: Option<DeflateAnswer>,
}

impl Accepted {
    /// The header fields of the answer, names in lower case.
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        [
            ("connection", Some("Upgrade")),
            ("upgrade", Some("websocket")),
            ("sec-websocket-accept", Some(self.accept_key.as_str())),
            ("sec-websocket-protocol", self.subprotocol),
            ("sec-websocket-extensions", self.deflate.map(|deflate| deflate.header)),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// Why a request is no handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// RFC 6455 section 4.2.1, point 1.
    #[error("a WebSocket handshake is a GET request")]
    Method,
    /// RFC 6455 section 4.2.1, point 1.
    #[error("a WebSocket handshake is an HTTP/1.1 request")]
    HttpVersion,
    /// Bytes behind the head would be taken for frames by us and for a body by a proxy.
    #[error("a WebSocket handshake has no body")]
    Body,
    /// A field that must be there, once and well-formed. The text is its name in lower case.
    #[error("the header {0} is missing, repeated or malformed")]
    Header(&'static str),
    /// RFC 6455 section 4.4.
    #[error("the WebSocket version is not 13")]
    Version,
}

impl Refusal {
    /// The status to answer with.
    pub fn status(self) -> u16 {
        match self {
            Self::Method => 405,
            Self::HttpVersion | Self::Body | Self::Header(_) => 400,
            Self::Version => 426,
        }
    }

    /// The header fields that the status asks for, names in lower case.
    pub fn headers(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Method => &[("allow", "GET")],
            // RFC 9110 section 15.5.22: 426 names what to upgrade to.
            Self::Version => {
                &[("sec-websocket-version", VERSION), ("upgrade", "websocket"), ("connection", "Upgrade")]
            }
            Self::HttpVersion | Self::Body | Self::Header(_) => &[],
        }
    }
}

/// Judges a request. `http` is the version of HTTP, major and minor.
///
/// # Errors
/// [`Refusal`], to be sent as plain HTTP.
pub fn accept(
    method: &str,
    http: (u8, u8),
    headers: &impl Headers,
    supported: Supported<'_>,
) -> Result<Accepted, Refusal> {
    if method != "GET" {
        return Err(Refusal::Method);
    }
    if http != (1, 1) {
        return Err(Refusal::HttpVersion);
    }
    once(headers, "host")?;
    if !lists(headers, "upgrade", "websocket") {
        return Err(Refusal::Header("upgrade"));
    }
    if !lists(headers, "connection", "upgrade") {
        return Err(Refusal::Header("connection"));
    }
    if headers.values("transfer-encoding").next().is_some()
        || headers.values("content-length").any(|length| length.trim_ascii() != b"0")
    {
        return Err(Refusal::Body);
    }
    if once(headers, "sec-websocket-version")? != VERSION.as_bytes() {
        return Err(Refusal::Version);
    }
    let key = once(headers, "sec-websocket-key")?;
    let deflate = supported.deflate.then(|| extension::negotiate(headers.values("sec-websocket-extensions")));
    Ok(Accepted {
        accept_key: accept_key(key).ok_or(Refusal::Header("sec-websocket-key"))?,
        subprotocol: subprotocol::choose(headers.values("sec-websocket-protocol"), supported.subprotocols),
        deflate: deflate.flatten(),
    })
}

/// The answer to a key; `None` when the key is not base64 of 16 bytes.
fn accept_key(key: &[u8]) -> Option<String> {
    // 24 characters decode to at most 18 bytes.
    let mut nonce = [0; 18];
    let is_key = key.len() == 24 && KEY.decode_slice(key, &mut nonce) == Ok(16);
    is_key.then(|| {
        let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
        base64::engine::general_purpose::STANDARD.encode(digest)
    })
}

/// The value of a field that appears exactly once.
fn once<'a>(headers: &'a impl Headers, name: &'static str) -> Result<&'a [u8], Refusal> {
    let mut values = headers.values(name);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value.trim_ascii()),
        _ => Err(Refusal::Header(name)),
    }
}

/// Whether a comma-separated field names the token, in any case.
fn lists(headers: &impl Headers, name: &'static str, token: &str) -> bool {
    let mut tokens = headers.values(name).flat_map(|value| value.split(|byte| *byte == b','));
    tokens.any(|found| found.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}
