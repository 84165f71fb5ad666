//! A scripted run as a tale: what happened, in its order, without times and without numbers that any change moves.
//!
//! Meant for tests that keep it as a text: whoever changes the core sees in the difference how the protocol goes
//! another way now.

use super::narrate::Narrator;
use crate::explain::events::{Event, merge};
use crate::history::Passed;
use crate::plan::step::{Action, Group, MailFilter, Seizure, Who};
use crate::record::{Class, Fate, Letter, What};
use crate::told;
use crate::world::Outcome;

/// Lines of a recorded run, up to the calm. What is said again and again is one line.
pub fn tale(outcome: &Outcome) -> Vec<String> {
    let Some(record) = &outcome.record else { return Vec::new() };
    let mut teller = Teller {
        narrator: Narrator::new(record, &outcome.history),
        mail: Vec::new(),
        held: Vec::new(),
        lines: Vec::new(),
    };
    let mut deeds = outcome.deeds.done.iter().peekable();
    let calm = outcome.history.calm_since;
    for happened in merge(outcome, None).into_iter().filter(|happened| happened.at < calm) {
        while let Some(deed) = deeds.next_if(|deed| deed.at.seq <= happened.at.seq) {
            teller.deed(deed.name.as_deref(), &deed.action);
        }
        teller.take(happened.at.at_ns, happened.event);
    }
    teller.lines.iter().map(Line::to_text).collect()
}

struct Teller<'a> {
    narrator: Narrator<'a>,
    /// What a script does with mail: its name and what it is about.
    mail: Vec<(String, String)>,
    /// What was told of held mail since the script last did something with mail.
    held: Vec<String>,
    lines: Vec<Line>,
}

/// A line, and how often it was said.
struct Line {
    text: String,
    /// The revision that ends it, of the first and of the last time.
    revisions: Option<(String, String)>,
    times: u32,
}

impl Line {
    fn to_text(&self) -> String {
        let Line { text, revisions, times } = self;
        let revision = match revisions {
            Some((first, last)) if first != last => format!(", revisions {first} to {last}"),
            Some((first, _)) => format!(", revision {first}"),
            None => String::new(),
        };
        let times = if *times > 1 { format!(" ({times} times)") } else { String::new() };
        format!("{text}{revision}{times}")
    }
}

