use super::*;
use crate::request::{Permission, PermissionKind};

fn samples() -> Vec<Command> {
    let key = Bytes::from_static(b"key");
    let put = PutRequest {
        key: key.clone(),
        value: Bytes::from_static(b"value"),
        lease: LeaseId(-7),
        prev_kv: true,
        ignore_value: false,
        ignore_lease: true,
    };
    let delete = DeleteRangeRequest { key: key.clone(), range_end: Bytes::from_static(b"\0"), prev_kv: true };
    let range = RangeRequest {
        key: key.clone(),
        limit: 3,
        revision: -1,
        sort_order: SortOrder::Descend,
        sort_target: SortTarget::Unknown(9),
        keys_only: true,
        max_create_revision: 8,
        ..RangeRequest::default()
    };
    let compare = |union| Compare {
        result: CompareResult::Unknown(7),
        target: CompareTarget::Lease,
        key: key.clone(),
        range_end: Bytes::from_static(b"l"),
        union,
    };
    let inner = TxnRequest { success: vec![RequestOp::Range(range)], ..TxnRequest::default() };
    let txn = TxnRequest {
        compare: vec![
            compare(CompareUnion::Unset),
            compare(CompareUnion::Value(Bytes::from_static(b"v"))),
            compare(CompareUnion::Lease(5)),
        ],
        success: vec![RequestOp::Put(put.clone()), RequestOp::Txn(Box::new(inner)), RequestOp::Unset],
        failure: vec![RequestOp::DeleteRange(delete.clone())],
    };
    let actions = vec![
        Action::Put(put),
        Action::DeleteRange(delete),
        Action::Txn(txn),
        Action::Compact { revision: 9 },
        Action::LeaseGrant { id: LeaseId(4), ttl: 60 },
        Action::LeaseRevoke { id: LeaseId(4) },
        Action::LeaseExpire { id: LeaseId(-4), granted: LogIndex(70), term: Term(9) },
        Action::LeaseCheckpoint {
            term: Term(9),
            items: vec![
                LeaseLeft { id: LeaseId(-4), granted: LogIndex(70), left_s: 301 },
                LeaseLeft { id: LeaseId(4), granted: LogIndex(0), left_s: 0 },
            ],
        },
        Action::Alarm { activate: true, member: MemberId(3), alarm: Alarm::Corrupt },
        Action::StateVersionSet { version: 2 },
        Action::Publish { member: MemberId(3), name: "n".into(), client_urls: vec!["http://a:1".into()] },
    ];
    let actions = actions.into_iter().chain(auth_samples());
    let id = RequestId { member: MemberId(3), epoch: 2, counter: 11 };
    let header = CommandHeader { id, user: "root".into(), auth_revision: 4 };
    actions.map(|action| Command { header: header.clone(), action }).collect()
}

fn auth_samples() -> Vec<Action> {
    let (name, role) = ("u".to_owned(), "r".to_owned());
    let password_hash = Secret::new("$2b$10$hash");
    let permission = |kind| Permission { kind, key: Bytes::from("k"), range_end: Bytes::from("\0") };
    let grant = |permission| AuthChange::RoleGrantPermission { role: "r".to_owned(), permission };
    let changes = [
        AuthChange::Enable,
        AuthChange::Disable,
        AuthChange::UserAdd { name: name.clone(), password_hash: password_hash.clone(), no_password: true },
        AuthChange::UserDelete { name: name.clone() },
        AuthChange::UserChangePassword { name: name.clone(), password_hash },
        AuthChange::UserGrantRole { name: name.clone(), role: role.clone() },
        AuthChange::UserRevokeRole { name: name.clone(), role: role.clone() },
        AuthChange::RoleAdd { role: role.clone() },
        AuthChange::RoleDelete { role: role.clone() },
        grant(None),
        grant(Some(permission(PermissionKind::ReadWrite))),
        grant(Some(permission(PermissionKind::Unknown(7)))),
        AuthChange::RoleRevokePermission { role, key: Bytes::from("k"), range_end: Bytes::new() },
    ];
    let login = Action::Authenticate { user: name, token_prefix: Secret::new("abcdefghijklmnop") };
    changes.into_iter().map(Action::Auth).chain([login]).collect()
}

#[test]
fn every_kind_survives_a_round_trip() {
    for command in samples() {
        assert_eq!(Command::decode(command.encode()), Ok(command));
    }
}

#[test]
fn truncated_or_extended_bytes_are_refused() {
    for command in samples() {
        let bytes = command.encode();
        for len in 0..bytes.len() {
            assert!(Command::decode(bytes.slice(..len)).is_err(), "{command:?} cut at {len}");
        }
        let mut longer = BytesMut::from(&bytes[..]);
        longer.extend_from_slice(&[0]);
        assert!(Command::decode(longer.freeze()).is_err());
    }
}

#[test]
fn unknown_format_and_kind_are_refused() {
    let mut bytes = BytesMut::from(&samples()[0].encode()[..]);
    bytes[1] = 200;
    assert_eq!(Command::decode(bytes.clone().freeze()), Err(DecodeError("unknown command kind")));
    bytes[0] = 2;
    assert_eq!(Command::decode(bytes.freeze()), Err(DecodeError("unknown command format")));
}

#[test]
fn nesting_beyond_the_bound_is_refused() {
    let mut txn = TxnRequest::default();
    for _ in 0..TXN_DEPTH_MAX + 2 {
        txn = TxnRequest { success: vec![RequestOp::Txn(Box::new(txn))], ..TxnRequest::default() };
    }
    let command = Command { header: CommandHeader::default(), action: Action::Txn(txn) };
    assert_eq!(Command::decode(command.encode()), Err(DecodeError("a txn nests too deep")));
}
