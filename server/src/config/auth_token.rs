//! `--auth-token`: a kind of token and its options.
//!
//! Source: etcd 3.7.1 server/auth/store.go (decomposeOpts, NewTokenProvider), options.go.

use std::collections::BTreeMap;
use std::time::Duration;

use super::duration;

const TTL_DEFAULT: Duration = Duration::from_secs(300);
const INVALID: &str = "auth: invalid auth options";

/// Keys and terms of JSON web tokens; files are read later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtOptions {
    /// Path, or empty.
    pub public_key: String,
    /// The same; the secret itself for an HMAC.
    pub private_key: String,
    pub sign_method: String,
    pub ttl: Duration,
}

/// `None`: simple tokens. What was given and means nothing is warned of.
/// Errors: etcd's text, which does not say what is wrong.
pub fn parse(text: &str, warnings: &mut Vec<String>) -> Result<Option<JwtOptions>, String> {
    let invalid = || INVALID.to_owned();
    let mut parts = text.split(',');
    let kind = parts.next().unwrap_or_default();
    let mut options = BTreeMap::new();
    for part in parts {
        let (name, value) =
            part.split_once('=').filter(|(_, value)| !value.contains('=')).ok_or_else(invalid)?;
        if options.insert(name, value).is_some() {
            return Err(invalid());
        }
    }
    if kind == "simple" {
        return Ok(None);
    }
    if kind != "jwt" {
        return Err(invalid());
    }
    let mut take = |name| options.remove(name).unwrap_or_default().to_owned();
    let (public_key, private_key, sign_method) = (take("pub-key"), take("priv-key"), take("sign-method"));
    let ttl = match take("ttl").as_str() {
        "" => TTL_DEFAULT,
        text => {
            let ns = duration::parse(text).and_then(|ns| u64::try_from(ns).ok());
            Duration::from_nanos(ns.ok_or_else(invalid)?)
        }
    };
    let unknown: Vec<&str> = options.into_keys().collect();
    if !unknown.is_empty() {
        warnings.push(format!("unknown JWT options: {}", unknown.join(", ")));
    }
    Ok(Some(JwtOptions { public_key, private_key, sign_method, ttl }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_etcd_reads_them() {
        let mut warnings = Vec::new();
        let mut parse = |text: &str| parse(text, &mut warnings);
        assert_eq!(parse("simple"), Ok(None));
        let options = parse("jwt,pub-key=a,priv-key=b,sign-method=RS512,ttl=10m,x=y").expect("legal");
        let expected = JwtOptions {
            public_key: "a".into(),
            private_key: "b".into(),
            sign_method: "RS512".into(),
            ttl: Duration::from_secs(600),
        };
        assert_eq!(options, Some(expected));
        assert_eq!(parse("jwt,sign-method=HS256").expect("legal").expect("jwt").ttl, TTL_DEFAULT);
        for bad in
            ["", "jwtt", "jwt,ttl", "jwt,ttl=1,ttl=2", "jwt,ttl=soon", "jwt,ttl=-1s", "jwt,a=b=c", "simple,x"]
        {
            assert_eq!(parse(bad), Err(INVALID.to_owned()), "{bad}");
        }
        assert_eq!(warnings, ["unknown JWT options: x"]);
    }
}
