//! Watches against the events of the log: ordered, unique, without gaps, whole revisions, kept promises.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use holdfast_core::base::{KeyRange, WatchId};
use holdfast_core::boundary::{Event, EventKind, StreamOp, WatchCreate, WatchResponse};
use holdfast_core::request::{Credentials, RangeRequest, Request};
use holdfast_core::status::Status;

use super::{Checked, Truth, Violation, auth};
use crate::history::{History, Moment, Passed, Stream};
use crate::oracle::model::View;
use crate::oracle::store::{Change, Store};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const DUPLICATE_ID: &str = "mvcc: duplicate watch ID provided on the WatchStream";
const EMPTY_RANGE: &str = "mvcc: watcher range is empty";
/// What is refused for want of rights, and how clients read it.
const RIGHTS: [(Status, &str); 4] = [
    (Status::UserEmpty, "rpc error: code = InvalidArgument desc = etcdserver: user name is empty"),
    (
        Status::AuthOldRevision,
        "rpc error: code = InvalidArgument desc = etcdserver: revision of auth store is old",
    ),
    (Status::InvalidAuthToken, "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token"),
    (Status::PermissionDenied, "rpc error: code = PermissionDenied desc = etcdserver: permission denied"),
];

/// A watcher as its client knows it.
struct Watcher {
    range: KeyRange,
    create: WatchCreate,
    /// Every matching event below this revision has been delivered.
    next: i64,
    /// Cancelled by a compaction, and not by the client.
    is_compacted: bool,
    /// When anything came on it last, in ns.
    heard_ns: u64,
}

/// What the node must answer on a stream, in this order.
enum Control {
    Create(WatchCreate, Moment),
    Cancel(WatchId),
}

/// A stream being walked.
struct Walk<'a> {
    truth: &'a Truth,
    credentials: Credentials,
    watchers: BTreeMap<i64, Watcher>,
    controls: VecDeque<Control>,
    next_auto_id: i64,
    /// Progress requests not yet answered; they need not be.
    progress_asked: u64,
    checked: &'a mut Checked,
}

pub fn check(history: &History, truth: &Truth, checked: &mut Checked) -> Result<(), Violation> {
    let reached = reached_by_life(history);
    for stream in &history.streams {
        let mut walk = Walk {
            truth,
            credentials: Credentials::None,
            watchers: BTreeMap::new(),
            controls: VecDeque::new(),
            next_auto_id: 0,
            progress_asked: 0,
            checked,
        };
        for (at, passed) in &stream.passed {
            let step = match passed {
                Passed::Op(op) => {
                    walk.on_op(op, *at);
                    Ok(())
                }
                Passed::Delivered(response, applied) => {
                    let place = (*applied as usize).min(truth.model.position());
                    let (view, reached) = (truth.model.at(place), &reached[stream.life]);
                    let here = Here { view, at_ns: at.at_ns, reached };
                    walk.on_delivery(response, &here)
                }
            };
            step.map_err(|what| Violation { check: "watch", what, at: *at })?;
        }
        // Who does not know that it was removed has no news to tell of.
        let end = truth.model.at(truth.model.position());
        if history.ids.get(stream.member).is_none_or(|id| end.roster().get(*id).is_some()) {
            let watched = Watched::of(history, stream);
            walk.check_progress(&watched).map_err(|what| Violation {
                check: "watch",
                what,
                at: history.end,
            })?;
        }
        walk.finish(stream).map_err(|what| Violation { check: "watch", what, at: history.end })?;
    }
    Ok(())
}

/// For each life: moments at which somebody learned how far its node had applied at least.
fn reached_by_life(history: &History) -> Vec<Vec<(u64, i64)>> {
    let mut reached = vec![Vec::new(); history.lives.len()];
    for op in &history.ops {
        let Some(answer) = &op.answer else { continue };
        if let Some(revision) = answer.revision() {
            reached[op.life].push((answer.at.seq, revision));
        }
    }
    for list in &mut reached {
        list.sort_unstable();
        let mut most = 0;
        for (_, revision) in list.iter_mut() {
            most = most.max(*revision);
            *revision = most;
        }
    }
    reached
}

