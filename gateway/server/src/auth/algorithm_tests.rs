//! Signatures of every algorithm, made by another library or printed in the standards, and what becomes of them under other names.

#![allow(clippy::unwrap_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::FutureExt;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::crypto::sign;
use p521::ecdsa::SigningKey;
use p521::ecdsa::signature::Signer;
use rtgw_config::checked::{Algorithm, Issuer, IssuerKeys, Secret};
use rtgw_config::public_key::PublicKey;
use rtgw_model::Timestamp;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;

use super::key::{HmacKey, made};
use super::token::Issuers;
use super::token_error::TokenError;
use super::verdict::{AuthError, Verified};
use crate::fixture::{KEY, checked_with};
use crate::outbound::Outbound;

macro_rules! file {
    ($name:literal) => {
        include_str!(concat!("../../tests/vectors/keys/", $name))
    };
}

/// A moment within the life of [`CLAIMS`].
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const CLAIMS: &str = r#"{"sub":"ann","exp":1800000060}"#;

/// The pair for an algorithm, or the secret.
fn pair(algorithm: Algorithm) -> (&'static str, &'static str) {
    match algorithm {
        Algorithm::Es256 => (file!("p256.key"), file!("p256.pub")),
        Algorithm::Es384 => (file!("p384.key"), file!("p384.pub")),
        Algorithm::Es512 => (file!("p521.key"), file!("p521.pub")),
        Algorithm::EdDsa => (file!("ed.key"), file!("ed.pub")),
        hmac if hmac.hmac_bytes().is_some() => (KEY, KEY),
        _ => (file!("rsa.key"), file!("rsa.pub")),
    }
}

fn signing_key(text: &str) -> EncodingKey {
    if !text.contains("PRIVATE KEY") {
        return EncodingKey::from_secret(text.as_bytes());
    }
    let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).unwrap();
    match &key {
        PrivateKeyDer::Pkcs1(_) => EncodingKey::from_rsa_der(key.secret_der()),
        _ if text == file!("ed.key") => EncodingKey::from_ed_der(key.secret_der()),
        _ => EncodingKey::from_ec_der(key.secret_der()),
    }
}

/// A token that says `named` and is signed as `algorithm`.
fn token(named: &str, algorithm: Algorithm, key: &str) -> String {
    let header = format!(r#"{{"alg":"{named}"}}"#);
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(CLAIMS));
    let signature = if algorithm == Algorithm::Es512 {
        es512(text.as_bytes(), key)
    } else {
        sign(text.as_bytes(), &signing_key(key), algorithm.name().parse().unwrap()).unwrap()
    };
    format!("{text}.{signature}")
}

/// The other library has no P-521. What others signed is in [`samples_of_es512_are_verified`].
fn es512(text: &[u8], key: &str) -> String {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let der = key.secret_der();
    // `privateKey` of `ECPrivateKey` (RFC 5915): an octet string of 66 bytes behind its version.
    let at = der.windows(5).position(|part| part == [2, 1, 1, 4, 66]).unwrap() + 5;
    let signature: p521::ecdsa::Signature = SigningKey::from_slice(&der[at..at + 66]).unwrap().sign(text);
    URL_SAFE_NO_PAD.encode(signature.to_bytes())
}

fn issuers(list: &str, secrets: &[(&str, &str)]) -> Issuers {
    let spec = format!(
        "endpoints: [{{name: ws, path: /ws}}]\nauth:\n  anonymous: Allow\n  issuers: {list}\nchannels: [{{pattern: a}}]\n"
    );
    Issuers::new(&checked_with(&spec, secrets).auth.issuers, None, &Outbound::new())
}

fn issuer(algorithm: Algorithm) -> Issuers {
    let list =
        format!("[{{name: a, algorithms: [{}], secretRef: {{name: auth, key: k}}}}]", algorithm.name());
    issuers(&list, &[("k", pair(algorithm).1)])
}

fn verify(issuers: &Issuers, token: &str) -> Result<Verified, AuthError> {
    issuers.verify(token, NOW).now_or_never().unwrap()
}

#[test]
fn tokens_of_every_algorithm_are_verified() {
    for algorithm in Algorithm::ALL {
        let issuer = issuer(algorithm);
        let token = token(algorithm.name(), algorithm, pair(algorithm).0);
        let verified = verify(&issuer, &token).unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
        assert_eq!(verified.claims, CLAIMS);
        assert_eq!(verified.expires, Some(Timestamp(1_800_000_060_000)));
        // One bit of the signature.
        let (text, signature) = token.rsplit_once('.').unwrap();
        let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        bytes[10] ^= 1;
        let changed = format!("{text}.{}", URL_SAFE_NO_PAD.encode(&bytes));
        assert_eq!(verify(&issuer, &changed), Err(TokenError::Signature.into()), "{algorithm:?}");
        for bad in [&bytes[1..], &[], &[0; 64], &[0; 96], &[0; 132], &[0; 256]] {
            let bad = format!("{text}.{}", URL_SAFE_NO_PAD.encode(bad));
            assert_eq!(verify(&issuer, &bad), Err(TokenError::Signature.into()), "{algorithm:?}");
        }
    }
}

