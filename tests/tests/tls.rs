//! TLS: who is let in by which certificate, who is not and what is said of it, and certificates that change
//! while it runs.

#![cfg(not(madsim))]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_net::peer::Way;
use holdfast_net::proto::authpb::Permission;
use holdfast_net::proto::etcdserverpb as pb;
use holdfast_net::tls::{Connector, Settings, Version};
use holdfast_tests::client::Client;
use holdfast_tests::cluster::until;
use holdfast_tests::etcd::{etcdctl, real_etcd};
use holdfast_tests::pki::{Authority, Pair};
use holdfast_tests::process::{Program, Schemes, Server, built};
use tempfile::TempDir;
use tonic::{Request, Status};

const HERE: &[&str] = &["127.0.0.1", "localhost"];
const CLIENTS: Schemes = Schemes { client: "https", peer: "http" };
const QUICK: &[&str] = &["--heartbeat-interval", "50", "--election-timeout", "500"];

/// An authority whose certificates lie in a directory of their own.
struct Pki {
    scratch: TempDir,
    authority: Authority,
    ca: PathBuf,
}

impl Pki {
    fn new() -> Pki {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let authority = Authority::new("ours");
        let ca = authority.write(&scratch.path().join("ca.pem"));
        Pki { scratch, authority, ca }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn issue(&self, name: &str, hosts: &[&str]) -> Pair {
        self.authority.issue(&self.path(name), name, hosts)
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

/// Runs a command line client against a server; `who` is shown, `ca` trusted.
fn ctl(program: &Path, server: &Server, ca: &Path, who: Option<&Pair>, command: &[&str]) -> Output {
    let mut run = Command::new(program);
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("ETCD")) {
        run.env_remove(name);
    }
    run.args(["--endpoints", &server.endpoint(), "--cacert", &text(ca), "--command-timeout", "20s"]);
    if let Some(Pair { cert, key, .. }) = who {
        run.args(["--cert", &text(cert), "--key", &text(key)]);
    }
    run.args(command).output().expect("it can be started")
}

fn is_ok(output: &Output, expected: &str) -> bool {
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    said.trim() == expected
}

/// Our own client of the API with a way of its own.
fn way(settings: Settings) -> Way {
    Way::secure(Connector::new(settings).expect("good files"))
}

fn trusting(ca: &Path, who: Option<&Pair>) -> Settings {
    let (cert_file, key_file) =
        who.map_or((String::new(), String::new()), |pair| (text(&pair.cert), text(&pair.key)));
    Settings { trusted_ca_file: text(ca), cert_file, key_file, ..Settings::default() }
}

async fn put(way: &Way, server: &Server, key: &str) -> Result<i64, String> {
    let channel = way.channel(&server.endpoint()).await?;
    Client::over(channel).put(key.to_owned(), "v").await.map_err(|status| status.message().to_owned())
}

/// Waits for a line of the log that has all of these in it.
async fn until_logged(server: &Server, parts: &[&str]) {
    until(&format!("a line with {parts:?}"), async || {
        server.log().lines().any(|line| parts.iter().all(|part| line.contains(part)))
    })
    .await;
}

#[test]
fn clients_are_served_below_tls_and_plainly_on_one_port() {
    let pki = Pki::new();
    let pair = pki.issue("server", HERE);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut server = Server::new_as(Program::holdfast(), CLIENTS, &scratch.path().join("data"), "one");
    let plain = format!("http://127.0.0.1:{}", server.client_port);
    let both = format!("{plain},{}", server.endpoint());
    let cluster = format!("one={}", server.peer_url());
    server.bootstrap(&["--initial-cluster", &cluster]);
    let (cert, key) = (text(&pair.cert), text(&pair.key));
    server.set_flags(&["--listen-client-urls", &both, "--cert-file", &cert, "--key-file", &key]);
    server.spawn();
    server.wait_ready();
    let mut clients = vec![built("holdfastctl")];
    match etcdctl() {
        Ok(real) => clients.push(real),
        Err(why) => eprintln!("SKIPPED: etcdctl over TLS ({why})"),
    }
    for client in clients {
        assert!(is_ok(&ctl(&client, &server, &pki.ca, None, &["put", "k", "v"]), "OK"));
        assert!(is_ok(&ctl(&client, &server, &pki.ca, None, &["get", "k", "--print-value-only"]), "v"));
        let mut run = Command::new(&client);
        let run = run.args(["--endpoints", &plain, "get", "k", "--print-value-only"]);
        assert!(is_ok(&run.output().expect("it can be started"), "v"));
        let stranger = Authority::new("stranger").write(&pki.path("stranger.pem"));
        let refused = ctl(&client, &server, &stranger, None, &["get", "k", "--command-timeout", "1s"]);
        assert!(!refused.status.success());
    }
    let health = holdfast_tests::process::http_get(server.client_port, "/health");
    assert!(health.is_some_and(|body| body.contains("true")));
    let log = server.log();
    assert!(log.contains("serving client traffic securely") && log.contains("traffic insecurely"), "{log}");
}

#[tokio::test]
async fn who_shows_no_good_certificate_is_refused_by_name() {
    let pki = Pki::new();
    let (own, good) = (pki.issue("server", HERE), pki.issue("good", &["client.example"]));
    let stranger = Authority::new("stranger").issue(&pki.path("stranger"), "stranger", &["client.example"]);
    let expired = pki.authority.issue_until(&pki.path("expired"), "expired", &["client.example"], 2001);
    let unwanted = pki.issue("unwanted", &["other.example"]);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (cert, key, ca) = (text(&own.cert), text(&own.key), text(&pki.ca));
    let mut flags = vec!["--cert-file", &cert, "--key-file", &key, "--client-cert-auth"];
    flags.extend(["--trusted-ca-file", &ca, "--client-cert-allowed-hostname", "client.example"]);
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &flags);
    assert!(put(&way(trusting(&pki.ca, Some(&good))), &server, "k").await.is_ok());
    for (who, cause) in [
        (None, "sent no certificates"),
        (Some(&stranger), "UnknownIssuer"),
        (Some(&expired), "certificate expired"),
        (Some(&unwanted), "client certificate authentication failed"),
    ] {
        let refused = put(&way(trusting(&pki.ca, who)), &server, "k").await;
        assert!(refused.is_err(), "{cause}");
        until_logged(&server, &["rejected connection on client endpoint", "127.0.0.1:", cause]).await;
    }
    assert!(put(&way(trusting(&pki.ca, Some(&good))), &server, "k").await.is_ok());
}

#[tokio::test]
async fn versions_and_suites_are_those_of_the_flags() {
    let pki = Pki::new();
    let own = pki.issue("server", HERE);
    let (cert, key) = (text(&own.cert), text(&own.key));
    let named = ["--cert-file", &cert, "--key-file", &key];
    let (first, second) =
        ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384");
    let client = |version: Version, suite: &str| {
        way(Settings {
            version_min: version,
            version_max: version,
            cipher_suites: vec![suite.to_owned()],
            ..trusting(&pki.ca, None)
        })
    };
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let flags = [&named[..], &["--tls-max-version", "TLS1.2", "--cipher-suites", first]].concat();
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &flags);
    assert!(put(&client(Version::Tls12, first), &server, "k").await.is_ok());
    assert!(put(&client(Version::Tls12, second), &server, "k").await.is_err());
    assert!(put(&client(Version::Tls13, first), &server, "k").await.is_err());
    drop(server);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let flags = [&named[..], &["--tls-min-version", "TLS1.3"]].concat();
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &flags);
    assert!(put(&client(Version::Tls12, first), &server, "k").await.is_err());
    assert!(put(&client(Version::Tls13, first), &server, "k").await.is_ok());
}

