//! Locks and elections over gRPC: the same stories of Holdfast and, where there is one, of a real etcd.

#![cfg(not(madsim))]

use std::time::Duration;

use bytes::Bytes;
use holdfast_net::proto::{authpb, etcdserverpb as pb, v3electionpb as election, v3lockpb as lock};
use holdfast_tests::client::Client;
use holdfast_tests::etcd::real_etcd;
use holdfast_tests::process::{Program, Server};
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};

/// How long is waited for what must come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tells a story of each server there is.
async fn of_each<F: Future<Output = ()>>(story: impl Fn(Client) -> F) {
    let mut programs = vec![Program::holdfast()];
    match real_etcd() {
        Ok(etcd) => programs.push(etcd),
        Err(why) => eprintln!("SKIPPED: the story is not told of a real etcd, for there is none: {why}"),
    }
    for program in programs {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        println!("of {}", program.name());
        let server = Server::start(program, scratch.path(), &["--bcrypt-cost=4"]);
        story(Client::new(&server.endpoint())).await;
    }
}

async fn within<T>(what: &str, coming: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, coming).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Waits until so many keys are under a prefix.
async fn keys(client: &mut Client, prefix: &str, wanted: i64) {
    let mut end = prefix.as_bytes().to_vec();
    *end.last_mut().expect("a prefix has a last byte") += 1;
    let range = pb::RangeRequest {
        key: prefix.to_owned().into(),
        range_end: end.into(),
        count_only: true,
        ..Default::default()
    };
    within("keys under a prefix", async {
        while client.kv.range(range.clone()).await.expect("a count").into_inner().count != wanted {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

async fn lease(client: &mut Client, id: i64) -> i64 {
    client.lease.lease_grant(pb::LeaseGrantRequest { id, ttl: 600 }).await.expect("a lease");
    id
}

fn assert_unknown<T: std::fmt::Debug>(answer: Result<T, Status>, text: &str) {
    let status = answer.expect_err(text);
    assert_eq!((status.code(), status.message()), (Code::Unknown, text));
}

fn locking(client: &Client, name: &str, lease: i64) -> JoinHandle<Result<lock::LockResponse, Status>> {
    let (mut client, name) = (client.clone(), Bytes::from(name.to_owned()));
    tokio::spawn(async move {
        client.lock.lock(lock::LockRequest { name, lease }).await.map(tonic::Response::into_inner)
    })
}

async fn locked(waiting: JoinHandle<Result<lock::LockResponse, Status>>) -> Result<Bytes, Status> {
    within("the lock", waiting).await.expect("no panic").map(|response| response.key)
}

async fn unlock(client: &mut Client, key: &str) -> Result<i64, Status> {
    let unlocked = client.lock.unlock(lock::UnlockRequest { key: key.to_owned().into() }).await?;
    Ok(unlocked.into_inner().header.expect("a header").revision)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_is_had_by_one_after_the_other() {
    of_each(async |mut client| {
        for id in [10, 11, 12] {
            lease(&mut client, id).await;
        }
        assert_eq!(locked(locking(&client, "l", 10)).await.expect("free"), "l/a");
        assert_eq!(locked(locking(&client, "l", 10)).await.expect("its own already"), "l/a");
        let second = locking(&client, "l", 11);
        keys(&mut client, "l/", 2).await;
        let third = locking(&client, "l", 12);
        keys(&mut client, "l/", 3).await;
        // Who goes while it waits leaves nothing behind.
        third.abort();
        keys(&mut client, "l/", 2).await;
        assert!(!second.is_finished());
        assert_eq!(locked(locking(&client, "m", 12)).await.expect("another lock"), "m/c");
        unlock(&mut client, "l/a").await.expect("unlocked");
        assert_eq!(locked(second).await.expect("its turn"), "l/b");
        let before = unlock(&mut client, "l/b").await.expect("unlocked");
        assert_eq!(unlock(&mut client, "l/b").await.expect("what is no lock any more"), before);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_ends_with_its_lease() {
    of_each(async |mut client| {
        lease(&mut client, 10).await;
        lease(&mut client, 11).await;
        // Without a lease there is one of a minute.
        let key = locked(locking(&client, "own", 0)).await.expect("free");
        let id = std::str::from_utf8(&key).expect("letters").strip_prefix("own/").expect("its name");
        let id = i64::from_str_radix(id, 16).expect("an id");
        let asked = pb::LeaseTimeToLiveRequest { id, keys: true };
        let left = client.lease.lease_time_to_live(asked).await.expect("it is there").into_inner();
        assert_eq!((left.granted_ttl, &left.keys[..]), (60, &[key][..]));
        // A lease that ends while its owner waits: it hears of it when its turn would have come.
        locked(locking(&client, "l", 10)).await.expect("free");
        let waiting = locking(&client, "l", 11);
        keys(&mut client, "l/", 2).await;
        client.lease.lease_revoke(pb::LeaseRevokeRequest { id: 11 }).await.expect("revoked");
        client.lease.lease_revoke(pb::LeaseRevokeRequest { id: 10 }).await.expect("revoked");
        assert_unknown(locked(waiting).await, "mutex: session is expired");
        assert_unknown(locked(locking(&client, "l", 10)).await, "etcdserver: requested lease not found");
        assert_unknown(unlock(&mut client, "").await, "etcdserver: key is not provided");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_needs_the_rights_to_its_keys() {
    of_each(async |mut client| {
        let user = |name: &str| pb::AuthUserAddRequest {
            name: name.to_owned(),
            password: "p".to_owned(),
            ..Default::default()
        };
        let login = |name: &str| pb::AuthenticateRequest { name: name.to_owned(), password: "p".to_owned() };
        lease(&mut client, 10).await;
        for name in ["root", "ann"] {
            client.auth.user_add(user(name)).await.expect("added");
        }
        client.auth.role_add(pb::AuthRoleAddRequest { name: "r".to_owned() }).await.expect("added");
        let perm = Some(authpb::Permission { perm_type: 2, key: "ann/".into(), range_end: "ann0".into() });
        let grant = pb::AuthRoleGrantPermissionRequest { name: "r".to_owned(), perm };
        client.auth.role_grant_permission(grant).await.expect("granted");
        for (user, role) in [("root", "root"), ("ann", "r")] {
            let grant = pb::AuthUserGrantRoleRequest { user: user.to_owned(), role: role.to_owned() };
            client.auth.user_grant_role(grant).await.expect("granted");
        }
        client.auth.auth_enable(pb::AuthEnableRequest {}).await.expect("enabled");
        assert_unknown(locked(locking(&client, "ann", 10)).await, "etcdserver: user name is empty");
        client.token =
            Some(client.auth.authenticate(login("ann")).await.expect("a token").into_inner().token);
        let asked = |name: &'static str| lock::LockRequest { name: name.into(), lease: 10 };
        let request: Request<_> = client.request(asked("bob"));
        assert_unknown(client.lock.lock(request).await, "etcdserver: permission denied");
        let request = client.request(asked("ann"));
        client.lock.lock(request).await.expect("it is hers");
    })
    .await;
}

fn campaigning(
    client: &Client,
    lease: i64,
    value: &str,
) -> JoinHandle<Result<election::CampaignResponse, Status>> {
    let (mut client, value) = (client.clone(), Bytes::from(value.to_owned()));
    let request = election::CampaignRequest { name: "e".into(), lease, value };
    tokio::spawn(async move { client.election.campaign(request).await.map(tonic::Response::into_inner) })
}

async fn elected(
    waiting: JoinHandle<Result<election::CampaignResponse, Status>>,
) -> Result<election::LeaderKey, Status> {
    let response = within("the election", waiting).await.expect("no panic")?;
    Ok(response.leader.expect("a leader has a key"))
}

async fn proclaim(client: &mut Client, leader: &election::LeaderKey, value: &str) -> Result<(), Status> {
    let request = election::ProclaimRequest { leader: Some(leader.clone()), value: value.to_owned().into() };
    client.election.proclaim(request).await.map(|_| ())
}

async fn leader(client: &mut Client) -> Result<(Bytes, Bytes), Status> {
    let response = client.election.leader(election::LeaderRequest { name: "e".into() }).await?;
    let kv = response.into_inner().kv.expect("a leader has a key");
    Ok((Bytes::copy_from_slice(&kv.key), kv.value.clone()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaders_follow_one_another_and_observers_hear_of_each() {
    of_each(async |mut client| {
        assert_unknown(leader(&mut client).await, "election: no leader");
        // etcd answers it no earlier than there is a leader to tell of.
        let mut observer = client.clone();
        let observing = tokio::spawn(async move {
            observer.election.observe(election::LeaderRequest { name: "e".into() }).await
        });
        for id in [10, 11, 12] {
            lease(&mut client, id).await;
        }
        let first = elected(campaigning(&client, 10, "one")).await.expect("nobody else is there");
        assert_eq!((&first.name[..], &first.key[..], first.lease), (&b"e"[..], &b"e/a"[..], 10));
        let observed = within("an observation", observing).await.expect("no panic");
        let mut observed = observed.expect("a stream").into_inner();
        let mut seen = async || {
            let told = within("an observation", observed.message()).await.expect("open").expect("a leader");
            let kv = told.kv.expect("a leader has a key");
            (Bytes::copy_from_slice(&kv.key), kv.value.clone())
        };
        assert_eq!(seen().await, ("e/a".into(), "one".into()));
        let second = campaigning(&client, 11, "two");
        keys(&mut client, "e/", 2).await;
        let third = campaigning(&client, 12, "three");
        keys(&mut client, "e/", 3).await;
        third.abort();
        keys(&mut client, "e/", 2).await;
        proclaim(&mut client, &first, "one more").await.expect("it leads");
        assert_eq!(seen().await, ("e/a".into(), "one more".into()));
        // To stand again is to say something else.
        let again = elected(campaigning(&client, 10, "again")).await.expect("it leads");
        assert_eq!(again.rev, first.rev);
        assert_eq!(seen().await, ("e/a".into(), "again".into()));
        assert_eq!(leader(&mut client).await.expect("there is one"), ("e/a".into(), "again".into()));
        assert!(!second.is_finished());
        let resign = |leader: &election::LeaderKey| election::ResignRequest { leader: Some(leader.clone()) };
        client.election.resign(resign(&first)).await.expect("resigned");
        let second = elected(second).await.expect("its turn");
        assert_eq!(seen().await, ("e/b".into(), "two".into()));
        assert_unknown(proclaim(&mut client, &first, "still").await, "election: not leader");
        client.election.resign(resign(&first)).await.expect("nothing to resign");
        assert_eq!(leader(&mut client).await.expect("there is one"), ("e/b".into(), "two".into()));
        client.lease.lease_revoke(pb::LeaseRevokeRequest { id: second.lease }).await.expect("revoked");
        assert_unknown(leader(&mut client).await, "election: no leader");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_election_needs_the_leaders_key() {
    of_each(async |mut client| {
        let text = "\"leader\" field must be provided";
        assert_unknown(client.election.proclaim(election::ProclaimRequest::default()).await, text);
        assert_unknown(client.election.resign(election::ResignRequest::default()).await, text);
        let gone = campaigning(&client, 404, "x");
        assert_unknown(elected(gone).await, "etcdserver: requested lease not found");
    })
    .await;
}
