//! Who a caller says it is.

use holdfast_core::request::{Credentials, Secret};
use tonic::metadata::MetadataMap;

/// Where clients put their token, and where those of the JSON gateway do; the first counts.
/// Source: etcd 3.7.1 `api/v3rpc/rpctypes/metadatafields.go`, `server/auth/store.go` (AuthInfoFromCtx).
const FIELDS: [&str; 2] = ["token", "authorization"];

const BEARER: &[u8] = b"Bearer ";

/// The token in a request's metadata, if there is one; the node judges it (AUTH-14).
pub fn credentials(metadata: &MetadataMap) -> Credentials {
    let Some(field) = FIELDS.iter().find_map(|field| metadata.get(*field)) else { return Credentials::None };
    let bytes = field.as_bytes();
    let token = bytes.strip_prefix(BEARER).unwrap_or(bytes);
    Credentials::Token(Secret::new(token.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(fields: &[(&'static str, &'static str)]) -> Credentials {
        let mut metadata = MetadataMap::new();
        for (field, value) in fields {
            metadata.append(*field, value.parse().expect("letters"));
        }
        credentials(&metadata)
    }

    fn token(text: &'static str) -> Credentials {
        Credentials::Token(Secret::new(text))
    }

    #[test]
    fn a_token_is_read_from_either_field_with_or_without_its_prefix() {
        assert_eq!(read(&[]), Credentials::None);
        assert_eq!(read(&[("token", "a.1")]), token("a.1"));
        assert_eq!(read(&[("authorization", "a.1")]), token("a.1"));
        assert_eq!(read(&[("authorization", "Bearer a.1")]), token("a.1"));
        assert_eq!(read(&[("token", "Bearer Bearer a.1")]), token("Bearer a.1"), "one prefix only");
        assert_eq!(read(&[("authorization", "b.2"), ("token", "a.1")]), token("a.1"));
        assert_eq!(read(&[("token", "a.1"), ("token", "b.2")]), token("a.1"));
        assert_eq!(read(&[("token", "")]), token(""), "an empty one is no absent one");
    }
}
