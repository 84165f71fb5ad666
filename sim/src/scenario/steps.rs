//! `[[step]]`: scripts as a scenario writes them.

use holdfast_core::base::{LeaseId, WatchId};
use holdfast_core::boundary::StreamOp;
use holdfast_core::members::derive_added_member_id;
use holdfast_core::request::{PutRequest, Request, RequestOp, TxnRequest};
use holdfast_core::status::Status;

use super::auth::read_by;
use super::exact::read_state_version;
use super::request::{REQUESTS, read_bytes, read_request, read_watch};
use super::settings::Nodes;
use super::table::{Item, Read, Table, Trouble};
use crate::aim::Aim;
use crate::disk::Strike;
use crate::plan::step::{
    Action, Ask, Behind, By, Condition, Down, Expect, Facts, Group, MailFilter, Part, Seizure, Step, When,
    Who,
};
use crate::plan::{Enlisted, MS, Plan, SECOND};
use crate::world::MAIL_KINDS;

/// How long a step waits for its condition, and a client for its answer, if the file does not say.
const WITHIN_NS: u64 = 30 * SECOND;
const PATIENCE_NS: u64 = 10 * SECOND;

/// What the wall clock of operators shows if the file does not say.
const UNIX_S: u64 = 1_700_000_000;

/// Steps after which a script is taken to be a mistake.
const STEPS_MAX: usize = 100_000;

/// Puts in one transaction of `fill`.
const FILL_OPS: usize = 100;

const ROLES: [(&str, Who); 3] =
    [("leader", Who::Leader), ("old_leader", Who::OldLeader), ("follower", Who::Follower)];

/// What a script knows so far: how many members there are, and the names that were given.
pub struct Known {
    members: usize,
    /// Whether a step may add a member, which then has the next number.
    may_add: bool,
    /// In a recorded plan newcomers are described, and nothing is left open.
    is_exact: bool,
    names: Vec<String>,
}

impl Known {
    /// Before the first step.
    pub fn of(plan: &Plan, nodes: Nodes, is_exact: bool) -> Known {
        let members = nodes.always + plan.membership.enlisted.len();
        Known { members, may_add: nodes.is_fixed, is_exact, names: Vec::new() }
    }
}

/// Reads all steps; members that they add become newcomers of the plan. `line_of` gives the line of an offset.
pub fn read_steps(
    tables: Vec<Table>,
    mut known: Known,
    plan: &mut Plan,
    line_of: &dyn Fn(usize) -> u32,
) -> Read<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for mut t in tables {
        if let Some(item) = t.take("repeat") {
            repeat(item, &mut steps)?;
            t.finish()?;
            continue;
        }
        let (at, line) = (t.at, line_of(t.at));
        match t.take("fill") {
            Some(item) => known.fill(item, &mut t, line, &mut steps)?,
            None => {
                let mut step = known.read_step(&mut t, line)?;
                if let Action::Ask { ask: Ask { request, .. }, .. } = &mut step.action {
                    known.enlist(request, plan).map_err(|what| Trouble::new(at, what))?;
                }
                steps.push(step);
            }
        }
        t.finish()?;
    }
    Ok(steps)
}

/// `repeat = { steps = 3, times = 20 }`: the last three steps come twenty times more.
fn repeat(item: Item, steps: &mut Vec<Step>) -> Read<()> {
    let mut t = item.table()?;
    let count = t.need("steps")?;
    let (at, count) = (count.at, count.count()? as usize);
    let times = t.need("times")?.count()? as usize;
    t.finish()?;
    if count == 0 || count > steps.len() {
        return Err(Trouble::new(at, format!("{} steps stand before this one", steps.len())));
    }
    if count.saturating_mul(times) > STEPS_MAX {
        return Err(Trouble::new(at, format!("more than {STEPS_MAX} steps")));
    }
    let block = steps[steps.len() - count..].to_vec();
    for _ in 0..times {
        steps.extend_from_slice(&block);
    }
    Ok(())
}

