//! Who asked, and whether they might: G43 to G45 beside what the oracle predicts of each entry.
//!
//! An entry is judged where it stands, by whom its header names (`Model::apply_by`). Here it is held against the
//! credentials that its client came with, and refusals of reads, of logins and before the log are explained.

use std::ops::RangeInclusive;

use holdfast_core::request::{AuthAnswer, AuthRequest, Credentials, Request, Response};
use holdfast_core::status::Status;

use super::matching::{Places, asks_for};
use super::{Checked, Truth, Violation};
use crate::history::{History, LogEntry, Op};
use crate::oracle::auth::By;
use crate::oracle::model::{Decree, Model, is_read_only};

/// Whom credentials are of at a place, which nobody asks while auth is off. Errors: a token that nobody has.
fn bearer(model: &Model, place: usize, credentials: &Credentials) -> Result<By, Status> {
    let revision = model.accounts_at(place).revision;
    if !model.accounts_at(place).is_on {
        return Ok(By::default());
    }
    Ok(match credentials {
        Credentials::None => By::default(),
        Credentials::Certificate(user) => By { user: user.clone(), auth_revision: revision },
        Credentials::Signed { user, auth_revision } => {
            By { user: user.clone(), auth_revision: *auth_revision }
        }
        Credentials::Token(token) => {
            let life = model.token(token).ok_or(Status::InvalidAuthToken)?;
            By { user: life.user.clone(), auth_revision: revision }
        }
    })
}

/// What is refused at a place for want of rights; `None`: it is let pass.
pub fn refusal_at(
    model: &Model,
    place: usize,
    credentials: &Credentials,
    request: &Request,
) -> Option<Status> {
    let view = model.at(place);
    if !view.accounts().is_on {
        return None;
    }
    match bearer(model, place, credentials) {
        Ok(by) => view.refusal(&by, request).or_else(|| view.accounts().early_refusal(&by, request)),
        Err(status) => Some(status),
    }
}

/// Whether a token, if it is one, was not void before all of a span: who came with it was known at its
/// beginning or later.
pub fn may_be_known(model: &Model, credentials: &Credentials, own_floor: usize) -> bool {
    match credentials {
        Credentials::Token(token) => model.token(token).is_some_and(|life| own_floor < life.until),
        _ => true,
    }
}

/// The place of a refusal for want of rights that is right somewhere in `span`. `own_floor`: what the life that
/// answers had seen when it was asked; it knew then whom credentials are of.
pub fn place_of_refusal(
    model: &Model,
    op: &Op,
    status: Status,
    span: RangeInclusive<usize>,
    own_floor: usize,
) -> Option<usize> {
    let (low, high) = (*span.start(), *span.end());
    if low > high {
        return None;
    }
    let known = own_floor.min(low)..=high;
    let found = span.clone().find(|place| {
        refusal_at(model, *place, &op.credentials, &op.request) == Some(status)
            || refused_question(model, *place, op, status)
    });
    let is_on = |place: &usize| model.accounts_at(*place).is_on;
    found.or_else(|| {
        let excuse = match status {
            // A token may be too old, or of an earlier life of the member.
            Status::InvalidAuthToken => {
                matches!(op.credentials, Credentials::Token(_)) && known.clone().any(|place| is_on(&place))
            }
            // Auth was off when the credentials were looked at, and on when the right was.
            Status::UserEmpty => {
                known.clone().any(|place| !is_on(&place)) && known.clone().any(|place| is_on(&place))
            }
            // Something changed while the answer was being made.
            Status::AuthOldRevision if takes_turns(&op.request) => {
                let revision = |place| model.accounts_at(place).revision;
                revision(own_floor.min(low)) != revision(high)
            }
            _ => false,
        };
        excuse.then_some(low)
    })
}