#[test]
fn a_certificate_is_made_where_none_is_given() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let mut server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &["--auto-tls"]);
    let client = built("holdfastctl");
    let made = server.directory().join("fixtures/client/cert.pem");
    let before = std::fs::read(&made).expect("it was made");
    assert!(is_ok(&ctl(&client, &server, &made, None, &["put", "k", "v"]), "OK"));
    server.kill();
    server.spawn();
    server.wait_ready();
    assert_eq!(std::fs::read(&made).expect("it is there"), before);
    assert!(is_ok(&ctl(&client, &server, &made, None, &["get", "k", "--print-value-only"]), "v"));
    if let Ok(real) = etcdctl() {
        assert!(is_ok(&ctl(&real, &server, &made, None, &["get", "k", "--print-value-only"]), "v"));
    }
}

#[tokio::test]
async fn who_speaks_plainly_to_a_port_of_tls_is_told() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &["--auto-tls"]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.client_port)).expect("it listens");
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").expect("it listens");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer, then the end");
    let expected =
        "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n".to_owned();
    assert_eq!(answer, expected);
    drop(stream);
    let why = "tls: first record does not look like a TLS handshake";
    until_logged(&server, &["rejected connection on client endpoint", why]).await;
}

#[test]
fn files_that_cannot_be_used_end_the_start_in_one_line() {
    let pki = Pki::new();
    let (own, other) = (pki.issue("server", HERE), pki.issue("other", HERE));
    let empty = pki.path("empty.pem");
    std::fs::write(&empty, "").expect("scratch is writable");
    let (cert, key, other_key) = (text(&own.cert), text(&own.key), text(&other.key));
    let (empty, missing) = (text(&empty), text(&pki.path("missing")));
    for (flags, why) in [
        (vec!["--cert-file", &missing, "--key-file", &key], "no such file or directory"),
        (vec!["--cert-file", &cert, "--key-file", &other_key], "tls: private key does not match public key"),
        (vec!["--cert-file", &key, "--key-file", &key], "no certificate in it"),
        (vec!["--cert-file", &cert, "--key-file", &cert], "no key in it"),
        (vec!["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &empty], "no certificate in it"),
    ] {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let mut server = Server::new_as(Program::holdfast(), CLIENTS, &scratch.path().join("data"), "one");
        server.set_flags(&flags);
        server.spawn();
        assert_eq!(server.wait_end().code(), Some(1));
        assert!(server.log_tail().contains(why), "{}", server.log_tail());
        assert!(!server.directory().exists(), "nothing was touched");
    }
}

/// Puts, each over a connection of its own, until told to end; none may fail.
struct Load {
    end: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Load {
    fn start(server: &Server, settings: Settings) -> Load {
        let (end, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (endpoint, ended, counted) = (server.endpoint(), Arc::clone(&end), Arc::clone(&count));
        let task = tokio::spawn(async move {
            let way = way(settings);
            while !ended.load(Ordering::Relaxed) {
                let channel = way.channel(&endpoint).await.expect("let in");
                Client::over(channel).put("load", "v").await.expect("served");
                counted.fetch_add(1, Ordering::Relaxed);
            }
        });
        Load { end, count, task }
    }

    /// Waits for some more.
    async fn go_on(&self) {
        let before = self.count.load(Ordering::Relaxed);
        until("puts go on", async || {
            self.task.is_finished() || self.count.load(Ordering::Relaxed) > before + 20
        })
        .await;
    }

    async fn end(self) {
        self.end.store(true, Ordering::Relaxed);
        self.task.await.expect("no put failed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_and_authorities_change_under_load() {
    let pki = Pki::new();
    let own = pki.issue("server", HERE);
    let client = pki.issue("client", &[]);
    let server_ca = pki.authority.write(&pki.path("server-ca.pem"));
    let client_ca = pki.authority.write(&pki.path("client-ca.pem"));
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (cert, key, ca) = (text(&own.cert), text(&own.key), text(&server_ca));
    let flags = ["--cert-file", &cert, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &flags);
    let load = Load::start(&server, trusting(&client_ca, Some(&client)));
    load.go_on().await;
    // A certificate under the same authority, key first: for a moment the two do not fit.
    pki.issue("server", HERE);
    load.go_on().await;
    // Rubbish stays without effect.
    let good = std::fs::read(&server_ca).expect("it is there");
    std::fs::write(&server_ca, "rubbish").expect("scratch is writable");
    load.go_on().await;
    until_logged(&server, &["cannot be used; what was read before stays in force"]).await;
    std::fs::write(&server_ca, good).expect("scratch is writable");
    // Another authority: first both are trusted, then who is vouched for changes, then the old one goes.
    let next = Authority::new("next");
    next.write_with(&pki.authority, &server_ca);
    next.write_with(&pki.authority, &client_ca);
    load.go_on().await;
    next.issue(&pki.path("server"), "server", HERE);
    next.issue(&pki.path("client"), "client", &[]);
    load.go_on().await;
    next.write(&server_ca);
    next.write(&client_ca);
    load.go_on().await;
    load.end().await;
    let old = pki.issue("old", &[]);
    let refused = put(&way(trusting(&client_ca, Some(&old))), &server, "k").await;
    assert!(refused.is_err(), "the old authority is not trusted any more");
    until_logged(&server, &["rejected connection on client endpoint", "UnknownIssuer"]).await;
    assert!(server.log().contains("certificate files have changed and are in force"));
}

#[tokio::test]
async fn who_is_on_the_list_is_refused_from_the_next_connection_on() {
    let pki = Pki::new();
    let own = pki.issue("server", HERE);
    let (first, second) = (pki.issue("first", &[]), pki.issue("second", &[]));
    let list = pki.path("crl");
    pki.authority.revoke(&[], &list, false);
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let (cert, key, ca, crl) = (text(&own.cert), text(&own.key), text(&pki.ca), text(&list));
    let mut flags = vec!["--cert-file", &cert, "--key-file", &key, "--client-cert-auth"];
    flags.extend(["--trusted-ca-file", &ca, "--client-crl-file", &crl]);
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &flags);
    let ways = [&first, &second].map(|who| way(trusting(&pki.ca, Some(who))));
    for way in &ways {
        assert!(put(way, &server, "k").await.is_ok());
    }
    for (revoked, way, other, is_text) in
        [(&first, &ways[0], &ways[1], false), (&second, &ways[1], &ways[0], true)]
    {
        pki.authority.revoke(&[revoked], &list, is_text);
        assert!(put(way, &server, "k").await.is_err());
        let why = format!("transport: certificate serial {} revoked", hex(revoked.serial));
        until_logged(&server, &["rejected connection on client endpoint", &why]).await;
        assert!(put(other, &server, "k").await.is_ok());
    }
    std::fs::write(&list, "rubbish").expect("scratch is writable");
    assert!(put(&ways[1], &server, "k").await.is_err(), "the list from before is in force");
    assert!(put(&ways[0], &server, "k").await.is_ok());
}

/// Whole bytes, as serial numbers are written.
fn hex(serial: u64) -> String {
    let digits = format!("{serial:x}");
    if digits.len() % 2 == 1 { format!("0{digits}") } else { digits }
}

/// Each step's answer and, if it is refused, its text.
async fn ask_as_users(server: &Server, ca: &Path, who: &[&Pair]) -> Vec<String> {
    let mut heard = Vec::new();
    let mut clients = Vec::new();
    for who in who {
        let way = way(trusting(ca, Some(who)));
        clients.push(Client::over(way.channel(&server.endpoint()).await.expect("let in")));
    }
    let [root, ann, nobody, nameless] = &mut clients[..] else { panic!("four of them") };
    let password = |name: &str| pb::AuthUserAddRequest {
        name: name.to_owned(),
        password: "pw".to_owned(),
        ..Default::default()
    };
    for name in ["root", "ann"] {
        root.auth.user_add(password(name)).await.expect("auth is off");
    }
    let role = pb::AuthUserGrantRoleRequest { user: "root".to_owned(), role: "root".to_owned() };
    root.auth.role_add(pb::AuthRoleAddRequest { name: "root".to_owned() }).await.expect("auth is off");
    root.auth.user_grant_role(role).await.expect("auth is off");
    root.auth.role_add(pb::AuthRoleAddRequest { name: "some".to_owned() }).await.expect("auth is off");
    let permission = Permission { perm_type: 2, key: "a".into(), range_end: "b".into() };
    let grant = pb::AuthRoleGrantPermissionRequest { name: "some".to_owned(), perm: Some(permission) };
    root.auth.role_grant_permission(grant).await.expect("auth is off");
    let role = pb::AuthUserGrantRoleRequest { user: "ann".to_owned(), role: "some".to_owned() };
    root.auth.user_grant_role(role).await.expect("auth is off");
    root.auth.auth_enable(pb::AuthEnableRequest {}).await.expect("there is a root");
    let mut note = |what: &str, answer: Result<(), Status>| {
        let answer = answer.map_err(|status| format!("{:?} {}", status.code(), status.message()));
        heard.push(format!("{what}: {}", answer.err().unwrap_or("ok".to_owned())));
    };
    note("root puts", root.put("z", "v").await.map(drop));
    note("ann puts in her range", ann.put("a1", "v").await.map(drop));
    note("ann puts elsewhere", ann.put("z", "v").await.map(drop));
    note("ann reads elsewhere", ann.get("z", 0).await.map(drop));
    note("ann adds a user", ann.auth.user_add(password("x")).await.map(drop));
    note("nobody puts", nobody.put("a1", "v").await.map(drop));
    note("nameless puts", nameless.put("a1", "v").await.map(drop));
    note("nameless adds a user", nameless.auth.user_add(password("x")).await.map(drop));
    // A token counts more than the certificate, and so does one that is none.
    let login = pb::AuthenticateRequest { name: "root".to_owned(), password: "pw".to_owned() };
    ann.token = Some(ann.auth.authenticate(login).await.expect("a login").into_inner().token);
    let put = || pb::PutRequest { key: "z".into(), value: "v".into(), ..Default::default() };
    let request = ann.request(put());
    note("ann puts with root's token", ann.kv.put(request).await.map(drop));
    let mut request = Request::new(put());
    request.metadata_mut().insert("token", "no.1".parse().expect("letters"));
    note("root puts with a bad token", root.kv.put(request).await.map(drop));
    // Neither the gateway's calls nor a header of the client's own say who it is.
    for (what, header) in [("gateway", "grpcgateway-accept"), ("liar", "holdfast-certified-user")] {
        let mut request = Request::new(put());
        request.metadata_mut().insert(header, "root".parse().expect("letters"));
        let client = if what == "gateway" { &mut *root } else { &mut *nameless };
        note(what, client.kv.put(request).await.map(drop));
    }
    heard
}

#[tokio::test]
async fn users_are_known_by_their_certificates_as_in_etcd() {
    let pki = Pki::new();
    let own = pki.issue("server", HERE);
    let who = ["root", "ann", "nobody", ""].map(|name| {
        let stem = pki.path(&format!("user-{name}"));
        pki.authority.issue(&stem, name, &["client.example"])
    });
    let who: Vec<&Pair> = who.iter().collect();
    let (cert, key, ca) = (text(&own.cert), text(&own.key), text(&pki.ca));
    let flags = ["--cert-file", &cert, "--key-file", &key, "--client-cert-auth", "--trusted-ca-file", &ca];
    let ask = async |program: Program| {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let server = Server::start_as(program, CLIENTS, scratch.path(), &flags);
        ask_as_users(&server, &pki.ca, &who).await
    };
    let ours = ask(Program::holdfast()).await;
    let expected = [
        "root puts: ok",
        "ann puts in her range: ok",
        "ann puts elsewhere: PermissionDenied etcdserver: permission denied",
        "ann reads elsewhere: PermissionDenied etcdserver: permission denied",
        "ann adds a user: PermissionDenied etcdserver: permission denied",
        "nobody puts: PermissionDenied etcdserver: permission denied",
        "nameless puts: PermissionDenied etcdserver: permission denied",
        "nameless adds a user: InvalidArgument etcdserver: user name is empty",
        "ann puts with root's token: ok",
        "root puts with a bad token: Unauthenticated etcdserver: invalid auth token",
        "gateway: InvalidArgument etcdserver: user name is empty",
        "liar: PermissionDenied etcdserver: permission denied",
    ];
    assert_eq!(ours, expected);
    match real_etcd() {
        Ok(etcd) => assert_eq!(ask(etcd).await, expected),
        Err(why) => eprintln!("SKIPPED: users by certificate on a real etcd ({why})"),
    }
    // An authority alone asks for certificates and makes nobody a user.
    let flags = ["--cert-file", &cert, "--key-file", &key, "--trusted-ca-file", &ca];
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let server = Server::start_as(Program::holdfast(), CLIENTS, scratch.path(), &flags);
    let heard = ask_as_users(&server, &pki.ca, &who).await;
    assert_eq!(heard[0], "root puts: InvalidArgument etcdserver: user name is empty");
}

/// Members of one cluster that is started; ready or not.
fn start_members(scratch: &Path, schemes: Schemes, flags: impl Fn(usize) -> Vec<String>) -> Vec<Server> {
    let name = |number: usize| format!("m{number}");
    let make =
        |number| Server::new_as(Program::holdfast(), schemes, &scratch.join(name(number)), &name(number));
    let mut members: Vec<Server> = (0..3).map(make).collect();
    let each: Vec<String> = members.iter().map(|m| format!("{}={}", m.name(), m.peer_url())).collect();
    let cluster = each.join(",");
    for (number, member) in members.iter_mut().enumerate() {
        member.bootstrap(&["--initial-cluster", &cluster]);
        let flags = flags(number);
        let flags: Vec<&str> = flags.iter().map(String::as_str).chain(QUICK.iter().copied()).collect();
        member.set_flags(&flags);
        member.spawn();
    }
    members
}

fn peer_flags(pair: &Pair, ca: &Path) -> Vec<String> {
    let named = [("cert-file", &pair.cert), ("key-file", &pair.key), ("trusted-ca-file", &ca.to_path_buf())];
    let mut flags: Vec<String> =
        named.iter().flat_map(|(flag, path)| [format!("--peer-{flag}"), text(path)]).collect();
    flags.extend(["--peer-client-cert-auth".to_owned(), "--peer-cert-allowed-cn".to_owned()]);
    flags.push("member".to_owned());
    flags
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_know_each_other_by_their_certificates() {
    let pki = Pki::new();
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let issue = |number: usize, name: &str| {
        pki.authority.issue(&pki.path(&format!("m{number}")), name, &["127.0.0.1"])
    };
    let schemes = Schemes { client: "http", peer: "https" };
    let mut members =
        start_members(scratch.path(), schemes, |number| peer_flags(&issue(number, "member"), &pki.ca));
    members.iter_mut().for_each(Server::wait_ready);
    let mut client = Client::new(&members[0].endpoint());
    client.put("k", "one").await.expect("served");
    for member in &members {
        let found = Client::new(&member.endpoint()).get("k", 0).await.expect("served");
        assert_eq!(found.map(|(value, _)| value), Some("one".into()), "{}", member.name());
    }
    // One comes back with a certificate of a name that is not allowed: nobody hears it, the others go on.
    members[2].kill();
    issue(2, "somebody");
    members[2].spawn();
    until_logged(&members[0], &["rejected connection on peer endpoint", "\\\"somebody\\\" is not allowed"])
        .await;
    // Then with a stranger's.
    members[2].kill();
    Authority::new("stranger").issue(&pki.path("m2"), "member", &["127.0.0.1"]);
    members[2].spawn();
    until_logged(&members[0], &["rejected connection on peer endpoint", "UnknownIssuer"]).await;
    client.put("k", "two").await.expect("two of three serve");
    // Then with one that names another address.
    members[2].kill();
    pki.authority.issue(&pki.path("m2"), "member", &["10.9.8.7"]);
    members[2].spawn();
    let why = "x509: certificate is valid for 10.9.8.7, not 127.0.0.1";
    until_logged(&members[0], &["rejected connection on peer endpoint", "127.0.0.1:", why]).await;
    // Its certificate is put right under it, and it catches up without another start.
    issue(2, "member");
    members[2].wait_ready();
    let found = Client::new(&members[2].endpoint()).get("k", 0).await.expect("served");
    assert_eq!(found.map(|(value, _)| value), Some("two".into()));
    members[0].kill();
    until("two of three serve", async || Client::new(&members[1].endpoint()).put("k", "three").await.is_ok())
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_without_certificates_make_their_own() {
    let scratch = tempfile::tempdir().expect("a scratch directory");
    let flags = |_| vec!["--peer-auto-tls".to_owned(), "--auto-tls".to_owned()];
    let mut members = start_members(scratch.path(), Schemes::SECURE, flags);
    members.iter_mut().for_each(Server::wait_ready);
    let way_to = |member: &Server| way(trusting(&member.directory().join("fixtures/client/cert.pem"), None));
    put(&way_to(&members[0]), &members[0], "k").await.expect("served");
    let channel = way_to(&members[1]).channel(&members[1].endpoint()).await.expect("let in");
    let found = Client::over(channel).get("k", 0).await.expect("served");
    assert!(found.is_some());
}
