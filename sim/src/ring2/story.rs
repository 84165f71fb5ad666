//! A scenario's steps, performed on members under the production shell.
//!
//! What ring 1 does between two events is done here between two looks, a few simulated milliseconds apart. Mail
//! is not lost in a cut but late; requests go through the generated stubs, each from a client of its own. Then all
//! is healed, every member has to acknowledge, all have one hash, and the black-box checker judges what all
//! clients saw.

mod deeds;
mod who;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::base::MemberId;
use holdfast_core::lease::ttl_min_s;
use holdfast_core::request::Request;
use holdfast_net::clock::WallClock;
use holdfast_server::clock::HostClock;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::asking::{Outcome, Question};
use super::audience::Audience;
use super::client::Shared;
use super::cluster::Cluster;
use super::disk::SharedDisk;
use super::history::History;
use super::site::{Parts, Start, config, ip};
use super::storm::{lock, settle_members};
use super::{judge, on_own_thread, trace};
use crate::plan::step::{Action, Expect, Step, When};
use crate::plan::{MS, Plan, SECOND};
use crate::rng::{Rng, derive, mix};
use crate::world::{Judged, about, meets};

/// How often it is looked whether a condition holds.
const LOOK: Duration = Duration::from_millis(5);

/// Longer than a question is on its way to a member.
const ON_ITS_WAY: Duration = Duration::from_millis(50);

/// Until all members serve for the first time.
const FIRST_NS: u64 = 30 * SECOND;

/// A process that ended by itself is started again so long after.
const RESTART_NS: u64 = 500 * MS;

/// How long the calm lasts at least.
const CALM_NS: u64 = 20 * SECOND;

/// What came of a story.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoryReport {
    pub calls: u64,
    pub acknowledged: u64,
    pub undecided: u64,
    pub trace: u64,
}

/// What a name stands for.
enum Named {
    Member(usize),
    Cut(Vec<(usize, usize)>),
    Question(Arc<Mutex<Option<Outcome>>>),
    Stream(Audience),
}

/// A story that is being told.
struct Stage {
    plan: Plan,
    cluster: Arc<Mutex<Cluster>>,
    shared: Shared,
    rng: Rng,
    names: BTreeMap<String, Named>,
    /// Questions whose answers are judged when they come.
    open: Vec<(usize, Arc<Mutex<Option<Outcome>>>)>,
    /// Places that a step keeps down, and those that have a time to be started again.
    down: Arc<Mutex<BTreeSet<usize>>>,
    ids: Vec<MemberId>,
    /// Says to streams that all is over.
    over: Vec<watch::Sender<bool>>,
}

/// Tells the story of a plan on a thread of its own. Errors: the check that fired, two spaces, and its words.
pub fn run_story(plan: Plan) -> Result<StoryReport, String> {
    let seed = plan.seed;
    on_own_thread(seed, move || run(plan))
}

/// The same with all that happened, line by line.
pub fn replay_story(plan: Plan) -> (Result<StoryReport, String>, Vec<String>) {
    let seed = plan.seed;
    let told = on_own_thread(seed, move || async move {
        trace::listen();
        let result = run(plan).await;
        Ok((result, trace::take()))
    });
    told.unwrap_or_else(|panic| (Err(panic), Vec::new()))
}

/// A member's machine as the plan has it.
fn parts(plan: &Plan, place: usize, start: &Start) -> Parts {
    let (seed, member) = (derive(plan.seed, place as u64), plan.member(place));
    let mut config = config(place, start, &[]);
    config.heartbeat_interval = Duration::from_nanos(plan.heartbeat_ns);
    config.election_timeout = config.heartbeat_interval * plan.election_ticks;
    config.lease_checkpoint = plan.lease_checkpoint_ns.is_some();
    config.watch_progress_notify_interval = Duration::from_nanos(plan.watch_progress_ns);
    Parts {
        place,
        seed,
        disk: SharedDisk::new(seed, member.disk.clone()),
        clock: HostClock::new(member.clock_rate, WallClock::TRUE),
        limits: member.limits.clone(),
        layout: member.layout,
        config,
    }
}

