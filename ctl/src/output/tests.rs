//! Expected texts are what etcdctl 3.7.1 prints for the same answers.

use holdfast_net::proto::authpb::{Permission, permission::Type};
use holdfast_net::proto::etcdserverpb as pb;
use prost::Message as _;

use super::*;
use crate::client::watch::Told;

const HEADER: pb::ResponseHeader = pb::ResponseHeader {
    cluster_id: 6930805681439470907,
    member_id: 9265619892315062708,
    revision: 5,
    raft_term: 2,
};
const HEADER_JSON: &str =
    r#""cluster_id":6930805681439470907,"member_id":9265619892315062708,"revision":5,"raft_term":2"#;

fn simple(answer: &impl Answer) -> String {
    let mut out = Lines::new(Style::default());
    answer.simple(&mut out);
    out.text()
}

fn fields(answer: &impl Answer) -> Result<String, Unsupported> {
    let mut out = Lines::new(Style::default());
    answer.fields(&mut out).map(|()| out.text())
}

fn json(answer: &impl Answer) -> String {
    answer.json(Style::default()).expect("all have JSON")
}

fn permission(kind: Type, key: &str, range_end: &str) -> Permission {
    let (key, range_end) = (key.to_owned().into(), range_end.to_owned().into());
    Permission { perm_type: kind.into(), key, range_end }
}

#[test]
fn roles_show_ranges_prefixes_and_open_ends() {
    let perm = vec![
        permission(Type::Readwrite, "app/", "app0"),
        permission(Type::Read, "k", ""),
        permission(Type::Write, "z", "\0"),
        permission(Type::Read, "a", "c"),
    ];
    let answer = RoleGot { role: "r1", answer: pb::AuthRoleGetResponse { header: Some(HEADER), perm } };
    assert_eq!(
        simple(&answer),
        "Role r1\nKV Read:\n\t[app/, app0) (prefix app/)\n\tk\n\t[a, c)\n\
         KV Write:\n\t[app/, app0) (prefix app/)\n\t[z, <open ended>\n"
    );
    assert_eq!(
        json(&answer),
        format!(
            r#"{{"header":{{{HEADER_JSON}}},"perm":[{{"permType":2,"key":"YXBwLw==","range_end":"YXBwMA=="}},{{"key":"aw=="}},{{"permType":1,"key":"eg==","range_end":"AA=="}},{{"key":"YQ==","range_end":"Yw=="}}]}}"#
        )
    );
    let root = RoleGot { role: "root", answer: pb::AuthRoleGetResponse::default() };
    assert_eq!(simple(&root), "Role root\nKV Read:\n\t[, <open ended>\nKV Write:\n\t[, <open ended>\n");
}

#[test]
fn revocations_name_what_was_revoked() {
    let text = |key: &str, end: &str| {
        simple(&PermissionRevoked {
            role: "r",
            key: key.as_bytes(),
            range_end: end.as_bytes(),
            header: Some(HEADER),
        })
    };
    assert_eq!(text("k", ""), "Permission of key k is revoked from role r\n");
    assert_eq!(text("a", "c"), "Permission of range [a, c) is revoked from role r\n");
    assert_eq!(text("a", "\0"), "Permission of range [a, <open ended> is revoked from role r\n");
}

