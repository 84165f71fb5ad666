//! Endpoints from SRV records of a domain: one question over UDP to the system's name servers.
//!
//! Source: etcd 3.7.1 client/pkg/srv/srv.go (GetClient); RFC 1035 (messages), RFC 2782 (SRV).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::timeout;

/// Names the system's name servers; the variable `HOLDFAST_RESOLV_CONF` names another file.
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// How long one name server may take.
const PATIENCE: Duration = Duration::from_secs(5);
const ANSWER_BYTES_MAX: usize = 4096;
const TYPE_SRV: u16 = 33;
const TYPE_OPT: u16 = 41;
const CLASS_IN: u16 = 1;
/// Pointers followed in one name: more are a loop.
const POINTERS_MAX: u32 = 64;

/// `https://host.:port` for TLS, then `http://host.:port`, as the records name them.
///
/// Errors: neither kind of record can be had.
pub async fn endpoints(domain: &str, suffix: &str) -> Result<Vec<String>, String> {
    let found = services(domain, "etcd-client", suffix).await.merged()?;
    Ok(found.iter().map(|(scheme, record)| format!("{scheme}://{}:{}", record.target, record.port)).collect())
}

/// Where a service is, below TLS and without; each may have failed.
#[derive(Debug)]
pub struct Services {
    pub secure: Result<Vec<Record>, String>,
    pub plain: Result<Vec<Record>, String>,
}

impl Services {
    /// Both, with their schemes. Errors: both have failed.
    pub fn merged(self) -> Result<Vec<(&'static str, Record)>, String> {
        let Services { secure, plain } = self;
        if let (Err(secure), Err(plain)) = (&secure, &plain) {
            return Err(format!("dns lookup errors: {secure} and {plain}"));
        }
        let with = |scheme, records: Result<Vec<Record>, _>| {
            records.unwrap_or_default().into_iter().map(move |record| (scheme, record))
        };
        Ok(with("https", secure).chain(with("http", plain)).collect())
    }
}

/// Asks for `SERVICE-ssl` and `SERVICE`, each with a suffix or without, of a domain.
pub async fn services(domain: &str, service: &str, suffix: &str) -> Services {
    let path = std::env::var("HOLDFAST_RESOLV_CONF").unwrap_or_else(|_| RESOLV_CONF.to_owned());
    let servers = name_servers(&std::fs::read_to_string(path).unwrap_or_default());
    let dash = if suffix.is_empty() { "" } else { "-" };
    let ask = async |service: String| {
        let name = format!("_{service}{dash}{suffix}._tcp.{}", domain.trim_end_matches('.'));
        look_up(&servers, &name).await.map_err(|why| format!("lookup {name}: {why}"))
    };
    Services { secure: ask(format!("{service}-ssl")).await, plain: ask(service.to_owned()).await }
}

/// An SRV record (RFC 2782).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// With a dot at its end.
    pub target: String,
}

/// The `nameserver` lines, with a port or without; none means this machine.
fn name_servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let lines = resolv_conf.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
    let servers: Vec<SocketAddr> = lines
        .filter_map(|address| {
            let with_port = || Some(SocketAddr::new(address.trim().parse::<IpAddr>().ok()?, 53));
            address.trim().parse::<SocketAddr>().ok().or_else(with_port)
        })
        .collect();
    if servers.is_empty() { vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 53)] } else { servers }
}

async fn look_up(servers: &[SocketAddr], name: &str) -> Result<Vec<Record>, String> {
    let mut why = "no name server".to_owned();
    for server in servers {
        let id = rand::random();
        let answer = match timeout(PATIENCE, ask(*server, &question(id, name)?)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err("i/o timeout".to_owned()),
        };
        match answer {
            Ok(answer) => return records(&answer, id),
            Err(failure) => why = format!("on {server}: {failure}"),
        }
    }
    Err(why)
}

async fn ask(server: SocketAddr, question: &[u8]) -> std::io::Result<Vec<u8>> {
    let local = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; ANSWER_BYTES_MAX];
    let length = socket.recv(&mut answer).await?;
    answer.truncate(length);
    Ok(answer)
}

/// A query that asks for recursion and says how long an answer may be.
fn question(id: u16, name: &str) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    for word in [id, 0x0100, 1, 0, 0, 1] {
        message.extend_from_slice(&u16::to_be_bytes(word));
    }
    for label in name.split('.') {
        let length = u8::try_from(label.len()).ok().filter(|length| (1..64).contains(length));
        message.push(length.ok_or_else(|| format!("{label:?} is no part of a domain name"))?);
        message.extend_from_slice(label.as_bytes());
    }
    message.push(0);
    let bytes_max = u16::try_from(ANSWER_BYTES_MAX).expect("a small constant");
    message.extend_from_slice(&TYPE_SRV.to_be_bytes());
    message.extend_from_slice(&CLASS_IN.to_be_bytes());
    message.push(0);
    for word in [TYPE_OPT, bytes_max, 0, 0, 0] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    Ok(message)
}