impl Known {
    /// A request adds a member: what the file leaves open is filled in, and there is a machine for it.
    fn enlist(&mut self, request: &mut Request, plan: &mut Plan) -> Result<(), &'static str> {
        let Request::MemberAdd { peer_urls, unix_s, .. } = request else { return Ok(()) };
        if self.is_exact {
            return Ok(());
        }
        if !self.may_add {
            return Err("a step adds a member only where `nodes` is one number");
        }
        if peer_urls.is_empty() {
            peer_urls.push(format!("http://m{}:2380", self.members));
        }
        if *unix_s == 0 {
            *unix_s = UNIX_S + self.members as u64;
        }
        let id = derive_added_member_id(peer_urls, *unix_s);
        let newcomer = plan.members[0].clone();
        let membership = &mut plan.membership;
        if !membership.enlisted.iter().any(|known| known.id == id) {
            membership.newcomers.insert(membership.enlisted.len(), newcomer);
            membership.enlisted.push(Enlisted { id, heir_of: None });
            self.members += 1;
        }
        Ok(())
    }

    fn read_step(&mut self, t: &mut Table, line: u32) -> Read<Step> {
        let name = t.take("as").map(|item| item.text()).transpose()?;
        let when = self.read_when(t)?;
        let mut action = self.read_action(t)?;
        if let (When::Once { condition, .. }, Some(_), Action::Wait) = (&when, &name, &action)
            && matches!(condition, Condition::Leader | Condition::LeaderOtherThan(_))
        {
            action = Action::Member(Who::Leader);
        }
        self.names.extend(name.clone());
        Ok(Step { when, action, name, line })
    }

    /// `fill = { to, keys = 500, prefix = "k", value_bytes = 10, lease = 7 }`: keys k0000, k0001 and so on are
    /// put, some in a transaction, one transaction after the other.
    fn fill(&self, item: Item, step: &mut Table, line: u32, steps: &mut Vec<Step>) -> Read<()> {
        let mut when = self.read_when(step)?;
        let mut t = item.table()?;
        let to = self.need_who(&mut t, "to")?;
        let keys = t.need("keys")?.count_in(1..10_001)?;
        let prefix = t.take("prefix").map_or(Ok(String::new()), |item| item.text())?;
        let length = t.take("value_bytes").map_or(Ok(0), |item| item.count_in(0..1 << 20))? as usize;
        let lease = LeaseId(t.take("lease").map_or(Ok(0), |item| item.integer())?);
        t.finish()?;
        let puts: Vec<RequestOp> = (0..keys)
            .map(|number| {
                let (key, value) = (format!("{prefix}{number:04}"), vec![b'.'; length]);
                let (key, value) = (key.into(), value.into());
                RequestOp::Put(PutRequest { key, value, lease, ..PutRequest::default() })
            })
            .collect();
        for some in puts.chunks(FILL_OPS) {
            let request = Request::Txn(TxnRequest { success: some.to_vec(), ..TxnRequest::default() });
            let expect = Expect::Ok(Facts::default());
            let ask =
                Ask { subject: None, by: By::Root, request, expect, patience_ns: PATIENCE_NS, waits: true };
            let when = std::mem::replace(&mut when, When::After(0));
            steps.push(Step { when, action: Action::Ask { to: to.clone(), ask }, name: None, line });
        }
        Ok(())
    }

    fn read_when(&self, t: &mut Table) -> Read<When> {
        let within = t.take("within");
        let Some(item) = t.take_one_of(&["at", "after", "when"])? else {
            return match within {
                Some(item) => Err(item.trouble("`within` stands beside `when`")),
                None => Ok(When::After(0)),
            };
        };
        if let Some(within) = within.as_ref().filter(|_| item.key() != "when") {
            return Err(within.trouble("`within` stands beside `when`"));
        }
        let within_ns = within.map_or(Ok(WITHIN_NS), |item| item.time_ns())?;
        Ok(match item.key() {
            "at" => When::At(item.time_ns()?),
            "after" => When::After(item.time_ns()?),
            _ => When::Once { condition: self.read_condition(item)?, within_ns },
        })
    }

    fn read_condition(&self, item: Item) -> Read<Condition> {
        if !item.is_table() {
            return match item.text()?.as_str() {
                "leader" => Ok(Condition::Leader),
                "no_leader" => Ok(Condition::NoLeader),
                "caught_up" => Ok(Condition::CaughtUp(Group::All)),
                other => Err(item.trouble(format!("nobody waits for `{other}`"))),
            };
        }
        let mut t = item.table()?;
        let at = t.at;
        let keys = ["leads", "leader_other_than", "caught_up", "answered", "snapshot_at", "mail"];
        let Some(item) = t.take_one_of(&keys)? else {
            return Err(Trouble::new(at, format!("a condition is one of {}", keys.join(", "))));
        };
        let condition = match item.key() {
            "leader_other_than" => Condition::LeaderOtherThan(self.read_group(item)?),
            "leads" => Condition::Leads(self.read_who(&item)?),
            "caught_up" => Condition::CaughtUp(self.read_group(item)?),
            "answered" => Condition::Answered(self.read_name(&item)?),
            "snapshot_at" => Condition::SnapshotAt(self.read_who(&item)?),
            _ => {
                let count = t.take("count").map_or(Ok(1), |item| item.count())? as usize;
                Condition::Mail { name: self.read_name(&item)?, count }
            }
        };
        t.finish()?;
        Ok(condition)
    }

    /// A member: a number or a role or a name.
    fn read_who(&self, item: &Item) -> Read<Who> {
        if !item.is_text() {
            let number = item.bits()? as usize;
            if number >= self.members {
                let what =
                    format!("there is no member {number}: they are numbered from 0 to {}", self.members - 1);
                return Err(item.trouble(what));
            }
            return Ok(Who::Number(number));
        }
        let text = item.text()?;
        match ROLES.iter().find(|(role, _)| *role == text) {
            Some((_, who)) => Ok(who.clone()),
            None => Ok(Who::Named(self.read_name(item)?)),
        }
    }

    /// A name that a step before gave.
    fn read_name(&self, item: &Item) -> Read<String> {
        let name = item.text()?;
        match self.names.contains(&name) {
            true => Ok(name),
            false => Err(item.trouble(format!("no step before gives the name `{name}`"))),
        }
    }

    fn read_group(&self, item: Item) -> Read<Group> {
        if item.is_text() {
            match item.text()?.as_str() {
                "rest" => return Ok(Group::Rest),
                "all" => return Ok(Group::All),
                _ => {}
            }
        }
        Ok(Group::Of(item.list()?.iter().map(|item| self.read_who(item)).collect::<Read<_>>()?))
    }

    fn need_who(&self, t: &mut Table, key: &str) -> Read<Who> {
        self.read_who(&t.need(key)?)
    }

    fn need_group(&self, t: &mut Table, key: &str) -> Read<Group> {
        self.read_group(t.need(key)?)
    }

    fn read_action(&self, t: &mut Table) -> Read<Action> {
        if let Some(item) = t.take_one_of(&REQUESTS)? {
            return self.read_ask(item, t);
        }
        let keys = [
            "member",
            "cut",
            "heal",
            "crash",
            "start",
            "pause",
            "suspend",
            "wipe",
            "change_release",
            "stall_sync",
            "fail_sync",
            "flip",
            "clog",
            "hold",
            "copy",
            "drop",
            "release",
            "clock",
            "watch",
            "open",
            "stream",
        ];
        let Some(item) = t.take_one_of(&keys)? else { return Ok(Action::Wait) };
        match item.key() {
            "member" => return Ok(Action::Member(self.read_who(&item)?)),
            "heal" => return self.read_heal(&item),
            "start" => return Ok(Action::Start(self.read_group(item)?)),
            _ => {}
        }
        let kind = item.key().to_owned();
        let mut t = item.table()?;
        let action = match kind.as_str() {
            "cut" => self.read_cut(&mut t)?,
            "crash" => self.read_crash(&mut t)?,
            "pause" | "suspend" => self.read_stop(&kind, &mut t)?,
            "wipe" => self.read_wipe(&mut t)?,
            "change_release" => Action::ChangeRelease {
                member: self.need_who(&mut t, "member")?,
                state_version: read_state_version(&t.need("state_version")?)?,
            },
            "stall_sync" | "fail_sync" | "flip" => self.read_disk(&kind, &mut t)?,
            "clog" => Action::Clog {
                from: self.need_who(&mut t, "from")?,
                to: self.need_who(&mut t, "to")?,
                lasts_ns: t.need("lasts")?.time_ns()?,
            },
            "hold" => self.read_seizure(Seizure::Hold, &mut t)?,
            "copy" => self.read_seizure(Seizure::Copy, &mut t)?,
            "drop" => self.read_seizure(Seizure::Drop, &mut t)?,
            "release" => Action::Release {
                name: self.read_name(&t.need("mail")?)?,
                count: t.take("count").map_or(Ok(u64::MAX), |item| item.count())?,
                times: t.take("times").map_or(Ok(1), |item| item.count())?,
            },
            "clock" => Action::Clock {
                member: self.need_who(&mut t, "member")?,
                rate: t.need("rate")?.number_in(0.01..1.99)?,
            },
            "watch" | "open" => self.read_open(kind == "watch", &mut t)?,
            _ => self.read_stream(&mut t)?,
        };
        t.finish()?;
        Ok(action)
    }

    /// A process stands still, or its machine with its clock.
    fn read_stop(&self, kind: &str, t: &mut Table) -> Read<Action> {
        let (members, lasts_ns) = (self.need_group(t, "member")?, t.need("lasts")?.time_ns()?);
        Ok(match kind {
            "pause" => Action::Pause { members, lasts_ns },
            _ => Action::Suspend { members, lasts_ns },
        })
    }

    fn read_wipe(&self, t: &mut Table) -> Read<Action> {
        let member = self.need_who(t, "member")?;
        let returns_ns = t.take("returns").map(|item| item.time_ns()).transpose()?;
        Ok(Action::Wipe { member, returns_ns })
    }

    fn read_disk(&self, kind: &str, t: &mut Table) -> Read<Action> {
        Ok(match kind {
            "stall_sync" => Action::StrikeDisk {
                member: self.need_who(t, "member")?,
                aim: read_aim(t)?,
                strike: Strike::Stall(t.need("lasts")?.time_ns()?),
            },
            "fail_sync" => Action::StrikeDisk {
                member: self.need_who(t, "member")?,
                aim: read_aim(t)?,
                strike: Strike::Fail,
            },
            _ => {
                let member = self.need_who(t, "member")?;
                if let Some(item) = t.take("part") {
                    let part = item.word(&Part::ALL.map(|part| (part.name(), part)))?;
                    return Ok(Action::Rot { member, part });
                }
                let (file, offset) = (t.need("file")?.text()?, t.need("offset")?.count()?);
                Action::Flip { member, file, offset, bit: t.need("bit")?.count_in(0..8)? as u8 }
            }
        })
    }

    /// `watch` opens with a watch, `open` with any operation.
    fn read_open(&self, is_watch: bool, t: &mut Table) -> Read<Action> {
        let to = self.need_who(t, "to")?;
        let op = if is_watch { StreamOp::Create(read_watch(t)?) } else { read_stream_op(t)? };
        let reads = t.take("reads").map_or(Ok(true), |item| item.flag())?;
        let by = self.read_by(t)?;
        Ok(Action::Open { to, by, op, reads })
    }

    fn read_by(&self, t: &mut Table) -> Read<By> {
        t.take("by").map_or(Ok(By::Root), |item| read_by(item, |name| self.read_name(name)))
    }

    fn read_heal(&self, item: &Item) -> Read<Action> {
        match item.text()?.as_str() {
            "all" => Ok(Action::Heal(None)),
            _ => Ok(Action::Heal(Some(self.read_name(item)?))),
        }
    }

    /// `cut = { links = [[0, 1], [1, 0]] }`: directions, from and to.
    fn read_links(&self, item: Item) -> Read<Action> {
        let mut links = Vec::new();
        for pair in item.list()? {
            let at = pair.at;
            match &pair.list()?[..] {
                [from, to] => match (self.read_who(from)?, self.read_who(to)?) {
                    (Who::Number(from), Who::Number(to)) if from != to => links.push((from, to)),
                    _ => return Err(Trouble::new(at, "a link has two members by number")),
                },
                _ => return Err(Trouble::new(at, "a link has two members by number")),
            }
        }
        Ok(Action::CutLinks(links))
    }

    /// `cut = { between, and }`, `cut = { from, to }`, or `cut = { clients_of }`.
    fn read_cut(&self, t: &mut Table) -> Read<Action> {
        if let Some(item) = t.take("clients_of") {
            return Ok(Action::CutClients(self.read_group(item)?));
        }
        if let Some(item) = t.take("links") {
            return self.read_links(item);
        }
        let both = t.take("between");
        let (from, to, both) = match both {
            Some(item) => (self.read_group(item)?, self.need_group(t, "and")?, true),
            None => (self.need_group(t, "from")?, self.need_group(t, "to")?, false),
        };
        match (&from, &to) {
            (Group::Rest, Group::Rest) => Err(Trouble::new(t.at, "`rest` is all but the other side")),
            _ => Ok(Action::Cut { from, to, both }),
        }
    }

    fn read_crash(&self, t: &mut Table) -> Read<Action> {
        let power = t.take("power").map_or(Ok(true), |item| item.flag())?;
        if let Some(item) = t.take("behind") {
            let kinds = Behind::ALL.map(|what| (what.name(), what));
            let (what, member) = (item.word(&kinds)?, self.need_who(t, "member")?);
            let skip = t.take("skip").map_or(Ok(0), |item| item.count())?;
            return Ok(Action::CrashBehind { member, what, aim: read_aim(t)?, skip, power });
        }
        let members = self.need_group(t, "member")?;
        let down = match t.take("down") {
            None => Down::Drawn,
            Some(item) if item.is_text() && item.text()? == "until_started" => Down::Held,
            Some(item) => Down::For(item.time_ns()?),
        };
        Ok(Action::Crash { members, power, down })
    }

    fn read_seizure(&self, seizure: Seizure, t: &mut Table) -> Read<Action> {
        let kinds: Vec<(&str, &'static str)> = MAIL_KINDS.iter().map(|kind| (*kind, *kind)).collect();
        let kind = t.take("kind").map(|item| item.word(&kinds)).transpose()?;
        let from = t.take("from").map(|item| self.read_group(item)).transpose()?;
        let to = t.take("to").map(|item| self.read_group(item)).transpose()?;
        if from == Some(Group::Rest) && !matches!(to, Some(Group::Of(_))) {
            return Err(Trouble::new(t.at, "`rest` is all but the other side"));
        }
        let count = t.take("count").map_or(Ok(u64::MAX), |item| item.count())?;
        Ok(Action::Seize { seizure, filter: MailFilter { kind, from, to, count } })
    }

    fn read_stream(&self, t: &mut Table) -> Read<Action> {
        let name = self.read_name(&t.need("of")?)?;
        Ok(Action::Stream { name, op: read_stream_op(t)? })
    }

    fn read_ask(&self, item: Item, step: &mut Table) -> Read<Action> {
        let kind = item.key().to_owned();
        let mut t = item.table()?;
        let to = self.need_who(&mut t, "to")?;
        let subject = t.take("member").map(|item| self.read_who(&item)).transpose()?;
        let request = read_request(&kind, &mut t, subject.is_some())?;
        t.finish()?;
        let by = self.read_by(step)?;
        let expect = step.take("expect").map_or(Ok(Expect::Anything), read_expect)?;
        let patience_ns = step.take("patience").map_or(Ok(PATIENCE_NS), |item| item.time_ns())?.max(MS);
        let waits = match step.take("waits") {
            Some(item) => item.flag()?,
            None => matches!(expect, Expect::Ok(_) | Expect::Refused(_)),
        };
        Ok(Action::Ask { to, ask: Ask { by, request, subject, expect, patience_ns, waits } })
    }
}

