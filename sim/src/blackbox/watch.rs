//! Watch streams by themselves, and what they demand of each revision.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use holdfast_core::base::{KeyRange, WatchId};
use holdfast_core::boundary::{Event, EventKind, StreamOp, WatchCreate, WatchResponse};

use super::history::{ClientHistory, Passed, Time};
use super::{Conflict, Counted};
use crate::oracle::store::{Change, Store};

/// One watch, from its creation to its end: what it was told of the revisions that it covers.
pub struct Watched {
    range: KeyRange,
    create: WatchCreate,
    /// The first revision that it covers, and the first that it does not.
    from: i64,
    next: i64,
    /// Events as delivered, by revision.
    events: BTreeMap<i64, Vec<(Event, Time)>>,
    /// When it was created and when it was last told something: what is compacted before, it may miss.
    last: Time,
    /// Whether its stream was left in peace until the end, and the watch on it.
    lives_to_end: bool,
}

/// Walks every stream. Errors: what is wrong whatever happened: order, repetition, cut revisions, answers to
/// nobody, broken promises of progress.
pub fn walk(
    history: &ClientHistory,
    compactions: &[(i64, Time)],
    counted: &mut Counted,
) -> Result<Vec<Watched>, Conflict> {
    let mut done = Vec::new();
    for stream in &history.streams {
        let mut walk = Walk::default();
        for (at, passed) in &stream.passed {
            let step = match passed {
                Passed::Asked(op) => {
                    walk.on_op(op);
                    Ok(())
                }
                Passed::Told(response) => walk.on_told(response, *at, compactions),
            };
            step.map_err(|what| Conflict::of("blackbox_watch_order", what, []))?;
        }
        for watched in walk.open.values_mut() {
            watched.lives_to_end = stream.lives_to_end;
        }
        done.extend(walk.ended);
        done.extend(walk.open.into_values());
    }
    let events = done.iter().flat_map(|watched| watched.events.values()).map(|events| events.len() as u64);
    counted.events = events.sum();
    Ok(done)
}

#[derive(Default)]
struct Walk {
    creates: VecDeque<WatchCreate>,
    progress_asked: u64,
    open: BTreeMap<i64, Watched>,
    ended: Vec<Watched>,
    /// Watches that compaction ended: their client's cancel may still be answered.
    compacted: BTreeSet<i64>,
}

impl Walk {
    fn on_op(&mut self, op: &StreamOp) {
        match op {
            StreamOp::Create(create) => self.creates.push_back(create.clone()),
            StreamOp::Progress => self.progress_asked += 1,
            StreamOp::Cancel { .. } | StreamOp::Open { .. } | StreamOp::Credit { .. } | StreamOp::Close => {}
        }
    }

    fn on_told(
        &mut self,
        response: &WatchResponse,
        at: Time,
        compactions: &[(i64, Time)],
    ) -> Result<(), String> {
        if response.created {
            return self.on_created(response, at);
        }
        let id = response.watch_id.0;
        if response.watch_id == WatchId(-1) && response.events.is_empty() && !response.canceled {
            if self.progress_asked == 0 {
                return Err(format!("{response:?} was not asked for"));
            }
            self.progress_asked -= 1;
            return self.open.values_mut().try_for_each(|watched| watched.on_progress(response, at));
        }
        if response.canceled && response.compact_revision == 0 {
            let is_known = self.end(id) || self.compacted.remove(&id);
            return if is_known { Ok(()) } else { Err(format!("{response:?} is for no watch")) };
        }
        let Some(watched) = self.open.get_mut(&id) else {
            return Err(format!("{response:?} is for no watch"));
        };
        if response.canceled {
            let compact = response.compact_revision;
            let is_asked = compactions.iter().any(|(to, from)| *to == compact && from.order < at.order);
            if !is_asked || watched.next >= compact {
                return Err(format!("{response:?}: the watch is at {}", watched.next));
            }
            self.end(id);
            self.compacted.insert(id);
            return Ok(());
        }
        if response.events.is_empty() {
            return match watched.create.progress_notify {
                true => watched.on_progress(response, at),
                false => Err(format!("{response:?} was not wanted")),
            };
        }
        watched.on_events(response, at)
    }