impl Teller<'_> {
    fn say(&mut self, whole: &str) {
        let (text, revision) = match whole.rsplit_once(", revision ") {
            Some((text, revision)) => (text, Some(revision.to_owned())),
            None => (whole, None),
        };
        if let Some(last) = self.lines.last_mut().filter(|last| last.text == text) {
            last.times += 1;
            match (&mut last.revisions, revision) {
                (Some((_, until)), Some(revision)) => *until = revision,
                (revisions, revision) => *revisions = revision.map(|at| (at.clone(), at)),
            }
            return;
        }
        let revisions = revision.map(|at| (at.clone(), at));
        self.lines.push(Line { text: text.to_owned(), revisions, times: 1 });
    }

    fn take(&mut self, at_ns: u64, event: Event) {
        match event {
            Event::Frame(number) => self.frame(number),
            Event::Passed(stream, place) => {
                let stream = &self.narrator.history.streams[stream];
                let (m, passed) = (stream.member, &stream.passed[place].1);
                match passed {
                    Passed::Op(holdfast_core::boundary::StreamOp::Credit { .. }) => {}
                    Passed::Op(_) => self.say(&format!("m{m} is asked: {}", told::passed(passed))),
                    Passed::Delivered(..) => self.say(&format!("m{m} tells: {}", told::passed(passed))),
                }
            }
            _ => {}
        }
        self.narrator.take(at_ns, event);
        for line in std::mem::take(&mut self.narrator.lines) {
            // A place in the log is where this version of the program happens to be.
            let text = line.get(TIME_COLUMNS..).unwrap_or_default();
            let text = text.split_once(" of entry ").map_or(text, |(text, _)| text);
            let text = text.split_once(" from entry ").map_or(text, |(text, _)| text);
            self.say(text);
        }
    }

    fn frame(&mut self, number: usize) {
        match &self.narrator.record.frames[number].what {
            What::Figures(figures) => {
                let before = self.narrator.seat(figures.member);
                let is_new =
                    before.is_none_or(|before| (before.term, before.vote) != (figures.term, figures.vote));
                if let Some(vote) = figures.vote.filter(|vote| is_new && *vote != figures.member)
                    && before.is_some()
                {
                    self.say(&format!("m{} votes for m{vote} in term {}", figures.member, figures.term));
                }
            }
            What::Sent(letter) => {
                let letter = self.narrator.record.letters[*letter].clone();
                self.letter(&letter);
            }
            What::Note(note) if note.class == Class::Start && !note.text.contains("State at entry 0") => {
                let m = note.member.expect("a process of a member begins");
                self.say(&match note.text.contains("is refused") {
                    true => format!("the directory of m{m} is refused"),
                    false => format!("m{m} is back"),
                });
            }
            What::Note(note) if note.class == Class::Disk => {
                let m = note.member.expect("a disk belongs to a member");
                let what = if note.text.contains("flips") { "a bit flips" } else { "an operation fails" };
                self.say(&format!("on the disk of m{m} {what}"));
            }
            _ => {}
        }
    }

    /// Mail that a script holds back, each kind on each way once until the script does something with mail again.
    /// What it drops is told by the rule.
    fn letter(&mut self, letter: &Letter) {
        if letter.fate != Fate::Held {
            return;
        }
        let kind = letter.text.split([' ', '(', ':']).next().unwrap_or_default();
        let text = format!("m{} => m{} {kind} is held back", letter.from, letter.to);
        if !self.held.contains(&text) {
            self.say(&text);
            self.held.push(text);
        }
    }

    fn deed(&mut self, name: Option<&str>, action: &Action) {
        let known = |teller: &Teller, name: &str| {
            let found = teller.mail.iter().find(|(known, _)| known == name);
            found.map_or("mail".to_owned(), |(_, what)| what.clone())
        };
        let text = match action {
            Action::Seize { seizure, filter } => {
                let what = describe(filter);
                self.mail.push((name.unwrap_or_default().to_owned(), what.clone()));
                let fate = match seizure {
                    Seizure::Hold => "held back",
                    Seizure::Copy => "copied",
                    Seizure::Drop => "dropped",
                };
                format!("from here on {what} is {fate}")
            }
            Action::Release { name, count: u64::MAX, .. } => format!("{} is let go", known(self, name)),
            Action::Release { name, count, .. } => {
                format!("the first {count} of {} is let go", known(self, name))
            }
            Action::Heal(Some(name)) if name.starts_with("mail") => {
                format!("{} goes its way again", known(self, name))
            }
            Action::Heal(None) if !self.mail.is_empty() => "all mail goes its way again".to_owned(),
            Action::Clock { member: Who::Number(m), rate } => format!("the clock of m{m} runs at {rate}"),
            _ => return,
        };
        self.held.clear();
        self.say(&text);
    }
}

/// Width of the time in front of a line.
const TIME_COLUMNS: usize = 13;

fn describe(filter: &MailFilter) -> String {
    let MailFilter { kind, from, to, .. } = filter;
    let side = |word: &str, group: &Option<Group>| match group {
        Some(Group::Of(members)) => {
            let members: Vec<String> = members.iter().map(name).collect();
            format!(" {word} {}", members.join(" "))
        }
        _ => String::new(),
    };
    format!("{}{}{}", kind.unwrap_or("mail"), side("from", from), side("to", to))
}

fn name(who: &Who) -> String {
    match who {
        Who::Number(m) => format!("m{m}"),
        other => format!("{other:?}"),
    }
}
