//! `role`.

use holdfast_net::proto::{authpb, etcdserverpb as pb};

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::client::keys::prefix_end;
use crate::exit::{Exit, Outcome};
use crate::output::{HeaderOnly, PermissionRevoked, RoleGot};

pub static SPEC: Spec = Spec::holder(
    "role <subcommand>",
    "Roles: what users may do",
    &[&ADD, &DELETE, &GET, &LIST, &GRANT, &REVOKE],
)
.group(Group::Authentication);

const RANGE: &[Flag] = &[
    Flag::bool("prefix", "all keys that begin with the key"),
    Flag::bool("from-key", "all keys from the key on"),
];

static ADD: Spec = Spec::leaf("add <role name>", "Adds a role", |given| Box::pin(add(given)));
static DELETE: Spec = Spec::leaf("delete <role name>", "Deletes a role", |given| Box::pin(delete(given)));
static GET: Spec = Spec::leaf("get <role name>", "Shows what a role may do", |given| Box::pin(get(given)));
static LIST: Spec = Spec::leaf("list", "Lists all roles", |given| Box::pin(list(given)));
static GRANT: Spec = Spec::leaf(
    "grant-permission [options] <role name> <permission type> <key> [endkey]",
    "Lets a role read or write keys",
    |given| Box::pin(grant(given)),
)
.flags(RANGE);
static REVOKE: Spec = Spec::leaf(
    "revoke-permission <role name> <key> [endkey]",
    "No longer lets a role read or write keys",
    |given| Box::pin(revoke(given)),
)
.flags(RANGE);

fn one_word(given: &Given, command: &str) -> Result<String, Exit> {
    match given.texts().as_slice() {
        [word] => Ok(word.clone()),
        _ => Err(Exit::arguments(format!("role {command} command requires role name as its argument"))),
    }
}

async fn add(given: &Given) -> Outcome {
    let name = one_word(given, "add")?;
    let (client, printer) = given.connect().await?;
    let text = format!("Role {name} created");
    let header = client.role_add(pb::AuthRoleAddRequest { name }).await?.header;
    printer.print(&HeaderOnly { text, header })
}

async fn delete(given: &Given) -> Outcome {
    let role = one_word(given, "delete")?;
    let (client, printer) = given.connect().await?;
    let text = format!("Role {role} deleted");
    let header = client.role_delete(pb::AuthRoleDeleteRequest { role }).await?.header;
    printer.print(&HeaderOnly { text, header })
}

async fn get(given: &Given) -> Outcome {
    let role = one_word(given, "get")?;
    let (client, printer) = given.connect().await?;
    let answer = client.role_get(pb::AuthRoleGetRequest { role: role.clone() }).await?;
    printer.print(&RoleGot { role: &role, answer })
}

async fn list(given: &Given) -> Outcome {
    if !given.os_words().is_empty() {
        return Err(Exit::arguments("role list command requires no arguments"));
    }
    let (client, printer) = given.connect().await?;
    printer.print(&client.role_list(pb::AuthRoleListRequest {}).await?)
}

async fn grant(given: &Given) -> Outcome {
    let (texts, words) = (given.texts(), given.words());
    let [role, kind, ..] = texts.as_slice() else { return Err(Exit::arguments(GRANT_NEEDS)) };
    if words.len() < 3 {
        return Err(Exit::arguments(GRANT_NEEDS));
    }
    let kind = permission_type(kind)?;
    let (key, range_end) = range(given, &words[2..])?;
    let permission =
        authpb::Permission { perm_type: kind.into(), key: key.into(), range_end: range_end.into() };
    let (client, printer) = given.connect().await?;
    let request = pb::AuthRoleGrantPermissionRequest { name: role.clone(), perm: Some(permission) };
    let header = client.role_grant_permission(request).await?.header;
    printer.print(&HeaderOnly { text: format!("Role {role} updated"), header })
}

const GRANT_NEEDS: &str =
    "role grant command requires role name, permission type, and key [endkey] as its argument";

/// Source: etcd 3.7.1 client/v3/auth.go (StrToPermissionType).
fn permission_type(text: &str) -> Result<authpb::permission::Type, Exit> {
    use authpb::permission::Type;
    match text.to_uppercase().as_str() {
        "READ" => Ok(Type::Read),
        "WRITE" => Ok(Type::Write),
        "READWRITE" => Ok(Type::Readwrite),
        _ => Err(Exit::arguments(format!("invalid permission type: {text}"))),
    }
}

async fn revoke(given: &Given) -> Outcome {
    let (texts, words) = (given.texts(), given.words());
    if words.len() < 2 {
        let text = "role revoke-permission command requires role name and key [endkey] as its argument";
        return Err(Exit::arguments(text));
    }
    let (key, range_end) = range(given, &words[1..])?;
    let (client, printer) = given.connect().await?;
    let request = pb::AuthRoleRevokePermissionRequest {
        role: texts[0].clone(),
        key: key.into(),
        range_end: range_end.clone().into(),
    };
    let header = client.role_revoke_permission(request).await?.header;
    printer.print(&PermissionRevoked { role: &texts[0], key: &words[1], range_end: &range_end, header })
}

/// Key and end of the range that a permission is about.
fn range(given: &Given, words: &[Vec<u8>]) -> Result<(Vec<u8>, Vec<u8>), Exit> {
    let (prefix, from_key) = (given.bool("prefix"), given.bool("from-key"));
    let both = || Exit::arguments("--from-key and --prefix flags are mutually exclusive");
    let key = words[0].clone();
    if key.is_empty() {
        if prefix && from_key {
            return Err(both());
        }
        // Permissions are intervals, which the empty key cannot begin.
        return Ok((vec![0], if prefix || from_key { vec![0] } else { Vec::new() }));
    }
    let end = match words.get(1) {
        None if prefix && from_key => return Err(both()),
        None if prefix => prefix_end(&key),
        None if from_key => vec![0],
        None => Vec::new(),
        Some(_) if prefix => return Err(Exit::arguments("unexpected endkey argument with --prefix flag")),
        Some(_) if from_key => {
            return Err(Exit::arguments("unexpected endkey argument with --from-key flag"));
        }
        Some(end) => end.clone(),
    };
    Ok((key, end))
}
