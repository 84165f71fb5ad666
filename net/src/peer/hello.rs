//! The first parcel of each side of a connection: who speaks, to whom, in which protocol.
//!
//! Shape (`core/src/codec.rs`): magic, protocol u32, features u32, cluster u64, from u64, to u64, lane u8,
//! peer URLs. What follows in a later protocol is skipped.
//! Versions one apart work together, so that a cluster can be upgraded member by member: the newer one speaks
//! the older one's protocol.

use std::fmt;

use bytes::{Bytes, BytesMut};
use holdfast_core::base::{ClusterId, MemberId};
use holdfast_core::codec::{DecodeError, Decoder, Encoder};

use super::Lane;

const MAGIC: u64 = u64::from_le_bytes(*b"HFASTPEE");

/// The protocol that this program speaks.
pub const PROTOCOL: u32 = 1;

/// What one side says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub protocol: u32,
    /// Bits of what the receiver has to know to go on; none so far.
    pub features: u32,
    pub cluster_id: ClusterId,
    pub from: MemberId,
    /// Whom it means to speak to.
    pub to: MemberId,
    pub lane: Lane,
    pub peer_urls: Vec<String>,
}

/// Why a hello is not answered, or an answer not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HelloError {
    Foreign,
    Damaged(&'static str),
    Protocol {
        theirs: u32,
    },
    Features {
        unknown: u32,
    },
    Cluster {
        ours: ClusterId,
        theirs: ClusterId,
    },
    /// It means to speak to somebody else, or somebody else answers.
    Member {
        ours: MemberId,
        theirs: MemberId,
    },
    /// Two processes run under one id.
    Ourselves {
        id: MemberId,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HelloError::Foreign => write!(f, "not a member of a holdfast cluster (no magic in its hello)"),
            HelloError::Damaged(what) => write!(f, "its hello is damaged: {what}"),
            HelloError::Protocol { theirs } => write!(
                f,
                "incompatible version: it speaks peer protocol {theirs}, this program {PROTOCOL} and those one apart"
            ),
            HelloError::Features { unknown } => {
                write!(
                    f,
                    "incompatible version: it needs features {unknown:#x} that this program does not know"
                )
            }
            HelloError::Cluster { ours, theirs } => {
                write!(f, "cluster ID mismatch: ours is {ours:x}, theirs {theirs:x}")
            }
            HelloError::Member { ours, theirs } => {
                write!(f, "member ID mismatch: expected {ours:x}, got {theirs:x}")
            }
            HelloError::Ourselves { id } => write!(f, "another process runs under this member's id {id:x}"),
        }
    }
}

impl Hello {
    pub fn encode(&self) -> Bytes {
        let mut buffer = BytesMut::with_capacity(128);
        let mut e = Encoder(&mut buffer);
        e.u64(MAGIC).u32(self.protocol).u32(self.features);
        e.u64(self.cluster_id.0).u64(self.from.0).u64(self.to.0);
        e.u8(match self.lane {
            Lane::Mail => 0,
            Lane::Bulk => 1,
        });
        e.strs(&self.peer_urls);
        buffer.freeze()
    }

    /// Errors: bytes that are no hello, and protocols that this program cannot speak.
    pub fn decode(bytes: Bytes) -> Result<Hello, HelloError> {
        let mut d = Decoder(bytes);
        if d.u64() != Ok(MAGIC) {
            return Err(HelloError::Foreign);
        }
        let damaged = |error: DecodeError| HelloError::Damaged(error.0);
        let (protocol, features) = (d.u32().map_err(damaged)?, d.u32().map_err(damaged)?);
        if protocol.abs_diff(PROTOCOL) > 1 || protocol == 0 {
            return Err(HelloError::Protocol { theirs: protocol });
        }
        if features != 0 {
            return Err(HelloError::Features { unknown: features });
        }
        Hello::decode_body(d, protocol).map_err(damaged)
    }

