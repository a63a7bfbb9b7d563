//! Keys that OpenSSL made, and texts that are none.

#![allow(clippy::unwrap_used)]

use super::*;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../tests/keys/", $name))
    };
}

#[test]
fn keys_are_read_whatever_they_are_wrapped_in() {
    let one = |text: &[u8]| {
        let keys = PublicKey::from_pem(text).unwrap();
        assert_eq!(keys.len(), 1);
        keys.into_iter().next().unwrap()
    };
    let rsa = one(file!("rsa.pub"));
    assert!(
        matches!(&rsa, PublicKey::Rsa { modulus, exponent } if modulus.len() == 256 && exponent == &[1, 0, 1])
    );
    assert_eq!(one(file!("rsa.pkcs1")), rsa);
    assert!(matches!(one(file!("p256.pub")), PublicKey::P256(point) if point.len() == 65));
    assert_eq!(one(file!("p256.crt")), one(file!("p256.pub")));
    assert!(matches!(one(file!("p384.pub")), PublicKey::P384(point) if point.len() == 97));
    assert!(matches!(one(file!("p521.pub")), PublicKey::P521(point) if point.len() == 133));
    assert!(matches!(one(file!("ed.pub")), PublicKey::Ed25519(key) if key.len() == 32));
    let both = [&file!("rsa.pub")[..], b"a comment\r\n", file!("ed.pub")].concat();
    assert_eq!(PublicKey::from_pem(&both).unwrap(), [rsa, one(file!("ed.pub"))]);
}

#[test]
fn what_is_no_good_key_is_told() {
    assert_eq!(PublicKey::from_pem(file!("small.pub")), Err(BadKey::RsaBits(1024)));
    assert_eq!(PublicKey::from_pem(file!("k256.pub")), Err(BadKey::Kind));
    for text in [&b""[..], b"secret", b"\xff\xfe", b"ssh-rsa AAAA"] {
        assert_eq!(PublicKey::from_pem(text), Err(BadKey::NotPem));
    }
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"] {
        let text = format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n");
        assert_eq!(PublicKey::from_pem(text.as_bytes()), Err(BadKey::Private));
    }
    for text in ["-----BEGIN PUBLIC KEY-----", "-----BEGIN PUBLIC KEY-----\nAAAA\n", "-----BEGIN "] {
        assert_eq!(PublicKey::from_pem(text.as_bytes()), Err(BadKey::Broken), "{text}");
    }
    let nine = file!("ed.pub").repeat(9);
    assert_eq!(PublicKey::from_pem(&nine), Err(BadKey::TooMany));
    assert_eq!(PublicKey::rsa(&[0xff; 1025], &[3]), Err(BadKey::RsaBits(8200)));
    for exponent in [&[][..], &[0], &[1], &[2], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        assert_eq!(PublicKey::rsa(&[0xff; 256], exponent), Err(BadKey::RsaExponent), "{exponent:?}");
    }
}

#[test]
fn a_key_is_for_the_algorithms_of_its_kind() {
    let fit = |file: &[u8]| {
        let keys = PublicKey::from_pem(file).unwrap();
        Algorithm::ALL.into_iter().filter(|one| keys[0].fits(*one)).map(Algorithm::name).collect::<Vec<_>>()
    };
    assert_eq!(fit(file!("rsa.pub")), ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]);
    assert_eq!((fit(file!("p256.pub")), fit(file!("p384.pub"))), (vec!["ES256"], vec!["ES384"]));
    assert_eq!((fit(file!("p521.pub")), fit(file!("ed.pub"))), (vec!["ES512"], vec!["EdDSA"]));
}

/// Every text that a change of one byte or an early end makes of a key is a key or an error, never a panic.
#[test]
fn broken_keys_do_not_panic() {
    for file in [&file!("rsa.pub")[..], file!("rsa.pkcs1"), file!("p256.crt"), file!("ed.pub")] {
        let text = std::str::from_utf8(file).unwrap();
        let (label, body) = text.trim().split_once("-----\n").unwrap();
        let (body, end) = body.split_once("-----END").unwrap();
        let der = STANDARD.decode(body.split_ascii_whitespace().collect::<String>()).unwrap();
        let wrapped = |der: &[u8]| format!("{label}-----\n{}\n-----END{end}", STANDARD.encode(der));
        for at in 0..der.len() {
            let _ = PublicKey::from_pem(wrapped(&der[..at]).as_bytes());
            for bit in [0x01, 0x80, 0xff] {
                let mut changed = der.clone();
                changed[at] ^= bit;
                let _ = PublicKey::from_pem(wrapped(&changed).as_bytes());
            }
        }
    }
}
