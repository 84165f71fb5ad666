//! Tokens of each kind of key, and those that must not be taken.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256,
    PublicKeyData as _,
};

use super::*;

/// A pair for these tests alone.
const RSA: &[u8] = include_bytes!("testdata/rsa.pem");
const RSA_PUBLIC: &[u8] = include_bytes!("testdata/rsa.pub.pem");

fn pem(label: &str, der: &[u8]) -> Vec<u8> {
    let lines = STANDARD.encode(der);
    let lines: Vec<&str> =
        lines.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("letters")).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n")).into_bytes()
}

/// Key files in a directory: options that name them.
fn options(directory: &Path, method: &str) -> JwtOptions {
    let (private, public) = match method.as_bytes()[..2] {
        [b'H', _] => (b"a secret of some length, for all of them".to_vec(), Vec::new()),
        _ => {
            let algorithm = match method {
                "ES256" => &PKCS_ECDSA_P256_SHA256,
                "ES384" => &PKCS_ECDSA_P384_SHA384,
                "EdDSA" => &PKCS_ED25519,
                _ => &PKCS_RSA_SHA256,
            };
            match method.as_bytes()[1] {
                // ring makes no RSA keys.
                b'S' if algorithm == &PKCS_RSA_SHA256 => (RSA.to_vec(), RSA_PUBLIC.to_vec()),
                _ => {
                    let pair = KeyPair::generate_for(algorithm).expect("a key");
                    (
                        pem("PRIVATE KEY", &pair.serialize_der()),
                        pem("PUBLIC KEY", &pair.subject_public_key_info()),
                    )
                }
            }
        }
    };
    let write = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).expect("a temporary directory");
        if bytes.is_empty() { String::new() } else { path.to_string_lossy().into_owned() }
    };
    JwtOptions {
        public_key: write("public.pem", &public),
        private_key: write("private.pem", &private),
        sign_method: method.to_owned(),
        ttl: Duration::from_secs(60),
    }
}

const METHODS: [&str; 12] = [
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
];

#[test]
fn a_token_of_each_method_is_read_again_and_no_other() {
    for method in METHODS {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let jwt = Jwt::open(&options(directory.path(), method)).expect(method);
        let token = jwt.sign("ann", 7).expect(method);
        assert_eq!(jwt.read(token.as_bytes()), Some(("ann".to_owned(), 7)), "{method}");
        let (head, _) = token.rsplit_once('.').expect("three parts");
        for bad in [
            head.to_owned(),
            format!("{head}."),
            format!("{head}.AAAA"),
            token.replace("ey", "ez"),
            "x".into(),
        ] {
            assert_eq!(jwt.read(bad.as_bytes()), None, "{method}: {bad}");
        }
        assert_eq!(jwt.read(b"\xff"), None);
    }
}

#[test]
fn a_token_of_another_key_or_method_or_time_is_not_taken() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let secret = options(directory.path(), "HS256");
    let jwt = Jwt::open(&secret).expect("a secret");
    let other = |change: &dyn Fn(&mut JwtOptions)| {
        let mut options = secret.clone();
        change(&mut options);
        Jwt::open(&options).expect("a secret").sign("ann", 7).expect("it signs")
    };
    let elsewhere = directory.path().join("other");
    fs::write(&elsewhere, "another secret").expect("a temporary directory");
    let path = elsewhere.to_string_lossy().into_owned();
    for token in [
        other(&|options| options.private_key = path.clone()),
        other(&|options| options.sign_method = "HS512".to_owned()),
    ] {
        assert_eq!(jwt.read(token.as_bytes()), None, "{token}");
    }
    let sign = |claims: Value| {
        let key = EncodingKey::from_secret(&fs::read(&secret.private_key).expect("written above"));
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("it signs")
    };
    let late = 4_000_000_000_u64;
    assert!(jwt.read(sign(json!({ "username": "a", "revision": 1e3, "exp": late })).as_bytes()).is_some());
    for claims in [
        json!({ "username": "a", "revision": 1 }),
        json!({ "username": "a", "revision": 1, "exp": 1_000 }),
        json!({ "username": "a", "revision": 1, "exp": "4000000000" }),
        json!({ "username": 1, "revision": 1, "exp": late }),
        json!({ "username": "a", "revision": "1", "exp": late }),
        json!({ "username": "a", "revision": -1, "exp": late }),
        json!({ "username": "a", "revision": 1, "exp": late, "nbf": late }),
        json!([]),
    ] {
        assert_eq!(jwt.read(sign(claims.clone()).as_bytes()), None, "{claims}");
    }
}

#[test]
fn a_public_key_alone_reads_and_does_not_sign() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let both = options(directory.path(), "ES256");
    let token = Jwt::open(&both).expect("a pair").sign("ann", 7).expect("it signs");
    let reader = Jwt::open(&JwtOptions { private_key: String::new(), ..both }).expect("a public key");
    assert_eq!(reader.read(token.as_bytes()), Some(("ann".to_owned(), 7)));
    assert_eq!(reader.sign("ann", 7), Err(VERIFY_ONLY.to_owned()));
}

#[test]
fn what_is_wrong_with_keys_is_said() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let said = |options: JwtOptions| Jwt::open(&options).expect_err("it is wrong").to_string();
    let good = options(directory.path(), "ES256");
    let second = tempfile::tempdir().expect("a temporary directory");
    let other = options(second.path(), "ES256");
    let of = |private: &str, public: &str, method: &str| JwtOptions {
        private_key: private.to_owned(),
        public_key: public.to_owned(),
        sign_method: method.to_owned(),
        ttl: good.ttl,
    };
    assert_eq!(said(of("", "", "HS256")), "auth: missing key data");
    assert_eq!(said(of("", "", "RS256")), "auth: missing key data");
    assert_eq!(said(of("", "", "")), "auth: invalid auth options");
    assert_eq!(said(of("", "", "none")), "auth: invalid auth options");
    let mismatch = "auth: public and private keys don't match";
    assert_eq!(said(of(&good.private_key, &other.public_key, "ES256")), mismatch);
    assert_eq!(said(of("/none", "", "RS256")), "open /none: no such file or directory");
    assert!(
        said(of(&good.private_key, &good.public_key, "RS256")).contains("has no key for sign-method RS256")
    );
    assert!(said(of(&good.private_key, "", "ES256")).contains("not supported yet"));
    assert!(said(of("", "", "ES512")).contains("not supported yet"));
}