/// Whether it may be answered over many turns, and is void if users or roles change meanwhile.
fn takes_turns(request: &Request) -> bool {
    match request {
        Request::Range(_) | Request::LeaseTimeToLive { keys: true, .. } => true,
        Request::Txn(txn) => is_read_only(txn),
        _ => false,
    }
}

/// Questions about users and roles, and logins, have refusals of their own.
fn refused_question(model: &Model, place: usize, op: &Op, status: Status) -> bool {
    let Request::Auth(asked) = &op.request else { return false };
    let accounts = model.accounts_at(place);
    match asked {
        AuthRequest::Authenticate { name, password } => {
            accounts.login_refusal(name, password) == Some(status)
                || accounts.token_refusal(name, u64::MAX) == Some(status)
        }
        asked if is_question(asked) => bearer(model, place, &op.credentials)
            .and_then(|by| accounts.answer(&by, asked))
            .is_err_and(|refused| refused == status),
        _ => false,
    }
}

/// Whether it is answered without an entry of its own.
pub fn is_question(asked: &AuthRequest) -> bool {
    matches!(
        asked,
        AuthRequest::Status
            | AuthRequest::UserGet { .. }
            | AuthRequest::UserList
            | AuthRequest::RoleGet { .. }
            | AuthRequest::RoleList
    )
}

/// Whether a question was answered as it must be at a place.
pub fn question_fits(model: &Model, place: usize, op: &Op, got: &Response) -> bool {
    let (Request::Auth(asked), Response::Auth { header, answer }) = (&op.request, got) else { return false };
    let view = model.at(place);
    let by = bearer(model, place, &op.credentials).unwrap_or_default();
    *header == view.header() && view.accounts().answer(&by, asked).as_ref() == Ok(answer)
}

/// Refusals for want of rights, or of a name.
pub fn is_refusal(status: Status) -> bool {
    matches!(
        status,
        Status::UserEmpty
            | Status::UserNotFound
            | Status::RoleNotFound
            | Status::PermissionDenied
            | Status::AuthOldRevision
            | Status::InvalidAuthToken
            | Status::AuthNotEnabled
            | Status::AuthFailed
            | Status::NoPasswordUser
    )
}

/// Whether a write may be refused by its member before it is proposed: by its token, or what etcd's services ask.
/// A login is, unless it gets its token.
pub fn is_refused_early(op: &Op) -> bool {
    let Some(Err(status)) = op.answer.as_ref().map(|answer| &answer.result) else { return false };
    match &op.request {
        Request::Auth(AuthRequest::Authenticate { .. }) => is_refusal(*status),
        Request::Compact(_)
        | Request::AlarmSet { .. }
        | Request::LeaseGrant(_)
        | Request::LeaseRevoke { .. } => is_refusal(*status),
        _ => *status == Status::InvalidAuthToken,
    }
}

/// Whether an op may be proposed long after its member has it.
pub fn may_be_late(op: &Op) -> bool {
    let has_password = matches!(
        op.request,
        Request::Auth(
            AuthRequest::Authenticate { .. }
                | AuthRequest::UserAdd { .. }
                | AuthRequest::UserChangePassword { .. }
        )
    );
    has_password || matches!(op.credentials, Credentials::Token(_))
}

/// Whether an entry can be of a client that came with these credentials; one of nobody can be anybody's.
pub fn may_be_by(model: &Model, credentials: &Credentials, entry: &LogEntry) -> bool {
    if entry.by.user.is_empty() {
        return true;
    }
    match credentials {
        Credentials::None => false,
        Credentials::Certificate(user) => *user == entry.by.user,
        Credentials::Signed { user, auth_revision } => {
            (user, auth_revision) == (&entry.by.user, &entry.by.auth_revision)
        }
        Credentials::Token(token) => model.token(token).is_some_and(|life| life.user == entry.by.user),
    }
}

