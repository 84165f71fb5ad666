//! States that are sent at the wrong time, and to the wrong member.

use super::*;

#[test]
fn no_state_is_sent_to_a_member_that_was_removed_in_the_same_turn() {
    let mut cluster = Cluster::new(3, Limits::default());
    let leader = cluster.leader();
    let other = cluster.others(leader)[0];
    cluster.rounds(6_000);
    cluster.ask(leader, Request::MemberRemove { id: other }).expect("removed");
    let machine = cluster.machines.get_mut(&leader).expect("it runs");
    machine.node.outcome.laggards.push(other);
    cluster.rounds(10);
    let is_sending = |note: &Note| matches!(note, Note::SnapshotSending { .. });
    assert!(!cluster.machines[&leader].notes.iter().any(is_sending));
}

#[test]
fn a_laggard_whose_word_that_it_has_the_state_is_lost_goes_on() {
    // A state in one piece.
    let mut cluster = Cluster::new(3, Limits { checkpoint_piece_bytes_max: 1 << 20, ..tight() });
    let leader = cluster.leader();
    let laggard = cluster.others(leader)[0];
    cluster.cut.insert(laggard);
    for n in 0..200u32 {
        cluster.put(leader, "k", &n.to_le_bytes().repeat(20));
    }
    cluster.cut.clear();
    cluster.until("a state is installed, and nobody hears that", |cluster| {
        let is_installed = |note: &Note| matches!(note, Note::SnapshotInstalled { .. });
        let is_installed = cluster.machines[&laggard].notes.iter().any(is_installed);
        let is_lost = |message: &PeerMessage| match message {
            PeerMessage::SnapshotAck { .. } => true,
            PeerMessage::Raft(mail) => mail.get_msg_type() == MessageType::MsgAppendResponse && !mail.reject,
            _ => false,
        };
        let leader = cluster.machines.get_mut(&leader).expect("it runs");
        leader.inputs.retain(|input| match input {
            Input::Peer { from, message } => *from != laggard || !is_lost(message),
            _ => true,
        });
        is_installed
    });
    // Without it there is no quorum, and no later state that it would want.
    cluster.cut.extend(cluster.others(leader).into_iter().filter(|id| *id != laggard));
    cluster.put(leader, "k", b"last");
}
