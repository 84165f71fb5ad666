//! Changes of the membership and handovers of leadership: found in the log, and their refusals judged.
//!
//! What a proposer refuses rests on whom it can hear, which no history knows: such a refusal is right if some
//! State that it can have had, with somebody silent, earns it. What it lets pass must not be forbidden in all of
//! them. A promotion is the leader's to judge, so its entry can be of another life than the one asked.

use holdfast_core::base::MemberId;
use holdfast_core::request::{Header, Request, Response};
use holdfast_core::status::Status;

use super::matching::{Places, is_overload, is_unknown};
use super::{Checked, Truth, Violation};
use crate::history::{Answer, History, Op};
use crate::oracle::members::{Change, Roster, change_of};
use crate::oracle::model::Decree;

/// Whether a request is about the membership or who leads; reads of it apart.
pub fn is_about_members(request: &Request) -> bool {
    matches!(request, Request::MoveLeader { .. }) || change_of(request, 0).is_some()
}

/// A request for a change.
struct Asked<'a> {
    /// Index into `History::ops`.
    o: usize,
    op: &'a Op,
    change: Change,
    /// What its life had applied when it arrived, at least.
    floor: usize,
}

/// Gives each change that was carried out, or refused where it was applied, its place.
pub fn find(
    history: &History,
    truth: &Truth,
    places: &mut Places,
    checked: &mut Checked,
) -> Result<(), Violation> {
    let floors = Floors::of(history);
    let asked: Vec<Asked> = history
        .ops
        .iter()
        .enumerate()
        .filter_map(|(o, op)| {
            let change = change_of(&op.request, history.terms.learners_max)?;
            Some(Asked { o, op, change, floor: floors.at(op) })
        })
        .collect();
    let mut owned = vec![false; history.log.len()];
    // Of equal changes the one that was answered first has the fewest entries to choose from.
    let mut answered: Vec<(&Asked, &Answer)> =
        asked.iter().filter_map(|ask| Some((ask, ask.op.answer.as_ref()?))).collect();
    answered.sort_by_key(|(_, answer)| answer.at.seq);
    for (ask, answer) in answered {
        if let Err(status) = answer.result
            && (is_overload(status) || is_no_word(status))
        {
            continue;
        }
        checked.changes += 1;
        match place_of(history, truth, &owned, ask, answer) {
            Some(i) => {
                owned[i] = true;
                places[ask.o] = Some(i + 1);
                check_allowed(history, truth, ask, answer, i)?;
            }
            None => check_refusal(history, truth, ask, answer)?,
        }
    }
    for ask in &asked {
        let says_nothing = |answer: &Answer| answer.result.as_ref().is_err_and(|status| is_no_word(*status));
        if !ask.op.answer.as_ref().is_none_or(says_nothing) {
            continue;
        }
        let found = entries_of(history, truth, &owned, ask).next();
        if let Some(i) = found {
            owned[i] = true;
            places[ask.o] = Some(i + 1);
        }
    }
    check_owners(history, truth, &owned, &asked)?;
    history.ops.iter().try_for_each(|op| check_handover(history, truth, floors.at(op), op))
}

/// Refusals that leave open what came of the change. That too few are in reach is said before it is proposed.
fn is_no_word(status: Status) -> bool {
    is_unknown(status) && status != Status::Unhealthy
}

/// Entries that can be what was asked, and nobody's yet. A question to the leader may reach it twice, so that one
/// request for a promotion makes two entries, of which the second changes nothing.
fn entries_of<'a>(
    history: &'a History,
    truth: &'a Truth,
    owned: &'a [bool],
    ask: &'a Asked<'_>,
) -> impl Iterator<Item = usize> + 'a {
    let arrived = ask.op.arrived.map_or(u64::MAX, |at| at.seq);
    let is_promotion = matches!(ask.change, Change::Promote(_));
    history.log.iter().enumerate().filter_map(move |(i, entry)| {
        let is_it = entry.decree == Decree::Member(ask.change.clone())
            && entry.id.is_some()
            && entry.seen.seq >= arrived
            && (is_promotion || (entry.life == ask.op.life && !owned[i]));
        (is_it && !truth.repeats[i]).then_some(i)
    })
}