/// When a stream was in peace: what it was owed on time.
struct Watched {
    from_ns: u64,
    until_ns: u64,
    /// Longest silence of an idle watch.
    silence_ns: u64,
    /// Entries decided when the calm began.
    decided: usize,
}

impl Watched {
    fn of(history: &History, stream: &Stream) -> Watched {
        let closed = stream.passed.iter().find(|(_, passed)| matches!(passed, Passed::Op(StreamOp::Close)));
        let until = closed.map_or(history.end, |(at, _)| *at);
        let until = until.min(history.lives[stream.life].until.unwrap_or(history.end));
        Watched {
            from_ns: history.calm_since.at_ns + history.terms.progress_slack_ns,
            until_ns: until.at_ns,
            silence_ns: history.terms.progress_ns,
            decided: history.log.iter().take_while(|entry| entry.seen < history.calm_since).count(),
        }
    }
}

/// Where a delivery was made.
struct Here<'a> {
    /// The furthest state that the node can have seen.
    view: View<'a>,
    at_ns: u64,
    reached: &'a [(u64, i64)],
}

impl Here<'_> {
    /// The revision that the node had answered before `moment`.
    fn revision_known_at(&self, moment: Moment) -> i64 {
        let end = self.reached.partition_point(|(seq, _)| *seq < moment.seq);
        end.checked_sub(1).map_or(0, |i| self.reached[i].1)
    }
}

