//! Tokens that are signed: they say by themselves whom they are for, and no member need remember them.

use std::fmt;

/// Reads and makes such tokens.
pub trait SignedTokens: fmt::Debug + Send + Sync {
    /// The user, and the auth revision at which it logged in. `None`: not signed by whom it must be, or too old.
    fn read(&self, token: &[u8]) -> Option<(String, u64)>;

    /// A token. Errors: why none can be made, in etcd's words.
    fn sign(&self, user: &str, auth_revision: u64) -> Result<String, String>;
}
