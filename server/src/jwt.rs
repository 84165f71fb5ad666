//! `--auth-token=jwt`: JSON web tokens.
//!
//! Shape: claims `username`, `revision` (of auth, at the login) and `exp`, as etcd's.
//! Source: etcd 3.7.1 server/auth/{jwt,options}.go.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_net::tokens::SignedTokens;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde_json::{Value, json};
use thiserror::Error;
use tracing::warn;

use crate::config::JwtOptions;
use crate::logs::io_text;

/// Why tokens of this kind cannot be had; the texts in quotes of the code are etcd's.
#[derive(Debug, Error)]
pub enum JwtError {
    #[error("auth: invalid auth options")]
    Options,
    #[error("auth: missing key data")]
    MissingKey,
    #[error("auth: public and private keys don't match")]
    KeyMismatch,
    #[error("open {path}: {why}")]
    File { path: String, why: String },
    #[error("{path} has no key for sign-method {method}: {why}")]
    Key { path: String, method: String, why: String },
    #[error("sign-method {0} is not supported yet")]
    Method(String),
    #[error("sign-method {0} without pub-key is not supported yet: give the public half of priv-key too")]
    NoPublicKey(String),
}

/// What etcd says where only a public key is known.
const VERIFY_ONLY: &str = "auth: token signing attempted with verify-only key";

/// Keys and terms.
pub struct Jwt {
    algorithm: Algorithm,
    ttl: Duration,
    /// `None`: tokens come from elsewhere.
    signing: Option<EncodingKey>,
    verifying: DecodingKey,
}

impl std::fmt::Debug for Jwt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Jwt({:?}, ttl {:?})", self.algorithm, self.ttl)
    }
}

impl Jwt {
    /// Reads the keys. Errors: what is wrong with options or files.
    pub fn open(options: &JwtOptions) -> Result<Jwt, JwtError> {
        let method = options.sign_method.as_str();
        let (algorithm, kind) = algorithm(method)?;
        let read = |path: &str| match path {
            "" => Ok(None),
            path => fs::read(path)
                .map(Some)
                .map_err(|error| JwtError::File { path: path.to_owned(), why: io_text(&error) }),
        };
        let (private, public) = (read(&options.private_key)?, read(&options.public_key)?);
        let unfit = |path: &str| {
            let (path, method) = (path.to_owned(), method.to_owned());
            move |error: jsonwebtoken::errors::Error| JwtError::Key { path, method, why: error.to_string() }
        };
        let signing = match &private {
            None => None,
            Some(bytes) => Some(kind.signing(bytes).map_err(unfit(&options.private_key))?),
        };
        let verifying = match (kind, &public, &private) {
            (Kind::Hmac, _, Some(secret)) => DecodingKey::from_secret(secret),
            (Kind::Hmac, _, None) | (_, None, None) => return Err(JwtError::MissingKey),
            (_, Some(bytes), _) => kind.verifying(bytes).map_err(unfit(&options.public_key))?,
            (_, None, Some(_)) => return Err(JwtError::NoPublicKey(method.to_owned())),
        };
        let jwt = Jwt { algorithm, ttl: options.ttl, signing, verifying };
        jwt.check_pair()?;
        Ok(jwt)
    }

    /// What is signed here must be taken here.
    fn check_pair(&self) -> Result<(), JwtError> {
        match self.sign("", 1) {
            Ok(token) if self.decode(&token).is_err() && !self.ttl.is_zero() => Err(JwtError::KeyMismatch),
            Err(why) if self.signing.is_some() => {
                warn!(error = why, "a JWT token cannot be signed");
                Err(JwtError::Options)
            }
            _ => Ok(()),
        }
    }

    fn decode(&self, token: &str) -> jsonwebtoken::errors::Result<Value> {
        let mut validation = Validation::new(self.algorithm);
        // A token without an end would be good for ever.
        validation.set_required_spec_claims(&["exp"]);
        validation.leeway = 0;
        validation.validate_nbf = true;
        validation.validate_aud = false;
        jsonwebtoken::decode::<Value>(token, &self.verifying, &validation).map(|token| token.claims)
    }
}

impl SignedTokens for Jwt {
    fn read(&self, token: &[u8]) -> Option<(String, u64)> {
        let claims = match self.decode(std::str::from_utf8(token).ok()?) {
            Ok(claims) => claims,
            Err(error) => {
                warn!(%error, "failed to parse a JWT token");
                return None;
            }
        };
        let user = claims["username"].as_str();
        // Go writes numbers as it likes: 1e3 is 1000.
        let revision = claims["revision"].as_f64().filter(|revision| *revision >= 0.0);
        if user.is_none() || revision.is_none() {
            warn!("failed to obtain user and revision claims from a JWT token");
        }
        Some((user?.to_owned(), revision? as u64))
    }

    fn sign(&self, user: &str, auth_revision: u64) -> Result<String, String> {
        let Some(key) = &self.signing else { return Err(VERIFY_ONLY.to_owned()) };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| error.to_string())?;
        let claims =
            json!({ "username": user, "revision": auth_revision, "exp": (now + self.ttl).as_secs() });
        jsonwebtoken::encode(&Header::new(self.algorithm), &claims, key).map_err(|error| error.to_string())
    }
}

/// What keys of a method are.
#[derive(Clone, Copy)]
enum Kind {
    Rsa,
    Ec,
    Ed,
    Hmac,
}

impl Kind {
    fn signing(self, bytes: &[u8]) -> jsonwebtoken::errors::Result<EncodingKey> {
        match self {
            Kind::Rsa => EncodingKey::from_rsa_pem(bytes),
            Kind::Ec => EncodingKey::from_ec_pem(bytes),
            Kind::Ed => EncodingKey::from_ed_pem(bytes),
            Kind::Hmac => Ok(EncodingKey::from_secret(bytes)),
        }
    }

    fn verifying(self, bytes: &[u8]) -> jsonwebtoken::errors::Result<DecodingKey> {
        match self {
            Kind::Rsa => DecodingKey::from_rsa_pem(bytes),
            Kind::Ec => DecodingKey::from_ec_pem(bytes),
            Kind::Ed => DecodingKey::from_ed_pem(bytes),
            Kind::Hmac => Ok(DecodingKey::from_secret(bytes)),
        }
    }
}

/// Errors: `Options` for a word that is no method, `Method` for one that is not here.
fn algorithm(method: &str) -> Result<(Algorithm, Kind), JwtError> {
    Ok(match method {
        "RS256" => (Algorithm::RS256, Kind::Rsa),
        "RS384" => (Algorithm::RS384, Kind::Rsa),
        "RS512" => (Algorithm::RS512, Kind::Rsa),
        "PS256" => (Algorithm::PS256, Kind::Rsa),
        "PS384" => (Algorithm::PS384, Kind::Rsa),
        "PS512" => (Algorithm::PS512, Kind::Rsa),
        "ES256" => (Algorithm::ES256, Kind::Ec),
        "ES384" => (Algorithm::ES384, Kind::Ec),
        "EdDSA" => (Algorithm::EdDSA, Kind::Ed),
        "HS256" => (Algorithm::HS256, Kind::Hmac),
        "HS384" => (Algorithm::HS384, Kind::Hmac),
        "HS512" => (Algorithm::HS512, Kind::Hmac),
        "ES512" => return Err(JwtError::Method(method.to_owned())),
        _ => return Err(JwtError::Options),
    })
}

#[cfg(test)]
#[path = "jwt_tests.rs"]
mod tests;