impl Walk<'_> {
    fn on_op(&mut self, op: &StreamOp, at: Moment) {
        match op {
            StreamOp::Create(create) => self.controls.push_back(Control::Create(create.clone(), at)),
            StreamOp::Cancel { watch_id } => self.controls.push_back(Control::Cancel(*watch_id)),
            StreamOp::Progress => self.progress_asked += 1,
            StreamOp::Open { credentials } => self.credentials = credentials.clone(),
            StreamOp::Credit { .. } | StreamOp::Close => {}
        }
    }

    fn on_delivery(&mut self, response: &WatchResponse, here: &Here<'_>) -> Result<(), String> {
        if response.revision > here.view.revision() {
            return Err(format!("{response:?} is ahead of revision {}", here.view.revision()));
        }
        if response.created {
            self.on_created(response, here)
        } else if response.canceled && response.compact_revision != 0 {
            self.on_compacted(response, here)
        } else if response.canceled {
            self.on_canceled(response)
        } else if response.events.is_empty() {
            self.on_progress(response, here)
        } else {
            self.on_events(response, here)
        }
    }

    fn on_created(&mut self, response: &WatchResponse, here: &Here<'_>) -> Result<(), String> {
        self.skip_unanswered_cancels()?;
        let Some(Control::Create(create, at)) = self.controls.pop_front() else {
            return Err(format!("{response:?} answers no create"));
        };
        if !response.events.is_empty() {
            return Err(format!("{response:?} carries events"));
        }
        let range = range_of(&create);
        let is_refused = create.start_revision >= 0 && self.check_rights(&create, at, response, here)?;
        if is_refused {
            return Ok(());
        }
        let refusal = if create.start_revision < 0 {
            Some(COMPACTED)
        } else if range.is_empty() {
            Some(EMPTY_RANGE)
        } else if create.watch_id.0 != 0 && self.watchers.contains_key(&create.watch_id.0) {
            // An id cancelled by compaction only may count as in use or not.
            let is_compacted = self.watchers[&create.watch_id.0].is_compacted;
            (!is_compacted || response.canceled).then_some(DUPLICATE_ID)
        } else {
            None
        };
        if let Some(reason) = refusal {
            let is_right = response.canceled
                && response.watch_id == WatchId(-1)
                && response.cancel_reason == reason
                && response.compact_revision == 0;
            return if is_right { Ok(()) } else { Err(format!("{response:?} must refuse: {reason}")) };
        }
        let id = response.watch_id.0;
        let allowed = self.ids_of(&create);
        if response.canceled || !allowed.contains(&id) {
            return Err(format!("{response:?} must create one of watches {allowed:?} for {create:?}"));
        }
        if create.watch_id.0 == 0 {
            self.next_auto_id = id + 1;
        }
        let known = here.revision_known_at(at);
        if response.revision < known {
            return Err(format!("{response:?} is behind revision {known}, answered before"));
        }
        let next = if create.start_revision > 0 { create.start_revision } else { response.revision + 1 };
        self.watchers.insert(id, Watcher { range, create, next, is_compacted: false, heard_ns: here.at_ns });
        Ok(())
    }

    /// G22: the right to the whole range, somewhere between what the node had shown when it was asked and what it
    /// had applied when it answered. True: it is refused, and rightly so.
    fn check_rights(
        &mut self,
        create: &WatchCreate,
        at: Moment,
        response: &WatchResponse,
        here: &Here<'_>,
    ) -> Result<bool, String> {
        let model = &self.truth.model;
        let known = model.positions_of(here.revision_known_at(at)).map_or(0, |(first, _)| first);
        let mut span = known.min(here.view.position)..=here.view.position;
        let KeyRange { start: key, .. } = range_of(create);
        let range = RangeRequest { key, range_end: create.range_end.clone(), ..RangeRequest::default() };
        let request = Request::Range(range);
        let refusal = |place: usize| auth::refusal_at(model, place, &self.credentials, &request);
        self.checked.judged += 1;
        let reason = RIGHTS.iter().find(|(_, reason)| *reason == response.cancel_reason);
        let is_right = match reason {
            Some((Status::InvalidAuthToken, _)) => {
                let is_token = matches!(self.credentials, Credentials::Token(_));
                is_token && span.any(|place| model.accounts_at(place).is_on)
            }
            Some((status, _)) => response.canceled && span.any(|place| refusal(place) == Some(*status)),
            None => {
                let is_known = auth::may_be_known(model, &self.credentials, known);
                span.any(|place| refusal(place).is_none() && (is_known || !model.accounts_at(place).is_on))
            }
        };
        match is_right {
            true => Ok(reason.is_some()),
            false => Err(format!(
                "{response:?} answers {create:?} of {:?}, whose right it is not",
                self.credentials
            )),
        }
    }

    /// The ids that a create may get (WATCH-5): the next one not in use. A watch that compaction ended and
    /// its client did not cancel may count as using its id or not.
    fn ids_of(&self, create: &WatchCreate) -> [i64; 2] {
        if create.watch_id.0 != 0 {
            return [create.watch_id.0; 2];
        }
        let next = |is_free: &dyn Fn(Option<&Watcher>) -> bool| {
            (self.next_auto_id..).find(|id| is_free(self.watchers.get(id))).expect("ids do not run out")
        };
        [next(&|watcher| watcher.is_none()), next(&|watcher| watcher.is_none_or(|w| w.is_compacted))]
    }

    /// A cancel of an unknown id has no answer (WATCH-22); one of a watch that compaction ended may.
    fn skip_unanswered_cancels(&mut self) -> Result<(), String> {
        while let Some(Control::Cancel(id)) = self.controls.front() {
            match self.watchers.get(&id.0) {
                Some(watcher) if !watcher.is_compacted => {
                    return Err(format!("cancel of watch {id} was not answered in its turn"));
                }
                _ => {
                    self.watchers.remove(&id.0);
                    self.controls.pop_front();
                }
            }
        }
        Ok(())
    }

    fn on_canceled(&mut self, response: &WatchResponse) -> Result<(), String> {
        while let Some(Control::Cancel(id)) = self.controls.front() {
            let is_it = *id == response.watch_id;
            let watcher = self.watchers.remove(&id.0);
            self.controls.pop_front();
            match watcher {
                Some(_) if is_it && response.cancel_reason.is_empty() => return Ok(()),
                Some(watcher) if !watcher.is_compacted => break,
                _ => {}
            }
        }
        Err(format!("{response:?} answers no cancel"))
    }

    fn on_compacted(&mut self, response: &WatchResponse, here: &Here<'_>) -> Result<(), String> {
        let watcher = self.watchers.get_mut(&response.watch_id.0).filter(|watcher| !watcher.is_compacted);
        let Some(watcher) = watcher else { return Err(format!("{response:?} is for no watch")) };
        let compact = response.compact_revision;
        if compact > here.view.compact_revision() || watcher.next >= compact {
            return Err(format!(
                "{response:?}: compacted at {}, the watch is at {}",
                here.view.compact_revision(),
                watcher.next
            ));
        }
        if response.revision != 0 || !response.cancel_reason.is_empty() {
            return Err(format!("{response:?} has a revision or a reason"));
        }
        watcher.is_compacted = true;
        Ok(())
    }

    /// G18: a watch that asked to be notified, and has everything there is, is not left in silence. The one
    /// silence that counts is the last before the stream's end: with the same tick a watch is notified for good.
    fn check_progress(&mut self, watched: &Watched) -> Result<(), String> {
        let reached = self.truth.model.at(watched.decided).revision();
        let end = self.truth.model.at(self.truth.model.position()).revision();
        for (id, watcher) in &self.watchers {
            let is_notified = watcher.create.progress_notify && !watcher.is_compacted;
            let is_owed = is_notified && watcher.create.start_revision <= reached + 1;
            if !is_owed || watched.until_ns < watched.from_ns + watched.silence_ns {
                continue;
            }
            self.checked.silences += 1;
            let silent_ns = watched.until_ns - watcher.heard_ns.max(watched.from_ns).min(watched.until_ns);
            let has_all = || watcher.expected(&self.truth.model.store, end).next().is_none();
            if silent_ns > watched.silence_ns && has_all() {
                let seconds = silent_ns as f64 / 1e9;
                return Err(format!("watch {id} wants to be notified and heard nothing for {seconds:.1} s"));
            }
        }
        Ok(())
    }

    fn on_progress(&mut self, response: &WatchResponse, here: &Here<'_>) -> Result<(), String> {
        self.checked.progress += 1;
        if response.watch_id == WatchId(-1) {
            if self.progress_asked == 0 || self.watchers.is_empty() {
                return Err(format!("{response:?} was not asked for"));
            }
            self.progress_asked -= 1;
            let store = &self.truth.model.store;
            return self.watchers.values_mut().try_for_each(|w| w.on_progress(store, response, here));
        }
        match self.watchers.get_mut(&response.watch_id.0) {
            Some(watcher) if watcher.create.progress_notify && !watcher.is_compacted => {
                watcher.heard_ns = here.at_ns;
                watcher.on_progress(&self.truth.model.store, response, here)
            }
            _ => Err(format!("{response:?} is for no watch that wants it")),
        }
    }

    fn on_events(&mut self, response: &WatchResponse, here: &Here<'_>) -> Result<(), String> {
        let watcher = self.watchers.get_mut(&response.watch_id.0).filter(|watcher| !watcher.is_compacted);
        let Some(watcher) = watcher else { return Err(format!("{response:?} is for no watch")) };
        let last = response.events.iter().map(|event| event.kv.mod_revision).max().unwrap_or(0);
        if last > response.revision || response.fragment != watcher.create.fragment {
            return Err(format!("{response:?} has a wrong revision or fragment flag"));
        }
        let store = &self.truth.model.store;
        watcher.heard_ns = here.at_ns;
        watcher.take(store, &response.events, last, here)?;
        self.checked.events += response.events.len() as u64;
        Ok(())
    }

    /// At the end of a run that left the stream in peace nothing may be owed.
    fn finish(mut self, stream: &Stream) -> Result<(), String> {
        if !stream.lives_to_end {
            return Ok(());
        }
        self.skip_unanswered_cancels()?;
        if !self.controls.is_empty() {
            return Err(format!("{} requests on the stream were not answered", self.controls.len()));
        }
        let end = self.truth.model.at(self.truth.model.position());
        for (id, watcher) in &self.watchers {
            let owed = watcher.expected(&self.truth.model.store, end.revision()).next();
            if let Some((change, _)) = owed.filter(|_| !watcher.is_compacted) {
                return Err(format!("watch {id} never got {change:?}, it is at {}", watcher.next));
            }
        }
        Ok(())
    }
}

