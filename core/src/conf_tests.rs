use super::*;

fn member(id: u64, url: &str, is_learner: bool) -> Member {
    Member { id: MemberId(id), peer_urls: vec![url.into()], is_learner, ..Member::default() }
}

/// Voters 1 and 2, learner 3; 9 was removed.
fn members() -> Members {
    let mut members = Members::default();
    members.insert(member(1, "http://a:1", false));
    members.insert(member(2, "http://b:1", false));
    members.insert(member(3, "http://c:1", true));
    members.insert(member(9, "http://z:1", false));
    members.remove(MemberId(9));
    members
}

fn command(change: ConfChangeKind) -> ConfCommand {
    let id = RequestId { member: MemberId(1), epoch: 4, counter: 77 };
    ConfCommand { header: CommandHeader { id, user: "root".into(), auth_revision: 3 }, change }
}

fn add(id: u64, url: &str, is_learner: bool, learners_max: u32) -> ConfCommand {
    command(ConfChangeKind::Add { member: member(id, url, is_learner), learners_max })
}

fn update(id: u64, url: &str) -> ConfCommand {
    command(ConfChangeKind::UpdatePeerUrls { id: MemberId(id), peer_urls: vec![url.into()] })
}

fn remove(id: u64) -> ConfCommand {
    command(ConfChangeKind::Remove(MemberId(id)))
}

fn promote(id: u64) -> ConfCommand {
    command(ConfChangeKind::Promote(MemberId(id)))
}

fn samples() -> Vec<ConfCommand> {
    let many = (0..300).map(|n| format!("http://host-{n}.example:2380")).collect();
    vec![
        add(7, "http://d:1", false, 1),
        add(u64::MAX, "http://d:1", true, 3),
        remove(1),
        update(2, "http://b:2"),
        command(ConfChangeKind::UpdatePeerUrls { id: MemberId(2), peer_urls: many }),
        promote(3),
        ConfCommand::bootstrap(member(1, "http://a:1", false)),
    ]
}

#[test]
fn every_kind_survives_a_round_trip() {
    for sample in samples() {
        assert_eq!(ConfCommand::decode(sample.encode()), Ok(sample));
    }
}

#[test]
fn cut_or_longer_bytes_are_refused() {
    for sample in samples() {
        let bytes = sample.encode();
        for len in 0..bytes.len() {
            assert!(ConfCommand::decode(bytes.slice(..len)).is_err(), "{sample:?} cut at {len}");
        }
        let longer = [&bytes[..], b"\0"].concat();
        assert!(ConfCommand::decode(longer.into()).is_err());
    }
}

#[test]
fn unknown_formats_and_kinds_are_refused() {
    let bytes = remove(1).encode();
    for (at, value, why) in
        [(0, 3, "unknown format of membership change"), (1, 5, "unknown kind of membership change")]
    {
        let mut other = bytes.to_vec();
        other[at] = value;
        assert_eq!(ConfCommand::decode(other.into()), Err(DecodeError(why)));
    }
}

#[test]
fn entries_without_a_header_are_still_read() {
    let mut context = BytesMut::new();
    Encoder(&mut context).strs(&["http://a:1".into()]).bool(false);
    let mut bytes = BytesMut::new();
    Encoder(&mut bytes).u8(1).u64(1).bytes(&context);
    let read = ConfCommand::decode(bytes.freeze()).expect("the older shape");
    assert_eq!(read, ConfCommand::bootstrap(member(1, "http://a:1", false)));
    assert!(read.is_bootstrap());
    assert!(!remove(1).is_bootstrap());
}

#[test]
fn refusals_are_etcds_in_etcds_order() {
    let members = members();
    for (command, refused) in [
        // A removed id comes first, whatever else is wrong (CL-3).
        (add(9, "http://a:1", true, 0), Status::MemberNotFound),
        (remove(9), Status::MemberNotFound),
        (update(9, "http://a:1"), Status::MemberNotFound),
        (promote(9), Status::MemberNotFound),
        (add(2, "http://a:1", true, 0), Status::MemberExist),
        (add(4, "http://a:1", true, 0), Status::PeerUrlExist),
        (add(4, "http://d:1", true, 1), Status::TooManyLearners),
        (remove(4), Status::MemberNotFound),
        (update(4, "http://a:1"), Status::MemberNotFound),
        (update(2, "http://a:1"), Status::PeerUrlExist),
        (promote(4), Status::MemberNotFound),
        (promote(2), Status::MemberNotLearner),
    ] {
        assert_eq!(command.check(&members), Err(refused), "{command:?}");
    }
}

#[test]
fn learners_are_counted_by_the_proposers_limit_and_voters_are_not() {
    let members = members();
    assert_eq!(add(4, "http://d:1", true, 2).check(&members), Ok(()));
    assert_eq!(add(4, "http://d:1", false, 0).check(&members), Ok(()));
}

#[test]
fn a_member_may_keep_its_own_urls() {
    assert_eq!(update(2, "http://b:1").check(&members()), Ok(()));
}

#[test]
fn the_last_voter_stays() {
    let mut members = members();
    remove(1).apply(&mut members);
    assert_eq!(remove(2).check(&members), Err(Status::MemberNotEnoughStarted));
    assert_eq!(remove(3).check(&members), Ok(()));
}

#[test]
fn changes_do_what_they_say_and_nothing_else() {
    let mut now = members();
    now.publish(MemberId(2), "two".into(), vec!["http://b:2379".into()]);
    for command in [add(4, "http://d:1", true, 2), update(2, "http://b:9"), promote(3), remove(1)] {
        assert_eq!(command.check(&now), Ok(()));
        command.apply(&mut now);
    }
    let expected = Member {
        name: "two".into(),
        client_urls: vec!["http://b:2379".into()],
        ..member(2, "http://b:9", false)
    };
    assert_eq!(now.get(MemberId(1)), None);
    assert!(now.is_removed(MemberId(1)));
    assert_eq!(now.get(MemberId(2)), Some(&expected));
    assert_eq!(now.get(MemberId(3)), Some(&member(3, "http://c:1", false)));
    assert_eq!(now.get(MemberId(4)), Some(&member(4, "http://d:1", true)));
    assert_eq!(add(1, "http://a:1", false, 1).check(&now), Err(Status::MemberNotFound));
}

#[test]
fn the_answer_has_all_members_after_the_change() {
    let mut members = members();
    let command = add(7, "http://d:1", true, 5);
    command.apply(&mut members);
    let expected = Response::MemberAdd {
        header: Header::default(),
        member: Box::new(member(7, "http://d:1", true)),
        members: members.iter().cloned().collect(),
    };
    assert_eq!(command.response(&members), expected);
    let Response::MemberRemove { members: left, .. } = remove(7).response(&members) else {
        panic!("another kind of answer");
    };
    assert_eq!(left.len(), 4);
}

#[test]
fn raft_gets_one_step_and_none_for_urls() {
    let step = |command: ConfCommand| {
        let change = command.to_raft();
        (change.node_id, change.get_change_type())
    };
    assert_eq!(step(add(7, "http://d:1", false, 1)), (7, ConfChangeType::AddNode));
    assert_eq!(step(add(7, "http://d:1", true, 1)), (7, ConfChangeType::AddLearnerNode));
    assert_eq!(step(remove(1)), (1, ConfChangeType::RemoveNode));
    assert_eq!(step(promote(3)), (3, ConfChangeType::AddNode));
    assert_eq!(step(update(2, "http://b:9")).0, 0);
}