/// `at` and `nth`; without them, the next.
fn read_aim(t: &mut Table) -> Read<Aim> {
    let at_ns = t.take("at").map_or(Ok(0), |item| item.time_ns())?;
    let nth = t.take("nth").map_or(Ok(0), |item| item.count())?;
    Ok(Aim { at_ns, nth })
}

fn read_stream_op(t: &mut Table) -> Read<StreamOp> {
    let op = t.need("op")?;
    Ok(match op.text()?.as_str() {
        "progress" => StreamOp::Progress,
        "close" => StreamOp::Close,
        "cancel" => StreamOp::Cancel { watch_id: WatchId(t.need("watch_id")?.integer()?) },
        "credit" => StreamOp::Credit { bytes: t.need("bytes")?.count()? },
        "create" => StreamOp::Create(read_watch(t)?),
        other => return Err(op.trouble(format!("a stream does not `{other}`"))),
    })
}

fn read_expect(item: Item) -> Read<Expect> {
    if item.is_table() {
        let mut t = item.table()?;
        let facts = Facts {
            value: t.take("value").map(|item| read_bytes(&item)).transpose()?,
            count: t.take("count").map(|item| item.integer()).transpose()?,
            revision: t.take("revision").map(|item| item.integer()).transpose()?,
            succeeded: t.take("succeeded").map(|item| item.flag()).transpose()?,
            ttl: t.take("ttl").map(|item| item.integer()).transpose()?,
        };
        t.finish()?;
        return Ok(Expect::Ok(facts));
    }
    Ok(match item.text()?.as_str() {
        "ok" => Expect::Ok(Facts::default()),
        "unknown" => Expect::Unknown,
        "no_connection" => Expect::NoConnection,
        "anything" => Expect::Anything,
        other => match Status::ALL.iter().find(|status| format!("{status:?}") == other) {
            Some(status) => Expect::Refused(*status),
            None => return Err(item.trouble(format!("no answer is called `{other}`"))),
        },
    })
}