/// The entry that earned this answer.
fn place_of(
    history: &History,
    truth: &Truth,
    owned: &[bool],
    ask: &Asked<'_>,
    answer: &Answer,
) -> Option<usize> {
    let is_promotion = matches!(ask.change, Change::Promote(_));
    // Who passes a leader's word on need not have applied the entry, and puts its own header on it.
    let most = if is_promotion { answer.decided } else { answer.applied };
    let got = if is_promotion { without_header(&answer.result) } else { answer.result.clone() };
    entries_of(history, truth, owned, ask).take_while(|i| (*i as u64) < most).find(|i| {
        let expected = truth.expected[*i].as_ref().expect("a change has an answer");
        match is_promotion {
            true => without_header(&expected.result) == got,
            false => expected.result == got,
        }
    })
}

fn without_header(result: &Result<Response, Status>) -> Result<Response, Status> {
    match result {
        Ok(Response::MemberPromote { members, .. }) => {
            Ok(Response::MemberPromote { header: Header::default(), members: members.clone() })
        }
        other => other.clone(),
    }
}

/// What was proposed had to pass the strict check in some State that its proposer can have had.
fn check_allowed(
    history: &History,
    truth: &Truth,
    ask: &Asked<'_>,
    answer: &Answer,
    i: usize,
) -> Result<(), Violation> {
    // Who judged a promotion is not known.
    let floor = if matches!(ask.change, Change::Promote(_)) { 0 } else { ask.floor };
    let mut rosters = truth.model.rosters_within(floor.min(i)..=i);
    if !history.terms.strict_reconfig || rosters.any(|roster| !roster.lacks_started(&ask.change)) {
        return Ok(());
    }
    let what = format!("{:?} became entry {}, but too few members had started", ask.op.request, i + 1);
    Err(Violation { check: "strict", what, at: answer.at })
}

/// A refusal before anything was proposed.
fn check_refusal(
    history: &History,
    truth: &Truth,
    ask: &Asked<'_>,
    answer: &Answer,
) -> Result<(), Violation> {
    let Asked { change, floor, op, .. } = ask;
    let is_promotion = matches!(change, Change::Promote(_));
    let end = (if is_promotion { answer.decided } else { answer.applied }) as usize;
    let end = end.min(truth.model.position());
    let somewhere = |earns: &dyn Fn(&Roster) -> bool| {
        let floor = if is_promotion { 0 } else { *floor };
        truth.model.rosters_within(floor.min(end)..=end).any(earns)
    };
    let is_strict = history.terms.strict_reconfig;
    let is_right = match &answer.result {
        Ok(_) => false,
        Err(Status::MemberBadUrls) => has_bad_urls(change),
        Err(Status::MemberNotEnoughStarted) => is_strict && somewhere(&|roster| roster.lacks_started(change)),
        Err(Status::Unhealthy) => is_strict && somewhere(&|roster| roster.may_be_unhealthy(change)),
        Err(Status::LearnerNotReady) => is_promotion,
        Err(Status::MemberNotFound) => is_promotion && somewhere(&|roster| roster.get(change.id()).is_none()),
        // Who says so, and when, the world has seen.
        Err(Status::NotSupportedForLearner) => true,
        Err(_) => false,
    };
    if is_right && !(has_bad_urls(change) && answer.result == Err(Status::Unhealthy)) {
        return Ok(());
    }
    let what = format!("{:?} was answered {:?}; no entry and no rule says so", op.request, answer.result);
    Err(Violation { check: "members", what, at: answer.at })
}

/// Peer URLs are http or https, a host, a port, and nothing else (CL-4); other schemes are not asked for.
fn has_bad_urls(change: &Change) -> bool {
    let (Change::Add { peer_urls, .. } | Change::Update { peer_urls, .. }) = change else { return false };
    let is_good = |url: &String| {
        let host = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
        host.is_some_and(|host| !host.contains('/') && host.split(':').count() == 2)
    };
    peer_urls.is_empty() || !peer_urls.iter().all(is_good)
}

