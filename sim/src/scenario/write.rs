//! Writes an explicit plan as a scenario file, so that reading it gives the plan back.

use std::fmt::Write;

use holdfast_core::boundary::{StreamOp, WatchCreate};
use holdfast_core::node::AutoCompaction;

use super::auth;
use super::write_request::{Fields, request};
use crate::aim::Aim;
use crate::disk::Strike;
use crate::plan::step::{Action, Ask, Behind, Down, Expect, Group, MailFilter, Seizure, Step, When, Who};
use crate::plan::{Enlisted, MemberPlan, Plan, Routing};

/// What is told of a plan beside the plan.
#[derive(Clone, Debug)]
pub struct Origin {
    pub about: String,
    /// The commit that the plan was made at, and whether its tree was changed.
    pub commit: String,
    /// The check that it breaks.
    pub broke: &'static str,
}

/// The plan as a file. Errors: an action that no recorded plan has.
pub fn write_plan(plan: &Plan, origin: &Origin) -> Result<String, String> {
    let mut text = String::new();
    let Origin { about, commit, broke } = origin;
    let mut line = |what: String| {
        text.push_str(&what);
        text.push('\n');
    };
    line(format!("about = {}", quoted(about)));
    line(format!("commit = {}", quoted(commit)));
    line(format!("seed = {:#018x}", plan.seed));
    line(format!("nodes = {}", plan.members.len()));
    let (storm, calm) = (time(plan.storm_ns), time(plan.calm_ns_min));
    line(format!("until = {{ virtual = {storm}, then_calm = {calm} }}"));
    if let Some(lie) = plan.lie {
        line(format!("plant = {}", quoted(lie.name())));
    }
    line(format!("check = {{ broke = {} }}", quoted(broke)));
    line(tables(plan));
    for member in &plan.members {
        line(member_table("member", member));
    }
    for (number, newcomer) in plan.membership.newcomers.iter().enumerate() {
        let mut table = member_table("newcomer", newcomer);
        if let Some(Enlisted { id, heir_of }) = plan.membership.enlisted.get(number) {
            writeln!(table, "id = {:#018x}", id.0).expect("a text takes everything");
            if let Some(former) = heir_of {
                writeln!(table, "heir_of = {former}").expect("a text takes everything");
            }
        }
        line(table);
    }
    for step in &plan.script {
        line(String::new());
        line(step_table(step)?);
    }
    Ok(text)
}

/// A time as an exact text.
fn time(ns: u64) -> String {
    match ns {
        0 => "\"0ns\"".to_owned(),
        ns if ns.is_multiple_of(1_000_000_000) => format!("\"{}s\"", ns / 1_000_000_000),
        ns if ns >= 1_000_000_000 => {
            let fraction = format!("{:09}", ns % 1_000_000_000);
            format!("\"{}.{}s\"", ns / 1_000_000_000, fraction.trim_end_matches('0'))
        }
        ns if ns.is_multiple_of(1_000_000) => format!("\"{}ms\"", ns / 1_000_000),
        ns => format!("\"{ns}ns\""),
    }
}

fn times((low, high): (u64, u64)) -> String {
    format!("[{}, {}]", time(low), time(high))
}

pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " "))
}