    fn decode_body(mut d: Decoder, protocol: u32) -> Result<Hello, DecodeError> {
        let (cluster_id, from, to) = (ClusterId(d.u64()?), MemberId(d.u64()?), MemberId(d.u64()?));
        let lane = match d.u8()? {
            0 => Lane::Mail,
            1 => Lane::Bulk,
            _ => return Err(DecodeError("unknown kind of connection")),
        };
        let peer_urls = d.strings()?;
        if protocol <= PROTOCOL {
            d.finish()?;
        }
        Ok(Hello { protocol, features: 0, cluster_id, from, to, lane, peer_urls })
    }

    /// Judges what the other side says. `expected`: who has to be there; `None`: anybody of the cluster.
    pub fn check(
        &self,
        cluster_id: ClusterId,
        us: MemberId,
        expected: Option<MemberId>,
    ) -> Result<(), HelloError> {
        if self.cluster_id != cluster_id {
            return Err(HelloError::Cluster { ours: cluster_id, theirs: self.cluster_id });
        }
        if self.from == us {
            return Err(HelloError::Ourselves { id: us });
        }
        if self.to != us {
            return Err(HelloError::Member { ours: us, theirs: self.to });
        }
        match expected {
            Some(expected) if expected != self.from => {
                Err(HelloError::Member { ours: expected, theirs: self.from })
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello() -> Hello {
        Hello {
            protocol: PROTOCOL,
            features: 0,
            cluster_id: ClusterId(7),
            from: MemberId(1),
            to: MemberId(2),
            lane: Lane::Bulk,
            peer_urls: vec!["http://a:1".to_owned()],
        }
    }

    #[test]
    fn a_hello_survives_its_bytes() {
        assert_eq!(Hello::decode(hello().encode()), Ok(hello()));
    }

    #[test]
    fn one_protocol_apart_is_understood_and_may_say_more() {
        let newer = Hello { protocol: PROTOCOL + 1, ..hello() };
        let mut bytes = BytesMut::from(&newer.encode()[..]);
        bytes.extend_from_slice(b"of a later time");
        assert_eq!(Hello::decode(bytes.freeze()), Ok(newer));
        let far = Hello { protocol: PROTOCOL + 2, ..hello() };
        assert_eq!(Hello::decode(far.encode()), Err(HelloError::Protocol { theirs: PROTOCOL + 2 }));
    }

    #[test]
    fn other_bytes_are_named() {
        assert_eq!(Hello::decode(Bytes::new()), Err(HelloError::Foreign));
        assert_eq!(Hello::decode(Bytes::from_static(b"GET /raft HTTP/1.1")), Err(HelloError::Foreign));
        let whole = hello().encode();
        let cut = Hello::decode(whole.slice(..whole.len() - 1));
        assert!(matches!(cut, Err(HelloError::Damaged(_))), "{cut:?}");
        let features = Hello { features: 4, ..hello() };
        assert_eq!(Hello::decode(features.encode()), Err(HelloError::Features { unknown: 4 }));
    }

    #[test]
    fn strangers_are_refused() {
        let (cluster, us) = (ClusterId(7), MemberId(2));
        let check = |hello: Hello, expected: Option<u64>| hello.check(cluster, us, expected.map(MemberId));
        assert_eq!(check(hello(), None), Ok(()));
        assert_eq!(check(hello(), Some(1)), Ok(()));
        let other_cluster = Hello { cluster_id: ClusterId(8), ..hello() };
        let (ours, theirs) = (cluster, ClusterId(8));
        assert_eq!(check(other_cluster, None), Err(HelloError::Cluster { ours, theirs }));
        let misdirected = Hello { to: MemberId(3), ..hello() };
        let error = HelloError::Member { ours: us, theirs: MemberId(3) };
        assert_eq!(check(misdirected, None), Err(error));
        let twin = Hello { from: us, ..hello() };
        assert_eq!(check(twin, None), Err(HelloError::Ourselves { id: us }));
        let error = HelloError::Member { ours: MemberId(4), theirs: MemberId(1) };
        assert_eq!(check(hello(), Some(4)), Err(error));
    }
}