/// Entries name whom they must, since when they may; passwords of logins were right where they stand; tokens
/// that were void before they were used are refused.
pub fn check(
    history: &History,
    truth: &Truth,
    places: &Places,
    own_floors: &[usize],
    checked: &mut Checked,
) -> Result<(), Violation> {
    let model = &truth.model;
    for ((op, place), own) in history.ops.iter().zip(places).zip(own_floors) {
        let Some(place) = place else { continue };
        let entry = &history.log[place - 1];
        // Where the proposer was is not known, but that it was somewhere between.
        let span = (*own).min(place - 1)..=place - 1;
        let accounts = |place: usize| model.accounts_at(place);
        let is_right = match &entry.decree {
            Decree::Login { user, .. } => login_fits(model, *place, op, user),
            _ if entry.by.user.is_empty() => {
                op.credentials == Credentials::None
                    || span.clone().any(|place| !accounts(place).is_on)
                    || is_of_nobody(history, op)
            }
            _ => {
                let is_signed = matches!(op.credentials, Credentials::Signed { .. });
                may_be_known(model, &op.credentials, *own)
                    && span.clone().any(|place| accounts(place).is_on)
                    && (is_signed
                        || is_known_since(model, span.clone(), entry)
                        || is_of_another(history, truth, op, *own, *place)
                        || is_anothers(history, truth, own_floors, op, *place))
            }
        };
        checked.judged += u64::from(accounts(place - 1).is_on);
        if !is_right {
            let what = format!(
                "entry {place} is by {:?}, but {:?} came with {:?} when entries {span:?} were seen",
                entry.by, op.request, op.credentials
            );
            return Err(Violation { check: "identity", what, at: op.call });
        }
    }
    Ok(())
}

/// Whether the proposer can have been where it knew of no later change.
fn is_known_since(model: &Model, mut span: RangeInclusive<usize>, entry: &LogEntry) -> bool {
    span.any(|place| model.accounts_at(place).revision == entry.by.auth_revision)
}

/// Whether somebody without a name asked the same of the same life: one of the two entries may be the other's.
fn is_of_nobody(history: &History, op: &Op) -> bool {
    history.ops.iter().any(|other| {
        other.life == op.life && other.credentials == Credentials::None && other.request == op.request
    })
}

/// Whether a refused op may be that of another entry than it was found in: refusals look alike.
fn is_of_another(history: &History, truth: &Truth, op: &Op, own_floor: usize, place: usize) -> bool {
    let status = |place: usize| truth.expected[place - 1].as_ref().and_then(|e| e.result.as_ref().err());
    let Some(answer) = op.answer.as_ref().filter(|_| status(place).is_some()) else { return false };
    (own_floor + 1..=answer.applied as usize).any(|other| {
        let entry = &history.log[other - 1];
        entry.life == op.life
            && status(other) == status(place)
            && asks_for(history, truth, op, entry)
            && is_known_since(&truth.model, own_floor..=other - 1, entry)
    })
}

/// Whether somebody else who asked the same life for the same can have proposed the entry: of two requests that look
/// alike in the log, and one of which nobody answered, either may be in it.
fn is_anothers(history: &History, truth: &Truth, own_floors: &[usize], op: &Op, place: usize) -> bool {
    let entry = &history.log[place - 1];
    history.ops.iter().zip(own_floors).any(|(other, own)| {
        other.life == op.life
            && !std::ptr::eq(other, op)
            && asks_for(history, truth, other, entry)
            && is_known_since(&truth.model, (*own).min(place - 1)..=place - 1, entry)
    })
}

/// Whether a login's password was right where its entry stands; one whose answer nobody heard gave no right.
fn login_fits(model: &Model, place: usize, op: &Op, user: &str) -> bool {
    let Request::Auth(AuthRequest::Authenticate { name, password }) = &op.request else { return false };
    let got_token = op.answer.as_ref().is_some_and(|answer| {
        matches!(&answer.result, Ok(Response::Auth { answer: AuthAnswer::Token { .. }, .. }))
    });
    user == name && (!got_token || model.at(place - 1).accounts().password_fits(name, password))
}