fn tables(plan: &Plan) -> String {
    let Plan { cuts, network, crashes, membership, clocks, .. } = plan;
    let checkpoint = plan.lease_checkpoint_ns.map_or_else(|| "\"off\"".to_owned(), time);
    let compaction = match plan.auto_compaction {
        None => String::new(),
        Some(AutoCompaction::Periodic { retention_ns }) => format!("keep_history = {}\n", time(retention_ns)),
        Some(AutoCompaction::Revision { retention, every_ns }) => {
            format!("keep_revisions = {retention}\nkeep_every = {}\n", time(every_ns))
        }
    };
    let routing = match plan.routing {
        Routing::Sticky => "sticky",
        Routing::Random => "random",
        Routing::Leader => "leader",
    };
    let mut text = format!(
        "\n[timing]\nheartbeat = {}\nelection_ticks = {}\nlease_checkpoint = {checkpoint}\nwatch_progress = {}\n{compaction}",
        time(plan.heartbeat_ns),
        plan.election_ticks,
        time(plan.watch_progress_ns)
    );
    let rest = [
        ("turn", times(cuts.turn_ns)),
        ("split", format!("{:?}", cuts.split)),
        ("way", times(cuts.way_ns)),
        ("completion", times(cuts.completion_ns)),
        ("\n[network]\nbase", times(network.base_ns)),
        ("tail", format!("{:?}", network.tail)),
        ("keeps_order", network.keeps_order.to_string()),
        ("passes_bytes", network.passes_bytes.to_string()),
        ("reports_loss", format!("{:?}", network.reports_loss)),
        ("\n[exact]\nabandons", format!("{:?}", plan.abandons)),
        ("reply_lost", format!("{:?}", plan.reply_lost)),
        ("credit", times(plan.credit_ns)),
        ("patience", time(plan.client_timeout_ns)),
        ("routing", quoted(routing)),
        ("pause", times(cuts.pause_ns)),
        ("restart", times(crashes.restart_ns)),
        ("power", format!("{:?}", crashes.power)),
        ("drift", format!("{:?}", plan.drift)),
        ("digest_turns", plan.digest_turns.to_string()),
        ("ttl_max", time(plan.ttl_ns_max)),
        ("stalls_max", time(plan.stalls_ns_max)),
        ("loss", format!("{:?}", network.loss)),
        ("duplicate", format!("{:?}", network.duplicate)),
        ("late", format!("{:?}", network.late)),
        ("late_pieces", format!("{:?}", network.late_pieces)),
        ("late_by", times(network.late_ns)),
        ("wakes", format!("{:?}", cuts.wakes)),
        ("false_losses", format!("{:?}", network.false_losses)),
        ("hostile", format!("{:?}", network.hostile)),
        ("strict_reconfig", membership.strict_reconfig.to_string()),
        ("learners_max", membership.learners_max.to_string()),
        ("suspend", times(clocks.suspend_ns)),
        ("merge", format!("{:?}", clocks.merge)),
        ("merged_max", clocks.merged_max.to_string()),
    ];
    for (key, value) in rest {
        writeln!(text, "{key} = {value}").expect("a text takes everything");
    }
    if let Some(auth) = plan.auth {
        let (share, ttl) = (auth.share, time(plan.auth_token_ttl_ns));
        writeln!(text, "\n[auth]\nshare = {share:?}\ntoken_ttl = {ttl}").expect("a text takes everything");
    }
    text
}

fn member_table(kind: &str, member: &MemberPlan) -> String {
    let MemberPlan { clock_rate, limits, layout, quota_bytes, disk, state_version } = member;
    let mut text = format!("[[{kind}]]\nclock_rate = {clock_rate:?}\n");
    let numbers = [
        ("work_max", u64::from(limits.work_max)),
        ("checkpoint_piece_bytes_max", limits.checkpoint_piece_bytes_max as u64),
        ("checkpoint_log_bytes_min", limits.checkpoint_log_bytes_min),
        ("log_tail_bytes_max", limits.log_tail_bytes_max),
        ("log_lag_bytes_max", limits.log_lag_bytes_max),
        ("append_bytes_max", limits.append_bytes_max),
        ("watch_revisions_max", u64::from(limits.watch_revisions_max)),
        ("watch_credit_bytes", limits.watch_credit_bytes),
        ("proposals_max", limits.proposals_max as u64),
        ("proposals_bytes_max", limits.proposals_bytes_max),
        ("first_segment_bytes", layout.first_segment_bytes),
        ("segment_bytes", layout.segment_bytes),
        ("spares_max", layout.spares_max as u64),
        ("state_version", u64::from(*state_version)),
    ];
    let quota = quota_bytes.map(|bytes| ("quota_bytes", bytes));
    let capacity = (disk.capacity_bytes < u64::MAX).then_some(("capacity_bytes", disk.capacity_bytes));
    for (key, number) in numbers.into_iter().chain(quota).chain(capacity) {
        writeln!(text, "{key} = {number}").expect("a text takes everything");
    }
    let (sync, stall) = (times(disk.sync_ns), times(disk.stall_ns));
    let (torn, loss, reorders) = (disk.torn, disk.loss, disk.reorders_names);
    write!(
        text,
        "sync = {sync}\nstall = {stall}\ntorn = {torn:?}\nreorders_names = {reorders}\nloss = {loss:?}\n"
    )
    .expect("a text takes everything");
    text
}

