//! A stretch of a run as a small SVG, for a document: lanes across, time rightwards, only what matters.
//!
//! Heartbeats, questions and appends without entries are left out, so that votes and replication show.

use std::fmt::Write;

use raft::StateRole;

use crate::history::Op;
use crate::record::{Fate, Letter, MailKind, Record, SpanKind, What};
use crate::world::Outcome;

const WIDTH: f64 = 900.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 34.0;
const LANE: f64 = 44.0;
/// Colours of terms, readable on white and on black.
const TERMS: [&str; 6] = ["#3d7dd8", "#d07a00", "#17936a", "#a855c8", "#0b98ab", "#d0527a"];
const VOTE: &str = "#8a2fb0";
const APPEND: &str = "#0062b1";
const LOST: &str = "#d0103a";
const GOOD: &str = "#0b8a4a";
const FAINT: &str = "#7a8490";

/// The picture of a recorded run between two moments of virtual time.
pub fn picture(outcome: &Outcome, from_ns: u64, to_ns: u64) -> String {
    let Some(record) = &outcome.record else { return String::new() };
    let members = record.members.len();
    let mut picture = Picture { from_ns, to_ns, bottom: TOP + LANE * members as f64, svg: String::new() };
    picture.frame(members);
    picture.cuts(record);
    for m in 0..members {
        picture.lane(record, m);
    }
    for letter in &record.letters {
        picture.letter(letter);
    }
    let ops = outcome.history.ops.iter().filter(|op| (from_ns..to_ns).contains(&op.call.at_ns));
    for op in ops {
        picture.op(op);
    }
    picture.svg.push_str("</svg>\n");
    picture.svg
}

struct Picture {
    from_ns: u64,
    to_ns: u64,
    bottom: f64,
    svg: String,
}

impl Picture {
    fn x(&self, at_ns: u64) -> f64 {
        let at_ns = at_ns.clamp(self.from_ns, self.to_ns);
        let share = (at_ns - self.from_ns) as f64 / (self.to_ns - self.from_ns).max(1) as f64;
        LEFT + share * (WIDTH - LEFT - RIGHT)
    }

    fn y(m: usize) -> f64 {
        TOP + LANE * (m as f64 + 0.5)
    }

