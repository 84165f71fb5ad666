//! A scripted run in a few lines: who leads, what parts the network, what clients are told, how it ends.

use raft::StateRole;

use crate::check::matching::is_unknown;
use crate::explain::events::{Event, merge};
use crate::history::{History, Op};
use crate::record::{Class, Figures, Record, SpanKind, What};
use crate::told;
use crate::world::Outcome;

/// An answer that took longer is told twice: when it was asked for, and when it came.
const LONG_NS: u64 = 500_000_000;

/// Lines of a recorded run.
pub fn narrate(outcome: &Outcome) -> Vec<String> {
    let Some(record) = &outcome.record else { return Vec::new() };
    let mut narrator = Narrator::new(record, &outcome.history);
    for happened in merge(outcome, None) {
        narrator.take(happened.at.at_ns, happened.event);
    }
    narrator.end();
    narrator.lines
}

pub struct Narrator<'a> {
    pub record: &'a Record,
    pub history: &'a History,
    seats: Vec<Option<&'a Figures>>,
    /// Requests whose answer nobody waits for.
    gave_up: Vec<u32>,
    pub lines: Vec<String>,
}

impl<'a> Narrator<'a> {
    pub fn new(record: &'a Record, history: &'a History) -> Narrator<'a> {
        let seats = vec![None; record.members.len()];
        Narrator { record, history, seats, gave_up: Vec::new(), lines: Vec::new() }
    }

    /// What a member was at when it was told of last, if it runs.
    pub fn seat(&self, m: usize) -> Option<&'a Figures> {
        self.seats[m]
    }

    fn say(&mut self, at_ns: u64, text: &str) {
        self.lines.push(format!("{:>9.3} s  {text}", at_ns as f64 / 1e9));
    }

    pub fn take(&mut self, at_ns: u64, event: Event) {
        match event {
            Event::Frame(number) => self.frame(at_ns, &self.record.frames[number].what),
            Event::Call(op) => {
                let op = &self.history.ops[op];
                if self.is_told(op) && !is_short(op) {
                    self.say(at_ns, &format!("m{} is asked: {}", op.member, told::request(&op.request)));
                }
            }
            Event::Answered(number) => {
                let op = &self.history.ops[number];
                if self.is_told(op) && !self.gave_up.contains(&(number as u32)) {
                    self.answered(at_ns, op);
                }
            }
            Event::Taken(_) | Event::Passed(..) | Event::Broken => {}
        }
    }

    /// Requests of the last look are summed up at the end.
    fn is_told(&self, op: &Op) -> bool {
        op.call < self.history.calm_since
    }

    fn answered(&mut self, at_ns: u64, op: &Op) {
        let Some(answer) = &op.answer else { return };
        let revision = answer.revision().map_or(String::new(), |revision| format!(", revision {revision}"));
        let asked = told::request(&op.request);
        let said = told::answer(&answer.result);
        let open = match &answer.result {
            Err(status) if is_unknown(*status) => ". It may have happened or not",
            _ => "",
        };
        self.say(at_ns, &format!("m{} answers {asked}: {said}{revision}{open}", op.member));
    }

    fn frame(&mut self, at_ns: u64, what: &'a What) {
        match what {
            What::Figures(figures) => self.figures(at_ns, figures),
            What::Begins(span) => {
                let span = &self.record.spans[*span];
                match (span.kind, span.text.split_once(": ")) {
                    (SpanKind::Cut, Some((_, parts))) => {
                        self.say(at_ns, &format!("the network parts: {parts}"))
                    }
                    _ => self.say(at_ns, &span.text),
                }
            }
            What::Ends(_) => self.say(at_ns, "the network heals"),
            What::Note(note) if note.class == Class::Phase => match note.text.as_str() {
                "calm" => self.say(at_ns, "calm: nothing is disturbed any more, and progress is due"),
                _ => self.say(at_ns, "everybody is asked for everything once more"),
            },
            What::Note(note) if note.class == Class::Crash => {
                self.seats[note.member.expect("a process of a member ends")] = None;
                self.note(at_ns, &note.text);
            }
            What::Note(note) if is_told(&note.text) => self.say(at_ns, &note.text),
            What::GaveUp(number) => {
                let op = &self.history.ops[*number as usize];
                if self.is_told(op) {
                    self.gave_up.push(*number);
                    let asked = told::request(&op.request);
                    self.say(at_ns, &format!("m{} does not answer {asked}; its client gives up", op.member));
                }
            }
            _ => {}
        }
    }

    /// What happens to all at one moment is one line.
    fn note(&mut self, at_ns: u64, text: &str) {
        let without_name = text.split_once(' ').map_or(text, |(_, rest)| rest);
        let all = format!("{:>9.3} s  everybody {without_name}", at_ns as f64 / 1e9);
        let is_same = |line: &String| *line == all || line.ends_with(&format!("s  m0 {without_name}"));
        match self.lines.last_mut().filter(|line| is_same(line)) {
            Some(line) => *line = all,
            None => self.say(at_ns, text),
        }
    }

    fn figures(&mut self, at_ns: u64, figures: &'a Figures) {
        let m = figures.member;
        let before = self.seats[m].replace(figures);
        let led = before.is_some_and(|before| before.role == StateRole::Leader);
        let leads = figures.role == StateRole::Leader;
        let term = figures.term;
        if leads && !led {
            let others = self.seats.iter().flatten();
            let others: Vec<String> = others
                .filter(|other| other.member != m && other.role == StateRole::Leader)
                .map(|other| format!("; m{} believes to lead still, in term {}", other.member, other.term))
                .collect();
            self.say(at_ns, &format!("m{m} leads in term {term}{}", others.concat()));
        } else if led && !leads {
            let why = match before.is_some_and(|before| before.term < term) {
                true => format!("hears of term {term}"),
                false => "has heard no majority for an election timeout".to_owned(),
            };
            self.say(at_ns, &format!("m{m} {why} and steps down"));
        }
        let follows = figures.leader.filter(|leader| !leads && *leader != m);
        if let (Some(leader), Some(before)) = (follows, before)
            && before.leader != follows
            && before.term < term
            && before.term > 1
        {
            self.say(at_ns, &format!("m{m} follows m{leader} in term {term}"));
        }
    }

    fn end(&mut self) {
        let last: Vec<&Op> = self.history.ops.iter().filter(|op| !self.is_told(op)).collect();
        let answered = last.iter().filter(|op| op.answer.is_some()).count();
        let end_ns = self.history.end.at_ns;
        self.say(
            end_ns,
            &format!("{answered} of {} last requests are answered, on every member", last.len()),
        );
        let at = |figures: &Figures| (figures.applied, figures.revision, figures.term);
        let seats: Vec<_> = self.seats.iter().flatten().map(|figures| at(figures)).collect();
        if let Some(((applied, revision, term), rest)) = seats.split_first()
            && rest.iter().all(|seat| *seat == (*applied, *revision, *term))
            && let Some(digest) = self.history.digests.iter().rfind(|digest| digest.applied == *applied)
        {
            let (count, hash) = (seats.len(), digest.hash);
            let text = format!(
                "all {count} have applied entry {applied}: revision {revision}, State {hash:016x} on each"
            );
            self.say(end_ns, &text);
        }
    }
}

/// Notes of nodes that belong to the story.
fn is_told(text: &str) -> bool {
    text.contains("overwrites its log") || text.contains("takes over the State")
}

fn is_short(op: &Op) -> bool {
    op.answer.as_ref().is_some_and(|answer| answer.at.at_ns - op.call.at_ns < LONG_NS)
}