/// Every change in the log was asked for, but those that the log begins with.
fn check_owners(
    history: &History,
    truth: &Truth,
    owned: &[bool],
    asked: &[Asked<'_>],
) -> Result<(), Violation> {
    let is_asked_again = |change: &Change, seen: u64| {
        let mut same = asked.iter().filter(|ask| ask.change == *change);
        matches!(change, Change::Promote(_))
            && same.any(|ask| ask.op.arrived.is_some_and(|at| at.seq <= seen))
    };
    for (i, entry) in history.log.iter().enumerate() {
        if let Decree::Member(change) = &entry.decree
            && entry.id.is_some()
            && !owned[i]
            && !truth.repeats[i]
            && !is_asked_again(change, entry.seen.seq)
        {
            let what = format!("entry {} is nobody's, or of one who was refused: {change:?}", i + 1);
            return Err(Violation { check: "members", what, at: entry.seen });
        }
    }
    Ok(())
}

/// CL-14: told that leadership went to a voter when that one leads in a later term.
fn check_handover(history: &History, truth: &Truth, floor: usize, op: &Op) -> Result<(), Violation> {
    let (Request::MoveLeader { target }, Some(answer)) = (&op.request, &op.answer) else { return Ok(()) };
    let end = (answer.applied as usize).min(truth.model.position());
    let mut rosters = truth.model.rosters_within(floor.min(end)..=end);
    let is_right = match answer.result {
        Ok(Response::MoveLeader) => leads_later(history, *target, op, answer),
        Err(Status::BadLeaderTransferee) => rosters.any(|roster| !roster.voters().any(|id| id == *target)),
        Err(Status::NotLeader | Status::TimeoutLeaderTransfer | Status::NotSupportedForLearner) => true,
        Err(status) => is_unknown(status),
        Ok(_) => false,
    };
    match is_right {
        true => Ok(()),
        false => {
            let what = format!("{:?} was answered {:?}", op.request, answer.result);
            Err(Violation { check: "handover", what, at: answer.at })
        }
    }
}

fn leads_later(history: &History, target: MemberId, op: &Op, answer: &Answer) -> bool {
    let arrived = op.arrived.unwrap_or(op.call);
    let of_life = history.leaderships.iter().filter(|leadership| leadership.life == op.life);
    let own = of_life.filter(|leadership| leadership.at.seq < arrived.seq).map(|l| l.term).max();
    // What a member notes in the turn of its answer it may have known when it answered.
    let known = history.leaderships.iter().filter(|leadership| {
        let is_same_turn = leadership.life == op.life && leadership.at.turn == answer.at.turn;
        leadership.at.seq < answer.at.seq || is_same_turn
    });
    let is_own = history.ids.get(op.member) == Some(&target);
    known.filter(|leadership| leadership.member == target).any(|l| is_own || Some(l.term) > own)
}

/// What each life was seen to have applied, in the order of its answers.
struct Floors(Vec<Vec<(u64, usize)>>);

impl Floors {
    fn of(history: &History) -> Floors {
        let mut floors = vec![Vec::new(); history.lives.len()];
        for op in &history.ops {
            if let Some(answer) = &op.answer {
                floors[op.life].push((answer.at.seq, answer.applied as usize));
            }
        }
        floors.iter_mut().for_each(|of_life: &mut Vec<(u64, usize)>| of_life.sort_unstable());
        Floors(floors)
    }

    /// What the life had applied when the op arrived, at least.
    fn at(&self, op: &Op) -> usize {
        let arrived = op.arrived.unwrap_or(op.call).seq;
        let of_life = &self.0[op.life];
        let end = of_life.partition_point(|(seq, _)| *seq < arrived);
        end.checked_sub(1).map_or(0, |last| of_life[last].1)
    }
}