/// RFC 8725, section 2.1. Whatever a token is named and however it is signed, only what the issuer is configured with counts.
#[test]
fn no_algorithm_passes_for_another() {
    for configured in Algorithm::ALL {
        let issuer = issuer(configured);
        for signed in Algorithm::ALL {
            // With the issuer's key where it can sign so; the public key's text is what an attacker has as an HMAC secret.
            let (private, public) = pair(configured);
            let key = match signed.hmac_bytes() {
                Some(_) => public,
                None if pair(signed).0 == private => private,
                None => pair(signed).0,
            };
            for named in [configured, signed] {
                let verdict = verify(&issuer, &token(named.name(), signed, key));
                assert_eq!(
                    verdict.is_ok(),
                    configured == signed,
                    "{signed:?} named {named:?} at {configured:?}"
                );
            }
        }
    }
}

#[test]
fn another_pair_of_the_same_kind_is_refused() {
    let issuer = issuer(Algorithm::Rs256);
    let token = token("RS256", Algorithm::Rs256, file!("rsa2.key"));
    assert_eq!(verify(&issuer, &token), Err(TokenError::Signature.into()));
}

#[test]
fn both_keys_count_while_they_are_changed() {
    let two = issuers(
        "[{name: a, algorithms: [RS256, PS512, EdDSA], secretRef: {name: auth, key: now}, previousSecretRef: {name: auth, key: before}}]",
        &[("now", file!("rsa.pub")), ("before", &[file!("rsa2.pub"), file!("ed.pub")].concat())],
    );
    for (algorithm, key) in [
        (Algorithm::Rs256, file!("rsa.key")),
        (Algorithm::Rs256, file!("rsa2.key")),
        (Algorithm::Ps512, file!("rsa2.key")),
        (Algorithm::EdDsa, file!("ed.key")),
    ] {
        assert!(verify(&two, &token(algorithm.name(), algorithm, key)).is_ok(), "{algorithm:?}");
    }
    let hmac = issuers(
        "[{name: a, algorithms: [HS256, HS512], secretRef: {name: auth, key: jwt}, previousSecretRef: {name: auth, key: before}}]",
        &[("before", "the key of before, also long enough for tokens with HS512: 64 bytes")],
    );
    let before = "the key of before, also long enough for tokens with HS512: 64 bytes";
    for (algorithm, key) in [(Algorithm::Hs256, KEY), (Algorithm::Hs512, KEY), (Algorithm::Hs256, before)] {
        assert!(verify(&hmac, &token(algorithm.name(), algorithm, key)).is_ok(), "{algorithm:?}");
    }
    assert!(verify(&hmac, &token("HS384", Algorithm::Hs384, KEY)).is_err(), "not configured");
    // The name binds also where both are configured.
    let signature = Err(TokenError::Signature.into());
    assert_eq!(verify(&hmac, &token("HS512", Algorithm::Hs256, KEY)), signature);
    assert_eq!(verify(&hmac, &token("HS256", Algorithm::Hs512, KEY)), signature);
    assert_eq!(verify(&two, &token("PS512", Algorithm::Rs256, file!("rsa.key"))), signature);
}

#[test]
fn several_issuers_are_told_apart_by_algorithm_and_iss() {
    let all = issuers(
        "[{name: a, algorithms: [HS256], secretRef: {name: auth, key: jwt}, issuer: other}, \
          {name: b, algorithms: [EdDSA], secretRef: {name: auth, key: ed}, leeway: 0s}, \
          {name: c, algorithms: [HS256], secretRef: {name: auth, key: other}}]",
        &[("ed", file!("ed.pub"))],
    );
    assert!(verify(&all, &token("EdDSA", Algorithm::EdDsa, file!("ed.key"))).is_ok());
    assert_eq!(
        verify(&all, &token("HS256", Algorithm::Hs256, KEY)),
        Err(TokenError::Signature.into()),
        "iss is not a's"
    );
    assert_eq!(
        verify(&all, &token("RS256", Algorithm::Rs256, file!("rsa.key"))),
        Err(TokenError::Algorithm.into())
    );
}

fn bytes(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode(text).unwrap()
}