async fn run(plan: Plan) -> Result<StoryReport, String> {
    let mut stage = Stage::set(plan);
    stage.open_doors().await?;
    for number in 0..stage.plan.script.len() {
        let step = stage.plan.script[number].clone();
        stage.reach(&step).await?;
        trace::tell(|| {
            format!("{:?} step of line {}: {:?}", stage.shared.began.elapsed(), step.line, step.action)
        });
        let named = stage.perform(number, &step).await?;
        if let Some(name) = step.name {
            named.and_then(|named| stage.names.insert(name, named));
        }
    }
    stage.end().await
}

impl Stage {
    fn set(plan: Plan) -> Stage {
        let mut cluster = Cluster::default();
        let voters = plan.members.len();
        for place in 0..voters {
            cluster.add(parts(&plan, place, &Start::With(voters)));
        }
        let mut history = History::default();
        history.terms.drift = plan.drift;
        history.terms.ttl_min_s = ttl_min_s(plan.election_ticks.into(), plan.heartbeat_ns);
        let shared = Shared {
            history: Arc::new(Mutex::new(history)),
            began: Instant::now(),
            think_ns: (0, 0),
            value_bytes_max: 1,
            patience: Duration::from_secs(5),
        };
        Stage {
            rng: Rng::named(plan.seed, "ring2 story"),
            plan,
            cluster: Arc::new(Mutex::new(cluster)),
            shared,
            names: BTreeMap::new(),
            open: Vec::new(),
            down: Arc::default(),
            ids: Vec::new(),
            over: Vec::new(),
        }
    }

    /// Waits until every member serves, as whoever starts a cluster does.
    async fn open_doors(&mut self) -> Result<(), String> {
        self.until(FIRST_NS, "every member serves", |cluster| cluster.sites.iter().all(|site| site.serves()))
            .await?;
        let cluster = lock(&self.cluster);
        let ids = cluster.sites.iter().filter_map(|site| Some(site.seat()?.gate.identity().member_id));
        self.ids = ids.collect();
        Ok(())
    }

    async fn until(
        &self,
        within_ns: u64,
        what: &str,
        holds: impl Fn(&Cluster) -> bool,
    ) -> Result<(), String> {
        let until = Instant::now() + Duration::from_nanos(within_ns);
        loop {
            {
                let cluster = lock(&self.cluster);
                drop(cluster.look());
                if holds(&cluster) {
                    return Ok(());
                }
                self.look_after(&cluster);
            }
            if Instant::now() >= until {
                return Err(format!("liveness/progress  not in time: {what}"));
            }
            sleep(LOOK).await;
        }
    }

    /// Waits for the moment of a step.
    async fn reach(&mut self, step: &Step) -> Result<(), String> {
        match &step.when {
            When::After(pause_ns) => self.pass(Instant::now() + Duration::from_nanos(*pause_ns)).await,
            When::At(at_ns) => self.pass(self.shared.began + Duration::from_nanos(*at_ns)).await,
            When::Once { condition, within_ns } => {
                let what = format!("line {}: {condition:?}", step.line);
                self.until(*within_ns, &what, |cluster| self.holds(cluster, condition)).await?;
            }
        }
        lock(&self.cluster).failure().map_err(|why| format!("died/member  {why}"))?;
        self.judge_open()
    }

    async fn pass(&self, until: Instant) {
        while Instant::now() < until {
            {
                let cluster = lock(&self.cluster);
                drop(cluster.look());
                self.look_after(&cluster);
            }
            sleep((LOOK * 4).min(until - Instant::now())).await;
        }
    }