impl Watcher {
    /// Changes it must be told, from where it is up to a revision; and whether each may be missing, since
    /// a later change of the same revision replaced it and compaction keeps only that one.
    fn expected<'a>(&'a self, store: &'a Store, through: i64) -> impl Iterator<Item = (&'a Change, bool)> {
        (self.next..=through).flat_map(move |revision| {
            let changes = store.changes(revision);
            changes.iter().filter(move |change| self.wants(change)).map(move |change| {
                let is_replaced = changes.iter().any(|c| c.kv.key == change.kv.key && c.sub > change.sub);
                (change, is_replaced)
            })
        })
    }

    fn wants(&self, change: &Change) -> bool {
        let is_filtered = match change.kind {
            EventKind::Put => self.create.no_put,
            EventKind::Delete => self.create.no_delete,
        };
        !is_filtered && self.range.contains(&change.kv.key)
    }

    /// Takes a batch that ends with whole revision `last`.
    fn take(&mut self, store: &Store, events: &[Event], last: i64, here: &Here<'_>) -> Result<(), String> {
        if last < self.next {
            return Err(format!("{events:?} came again: the watch is at {}", self.next));
        }
        let mut got = events.iter().peekable();
        for (change, is_replaced) in self.expected(store, last) {
            let is_same = got.peek().is_some_and(|e| e.kind == change.kind && e.kv == change.kv);
            if is_same {
                self.check_prev(store, got.next().expect("peeked"), here)?;
            } else if !(is_replaced && here.view.was_compacted_at(change.kv.mod_revision)) {
                return Err(format!("must be told {change:?}, got {:?}; it is at {}", got.peek(), self.next));
            }
        }
        if let Some(event) = got.next() {
            return Err(format!("{event:?} is not of this watch, or out of order; it is at {}", self.next));
        }
        self.next = last + 1;
        Ok(())
    }

    /// The value before an event: exact, or absent where compaction may have taken it (WATCH-16).
    fn check_prev(&self, store: &Store, event: &Event, here: &Here<'_>) -> Result<(), String> {
        let before = event.kv.mod_revision - 1;
        let is_create = event.kind == EventKind::Put && event.kv.create_revision == event.kv.mod_revision;
        let expected =
            if self.create.prev_kv && !is_create { store.get(&event.kv.key, before) } else { None };
        match (&event.prev_kv, expected) {
            (got, expected) if got.as_ref() == expected => Ok(()),
            (None, Some(_)) if before < here.view.compact_revision() => Ok(()),
            (_, expected) => Err(format!("{event:?} must have prev_kv {expected:?}")),
        }
    }

    /// A promise that everything up to a revision has been told.
    fn on_progress(
        &mut self,
        store: &Store,
        response: &WatchResponse,
        here: &Here<'_>,
    ) -> Result<(), String> {
        if self.is_compacted {
            return Ok(());
        }
        if response.revision + 1 < self.next {
            return Err(format!("{response:?} goes back: the watch is at {}", self.next));
        }
        let owed = self.expected(store, response.revision).find(|(change, is_replaced)| {
            !(*is_replaced && here.view.was_compacted_at(change.kv.mod_revision))
        });
        if let Some((change, _)) = owed {
            return Err(format!("{response:?} promises {change:?}, which was not told"));
        }
        self.next = response.revision + 1;
        Ok(())
    }
}

/// The range of a create (WATCH-7): an empty key is the key of one zero byte.
fn range_of(create: &WatchCreate) -> KeyRange {
    let key = if create.key.is_empty() { Bytes::from_static(&[0]) } else { create.key.clone() };
    KeyRange::new(key, create.range_end.clone())
}
