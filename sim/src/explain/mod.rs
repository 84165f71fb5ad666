//! A run as one page: a space-time diagram, what each member is at, and every event, step by step.
//!
//! The page is one file that needs nothing else: styles, scripts and the run itself stand in it, no name of a
//! host does. A run has some 100,000 events; the page has those around the failure (`Window`), its scripts
//! draw what is visible.

pub mod events;
mod picture;
mod tables;

pub use events::{Bound, Window};
pub use picture::picture;
use tables::Tables;

use crate::run::Failure;
use crate::world::Outcome;

/// What is to be explained.
pub struct Subject<'a> {
    /// The run in a line: profile, seed, members.
    pub about: String,
    /// `None`: all promises were kept.
    pub failure: Option<&'a Failure>,
    /// Of a world with a record.
    pub outcome: &'a Outcome,
    /// A line to paste.
    pub replay: String,
}

/// A page, and what it has.
pub struct Page {
    pub html: String,
    pub events: usize,
    pub of: usize,
}

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// In the order in which they need each other.
const SCRIPTS: [&str; 5] = [
    include_str!("run.js"),
    include_str!("diagram.js"),
    include_str!("draw.js"),
    include_str!("panels.js"),
    include_str!("page.js"),
];

impl Subject<'_> {
    /// The page of the events in a window. Errors: the world kept no record.
    pub fn page(&self, window: Window) -> Result<Page, String> {
        let record = self.outcome.record.as_ref().ok_or("this run was not recorded")?;
        let broken = self.failure.map(|failure| failure.violation.at);
        let all = events::merge(self.outcome, broken);
        let range = window.of(&all);
        if range.is_empty() {
            return Err(format!("nothing happens in that part of the run: it has {} events", all.len()));
        }
        let (events, of) = (range.len(), all.len());
        let run = Tables::new(self, record).write(&all, range).to_string();
        let mut failure = match self.failure {
            Some(failure) => failure.to_string(),
            None => format!("all promises kept\n run      {}\n replay   {}", self.about, self.replay),
        };
        let names = record.members.iter().enumerate().map(|(m, id)| format!("m{m} {id:x}"));
        failure.push_str(&format!("\n members  {}", names.collect::<Vec<_>>().join("  ")));
        let html = FRAME
            .replace("{{title}}", &escape(&self.about))
            .replace("{{state}}", if self.failure.is_some() { "broken" } else { "kept" })
            .replace("{{failure}}", &escape(&failure))
            .replace("{{style}}", STYLE)
            .replace("{{script}}", &SCRIPTS.concat())
            // The run comes last: what is in it is not looked at any more. No tag can end its element early.
            .replace("{{run}}", &run.replace('<', "\\u003c"));
        Ok(Page { html, events, of })
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
