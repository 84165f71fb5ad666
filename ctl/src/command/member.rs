//! `member`.

use holdfast_net::proto::etcdserverpb as pb;

use super::get::is_serializable;
use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::exit::{Exit, Outcome};
use crate::go::number::parse_uint;
use crate::go::quote::quoted;
use crate::output::{Format, MemberChange, MemberChanged, print};

pub static SPEC: Spec =
    Spec::holder("member <subcommand>", "Members of the cluster", &[&ADD, &REMOVE, &UPDATE, &LIST, &PROMOTE])
        .group(Group::ClusterMaintenance);

const PEER_URLS: Flag = Flag::text("peer-urls", "", "where the other members reach it, separated by commas");

static ADD: Spec = Spec::leaf("add <memberName> [options]", "Adds a member", |given| Box::pin(add(given)))
    .flags(&[PEER_URLS, Flag::bool("learner", "the member follows without a vote")]);
static REMOVE: Spec = Spec::leaf("remove <memberID>", "Removes a member", |given| {
    Box::pin(change(given, MemberChange::Removed))
});
static UPDATE: Spec =
    Spec::leaf("update <memberID> [options]", "Changes where a member is reached", |given| {
        Box::pin(change(given, MemberChange::Updated))
    })
    .flags(&[PEER_URLS]);
static PROMOTE: Spec = Spec::leaf("promote <memberID>", "Gives a learner its vote", |given| {
    Box::pin(change(given, MemberChange::Promoted))
});
static LIST: Spec = Spec::leaf("list", "Lists all members", |given| Box::pin(list(given)))
    .long(
        "Lists all members. With --write-out=simple, a line each:
ID, status, name, peer addresses, client addresses, whether it is a learner.",
    )
    .flags(&[Flag::text("consistency", "l", "linearizable (l), or what one member knows: serializable (s)")
        .values(&["l", "s"])]);

async fn add(given: &Given) -> Outcome {
    let words = given.texts();
    let name = match words.as_slice() {
        [] => return Err(Exit::arguments("member name not provided")),
        [name] => name,
        _ => {
            let urls = words.iter().filter(|word| word.to_lowercase().starts_with("http"));
            let hints: String = urls.map(|url| format!(", did you mean --peer-urls={url}")).collect();
            return Err(Exit::arguments(format!("too many arguments{hints}")));
        }
    };
    let peer_urls = peer_urls(given)?;
    let (client, printer) = given.connect_bounded().await?;
    let request =
        pb::MemberAddRequest { peer_ur_ls: checked(&peer_urls)?, is_learner: given.bool("learner") };
    let answer = client.member_add(request).await?;
    printer.print(&answer)?;
    if printer.format != Format::Simple {
        return Ok(());
    }
    print(configuration(name, &peer_urls, &answer).as_bytes())
}

fn peer_urls(given: &Given) -> Result<String, Exit> {
    let urls = given.text("peer-urls");
    if urls.is_empty() { Err(Exit::arguments("member peer urls not provided")) } else { Ok(urls) }
}

/// Source: etcd 3.7.1 client/pkg/types/urls.go (NewURLs).
fn checked(urls: &str) -> Result<Vec<String>, Exit> {
    let urls: Vec<String> = urls.split(',').map(str::to_owned).collect();
    for url in urls.iter().map(|url| url.trim()) {
        let (scheme, rest) = url.split_once("://").unwrap_or((url.split(':').next().unwrap_or_default(), ""));
        let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        match scheme {
            "unix" | "unixs" => {}
            "http" | "https" if !host.contains(':') || host.ends_with(']') => {
                return Err(Exit::error(format!("URL address does not have the form \"host:port\": {url}")));
            }
            "http" | "https" if path.starts_with('/') => {
                return Err(Exit::error(format!("URL must not contain a path: {url}")));
            }
            "http" | "https" => {}
            _ => return Err(Exit::error(format!("URL scheme must be http, https, unix, or unixs: {url}"))),
        }
    }
    Ok(urls)
}

/// What the new member is to be started with.
fn configuration(name: &str, peer_urls: &str, answer: &pb::MemberAddResponse) -> String {
    let new = answer.member.as_ref().map(|member| member.id);
    let mut cluster = Vec::new();
    for member in &answer.members {
        let name = if Some(member.id) == new { name } else { &member.name };
        cluster.extend(member.peer_ur_ls.iter().map(|url| format!("{name}={url}")));
    }
    let quoted = |text: &str| quoted(text.as_bytes());
    format!(
        "\nETCD_NAME={}\nETCD_INITIAL_CLUSTER={}\nETCD_INITIAL_ADVERTISE_PEER_URLS={}\n\
         ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
        quoted(name),
        quoted(&cluster.join(",")),
        quoted(peer_urls)
    )
}

async fn change(given: &Given, change: MemberChange) -> Outcome {
    let words = given.texts();
    let [id] = words.as_slice() else { return Err(Exit::arguments("member ID is not provided")) };
    let id = parse_uint(id, 16)
        .map_err(|why| Exit::arguments(format!("bad member ID arg ({why}), expecting ID in Hex")))?;
    let urls = if change == MemberChange::Updated { peer_urls(given)? } else { String::new() };
    let (client, printer) = given.connect_bounded().await?;
    let (header, members) = match change {
        MemberChange::Removed => {
            let answer = client.member_remove(pb::MemberRemoveRequest { id }).await?;
            (answer.header, answer.members)
        }
        MemberChange::Updated => {
            let peer_ur_ls = checked(&urls)?;
            let answer = client.member_update(pb::MemberUpdateRequest { id, peer_ur_ls }).await?;
            (answer.header, answer.members)
        }
        MemberChange::Promoted => {
            let answer = client.member_promote(pb::MemberPromoteRequest { id }).await?;
            (answer.header, answer.members)
        }
    };
    printer.print(&MemberChanged { change, id, header, members })
}

async fn list(given: &Given) -> Outcome {
    let linearizable = !is_serializable(&given.text("consistency"))?;
    let (client, printer) = given.connect_bounded().await?;
    printer.print(&client.member_list(pb::MemberListRequest { linearizable }).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peer_urls_are_checked_before_anybody_is_asked() {
        for (urls, refused) in [
            ("http://a:1,https://[::1]:2,unix://x", None),
            ("nonsense:1", Some("URL scheme must be http, https, unix, or unixs: nonsense:1")),
            ("http://a", Some("URL address does not have the form \"host:port\": http://a")),
            ("http://a:1, http://b:2/x", Some("URL must not contain a path: http://b:2/x")),
        ] {
            assert_eq!(checked(urls).err().and_then(|exit| exit.text).as_deref(), refused, "{urls}");
        }
    }

    #[test]
    fn a_new_member_is_told_how_to_start() {
        let member = |id, name: &str, url: &str| pb::Member {
            id,
            name: name.into(),
            peer_ur_ls: vec![url.into()],
            ..pb::Member::default()
        };
        let members = vec![member(1, "a", "http://a:1"), member(2, "", "http://b:1")];
        let answer = pb::MemberAddResponse { header: None, member: Some(members[1].clone()), members };
        assert_eq!(
            configuration("b", "http://b:1", &answer),
            "\nETCD_NAME=\"b\"\nETCD_INITIAL_CLUSTER=\"a=http://a:1,b=http://b:1\"\n\
             ETCD_INITIAL_ADVERTISE_PEER_URLS=\"http://b:1\"\nETCD_INITIAL_CLUSTER_STATE=\"existing\"\n"
        );
    }
}
