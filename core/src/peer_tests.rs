//! Peer messages survive their bytes, and no bytes make the decoder panic.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;

fn draw_raft(rng: &mut ChaCha8Rng) -> Message {
    let mut m = Message::default();
    m.set_msg_type(RAFT_TYPES[rng.random_range(0..RAFT_TYPES.len())].1);
    (m.to, m.from, m.term) = (rng.random(), rng.random(), rng.random());
    (m.log_term, m.index, m.commit, m.commit_term) = (rng.random(), rng.random(), rng.random(), rng.random());
    (m.request_snapshot, m.reject_hint, m.reject) = (rng.random(), rng.random(), rng.random());
    (m.priority, m.context) = (rng.random(), draw_bytes(rng));
    let entries: Vec<Entry> = (0..rng.random_range(0..4))
        .map(|_| Entry {
            entry_type: [EntryType::EntryNormal, EntryType::EntryConfChange][rng.random_range(0..2)],
            index: rng.random(),
            term: rng.random(),
            data: draw_bytes(rng),
            ..Entry::default()
        })
        .collect();
    m.set_entries(entries.into());
    if m.get_msg_type() == MessageType::MsgSnapshot {
        let metadata = m.mut_snapshot().mut_metadata();
        (metadata.index, metadata.term) = (rng.random_range(1..=u64::MAX), rng.random());
        metadata.mut_conf_state().voters = vec![rng.random(), rng.random()];
        metadata.mut_conf_state().learners = vec![rng.random()];
    }
    m
}

fn draw_bytes(rng: &mut ChaCha8Rng) -> Bytes {
    let len = rng.random_range(0..9);
    (0..len).map(|_| rng.random::<u8>()).collect()
}

fn draw(rng: &mut ChaCha8Rng) -> PeerMessage {
    let (epoch, number) = (rng.random(), rng.random());
    let (id, keys) = (LeaseId(rng.random()), rng.random());
    match rng.random_range(0..7) {
        6 if keys => PeerMessage::Knows { state_version: rng.random() },
        6 => PeerMessage::Ping,
        0 => PeerMessage::Raft(Box::new(draw_raft(rng))),
        1 => PeerMessage::Forward {
            commands: vec![Proposal::Command(draw_bytes(rng)), Proposal::Conf(draw_bytes(rng))],
        },
        2 => {
            let signed = Identity { user: "u".into(), auth_revision: Some(number | 1) };
            let questions = [
                Question::ReadIndex,
                Question::KeepAlive { id, identity: Some(signed) },
                Question::TimeToLive { id, keys, identity: None },
                Question::Promote { id: MemberId(rng.random()), identity: Some(Identity::default()) },
            ];
            PeerMessage::Ask { epoch, number, question: questions[rng.random_range(0..4)].clone() }
        }
        3 => {
            let member = Member { id: MemberId(7), name: "m".into(), is_learner: keys, ..Member::default() };
            let answers = [
                Answer::NotLeader,
                Answer::Refused(Status::ALL[rng.random_range(0..Status::ALL.len())]),
                Answer::ReadIndex(LogIndex(rng.random())),
                Answer::KeepAlive { ttl: rng.random() },
                Answer::TimeToLive { ttl: -1, granted_ttl: 0, keys: vec![draw_bytes(rng)] },
                Answer::Promoted { members: vec![member] },
            ];
            PeerMessage::Answer { epoch, number, answer: answers[rng.random_range(0..6)].clone() }
        }
        4 => PeerMessage::SnapshotPiece(SnapshotPiece {
            transfer: epoch,
            number,
            index: LogIndex(rng.random()),
            bytes: draw_bytes(rng),
            last: rng.random::<bool>().then(|| Box::new(draw_raft(rng))),
        }),
        _ => PeerMessage::SnapshotAck { transfer: epoch, next: number },
    }
}

#[test]
fn messages_survive_a_round_trip() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    for _ in 0..5_000 {
        let message = draw(&mut rng);
        let read = PeerMessage::decode(message.encode()).expect("our own bytes");
        // Texts of refusals name them; two names with one text are one refusal to a client.
        if let (
            PeerMessage::Answer { answer: Answer::Refused(sent), .. },
            PeerMessage::Answer { answer: Answer::Refused(got), .. },
        ) = (&message, &read)
        {
            assert_eq!(sent.text(), got.text());
            continue;
        }
        assert_eq!(read, message);
    }
}

#[test]
fn cut_and_flipped_bytes_are_read_or_refused_without_a_panic() {
    let mut rng = ChaCha8Rng::seed_from_u64(2);
    for _ in 0..5_000 {
        let bytes = draw(&mut rng).encode();
        let cut = rng.random_range(0..bytes.len());
        assert!(PeerMessage::decode(bytes.slice(..cut)).is_err());
        let mut flipped = bytes.to_vec();
        let place = rng.random_range(0..flipped.len());
        flipped[place] ^= 1 << rng.random_range(0..8);
        // Either is fine: what counts is that it comes back.
        drop(PeerMessage::decode(Bytes::from(flipped)));
    }
}