    fn on_created(&mut self, response: &WatchResponse, at: Time) -> Result<(), String> {
        let Some(create) = self.creates.pop_front() else {
            return Err(format!("{response:?} answers no create"));
        };
        if response.canceled {
            return Ok(());
        }
        let id = response.watch_id.0;
        if id < 0 || self.open.contains_key(&id) || !response.events.is_empty() {
            return Err(format!("{response:?} must be a new watch without events"));
        }
        let from = if create.start_revision > 0 { create.start_revision } else { response.revision + 1 };
        let key = if create.key.is_empty() { Bytes::from_static(&[0]) } else { create.key.clone() };
        let range = KeyRange::new(key, create.range_end.clone());
        let events = BTreeMap::new();
        let watched = Watched { range, create, from, next: from, events, last: at, lives_to_end: false };
        self.open.insert(id, watched);
        Ok(())
    }

    fn end(&mut self, id: i64) -> bool {
        let gone = self.open.remove(&id);
        let is_known = gone.is_some();
        self.ended.extend(gone);
        is_known
    }
}

impl Watched {
    /// A promise that everything up to a revision has been told.
    fn on_progress(&mut self, response: &WatchResponse, at: Time) -> Result<(), String> {
        if response.revision + 1 < self.next {
            return Err(format!("{response:?} goes back: the watch is at {}", self.next));
        }
        self.next = response.revision + 1;
        self.last = at;
        Ok(())
    }

    /// A batch of whole revisions behind all that came before.
    fn on_events(&mut self, response: &WatchResponse, at: Time) -> Result<(), String> {
        let mut revision = self.next;
        for event in response.events.iter() {
            if event.kv.mod_revision < revision {
                return Err(format!("{event:?} is out of order or came again: the watch is at {revision}"));
            }
            revision = event.kv.mod_revision;
            self.events.entry(revision).or_default().push((event.clone(), at));
        }
        if revision > response.revision {
            return Err(format!("{response:?} is ahead of its own revision"));
        }
        self.next = revision + 1;
        self.last = at;
        Ok(())
    }

    /// What lives to the end is told all that was seen.
    pub fn end_at(&mut self, newest: i64) {
        if self.lives_to_end {
            self.next = self.next.max(newest + 1);
            self.last = Time::NEVER;
        }
    }

    /// Whether what was told of a revision is what the store has of it.
    pub fn check(&self, store: &Store, revision: i64, compactions: &[(i64, Time)]) -> Result<(), String> {
        if revision < self.from || revision >= self.next {
            return Ok(());
        }
        let told = self.events.get(&revision).map_or(&[][..], |told| &told[..]);
        let changes = store.changes(revision);
        let by = told.last().map_or(self.last, |(_, at)| *at);
        let is_compacted = compactions.iter().any(|(to, from)| *to == revision && from.order < by.order);
        let mut told = told.iter().peekable();
        for change in changes.iter().filter(|change| self.wants(change)) {
            // Compaction keeps only the last change of a key at its own revision.
            let is_replaced = changes.iter().any(|c| c.kv.key == change.kv.key && c.sub > change.sub);
            match told.peek() {
                Some((event, at)) if event.kind == change.kind && event.kv == change.kv => {
                    self.check_prev(store, event, *at, compactions)?;
                    told.next();
                }
                _ if is_replaced && is_compacted => {}
                other => return Err(format!("a watch must be told {change:?}, got {other:?}")),
            }
        }
        match told.next() {
            Some((event, _)) => Err(format!("{event:?} is no event of revision {revision} for this watch")),
            None => Ok(()),
        }
    }

    fn wants(&self, change: &Change) -> bool {
        let is_filtered = match change.kind {
            EventKind::Put => self.create.no_put,
            EventKind::Delete => self.create.no_delete,
        };
        !is_filtered && self.range.contains(&change.kv.key)
    }

    /// The value before an event: exact, or absent where compaction may have taken it (WATCH-16).
    fn check_prev(
        &self,
        store: &Store,
        event: &Event,
        at: Time,
        compactions: &[(i64, Time)],
    ) -> Result<(), String> {
        let before = event.kv.mod_revision - 1;
        let is_create = event.kind == EventKind::Put && event.kv.create_revision == event.kv.mod_revision;
        let wanted = self.create.prev_kv && !is_create;
        let expected = if wanted { store.get(&event.kv.key, before) } else { None };
        let may_be_gone = || compactions.iter().any(|(to, from)| *to > before && from.order < at.order);
        match &event.prev_kv {
            got if got.as_ref() == expected => Ok(()),
            None if may_be_gone() => Ok(()),
            _ => Err(format!("{event:?} must have prev_kv {expected:?}")),
        }
    }
}
