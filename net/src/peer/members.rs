//! Asking another member who belongs to the cluster.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use holdfast_core::base::ClusterId;
use holdfast_core::codec::{DecodeError, Decoder, Encoder};
use holdfast_core::peer::{decode_member, encode_member};
use holdfast_core::request::Member;
use tokio::time::timeout;

use super::way::Way;
use crate::proto::holdfast::MembersQuestion;
use crate::proto::holdfast::peer_client::PeerClient;

/// What a member answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    pub cluster_id: ClusterId,
    /// Ascending by id.
    pub members: Vec<Member>,
}

/// Asks the member at `url`. Errors: why there is no answer, for a log line.
pub async fn ask_members(way: &Way, url: &str, within: Duration) -> Result<Answered, String> {
    let asked = async {
        let channel = way.channel(url).await?;
        let answer = PeerClient::new(channel).members(MembersQuestion {}).await;
        let answer = answer.map_err(|status| super::dial::reason(&status))?.into_inner();
        let members = decode(answer.members).map_err(|error| error.0.to_owned())?;
        Ok(Answered { cluster_id: ClusterId(answer.cluster_id), members })
    };
    timeout(within, asked).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

pub fn encode(members: &[Member]) -> Bytes {
    let mut buffer = BytesMut::new();
    let mut e = Encoder(&mut buffer);
    e.list_len(members.len());
    for member in members {
        encode_member(&mut e, member);
    }
    buffer.freeze()
}

fn decode(bytes: Bytes) -> Result<Vec<Member>, DecodeError> {
    let mut d = Decoder(bytes);
    let len = d.list_len()?;
    let members = (0..len).map(|_| decode_member(&mut d)).collect::<Result<_, _>>()?;
    d.finish()?;
    Ok(members)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_core::base::MemberId;

    #[test]
    fn a_list_survives_its_bytes() {
        let member = |id, name: &str| Member {
            id: MemberId(id),
            name: name.to_owned(),
            peer_urls: vec!["http://a:1".to_owned()],
            is_learner: id == 2,
            ..Member::default()
        };
        let members = vec![member(1, "one"), member(2, "")];
        assert_eq!(decode(encode(&members)), Ok(members));
        assert!(decode(Bytes::from_static(b"\x02\0\0\0")).is_err());
    }
}
