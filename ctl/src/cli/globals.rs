//! The flags that all commands have, also from the environment, and the client they configure.
//!
//! Source: etcd 3.7.1 etcdctl/ctlv3/command/global.go, pkg/flags/flag.go.

use std::sync::Arc;

use super::given::Given;
use super::spec::{Flag, Kind};
use crate::client::{Config, Identity, discovery, tls};
use crate::exit::Exit;
use crate::{log, terminal};

/// In the order in which `--debug` lists them.
pub const FLAGS: &[Flag] = &[
    Flag::text(
        "auth-jwt-token",
        "",
        "token to show instead of a password (not together with --user, --password)",
    ),
    Flag::text("cacert", "", "file of the authorities that servers' certificates are checked against"),
    Flag::text("cert", "", "file of the certificate that this client shows"),
    Flag::duration("command-timeout", "5s", "how long a command that is not meant to wait may take"),
    Flag::bool("debug", "print the flags in force to standard error"),
    Flag::duration("dial-timeout", "2s", "how long to try before an endpoint counts as unreachable"),
    Flag::text("discovery-srv", "", "domain whose SRV records name the endpoints").short('d'),
    Flag::text("discovery-srv-name", "", "suffix of the service whose SRV records are asked for"),
    Flag::texts("endpoints", "127.0.0.1:2379", "where the servers listen"),
    Flag::bool("hex", "print byte strings in hexadecimal"),
    Flag::bool_on("insecure-discovery", "take endpoints without TLS from SRV records"),
    Flag::bool("insecure-skip-tls-verify", "take any certificate of a server (only for tests)"),
    Flag::bool_on("insecure-transport", "no TLS where neither an endpoint nor a certificate asks for it"),
    Flag::duration("keepalive-time", "2s", "pause between two pings of a connection"),
    Flag::duration("keepalive-timeout", "6s", "how long a ping may go unanswered"),
    Flag::text("key", "", "file of the key to the certificate that this client shows"),
    Flag::int("max-recv-bytes", "0", "longest answer that is read, in bytes (0: no limit)"),
    Flag::int("max-request-bytes", "0", "longest request that is sent, in bytes (0: 2 MiB)"),
    Flag::text("password", "", "password of --user, which then must not contain one"),
    Flag::text("user", "", "name[:password] to authenticate with (asks for a password that is missing)"),
    Flag::text("write-out", "simple", "output format (fields, json, protobuf, simple, table)")
        .short('w')
        .values(&["fields", "json", "protobuf", "simple", "table"]),
];

/// What the variables of etcdctl's flags begin with.
pub const PREFIX: &str = "ETCDCTL_";

/// `ETCDCTL_DIAL_TIMEOUT` for `ETCDCTL_` and `dial-timeout`.
pub fn variable(prefix: &str, name: &str) -> String {
    format!("{prefix}{}", name.to_uppercase().replace('-', "_"))
}

/// Reads them all. Checks are made in etcdctl's order, for only the first failure is told.
///
/// Errors: a variable beside a flag, files that cannot be read, records that cannot be found.
pub async fn config(given: &Given) -> Result<Config, Exit> {
    check_environment(given)?;
    if given.bool("debug") {
        print_flags(given);
    }
    let mut tls = tls_flags(given)?;
    let identity = identity(given)?;
    given.printer()?;
    let (endpoints, domain) = endpoints(given).await?;
    tls.server_name = domain;
    let tls = tls::Config::new(&tls).map_err(Exit::arguments)?;
    let bytes = |name| usize::try_from(given.int(name)).unwrap_or(0);
    Ok(Config {
        endpoints,
        dial_timeout: given.duration("dial-timeout"),
        keepalive_time: given.duration("keepalive-time"),
        keepalive_timeout: given.duration("keepalive-timeout"),
        send_bytes_max: bytes("max-request-bytes"),
        receive_bytes_max: bytes("max-recv-bytes"),
        tls: tls.map(Arc::new),
        identity,
    })
}