    async fn perform(&mut self, number: usize, step: &Step) -> Result<Option<Named>, String> {
        let cluster = Arc::clone(&self.cluster);
        let wrong = |what: String| format!("script/step  line {}: {what}", step.line);
        match &step.action {
            Action::Ask { to, ask } => {
                let question = {
                    let cluster = lock(&cluster);
                    let place = self.member(&cluster, to).map_err(wrong)?;
                    let subject = ask.subject.as_ref().map(|who| self.member(&cluster, who)).transpose();
                    let subject = subject.map_err(wrong)?.map(|place| self.ids[place]);
                    let mut request = about(ask.request.clone(), subject);
                    if let Request::MemberAdd { peer_urls, .. } = &mut request {
                        *peer_urls = vec![format!("http://{}:2380", ip(self.ids.len()))];
                    }
                    let patience = Duration::from_nanos(ask.patience_ns);
                    Question { client: number as u64, request, patience, site: cluster.sites[place].clone() }
                };
                let outcome = question.ask(&lock(&cluster).clients, &self.shared);
                if ask.waits {
                    while outcome.lock().expect("nobody panics while holding it").is_none() {
                        self.pass(Instant::now() + LOOK).await;
                    }
                    self.judge(number, &outcome)?;
                    self.take_in(&cluster, &outcome);
                } else {
                    if ask.expect != Expect::Anything {
                        self.open.push((number, outcome.clone()));
                    }
                    // Who asks next comes next, whatever the ways of the two take.
                    self.pass(Instant::now() + ON_ITS_WAY).await;
                }
                Ok(Some(Named::Question(outcome)))
            }
            Action::Open { to, op, reads, .. } => {
                let cluster = lock(&cluster);
                let site = cluster.sites[self.member(&cluster, to).map_err(wrong)?].clone();
                let over = watch::Sender::new(false);
                let audience =
                    Audience::open(&cluster.clients, &self.shared, &site, *reads, over.subscribe());
                self.over.push(over);
                audience.say(&self.shared, op);
                Ok(Some(Named::Stream(audience)))
            }
            Action::Stream { name, op } => match self.names.get(name) {
                Some(Named::Stream(audience)) => {
                    audience.say(&self.shared, op);
                    Ok(None)
                }
                _ => Err(wrong(format!("`{name}` is no stream"))),
            },
            action => self.harm(&mut lock(&cluster), action).map_err(wrong),
        }
    }

    /// Judges what has come of questions that nobody waits for.
    fn judge_open(&mut self) -> Result<(), String> {
        let open = std::mem::take(&mut self.open);
        for (number, outcome) in open {
            if outcome.lock().expect("nobody panics while holding it").is_none() {
                self.open.push((number, outcome));
            } else {
                self.judge(number, &outcome)?;
            }
        }
        Ok(())
    }

    fn judge(&self, number: usize, outcome: &Mutex<Option<Outcome>>) -> Result<(), String> {
        let step = &self.plan.script[number];
        let Action::Ask { ask, .. } = &step.action else { return Ok(()) };
        let outcome = outcome.lock().expect("nobody panics while holding it");
        let outcome = outcome.as_ref().expect("it is judged when it is there");
        let judged = match outcome {
            Outcome::Answered(result) => Judged::Answer(result),
            Outcome::Unknown(_) => Judged::Unknown,
            Outcome::NoConnection => Judged::NoConnection,
        };
        match meets(&ask.expect, judged) {
            true => Ok(()),
            false => Err(format!(
                "safety/expect  line {}: {:?} came to {}, not to {:?}",
                step.line,
                ask.request,
                outcome.words(),
                ask.expect
            )),
        }
    }

    /// All is healed; what must hold then.
    async fn end(mut self) -> Result<StoryReport, String> {
        while !self.open.is_empty() {
            self.pass(Instant::now() + LOOK).await;
            self.judge_open()?;
        }
        self.down.lock().expect("nobody panics while holding it").clear();
        {
            let cluster = lock(&self.cluster);
            (0..cluster.sites.len()).for_each(|place| cluster.resume(place));
            cluster.calm();
        }
        self.pass(Instant::now() + Duration::from_nanos(self.plan.calm_ns_min.max(CALM_NS))).await;
        settle_members(self.plan.seed, &self.cluster, &self.shared).await?;
        for over in &self.over {
            over.send_replace(true);
        }
        sleep(Duration::from_secs(1)).await;
        let cluster = lock(&self.cluster);
        cluster.failure().map_err(|why| format!("died/member  {why}"))?;
        let history = self.shared.history.lock().expect("nobody panics while holding it");
        let undecided = u64::from(!judge(&history).map_err(|why| format!("safety/blackbox  {why}"))?);
        Ok(StoryReport {
            calls: history.seen.len() as u64,
            acknowledged: history.heard(),
            undecided,
            trace: mix(history.hash(), &cluster.digest().to_le_bytes()),
        })
    }
}