fn step_table(step: &Step) -> Result<String, String> {
    let mut text = String::from("[[step]]\n");
    match &step.when {
        When::At(at_ns) => writeln!(text, "at = {}", time(*at_ns)).expect("a text takes everything"),
        other => return Err(format!("{other:?} is no moment of a recorded plan")),
    }
    if let Some(name) = &step.name {
        writeln!(text, "as = {}", quoted(name)).expect("a text takes everything");
    }
    text.push_str(&action(&step.action)?);
    Ok(text.trim_end().to_owned())
}

fn number(who: &Who) -> Result<usize, String> {
    match who {
        Who::Number(m) => Ok(*m),
        other => Err(format!("{other:?} is no member of a recorded plan")),
    }
}

fn group(group: &Group) -> Result<String, String> {
    match group {
        Group::All => Ok("\"all\"".to_owned()),
        Group::Rest => Err("a recorded plan names members by number".to_owned()),
        Group::Of(members) => {
            let numbers: Result<Vec<String>, String> =
                members.iter().map(|who| Ok(number(who)?.to_string())).collect();
            Ok(format!("[{}]", numbers?.join(", ")))
        }
    }
}

fn action(action: &Action) -> Result<String, String> {
    Ok(match action {
        Action::Wait => String::new(),
        Action::CutLinks(links) => {
            let links: Vec<String> = links.iter().map(|(from, to)| format!("[{from}, {to}]")).collect();
            format!("cut = {{ links = [{}] }}", links.join(", "))
        }
        Action::CutClients(members) => format!("cut = {{ clients_of = {} }}", group(members)?),
        Action::Heal(name) => format!("heal = {}", quoted(name.as_deref().unwrap_or("all"))),
        Action::Crash { members, power, down } => {
            let down = match down {
                Down::Drawn => String::new(),
                Down::For(down_ns) => format!(", down = {}", time(*down_ns)),
                Down::Held => ", down = \"until_started\"".to_owned(),
            };
            format!("crash = {{ member = {}, power = {power}{down} }}", group(members)?)
        }
        Action::CrashBehind { member, what, aim, power, skip: 0 } => {
            let (m, at, nth) = (number(member)?, time(aim.at_ns), aim.nth);
            let what = quoted(Behind::name(*what));
            format!("crash = {{ member = {m}, power = {power}, behind = {what}, at = {at}, nth = {nth} }}")
        }
        Action::Start(members) => format!("start = {}", group(members)?),
        Action::Pause { members, lasts_ns } => {
            format!("pause = {{ member = {}, lasts = {} }}", group(members)?, time(*lasts_ns))
        }
        Action::Suspend { members, lasts_ns } => {
            format!("suspend = {{ member = {}, lasts = {} }}", group(members)?, time(*lasts_ns))
        }
        Action::Wipe { member, returns_ns } => {
            let returns = returns_ns.map_or_else(String::new, |ns| format!(", returns = {}", time(ns)));
            format!("wipe = {{ member = {}{returns} }}", number(member)?)
        }
        Action::ChangeRelease { member, state_version } => {
            format!("change_release = {{ member = {}, state_version = {state_version} }}", number(member)?)
        }
        Action::StrikeDisk { member, aim, strike } => disk_strike(number(member)?, *aim, *strike),
        Action::Flip { member, file, offset, bit } => {
            let (m, file) = (number(member)?, quoted(file));
            format!("flip = {{ member = {m}, file = {file}, offset = {offset}, bit = {bit} }}")
        }
        Action::Clog { from, to, lasts_ns } => {
            let (from, to, lasts) = (number(from)?, number(to)?, time(*lasts_ns));
            format!("clog = {{ from = {from}, to = {to}, lasts = {lasts} }}")
        }
        Action::Seize { seizure, filter } => seize(*seizure, filter)?,
        Action::Release { name, count, times } => release(name, *count, *times),
        Action::Clock { member, rate } => {
            format!("clock = {{ member = {}, rate = {rate:?} }}", number(member)?)
        }
        Action::Ask { to, ask } => return asked(number(to)?, ask),
        Action::Open { to, by, op, reads } => {
            let mut fields = Fields::default();
            fields.put("to", number(to)?.to_string());
            if let Some(by) = auth::by(by) {
                fields.put("by", by);
            }
            fields.put("reads", reads.to_string());
            format!("open = {}", stream_op(op, fields))
        }
        Action::Stream { name, op } => {
            let mut fields = Fields::default();
            fields.put("of", quoted(name));
            format!("stream = {}", stream_op(op, fields))
        }
        other => return Err(format!("{other:?} is no action of a recorded plan")),
    })
}

