//! Simple tokens: given by entries of the log, kept by each member for itself and not for long.
//!
//! A member of another life, or one that took over a state, knows none: their clients log in again.
//! Source: AUTH-12; etcd 3.7.1 `server/auth/simple_token.go`.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::base::{Instant, LogIndex};
use crate::request::Secret;

/// Letters at the front of a token.
pub const TOKEN_PREFIX_LETTERS: usize = 16;

const LETTERS: &[u8; 52] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";

/// Tokens that this member takes, with whom they are of and until when.
#[derive(Debug)]
pub struct Tokens {
    ttl_ns: u64,
    by_token: BTreeMap<Secret, Token>,
}

#[derive(Debug)]
struct Token {
    user: String,
    until: Instant,
}

impl Tokens {
    /// `ttl_ns`: from the last use on this member (`--auth-token-ttl`).
    pub fn new(ttl_ns: u64) -> Tokens {
        Tokens { ttl_ns, by_token: BTreeMap::new() }
    }

    pub fn assign(&mut self, token: Secret, user: String, now: Instant) {
        let until = now.plus_ns(self.ttl_ns);
        self.by_token.insert(token, Token { user, until });
    }

    /// Whose token it is; being asked for keeps it for another TTL.
    pub fn user_of(&mut self, token: &Secret, now: Instant) -> Option<&str> {
        let known = self.by_token.get_mut(token).filter(|known| known.until > now)?;
        known.until = now.plus_ns(self.ttl_ns);
        Some(&known.user)
    }

    /// Voids all tokens of a user.
    pub fn revoke(&mut self, user: &str) {
        self.by_token.retain(|_, token| token.user != user);
    }

    /// Voids all.
    pub fn clear(&mut self) {
        self.by_token.clear();
    }

    /// Drops those whose time is over.
    pub fn expire(&mut self, now: Instant) {
        self.by_token.retain(|_, token| token.until > now);
    }
}

/// The front of a token, made of entropy that nobody else has: about 91 bits of it.
pub fn token_prefix(mut entropy: u128) -> Secret {
    let mut prefix = Vec::with_capacity(TOKEN_PREFIX_LETTERS);
    for _ in 0..TOKEN_PREFIX_LETTERS {
        prefix.push(LETTERS[(entropy % 52) as usize]);
        entropy /= 52;
    }
    Secret(Bytes::from(prefix))
}

/// The entry that gave a token, as the token says itself: a member must have applied it to know better.
/// `None`: it is no simple token.
pub fn token_index(token: &Secret) -> Option<LogIndex> {
    let text = std::str::from_utf8(&token.0).ok()?;
    let (_, index) = text.split_once('.')?;
    // A sign is none of Go's digits.
    let is_number = !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| index.parse().ok().map(LogIndex)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_lives_from_its_last_use() {
        let mut tokens = Tokens::new(100);
        let token = Secret::new("abc.7");
        tokens.assign(token.clone(), "u".into(), Instant(0));
        assert_eq!(tokens.user_of(&token, Instant(99)), Some("u"));
        assert_eq!(tokens.user_of(&token, Instant(198)), Some("u"));
        assert_eq!(tokens.user_of(&token, Instant(298)), None);
        tokens.expire(Instant(298));
        assert!(tokens.by_token.is_empty());
    }

    #[test]
    fn tokens_of_one_user_are_void_together() {
        let mut tokens = Tokens::new(100);
        for (token, user) in [("a.1", "u"), ("b.2", "v"), ("c.3", "u")] {
            tokens.assign(Secret::new(token), user.into(), Instant(0));
        }
        tokens.revoke("u");
        assert_eq!(tokens.user_of(&Secret::new("a.1"), Instant(1)), None);
        assert_eq!(tokens.user_of(&Secret::new("b.2"), Instant(1)), Some("v"));
        tokens.clear();
        assert_eq!(tokens.user_of(&Secret::new("b.2"), Instant(1)), None);
    }

    #[test]
    fn prefixes_are_letters_and_differ_with_their_entropy() {
        let one = token_prefix(u128::MAX);
        assert_eq!(one.0.len(), TOKEN_PREFIX_LETTERS);
        assert!(one.0.iter().all(u8::is_ascii_alphabetic));
        assert_ne!(one, token_prefix(u128::MAX - 1));
        assert_ne!(token_prefix(0), token_prefix(1));
    }

    #[test]
    fn the_index_of_a_token_stands_behind_its_only_dot() {
        assert_eq!(token_index(&Secret::new("abc.17")), Some(LogIndex(17)));
        for text in ["abc", "abc.", "abc.+1", "abc.1.2", "abc.x", "abc.99999999999999999999", ""] {
            assert_eq!(token_index(&Secret::new(text)), None, "{text}");
        }
        assert_eq!(token_index(&Secret(Bytes::from_static(&[0xff, b'.', b'1']))), None);
    }
}