#[test]
fn users_and_states_of_authentication_are_shown() {
    let roles = vec!["a".to_owned(), "b".to_owned()];
    let user = UserGot { user: "u", answer: pb::AuthUserGetResponse { header: Some(HEADER), roles } };
    assert_eq!(simple(&user), "User: u\nRoles: a b\n");
    assert_eq!(json(&user), format!(r#"{{"header":{{{HEADER_JSON}}},"roles":["a","b"]}}"#));
    assert_eq!(fields(&user), Err(Unsupported::Format));
    let status = pb::AuthStatusResponse { header: Some(HEADER), enabled: false, auth_revision: 1 };
    assert_eq!(simple(&status), "Authentication Status: false\nAuthRevision: 1\n");
    assert_eq!(json(&status), format!(r#"{{"header":{{{HEADER_JSON}}},"authRevision":1}}"#));
}

#[test]
fn members_are_shown_with_ids_as_numbers_or_in_hexadecimal() {
    let member = pb::Member {
        id: 0x8096_1833_613b_81b4,
        peer_ur_ls: vec!["http://a:1".into()],
        is_learner: true,
        ..pb::Member::default()
    };
    let header = Some(pb::ResponseHeader { revision: 0, ..HEADER });
    let answer = pb::MemberAddResponse { header, member: Some(member.clone()), members: vec![member] };
    assert_eq!(simple(&answer), "Member 80961833613b81b4 added as learner to cluster 602f2b0bd975753b\n");
    let shown = r#"{"ID":9265619892315062708,"peerURLs":["http://a:1"],"isLearner":true}"#;
    let header = r#""cluster_id":6930805681439470907,"member_id":9265619892315062708,"raft_term":2"#;
    assert_eq!(json(&answer), format!(r#"{{"header":{{{header}}},"member":{shown},"members":[{shown}]}}"#));
    let hex = r#"{"ID":"80961833613b81b4","peerURLs":["http://a:1"],"isLearner":true}"#;
    let header = r#""cluster_id":"602f2b0bd975753b","member_id":"80961833613b81b4","raft_term":2"#;
    assert_eq!(
        answer.json(Style { hex: true, value_only: false }),
        Ok(format!(r#"{{"header":{{{header}}},"member":{hex},"members":[{hex}]}}"#))
    );
    assert_eq!(fields(&answer), Err(Unsupported::Format));
    let removed =
        MemberChanged { change: MemberChange::Removed, id: 5, header: Some(HEADER), members: Vec::new() };
    assert_eq!(simple(&removed), "Member                5 removed from cluster 602f2b0bd975753b\n");
    assert_eq!(
        removed.protobuf(),
        Ok(pb::MemberRemoveResponse { header: Some(HEADER), members: Vec::new() }.encode_to_vec())
    );
}

#[test]
fn alarms_are_in_the_text_form_of_protobuf() {
    let alarms = vec![pb::AlarmMember { member_id: 7, alarm: pb::AlarmType::Nospace.into() }];
    let answer = pb::AlarmResponse { header: Some(HEADER), alarms };
    assert_eq!(simple(&answer), "memberID:7 alarm:NOSPACE\n");
    assert_eq!(
        json(&answer),
        format!(r#"{{"header":{{{HEADER_JSON}}},"alarms":[{{"memberID":7,"alarm":1}}]}}"#)
    );
    let text = "\"ClusterID\" : 6930805681439470907\n\"MemberID\" : 9265619892315062708\n\"Revision\" : 5\n\
                \"RaftTerm\" : 2\n\"MemberID\" : 7\n\"AlarmType\" : NOSPACE\n\n";
    assert_eq!(fields(&answer).as_deref(), Ok(text));
}

#[test]
fn a_watch_that_was_compacted_away_says_so() {
    let told = Told {
        header: Some(pb::ResponseHeader { revision: 0, ..HEADER }),
        compact_revision: 3,
        canceled: true,
        ..Told::default()
    };
    assert_eq!(told.error().as_deref(), Some("etcdserver: mvcc: required revision has been compacted"));
    assert_eq!(
        json(&told),
        r#"{"Header":{"cluster_id":6930805681439470907,"member_id":9265619892315062708,"raft_term":2},"Events":null,"CompactRevision":3,"Canceled":true,"Created":false,"CancelReason":""}"#
    );
    let closed =
        Told { canceled: true, closed: Some("etcdserver: permission denied".into()), ..Told::default() };
    assert_eq!(closed.error().as_deref(), Some("etcdserver: permission denied"));
    assert!(json(&closed).starts_with(r#"{"Header":null,"#));
}

#[test]
fn endpoints_in_trouble_go_to_standard_error_and_nobody_is_null() {
    let health = |error: &str| Health {
        endpoint: "a:1".into(),
        healthy: error.is_empty(),
        took: "1ms".into(),
        error: error.into(),
    };
    let mut out = Lines::new(Style::default());
    vec![health("context deadline exceeded")].simple(&mut out);
    assert_eq!(out.text(), "");
    assert_eq!(
        String::from_utf8_lossy(&out.errors),
        "a:1 is unhealthy: failed to commit proposal: context deadline exceeded\n"
    );
    assert_eq!(json(&vec![health("no")]), r#"[{"endpoint":"a:1","health":false,"took":"1ms","error":"no"}]"#);
    assert_eq!(json(&Vec::<Located<pb::StatusResponse>>::new()), "null");
}

#[test]
fn leases_below_zero_keep_their_width() {
    assert_eq!(hex16(0x1b4_9f2d_4efb_64d6), "01b49f2d4efb64d6");
    assert_eq!(hex16(-5), "-000000000000005");
    let answer = pb::LeaseGrantResponse { header: Some(HEADER), id: 1, ttl: 9, error: String::new() };
    assert_eq!(json(&answer), format!(r#"{{{HEADER_JSON},"ID":1,"TTL":9,"Error":""}}"#));
    assert_eq!(answer.protobuf(), Ok(HEADER.encode_to_vec()));
}