/// A flag and its variable must not both be given; a variable that no flag has is told of.
fn check_environment(given: &Given) -> Result<(), Exit> {
    let is_watch = given.path.specs.get(1).is_some_and(|spec| spec.name() == "watch");
    let mut names: Vec<String> =
        std::env::vars_os().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
    names.sort();
    for name in names.iter().filter(|name| name.starts_with(PREFIX)) {
        let flag = FLAGS.iter().find(|flag| variable(PREFIX, flag.name) == *name);
        let value = std::env::var(name).unwrap_or_default();
        match flag {
            Some(flag) if given.is_typed(flag.name) => {
                let text = "conflicting environment variable is shadowed by corresponding command-line flag \
                            (either unset environment variable or disable flag))";
                log::fatal(text, &[("environment-variable", name)]);
                return Err(Exit::silent(1));
            }
            Some(_) if !value.is_empty() => {}
            _ if is_watch && matches!(name.as_str(), "ETCDCTL_WATCH_KEY" | "ETCDCTL_WATCH_RANGE_END") => {}
            // What etcdctl 3.3 and older had to be told.
            _ if name == "ETCDCTL_API" => {}
            _ => {
                let text = "unrecognized environment variable";
                log::warn(text, &[("environment-variable", &format!("{name}={value}"))]);
            }
        }
    }
    Ok(())
}

fn print_flags(given: &Given) {
    for flag in FLAGS {
        let value = match flag.kind {
            Kind::Bool => given.bool(flag.name).to_string(),
            Kind::Duration => crate::go::duration::format(given.duration(flag.name)),
            Kind::Int => given.int(flag.name).to_string(),
            Kind::Uint => given.uint(flag.name).to_string(),
            Kind::Text => given.text(flag.name),
            Kind::Texts => format!("[{}]", given.list(flag.name).join(",")),
        };
        crate::output::tell(&format!("{}={value}", variable(PREFIX, flag.name)));
    }
}

fn tls_flags(given: &Given) -> Result<tls::Flags, Exit> {
    let file = |name| {
        let value = given.text(name);
        if value.is_empty() && given.is_typed(name) {
            return Err(Exit::arguments(format!("empty string is passed to --{name} option")));
        }
        Ok(value)
    };
    Ok(tls::Flags {
        cert: file("cert")?,
        key: file("key")?,
        cacert: file("cacert")?,
        server_name: String::new(),
        insecure_transport: given.bool("insecure-transport"),
        insecure_skip_verify: given.bool("insecure-skip-tls-verify"),
    })
}

fn identity(given: &Given) -> Result<Identity, Exit> {
    let token = given.text("auth-jwt-token");
    if !token.is_empty() {
        return Ok(Identity::Token(token));
    }
    named(given.text("user"), given.text("password"), "Password: ")
}

/// A user with a password that is given, part of the name, or asked for.
pub fn named(user: String, password: String, prompt: &str) -> Result<Identity, Exit> {
    if user.is_empty() {
        return Ok(Identity::Nobody);
    }
    if !password.is_empty() {
        return Ok(Identity::Password { user, password });
    }
    Ok(match user.split_once(':') {
        Some((user, password)) => Identity::Password { user: user.to_owned(), password: password.to_owned() },
        None => Identity::Password { user, password: terminal::ask(prompt).map_err(Exit::error)? },
    })
}

/// The endpoints, and the domain that vouches for them.
async fn endpoints(given: &Given) -> Result<(Vec<String>, String), Exit> {
    let domain = given.text("discovery-srv");
    let listed = || given.list("endpoints").iter().map(|endpoint| endpoint.trim().to_owned()).collect();
    if domain.is_empty() {
        return Ok((listed(), String::new()));
    }
    let found =
        discovery::endpoints(&domain, &given.text("discovery-srv-name")).await.map_err(Exit::error)?;
    if given.bool("insecure-discovery") {
        return Ok((if found.is_empty() { listed() } else { found }, String::new()));
    }
    let mut secure = Vec::new();
    for endpoint in found {
        if endpoint.starts_with("http://") {
            crate::output::tell(&format!("ignoring discovered insecure endpoint {endpoint:?}"));
        } else {
            secure.push(endpoint);
        }
    }
    Ok((if secure.is_empty() { listed() } else { secure }, domain))
}
