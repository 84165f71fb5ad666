//! Everything that a run shows, in the order in which it happened, and which part of it a page has room for.

use crate::history::{History, Moment};
use crate::record::{Record, What};
use crate::world::Outcome;

/// Events in front of a failure that a page has, and behind it.
const BEFORE_MAX: usize = 30_000;
const BEHIND_MAX: usize = 3_000;

/// One event: what it is, and where it stands in the tables of record and history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Index into `Record::frames`.
    Frame(usize),
    /// Index into `History::ops`: asked, taken by the node, answered.
    Call(usize),
    Taken(usize),
    Answered(usize),
    /// Stream, and the place in what passed on it.
    Passed(usize, usize),
    /// The promise is broken here.
    Broken,
}

/// An event and when it happened.
#[derive(Clone, Copy, Debug)]
pub struct Happened {
    pub at: Moment,
    pub event: Event,
}

/// Everything, in order.
pub fn merge(outcome: &Outcome, broken: Option<Moment>) -> Vec<Happened> {
    let mut all: Vec<Happened> = from_history(&outcome.history).collect();
    if let Some(record) = &outcome.record {
        let frames = record.frames.iter().enumerate();
        all.extend(frames.map(|(number, frame)| Happened { at: frame.at, event: Event::Frame(number) }));
    }
    all.extend(broken.map(|at| Happened { at, event: Event::Broken }));
    // Stable: frames stand behind what the history has at the same place, the failure behind both.
    all.sort_by_key(|happened| happened.at.seq);
    all
}

fn from_history(history: &History) -> impl Iterator<Item = Happened> + '_ {
    let ops = history.ops.iter().enumerate().flat_map(|(number, op)| {
        let answered = op.answer.as_ref().map(|answer| (answer.at, Event::Answered(number)));
        let taken = op.arrived.map(|at| (at, Event::Taken(number)));
        [Some((op.call, Event::Call(number))), taken, answered].into_iter().flatten()
    });
    let streams = history.streams.iter().enumerate().flat_map(|(number, stream)| {
        stream.passed.iter().enumerate().map(move |(place, (at, _))| (*at, Event::Passed(number, place)))
    });
    ops.chain(streams).map(|(at, event)| Happened { at, event })
}

/// A place in a run, as a user names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bound {
    Turn(u64),
    /// Virtual time in ns.
    Time(u64),
}

impl Bound {
    /// `48100` is a turn; `12.7s` and `300ms` are times.
    pub fn parse(text: &str) -> Result<Bound, String> {
        let scaled = |number: &str, unit_ns: f64| match number.parse::<f64>() {
            Ok(number) if number >= 0.0 && number * unit_ns < 1e18 => {
                Ok(Bound::Time((number * unit_ns).round() as u64))
            }
            _ => Err(format!("{text} is no time; 12.7s and 300ms are")),
        };
        match (text.strip_suffix("ms"), text.strip_suffix('s')) {
            (Some(number), _) => scaled(number, 1e6),
            (None, Some(number)) => scaled(number, 1e9),
            (None, None) => match text.parse() {
                Ok(turn) => Ok(Bound::Turn(turn)),
                Err(_) => Err(format!("{text} is neither a turn (48100) nor a time (12.7s, 300ms)")),
            },
        }
    }

    /// Whether something happened before this place.
    fn is_behind(self, at: Moment) -> bool {
        match self {
            Bound::Turn(turn) => at.turn < turn,
            Bound::Time(ns) => at.at_ns < ns,
        }
    }
}

/// Which part of a run a page shows. What is not named is chosen around the failure, or from the beginning.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    pub from: Option<Bound>,
    pub to: Option<Bound>,
}

impl Window {
    /// The events of the window, as a range of `all`.
    pub fn of(&self, all: &[Happened]) -> std::ops::Range<usize> {
        let place = |bound: Bound| all.partition_point(|happened| bound.is_behind(happened.at));
        let broken = all.iter().position(|happened| happened.event == Event::Broken);
        let end = match (self.to, broken) {
            (Some(to), _) => place(to),
            (None, Some(broken)) => broken + 1 + BEHIND_MAX,
            (None, None) => self.from.map_or(0, place) + BEFORE_MAX,
        };
        let end = end.min(all.len());
        let start = match (self.from, broken) {
            (Some(from), _) => place(from),
            (None, Some(broken)) if broken < end => broken.saturating_sub(BEFORE_MAX),
            (None, _) => end.saturating_sub(BEFORE_MAX),
        };
        start.min(end)..end
    }
}

/// The newest figures of each member before a place: what a page shows before the first turn on it.
pub fn figures_before(record: &Record, before: &[Happened]) -> Vec<usize> {
    let mut newest: Vec<Option<usize>> = Vec::new();
    for happened in before {
        if let Event::Frame(number) = happened.event
            && let What::Figures(figures) = &record.frames[number].what
        {
            if newest.len() <= figures.member {
                newest.resize(figures.member + 1, None);
            }
            newest[figures.member] = Some(number);
        }
    }
    newest.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(count: u64, broken: Option<u64>) -> Vec<Happened> {
        (0..count)
            .map(|n| Happened {
                at: Moment { seq: n, at_ns: n * 1_000_000, turn: n / 2 },
                event: if broken == Some(n) { Event::Broken } else { Event::Call(0) },
            })
            .collect()
    }

    #[test]
    fn bounds_are_turns_and_times() {
        assert_eq!(Bound::parse("48100"), Ok(Bound::Turn(48100)));
        assert_eq!(Bound::parse("12.7s"), Ok(Bound::Time(12_700_000_000)));
        assert_eq!(Bound::parse("300ms"), Ok(Bound::Time(300_000_000)));
        for wrong in ["", "s", "-1s", "1e30s", "12.5", "nan s", "5m"] {
            assert!(Bound::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_window_stands_around_the_failure() {
        let all = moments(60_000, Some(40_000));
        let window = Window::default().of(&all);
        assert_eq!(window, 40_000 - BEFORE_MAX..40_001 + BEHIND_MAX);
        let to_the_end = Window { from: Some(Bound::Turn(14_000)), to: None }.of(&all);
        assert_eq!(to_the_end, 28_000..40_001 + BEHIND_MAX);
        let early = Window { from: None, to: Some(Bound::Time(5_000_000)) }.of(&all);
        assert_eq!(early, 0..5);
    }

    #[test]
    fn a_window_without_failure_begins_at_the_beginning() {
        let all = moments(40_000, None);
        assert_eq!(Window::default().of(&all), 0..BEFORE_MAX);
        let nothing = Window { from: Some(Bound::Turn(9)), to: Some(Bound::Turn(3)) }.of(&all);
        assert!(nothing.is_empty());
    }
}
