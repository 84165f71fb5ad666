//! Who a caller says it is.

use holdfast_core::request::{Credentials, Secret};
use tonic::metadata::MetadataMap;

/// Where clients put their token, and where those of the JSON gateway do; the first counts.
/// Source: etcd 3.7.1 `api/v3rpc/rpctypes/metadatafields.go`, `server/auth/store.go` (AuthInfoFromCtx).
const FIELDS: [&str; 2] = ["token", "authorization"];

const BEARER: &[u8] = b"Bearer ";

/// Set by the port and by nobody else: the common name of the certificate that the connection was made with.
pub const CERTIFIED_USER: &str = "holdfast-certified-user";

/// Of a call that the JSON gateway passes on, whose connection is the gateway's own.
const GATEWAY: &str = "grpcgateway-accept";

/// The token in a request's metadata, if there is one, else the certificate's user; the node judges them
/// (AUTH-14).
pub fn credentials(metadata: &MetadataMap) -> Credentials {
    let Some(field) = FIELDS.iter().find_map(|field| metadata.get(*field)) else {
        return certified(metadata);
    };
    let bytes = field.as_bytes();
    let token = bytes.strip_prefix(BEARER).unwrap_or(bytes);
    Credentials::Token(Secret::new(token.to_vec()))
}

/// Source: etcd 3.7.1 `server/auth/store.go` (AuthInfoFromTLS).
fn certified(metadata: &MetadataMap) -> Credentials {
    let user = metadata.get(CERTIFIED_USER).filter(|_| !metadata.contains_key(GATEWAY));
    let user = user.and_then(|user| String::from_utf8(user.as_bytes().to_vec()).ok());
    user.map_or(Credentials::None, Credentials::Certificate)
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

    #[test]
    fn a_certificate_counts_where_no_token_is_given() {
        let ann = Credentials::Certificate("ann".to_owned());
        assert_eq!(read(&[(CERTIFIED_USER, "ann")]), ann);
        assert_eq!(read(&[(CERTIFIED_USER, "ann"), ("token", "a.1")]), token("a.1"));
        assert_eq!(read(&[(CERTIFIED_USER, "ann"), (GATEWAY, "x")]), Credentials::None);
        // Of a certificate without a common name: a user that there cannot be, not nobody.
        assert_eq!(read(&[(CERTIFIED_USER, "")]), Credentials::Certificate(String::new()));
    }
}
