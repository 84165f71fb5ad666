//! `user`.

use std::io::BufRead as _;

use holdfast_net::proto::{authpb, etcdserverpb as pb};

use crate::cli::given::Given;
use crate::cli::spec::{Flag, Group, Spec};
use crate::exit::{Exit, Outcome};
use crate::output::{HeaderOnly, RoleGot, UserGot, print_line};
use crate::terminal;

pub static SPEC: Spec = Spec::holder(
    "user <subcommand>",
    "Users",
    &[&ADD, &DELETE, &GET, &LIST, &PASSWD, &GRANT_ROLE, &REVOKE_ROLE],
)
.group(Group::Authentication);

const INTERACTIVE: Flag =
    Flag::bool_on("interactive", "ask for the password; else it is a line of standard input");

static ADD: Spec =
    Spec::leaf("add <user name or user:password> [options]", "Adds a user", |given| Box::pin(add(given)))
        .flags(&[
            INTERACTIVE,
            Flag::text("new-user-password", "", "the user's password"),
            Flag::bool("no-password", "the user has none and shows a certificate instead"),
        ]);
static DELETE: Spec = Spec::leaf("delete <user name>", "Deletes a user", |given| Box::pin(delete(given)));
static GET: Spec =
    Spec::leaf("get <user name> [options]", "Shows a user's roles", |given| Box::pin(get(given)))
        .flags(&[Flag::bool("detail", "also what the roles may do")]);
static LIST: Spec = Spec::leaf("list", "Lists all users", |given| Box::pin(list(given)));
static PASSWD: Spec =
    Spec::leaf("passwd <user name> [options]", "Changes a user's password", |given| Box::pin(passwd(given)))
        .flags(&[INTERACTIVE]);
static GRANT_ROLE: Spec = Spec::leaf("grant-role <user name> <role name>", "Gives a user a role", |given| {
    Box::pin(grant_role(given))
});
static REVOKE_ROLE: Spec =
    Spec::leaf("revoke-role <user name> <role name>", "Takes a role from a user", |given| {
        Box::pin(revoke_role(given))
    });

fn one_word(given: &Given, command: &str) -> Result<String, Exit> {
    match given.texts().as_slice() {
        [word] => Ok(word.clone()),
        _ => Err(Exit::arguments(format!("user {command} command requires user name as its argument"))),
    }
}

/// The password and what makes sure of it.
fn ask_password(given: &Given, user: &str) -> Result<String, Exit> {
    if !given.bool("interactive") {
        let mut line = String::new();
        std::io::stdin().lock().read_line(&mut line).map_err(Exit::error)?;
        return Ok(line.split_whitespace().next().unwrap_or_default().to_owned());
    }
    let ask = |prompt: &str| {
        terminal::ask(prompt).map_err(|why| Exit::arguments(format!("failed to ask password: {why}")))
    };
    let password = ask(&format!("Password of {user}: "))?;
    if password.is_empty() {
        return Err(Exit::arguments("empty password"));
    }
    if ask(&format!("Type password of {user} again for confirmation: "))? != password {
        return Err(Exit::arguments("given passwords are different"));
    }
    Ok(password)
}

async fn add(given: &Given) -> Outcome {
    let word = one_word(given, "add")?;
    let no_password = given.bool("no-password");
    let from_flag = given.text("new-user-password");
    let (name, password) = if no_password {
        (word, String::new())
    } else if !from_flag.is_empty() {
        (word, from_flag)
    } else if let Some((name, password)) = word.split_once(':') {
        if name.is_empty() {
            return Err(Exit::arguments("empty user name is not allowed"));
        }
        (name.to_owned(), password.to_owned())
    } else {
        let password = ask_password(given, &word)?;
        (word, password)
    };
    let (client, printer) = given.connect().await?;
    let text = format!("User {name} created");
    let options = Some(authpb::UserAddOptions { no_password });
    let request = pb::AuthUserAddRequest { name, password, options, ..pb::AuthUserAddRequest::default() };
    let header = client.user_add(request).await?.header;
    printer.print(&HeaderOnly { text, header })
}

async fn delete(given: &Given) -> Outcome {
    let name = one_word(given, "delete")?;
    let (client, printer) = given.connect().await?;
    let text = format!("User {name} deleted");
    let header = client.user_delete(pb::AuthUserDeleteRequest { name }).await?.header;
    printer.print(&HeaderOnly { text, header })
}

async fn get(given: &Given) -> Outcome {
    let name = one_word(given, "get")?;
    let (client, printer) = given.connect().await?;
    let answer = client.user_get(pb::AuthUserGetRequest { name: name.clone() }).await?;
    if !given.bool("detail") {
        return printer.print(&UserGot { user: &name, answer });
    }
    print_line(&format!("User: {name}"))?;
    for role in answer.roles {
        print_line("")?;
        let answer = client.role_get(pb::AuthRoleGetRequest { role: role.clone() }).await?;
        printer.print(&RoleGot { role: &role, answer })?;
    }
    Ok(())
}

async fn list(given: &Given) -> Outcome {
    if !given.os_words().is_empty() {
        return Err(Exit::arguments("user list command requires no arguments"));
    }
    let (client, printer) = given.connect().await?;
    printer.print(&client.user_list(pb::AuthUserListRequest {}).await?)
}

async fn passwd(given: &Given) -> Outcome {
    let name = one_word(given, "passwd")?;
    let password = ask_password(given, &name)?;
    let (client, printer) = given.connect().await?;
    let request =
        pb::AuthUserChangePasswordRequest { name, password, ..pb::AuthUserChangePasswordRequest::default() };
    let header = client.user_change_password(request).await?.header;
    printer.print(&HeaderOnly { text: "Password updated".to_owned(), header })
}

async fn grant_role(given: &Given) -> Outcome {
    let words = given.texts();
    let [user, role] = words.as_slice() else {
        return Err(Exit::arguments("user grant command requires user name and role name as its argument"));
    };
    let (client, printer) = given.connect().await?;
    let text = format!("Role {role} is granted to user {user}");
    let request = pb::AuthUserGrantRoleRequest { user: user.clone(), role: role.clone() };
    let header = client.user_grant_role(request).await?.header;
    printer.print(&HeaderOnly { text, header })
}

async fn revoke_role(given: &Given) -> Outcome {
    let words = given.texts();
    let [user, role] = words.as_slice() else {
        return Err(Exit::arguments("user revoke-role requires user name and role name as its argument"));
    };
    let (client, printer) = given.connect().await?;
    let text = format!("Role {role} is revoked from user {user}");
    let request = pb::AuthUserRevokeRoleRequest { name: user.clone(), role: role.clone() };
    let header = client.user_revoke_role(request).await?.header;
    printer.print(&HeaderOnly { text, header })
}
