//! The tables that a page is made from, as JSON: one row an array, texts by number, times in ns, -1 for none.
//!
//! Shape: the columns of each table stand beside its function here and in `run.js`, which reads them.

use std::collections::BTreeMap;

use raft::StateRole;
use serde_json::{Value, json};

use super::Subject;
use super::events::{Event, Happened, figures_before};
use crate::check::matching::is_unknown;
use crate::history::{Moment, Op};
use crate::record::{Class, Fate, Figures, Letter, MailKind, Note, Record, Span, SpanKind, What};
use crate::told;

/// Texts, each once.
#[derive(Default)]
struct Texts {
    numbers: BTreeMap<String, usize>,
    texts: Vec<String>,
}

impl Texts {
    fn number(&mut self, text: String) -> usize {
        if let Some(number) = self.numbers.get(&text) {
            return *number;
        }
        self.numbers.insert(text.clone(), self.texts.len());
        self.texts.push(text);
        self.texts.len() - 1
    }
}

/// A table of rows that are picked by their number elsewhere.
#[derive(Default)]
struct Table {
    rows: Vec<Value>,
    places: BTreeMap<usize, usize>,
}

impl Table {
    /// Place of the row in the page, which is made if it is not there yet.
    fn place(&mut self, number: usize, row: impl FnOnce() -> Value) -> usize {
        *self.places.entry(number).or_insert_with(|| {
            self.rows.push(row());
            self.rows.len() - 1
        })
    }
}

/// What is written of one run.
pub struct Tables<'a> {
    subject: &'a Subject<'a>,
    record: &'a Record,
    /// When clients gave up, by op.
    gave_up: BTreeMap<usize, Moment>,
    texts: Texts,
    figures: Table,
    letters: Table,
    ops: Table,
    passed: Vec<Value>,
    notes: Vec<Value>,
    decided: Vec<Value>,
    /// Kind and place, one behind the other.
    events: Vec<usize>,
}