/// RFC 7515, appendix A: the claims are those of a token, long expired.
#[test]
fn samples_of_rfc_7515_are_verified() {
    const PAYLOAD: &str =
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ";
    let rsa = PublicKey::rsa(&bytes("ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"), &bytes("AQAB")).unwrap();
    let (x, y) = (
        bytes("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"),
        bytes("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"),
    );
    let point = PublicKey::point(&[vec![4], x, y].concat()).unwrap();
    let secret = Secret(bytes(
        "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow",
    ));
    let issuer = |name: &str, algorithm, keys| Issuer {
        name: name.into(),
        algorithms: vec![algorithm],
        keys,
        issuer: Some("joe".into()),
        audience: vec![],
        leeway: std::time::Duration::ZERO,
    };
    let issuers = Issuers::new(
        &[
            issuer("a1", Algorithm::Hs256, IssuerKeys::Hmac(vec![secret])),
            issuer("a2", Algorithm::Rs256, IssuerKeys::Public(vec![rsa])),
            issuer("a3", Algorithm::Es256, IssuerKeys::Public(vec![point])),
        ],
        None,
        &Outbound::new(),
    );
    for (header, signature) in [
        ("eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        (
            "eyJhbGciOiJSUzI1NiJ9",
            "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw",
        ),
        (
            "eyJhbGciOiJFUzI1NiJ9",
            "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q",
        ),
    ] {
        let token = format!("{header}.{PAYLOAD}.{signature}");
        let verify = |at| issuers.verify(&token, Timestamp(at)).now_or_never().unwrap();
        assert!(verify(1_300_819_379_999).is_ok(), "{header}");
        assert_eq!(verify(1_300_819_380_000), Err(TokenError::Expired.into()), "{header}");
    }
}

/// RFC 7515, appendix A.4, where what is signed is no claims; and a token that OpenSSL signed.
#[test]
fn samples_of_es512_are_verified() {
    let (x, y) = (
        bytes("AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk"),
        bytes("ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2"),
    );
    let point = [vec![4], x, y].concat();
    let key = PublicKey::point(&point).unwrap();
    let text = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA";
    let signature = bytes(
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn",
    );
    assert!(made(&key, Algorithm::Es512, text, &signature));
    for wrong in [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs512, Algorithm::Hs512] {
        assert!(!made(&key, wrong, text, &signature), "{wrong:?}");
    }
    // Nothing but these bytes: another text, a byte more or less, numbers that are zero or as large as the curve's order.
    assert!(!made(&key, Algorithm::Es512, &text[1..], &signature));
    let order = "01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409";
    let order: Vec<u8> =
        (0..order.len()).step_by(2).map(|at| u8::from_str_radix(&order[at..at + 2], 16).unwrap()).collect();
    let (r, s) = signature.split_at(66);
    for bad in [
        [&[0; 66], s].concat(),
        [r, &[0; 66]].concat(),
        [r, &order].concat(),
        [&order, s].concat(),
        [&[0xff; 66], s].concat(),
        [s, r].concat(),
        [&signature[..], &[0]].concat(),
        signature[1..].to_vec(),
        vec![0; 132],
        Vec::new(),
    ] {
        assert!(!made(&key, Algorithm::Es512, text, &bad));
    }
    // A point beside the curve, or at infinity, is no key that anything was signed with.
    for at in [1, 66, 67, 132] {
        let mut beside = point.clone();
        beside[at] ^= 1;
        assert!(!made(&PublicKey::point(&beside).unwrap(), Algorithm::Es512, text, &signature), "{at}");
    }
    let nowhere = PublicKey::point(&[&[4][..], &[0; 132]].concat()).unwrap();
    assert!(!made(&nowhere, Algorithm::Es512, text, &signature));

    let signature = "AUXTDf1PWI-GWKWOipJ1nQ6ZomO1qqYogrvXGmozeJwCtmlxJIvgKYs9ePzaiD47h84MY6n9_piegIMowy7lwII6AH9PVHl4NL34RgVhLnL22gOlfFYqEaPoDI70WIcPDlp73R6oZN-1F2nHNKGZWb8G6ZqOVx3skIqDLNFf8DEHxxbB";
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(r#"{"alg":"ES512"}"#), URL_SAFE_NO_PAD.encode(CLAIMS));
    assert!(verify(&issuer(Algorithm::Es512), &format!("{text}.{signature}")).is_ok());
}

/// RFC 8037, appendix A.4: what is signed there are no claims.
#[test]
fn the_sample_of_rfc_8037_is_verified() {
    let key = PublicKey::ed25519(&bytes("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")).unwrap();
    let text = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc";
    let signature =
        bytes("hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg");
    assert!(made(&key, Algorithm::EdDsa, text, &signature));
    assert!(
        !made(&key, Algorithm::EdDsa, &text[1..], &signature)
            && !made(&key, Algorithm::Es256, text, &signature)
    );
}

/// RFC 4231, test case 2, and its like for the other hashes.
#[test]
fn samples_of_rfc_4231_are_verified() {
    let hex = |text: &str| -> Vec<u8> {
        (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
    };
    let algorithms = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
    let secret = Secret(b"Jefe".to_vec());
    let tags = [
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ];
    for ((key, algorithm), tag) in HmacKey::all(&secret, &algorithms).zip(algorithms).zip(tags) {
        let (text, tag) = ("what do ya want for nothing?", hex(tag));
        assert!(key.made(algorithm, text, &tag), "{algorithm:?}");
        assert!(!key.made(algorithm, text, &tag[..16]) && !key.made(algorithm, "what", &tag));
    }
}
