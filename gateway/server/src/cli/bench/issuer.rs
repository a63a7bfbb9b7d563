//! What stands outside of a gateway and knows who clients are: an issuer that publishes its keys, and an application that is asked.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result, anyhow};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

/// A key of 2,048 bits that everybody can read: the tests' own.
const PRIVATE_KEY: &[u8] = include_bytes!("../../../tests/vectors/keys/rsa.key");

/// Signs tokens with RS256.
pub(super) struct Signer {
    key: RsaKeyPair,
    random: SystemRandom,
}

impl Signer {
    pub(super) fn new() -> Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(PRIVATE_KEY).context("a private key")?;
        let key = RsaKeyPair::from_der(key.secret_der()).map_err(|error| anyhow!("{error}"))?;
        Ok(Self { key, random: SystemRandom::new() })
    }

    /// A token that names the key `kid`.
    pub(super) fn token(&self, kid: &str, number: usize) -> Result<String> {
        let header = json!({"alg": "RS256", "kid": kid}).to_string();
        let claims = super::memory::claims(number).to_string();
        let mut token = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &self.random, token.as_bytes(), &mut signature)
            .map_err(|_| anyhow!("no signature"))?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Ok(token)
    }

    /// The published keys under these names.
    pub(super) fn key_set(&self, kids: &[&str]) -> String {
        let parts = PublicKeyComponents::<Vec<u8>>::from(self.key.public());
        let (n, e) = (URL_SAFE_NO_PAD.encode(parts.n), URL_SAFE_NO_PAD.encode(parts.e));
        let key =
            |kid: &&str| json!({"kty": "RSA", "use": "sig", "alg": "RS256", "kid": kid, "n": n, "e": e});
        json!({"keys": kids.iter().map(key).collect::<Vec<Value>>()}).to_string()
    }
}

/// Answers `GET` with the keys and `POST` with who a client is, until the program ends.
pub(super) struct Outside {
    pub(super) address: SocketAddr,
    keys: Arc<Mutex<String>>,
    asked: Arc<AtomicU64>,
}

impl Outside {
    pub(super) fn start(keys: String) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let address = listener.local_addr()?;
        let (keys, asked) = (Arc::new(Mutex::new(keys)), Arc::new(AtomicU64::new(0)));
        let (published, counted) = (Arc::clone(&keys), Arc::clone(&asked));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (published, counted) = (Arc::clone(&published), Arc::clone(&counted));
                std::thread::spawn(move || {
                    // A gateway that has ended is no failure of what it asked.
                    let _ended = serve(stream, &published, &counted);
                });
            }
        });
        Ok(Self { address, keys, asked })
    }

    /// Publishes other keys from now on.
    pub(super) fn publish(&self, keys: String) {
        *self.keys.lock() = keys;
    }

    /// Requests so far.
    pub(super) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn serve(stream: TcpStream, keys: &Mutex<String>, asked: &AtomicU64) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first)? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            }
        }
        stream.read_exact(&mut vec![0; length])?;
        let number = asked.fetch_add(1, Ordering::Relaxed);
        let body = if first.starts_with("GET") {
            keys.lock().clone()
        } else {
            json!({"sub": format!("user-{number}"), "claims": {"roles": ["member"]}}).to_string()
        };
        let length = body.len();
        write!(
            stream.get_mut(),
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
        )?;
    }
}