    fn has(&self, from_ns: u64, until_ns: u64) -> bool {
        from_ns < self.to_ns && until_ns > self.from_ns
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.svg, "{element}").expect("a string takes everything");
    }

    fn text(&mut self, x: f64, y: f64, colour: &str, text: &str) {
        self.put(format_args!(r#"<text x="{x:.0}" y="{y:.0}" fill="{colour}">{text}</text>"#));
    }

    fn line(&mut self, (x0, y0): (f64, f64), (x1, y1): (f64, f64), style: &str) {
        self.put(format_args!(r#"<path d="M{x0:.1} {y0:.1}L{x1:.1} {y1:.1}" {style}/>"#));
    }

    fn frame(&mut self, members: usize) {
        let height = self.bottom + 24.0;
        self.put(format_args!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH:.0} {height:.0}" font-family="monospace" font-size="12">"#
        ));
        self.put(format_args!(r#"<rect width="{WIDTH:.0}" height="{height:.0}" fill="white"/>"#));
        let seconds = self.from_ns.div_ceil(1_000_000_000)..=self.to_ns / 1_000_000_000;
        for second in seconds {
            let x = self.x(second * 1_000_000_000);
            let (top, bottom) = (TOP - 6.0, self.bottom);
            self.line((x, top), (x, bottom), r##"stroke="#e2e6ea""##);
            self.text(x - 6.0, bottom + 16.0, FAINT, &format!("{second} s"));
        }
        for m in 0..members {
            self.text(12.0, Picture::y(m) + 4.0, "black", &format!("m{m}"));
        }
    }

    fn cuts(&mut self, record: &Record) {
        for span in record.spans.iter().filter(|span| span.kind == SpanKind::Cut) {
            let until_ns = span.until_ns.unwrap_or(self.to_ns);
            if !self.has(span.from_ns, until_ns) {
                continue;
            }
            let (x0, x1) = (self.x(span.from_ns), self.x(until_ns));
            let (top, height, width) = (TOP - 22.0, self.bottom - TOP + 22.0, x1 - x0);
            self.put(format_args!(
                r#"<rect x="{x0:.1}" y="{top:.0}" width="{width:.1}" height="{height:.0}" fill="{LOST}" opacity="0.08"/>"#
            ));
            self.text(x0 + 6.0, TOP - 8.0, LOST, &span.text);
        }
    }

    /// Role and term as width and colour.
    fn lane(&mut self, record: &Record, m: usize) {
        let figures = record.frames.iter().filter_map(|frame| match &frame.what {
            What::Figures(figures) if figures.member == m => {
                Some((frame.at.at_ns, figures.role, figures.term))
            }
            _ => None,
        });
        let mut phases: Vec<(u64, StateRole, u64)> = Vec::new();
        for (at_ns, role, term) in figures {
            if phases.last().is_none_or(|(_, known, at)| (*known, *at) != (role, term)) {
                phases.push((at_ns, role, term));
            }
        }
        for (place, (at_ns, role, term)) in phases.iter().enumerate() {
            let until_ns = phases.get(place + 1).map_or(self.to_ns, |next| next.0);
            if !self.has(*at_ns, until_ns) {
                continue;
            }
            let width = match role {
                StateRole::Leader => 12,
                StateRole::Candidate | StateRole::PreCandidate => 6,
                StateRole::Follower => 3,
            };
            let (x0, x1, y) = (self.x(*at_ns), self.x(until_ns), Picture::y(m));
            let colour = TERMS[*term as usize % TERMS.len()];
            self.line((x0, y), (x1, y), &format!(r#"stroke="{colour}" stroke-width="{width}""#));
            if *role == StateRole::Leader {
                self.text(x0 + 2.0, y - 10.0, "black", &format!("leader, term {term}"));
            }
        }
    }

    fn letter(&mut self, letter: &Letter) {
        let has_entries = !letter.text.contains("entries 0") && letter.text.contains("MsgAppend ");
        let colour = match letter.kind {
            MailKind::Vote => VOTE,
            MailKind::Append if has_entries => APPEND,
            _ => return,
        };
        if letter.sent_ns >= self.to_ns || letter.sent_ns < self.from_ns {
            return;
        }
        let (y0, y1) = (Picture::y(letter.from), Picture::y(letter.to));
        let start = (self.x(letter.sent_ns), y0);
        let style = format!(r#"stroke="{colour}" stroke-width="1" opacity="0.8""#);
        match (letter.fate, letter.ended_ns) {
            (Fate::Arrived, Some(ended_ns)) => self.line(start, (self.x(ended_ns), y1), &style),
            _ => {
                let (x, y) = (start.0, y0 + (y1 - y0).signum() * 12.0);
                self.line(start, (x, y), &style);
                let cross = format!(r#"stroke="{LOST}" stroke-width="1.5""#);
                self.line((x - 3.0, y - 3.0), (x + 3.0, y + 3.0), &cross);
                self.line((x - 3.0, y + 3.0), (x + 3.0, y - 3.0), &cross);
            }
        }
    }

    /// A request where it was asked: full if it was answered well, a ring if nobody can tell what came of it.
    fn op(&mut self, op: &Op) {
        let (x, y) = (self.x(op.call.at_ns), Picture::y(op.member));
        let is_good = op.answer.as_ref().is_some_and(|answer| answer.result.is_ok());
        let fill = if is_good { GOOD } else { "white" };
        self.put(format_args!(
            r#"<circle cx="{x:.1}" cy="{y:.1}" r="5" fill="{fill}" stroke="{GOOD}" stroke-width="2"/>"#
        ));
    }
}