/// The SRV records of an answer, by priority, heavier ones first.
fn records(message: &[u8], id: u16) -> Result<Vec<Record>, String> {
    let broken = || "the name server's answer cannot be read".to_owned();
    let word = |at: usize| {
        let bytes = message.get(at..at + 2)?;
        Some(u16::from_be_bytes(bytes.try_into().expect("two bytes")))
    };
    if word(0) != Some(id) {
        return Err(broken());
    }
    match word(2).ok_or_else(broken)? & 0x000f {
        0 => {}
        3 => return Err("no such host".to_owned()),
        code => return Err(format!("the name server answers with code {code}")),
    }
    let (questions, answers) = (word(4).ok_or_else(broken)?, word(6).ok_or_else(broken)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name_at(message, at).ok_or_else(broken)?.1 + 4;
    }
    let mut found = Vec::new();
    for _ in 0..answers {
        let (_, head) = name_at(message, at).ok_or_else(broken)?;
        let (kind, length) = (word(head).ok_or_else(broken)?, word(head + 8).ok_or_else(broken)?);
        let body = head + 10;
        if kind == TYPE_SRV {
            let field = |offset| word(body + offset).ok_or_else(broken);
            let (target, _) = name_at(message, body + 6).ok_or_else(broken)?;
            found.push(Record { priority: field(0)?, weight: field(2)?, port: field(4)?, target });
        }
        at = body + usize::from(length);
    }
    if found.is_empty() {
        return Err("no such host".to_owned());
    }
    found.sort_by_key(|record| (record.priority, std::cmp::Reverse(record.weight)));
    Ok(found)
}

/// A name, compressed or not, and where what follows it begins.
fn name_at(message: &[u8], start: usize) -> Option<(String, usize)> {
    let (mut name, mut at, mut end) = (String::new(), start, None);
    let mut pointers = 0;
    loop {
        let length = usize::from(*message.get(at)?);
        match length {
            0 => break,
            1..64 => {
                let label = message.get(at + 1..at + 1 + length)?;
                name.push_str(std::str::from_utf8(label).ok()?);
                name.push('.');
                at += 1 + length;
            }
            0xc0.. => {
                pointers += 1;
                if pointers > POINTERS_MAX {
                    return None;
                }
                end = end.or(Some(at + 2));
                at = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            }
            _ => return None,
        }
    }
    Some((name, end.unwrap_or(at + 1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(id: u16, targets: &[(u16, u16, &str)]) -> Vec<u8> {
        let mut message = question(id, "_etcd-client._tcp.example.com").expect("a name");
        message.truncate(message.len() - 11);
        message[2] = 0x81;
        message[7] = u8::try_from(targets.len()).expect("few");
        message[11] = 0;
        for (priority, port, label) in targets {
            // The name is a pointer to the question's; the target one label and a pointer to `example`.
            message.extend_from_slice(&[0xc0, 12, 0, 33, 0, 1, 0, 0, 0, 60]);
            let length = u16::try_from(6 + 1 + label.len() + 2).expect("short");
            for word in [length, *priority, 0, *port] {
                message.extend_from_slice(&word.to_be_bytes());
            }
            message.push(u8::try_from(label.len()).expect("short"));
            message.extend_from_slice(label.as_bytes());
            message.extend_from_slice(&[0xc0, 12 + 13 + 5]);
        }
        message
    }

    #[test]
    fn records_are_read_by_priority() {
        let message = answer(7, &[(20, 2379, "infra1"), (10, 2380, "infra0")]);
        let found = records(&message, 7).expect("an answer");
        let targets: Vec<_> = found.iter().map(|record| (record.target.as_str(), record.port)).collect();
        assert_eq!(targets, [("infra0.example.com.", 2380), ("infra1.example.com.", 2379)]);
        assert!(records(&message, 8).is_err());
    }

    #[test]
    fn damaged_answers_are_refused() {
        let message = answer(7, &[(20, 2379, "infra1")]);
        for length in 0..message.len() {
            assert!(records(&message[..length], 7).is_err(), "{length} bytes");
        }
        let mut looping = message.clone();
        let at = message.len() - 2;
        looping[at..].copy_from_slice(&[0xc0, u8::try_from(at).expect("short")]);
        assert!(records(&looping, 7).is_err());
    }

    #[test]
    fn servers_are_those_of_resolv_conf() {
        let text = "# x\nnameserver 10.0.0.1\n nameserver ::1\nsearch a\n";
        let servers = name_servers(text);
        assert_eq!(
            servers,
            ["10.0.0.1:53".parse().expect("an address"), "[::1]:53".parse().expect("an address")]
        );
        assert_eq!(name_servers(""), ["127.0.0.1:53".parse().expect("an address")]);
    }
}