impl<'a> Tables<'a> {
    pub fn new(subject: &'a Subject<'a>, record: &'a Record) -> Tables<'a> {
        let gave_up = record.frames.iter().filter_map(|frame| match frame.what {
            What::GaveUp(op) => Some((op as usize, frame.at)),
            _ => None,
        });
        Tables {
            subject,
            record,
            gave_up: gave_up.collect(),
            texts: Texts::default(),
            figures: Table::default(),
            letters: Table::default(),
            ops: Table::default(),
            passed: Vec::new(),
            notes: Vec::new(),
            decided: Vec::new(),
            events: Vec::new(),
        }
    }

    /// Everything of the events in `window`.
    pub fn write(mut self, all: &[Happened], window: std::ops::Range<usize>) -> Value {
        for number in figures_before(self.record, &all[..window.start]) {
            self.frame_figures(number);
        }
        let figures_before = self.figures.rows.len();
        for happened in &all[window.clone()] {
            let (kind, place) = self.event(happened);
            self.events.extend([kind, place]);
        }
        let record = self.record;
        let spans: Vec<Value> = record.spans.iter().map(|span| self.span(span)).collect();
        let history = &self.subject.outcome.history;
        let lives = history.lives.iter();
        let lives: Vec<Value> = lives
            .map(|life| {
                json!([life.member, life.from.at_ns, life.until.map_or(-1, |until| until.at_ns as i64)])
            })
            .collect();
        let at = |place: usize| all.get(place).map_or(history.end, |happened| happened.at);
        let (from, to) = (at(window.start), at(window.end));
        let members = record.members.iter().map(|id| format!("{id:x}"));
        json!({
            "failure": self.failure(),
            "about": self.subject.about,
            "replay": self.subject.replay,
            "members": members.collect::<Vec<_>>(),
            "clients": history.ops.iter().map(|op| op.client + 1).max().unwrap_or(0),
            "run": { "end": history.end.at_ns, "turns": history.end.turn, "events": all.len() },
            "window": {
                "from": from.at_ns, "to": to.at_ns, "fromTurn": from.turn, "toTurn": to.turn,
                "before": window.start, "behind": all.len() - window.end,
            },
            "kinds": MailKind::ALL.map(MailKind::name),
            "fates": Fate::ALL.map(Fate::name),
            "texts": self.texts.texts,
            "lives": lives,
            "spans": spans,
            "figuresBefore": figures_before,
            "figures": self.figures.rows,
            "letters": self.letters.rows,
            "ops": self.ops.rows,
            "passed": self.passed,
            "notes": self.notes,
            "decided": self.decided,
            "events": self.events,
        })
    }

    /// The broken promise: its text, its place, and the members and the op that it is about.
    fn failure(&mut self) -> Value {
        let Some(failure) = self.subject.failure else { return Value::Null };
        let at = failure.violation.at;
        let what = &failure.violation.what;
        let ids = self.record.members.iter().enumerate();
        let members: Vec<usize> = ids
            .filter(|(m, id)| names_member(what, *m) || what.contains(&format!("{id:x}")))
            .map(|(m, _)| m)
            .collect();
        let is_its = |op: &Op| {
            let answered = op.answer.as_ref().map(|answer| answer.at);
            [Some(op.call), op.arrived, answered].contains(&Some(at))
        };
        let op = self.subject.outcome.history.ops.iter().position(is_its);
        let op = op.map(|number| self.op(number));
        json!({
            "text": failure.to_string(), "check": failure.violation.check, "at": at.at_ns, "turn": at.turn,
            "members": members, "op": op,
        })
    }

    /// Kinds of events, as `run.js` counts them.
    fn event(&mut self, happened: &Happened) -> (usize, usize) {
        match happened.event {
            Event::Frame(number) => self.frame(number),
            Event::Call(op) => (9, self.op(op)),
            Event::Taken(op) => (10, self.op(op)),
            Event::Answered(op) => (11, self.op(op)),
            Event::Passed(stream, place) => (12, self.pass(stream, place)),
            Event::Broken => (13, 0),
        }
    }

    fn frame(&mut self, number: usize) -> (usize, usize) {
        let record = self.record;
        let frame = &record.frames[number];
        match &frame.what {
            What::Figures(_) => (0, self.frame_figures(number)),
            What::Sent(letter) => (1, self.letter(*letter)),
            What::Ended(letter) => (2, self.letter(*letter)),
            What::Begins(span) => (3, *span),
            What::Ends(span) => (4, *span),
            What::Decided { member, index } => (5, self.decide(frame.at, *member, *index)),
            What::Note(note) => (6, self.note(frame.at, note)),
            What::GaveUp(op) => (7, self.op(*op as usize)),
            What::AnswerLost(op) => (8, self.op(*op as usize)),
        }
    }

    /// at, turn, member, role, term, vote, leader, last, durable, committed, applied, revision, compact, leases,
    /// deadline
    fn frame_figures(&mut self, number: usize) -> usize {
        let frame = &self.record.frames[number];
        let What::Figures(figures) = &frame.what else { unreachable!("the frame has figures") };
        let Figures { member, term, last, durable, committed, applied, .. } = **figures;
        let Figures { revision, compact_revision, leases, .. } = **figures;
        let deadline = figures.lease_deadline_ns.map_or(-1, |ns| ns as i64);
        let (vote, leader) = (none(figures.vote), none(figures.leader));
        let role = match figures.role {
            StateRole::Follower => 0,
            StateRole::PreCandidate => 1,
            StateRole::Candidate => 2,
            StateRole::Leader => 3,
        };
        let (at_ns, turn) = (frame.at.at_ns, frame.at.turn);
        self.figures.place(number, || {
            json!([
                at_ns,
                turn,
                member,
                role,
                term,
                vote,
                leader,
                last,
                durable,
                committed,
                applied,
                revision,
                compact_revision,
                leases,
                deadline
            ])
        })
    }

    /// from, to, kind, sent, ended, fate, flags (1 a copy, 2 late), text
    fn letter(&mut self, number: usize) -> usize {
        let Letter { from, to, kind, text, sent_ns, ended_ns, fate, is_copy, is_late } =
            &self.record.letters[number];
        let kind = MailKind::ALL.iter().position(|known| known == kind);
        let fate = Fate::ALL.iter().position(|known| known == fate);
        let flags = u8::from(*is_copy) | u8::from(*is_late) << 1;
        let ended = ended_ns.map_or(-1, |ns| ns as i64);
        let texts = &mut self.texts;
        self.letters.place(number, || {
            json!([from, to, none(kind), sent_ns, ended, none(fate), flags, texts.number(text.clone())])
        })
    }

    /// client, member, call, taken, end, outcome (0 none, 1 ok, 2 refused, 3 open), text, answer, revision
    fn op(&mut self, number: usize) -> usize {
        let history = &self.subject.outcome.history;
        let op = &history.ops[number];
        let answer = op.answer.as_ref();
        let outcome = match answer.map(|answer| &answer.result) {
            None => 0,
            Some(Ok(_)) => 1,
            Some(Err(status)) if !is_unknown(*status) => 2,
            Some(Err(_)) => 3,
        };
        let end = answer
            .map(|answer| answer.at)
            .or(self.gave_up.get(&number).copied())
            .or(history.lives[op.life].until)
            .map_or(-1, |at| at.at_ns as i64);
        let taken = op.arrived.map_or(-1, |at| at.at_ns as i64);
        let revision = answer.and_then(|answer| answer.revision()).unwrap_or(-1);
        let texts = &mut self.texts;
        self.ops.place(number, || {
            let text = texts.number(told::request(&op.request));
            let told = answer.map_or(-1, |answer| texts.number(told::answer(&answer.result)) as i64);
            json!([op.client, op.member, op.call.at_ns, taken, end, outcome, text, told, revision])
        })
    }

    /// at, stream, member, whether the node says it, text
    fn pass(&mut self, stream: usize, place: usize) -> usize {
        let known = &self.subject.outcome.history.streams[stream];
        let (at, passed) = &known.passed[place];
        let is_delivery = matches!(passed, crate::history::Passed::Delivered(..));
        let text = self.texts.number(told::passed(passed));
        self.passed.push(json!([at.at_ns, stream, known.member, u8::from(is_delivery), text]));
        self.passed.len() - 1
    }

    /// at, turn, member, index, term, text
    fn decide(&mut self, at: Moment, member: usize, index: u64) -> usize {
        let entry = &self.subject.outcome.history.log[index as usize - 1];
        let text = self.texts.number(told::decree(&entry.decree));
        self.decided.push(json!([at.at_ns, at.turn, member, index, entry.term, text]));
        self.decided.len() - 1
    }

    /// at, turn, member, class, text
    fn note(&mut self, at: Moment, note: &Note) -> usize {
        let class = match note.class {
            Class::Crash => 0,
            Class::Start => 1,
            Class::Disk => 2,
            Class::Phase => 3,
            Class::Node => 4,
            Class::Step => 5,
        };
        let text = self.texts.number(note.text.clone());
        self.notes.push(json!([at.at_ns, at.turn, none(note.member), class, text]));
        self.notes.len() - 1
    }

    /// kind, members, links, text, from, until
    fn span(&mut self, span: &Span) -> Value {
        let kind = match span.kind {
            SpanKind::Cut => 0,
            SpanKind::Clog => 1,
            SpanKind::Pause => 2,
        };
        let text = self.texts.number(span.text.clone());
        let until = span.until_ns.map_or(-1, |ns| ns as i64);
        json!([kind, span.members, span.links, text, span.from_ns, until])
    }
}

fn none(number: Option<usize>) -> i64 {
    number.map_or(-1, |number| number as i64)
}

/// Whether a text names member `m0` and not only `m01`.
fn names_member(text: &str, m: usize) -> bool {
    let name = format!("m{m}");
    text.match_indices(&name).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let behind = text[at + name.len()..].chars().next();
        !before.is_some_and(char::is_alphanumeric) && !behind.is_some_and(char::is_alphanumeric)
    })
}