fn seize(seizure: Seizure, filter: &MailFilter) -> Result<String, String> {
    let MailFilter { kind, from, to, count } = filter;
    let mut fields = Fields::default();
    if let Some(kind) = kind {
        fields.put("kind", quoted(kind));
    }
    for (key, side) in [("from", from), ("to", to)] {
        if let Some(side) = side {
            fields.put(key, group(side)?);
        }
    }
    if *count < u64::MAX {
        fields.put("count", count.to_string());
    }
    let word = match seizure {
        Seizure::Hold => "hold",
        Seizure::Copy => "copy",
        Seizure::Drop => "drop",
    };
    Ok(format!("{word} = {fields}"))
}

fn release(name: &str, count: u64, times: u64) -> String {
    let count = if count < u64::MAX { format!(", count = {count}") } else { String::new() };
    format!("release = {{ mail = {}, times = {times}{count} }}", quoted(name))
}

fn asked(to: usize, ask: &Ask) -> Result<String, String> {
    let mut fields = Fields::default();
    fields.put("to", to.to_string());
    let by = auth::by(&ask.by).map_or_else(String::new, |by| format!("by = {by}\n"));
    let (key, fields) = request(&ask.request, fields)?;
    let (expect, patience) = (expectation(&ask.expect), time(ask.patience_ns));
    Ok(format!("{key} = {fields}\n{by}{expect}patience = {patience}\nwaits = {}", ask.waits))
}

fn disk_strike(m: usize, aim: Aim, strike: Strike) -> String {
    let (at, nth) = (time(aim.at_ns), aim.nth);
    match strike {
        Strike::Fail => format!("fail_sync = {{ member = {m}, at = {at}, nth = {nth} }}"),
        Strike::Stall(ns) => {
            format!("stall_sync = {{ member = {m}, at = {at}, nth = {nth}, lasts = {} }}", time(ns))
        }
    }
}

/// The facts of an answer are not kept: they rest on steps that may have been left out.
fn expectation(expect: &Expect) -> String {
    match expect {
        Expect::Anything => String::new(),
        Expect::Unknown => "expect = \"unknown\"\n".to_owned(),
        Expect::NoConnection => "expect = \"no_connection\"\n".to_owned(),
        Expect::Refused(status) => format!("expect = \"{status:?}\"\n"),
        Expect::Ok(_) => "expect = \"ok\"\n".to_owned(),
    }
}

fn stream_op(op: &StreamOp, mut fields: Fields) -> String {
    let name = match op {
        StreamOp::Create(create) => {
            watch(create, &mut fields);
            "create"
        }
        StreamOp::Cancel { watch_id } => {
            fields.put("watch_id", watch_id.0.to_string());
            "cancel"
        }
        StreamOp::Credit { bytes } => {
            fields.put("bytes", bytes.to_string());
            "credit"
        }
        StreamOp::Open { .. } => unreachable!("whose a stream is stands beside it"),
        StreamOp::Progress => "progress",
        StreamOp::Close => "close",
    };
    fields.put("op", quoted(name));
    fields.to_string()
}

fn watch(create: &WatchCreate, fields: &mut Fields) {
    fields.bytes("key", &create.key);
    fields.bytes("range_end", &create.range_end);
    fields.integer("start_revision", create.start_revision);
    fields.integer("watch_id", create.watch_id.0);
    fields.flag("progress_notify", create.progress_notify);
    fields.flag("no_put", create.no_put);
    fields.flag("no_delete", create.no_delete);
    fields.flag("prev_kv", create.prev_kv);
    fields.flag("fragment", create.fragment);
}
