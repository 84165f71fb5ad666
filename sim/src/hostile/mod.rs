//! Hostile peers: a member that is told thousands of lies must not panic, and must work when it is left alone.
//!
//! One member in one role, on an honest disk, between puppets that stand for the others: while it is tormented
//! they say whatever the forger draws; afterwards they oblige, grant every vote and acknowledge every entry.
//! Then it must come to lead and take a write. What a lie makes it believe (a later term, entries of a leader
//! that is none) is no fault of it: raft trusts its members.

mod forger;

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use holdfast_core::base::{Instant, LeaseId, Lsn, MemberId, WaiterId};
use holdfast_core::boundary::{Effect, Effects, Input, Note};
use holdfast_core::checkpoint::Checkpoints;
use holdfast_core::conf::ConfCommand;
use holdfast_core::members::Bootstrap;
use holdfast_core::node::{Boot, Config, Node, Start};
use holdfast_core::peer::{Answer, PeerMessage};
use holdfast_core::recover;
use holdfast_core::request::{
    Credentials, LeaseGrantRequest, Member, PutRequest, RangeRequest, Request, Response,
};
use holdfast_core::state::STATE_VERSION;
use holdfast_core::status::Status;
use holdfast_core::wal::{Identity, Layout};
use raft::eraftpb::{Entry, EntryType, Message, MessageType};

use crate::crash_states::perform;
use crate::disk::{DiskFaults, SimDisk};
use crate::plan::{Plan, Profile};
use crate::rng::{Rng, derive};
use crate::run::text_of;
use crate::world::boot;
pub use forger::Forger;

/// What a member is when the lies begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Its boot record is not on disk yet.
    Fresh,
    Follower,
    Candidate,
    Leader,
    Learner,
    /// In its second life.
    Restarted,
    /// The only member of its cluster.
    Alone,
}

impl Role {
    pub const ALL: [Role; 7] = [
        Role::Fresh,
        Role::Follower,
        Role::Candidate,
        Role::Leader,
        Role::Learner,
        Role::Restarted,
        Role::Alone,
    ];
}

/// What came of many lies.
#[derive(Clone, Copy, Debug, Default)]
pub struct Torments {
    pub torments: u64,
    pub messages: u64,
    /// Flipped encodings that could still be read.
    pub flipped: u64,
    pub refused: u64,
    /// States received from liars and taken over.
    pub installed: u64,
    /// Members that ended with a clear line, as they must when told that they lost entries, or when a leader
    /// decides an entry that cannot be read.
    pub halted: u64,
}

/// Lies in one torment, and turns that the member has to come to itself.
const MESSAGES: u64 = 200;
const TURNS_MAX: u64 = 20_000;

/// Torments members in every role until `messages` lies were told. Errors: the seed, and what went wrong.
pub fn torment_many(base: u64, messages: u64) -> Result<Torments, (u64, String)> {
    let mut torments = Torments::default();
    while torments.messages < messages {
        let seed = derive(base, torments.torments);
        let role = Role::ALL[torments.torments as usize % Role::ALL.len()];
        torments.torments += 1;
        let caught = catch_unwind(AssertUnwindSafe(|| torment(seed, role, &mut torments)));
        let result = caught.unwrap_or_else(|panic| Err(format!("panics: {}", text_of(&*panic))));
        result.map_err(|what| (seed, format!("{role:?}: {what}")))?;
    }
    Ok(torments)
}

/// One member, one torment.
fn torment(seed: u64, role: Role, torments: &mut Torments) -> Result<(), String> {
    let mut victim = Victim::in_role(seed, role);
    let mut forger = victim.forger();
    for _ in 0..MESSAGES {
        forger.gauges = victim.node.gauges();
        forger.epoch = victim.epoch;
        let told = if forger.rng.chance(0.25) {
            let told = forger.draw_flipped();
            torments.flipped += u64::from(told.is_some());
            told
        } else {
            Some(forger.draw())
        };
        torments.messages += 1;
        victim.inputs.extend(told.map(|(from, message)| Input::Peer { from, message }));
        if forger.rng.chance(0.2) {
            victim.inputs.push(Input::Tick);
        }
        if forger.rng.chance(0.1) {
            victim.ask_something(&mut forger.rng);
        }
        if forger.rng.chance(0.7) {
            victim.obliges = forger.rng.chance(0.5);
            victim.turn();
        }
    }
    torments.refused += victim.refused;
    torments.installed += victim.installed;
    if let Some(why) = &victim.halted {
        torments.halted += 1;
        let is_right = why.contains("the cluster counts on this member") || why.contains("cannot be applied");
        return if is_right { Ok(()) } else { Err(format!("gave up: {why}")) };
    }
    victim.must_work(role)
}

/// The member, and the puppets around it.
struct Victim {
    config: Config,
    seed: u64,
    node: Node,
    disk: SimDisk,
    layout: Layout,
    checkpoints: Checkpoints,
    others: Vec<MemberId>,
    epoch: u64,
    now: Instant,
    inputs: Vec<Input>,
    effects: Effects,
    /// Appends are on disk at once.
    flushes: bool,
    unflushed: Option<Lsn>,
    /// Puppets grant and acknowledge what they are asked.
    obliges: bool,
    waiter: u64,
    reply: Option<Result<Response, Status>>,
    refused: u64,
    installed: u64,
    halted: Option<String>,
}

impl Victim {
    fn in_role(seed: u64, role: Role) -> Victim {
        let size = if role == Role::Alone { 1 } else { 3 };
        let plan = Plan::draw_sized(derive(seed, 1), Profile::Standard, size);
        let config = boot::config(&plan, 0, boot::ids(size)[0]);
        let others: Vec<MemberId> = match role {
            // Strangers, who know its address.
            Role::Alone => vec![MemberId(2), MemberId(3)],
            _ => boot::ids(size)[1..].to_vec(),
        };
        let disk = SimDisk::new(seed, DiskFaults::default());
        let start = match role {
            Role::Learner => Start::Join,
            _ => Start::New(boot::bootstrap(0, size)),
        };
        let mut victim = Victim::open(config, disk, Boot::Fresh(start), seed, others);
        match role {
            Role::Fresh => {
                victim.flushes = false;
                victim.turn();
            }
            Role::Follower => victim.follow(),
            Role::Candidate => {
                for _ in 0..30 {
                    victim.tick();
                }
            }
            Role::Leader | Role::Alone => victim.lead().expect("nobody objects"),
            Role::Learner => victim.learn(),
            Role::Restarted => {
                victim.lead().expect("nobody objects");
                let Victim { config, mut disk, others, .. } = victim;
                disk.lose_power();
                let found = boot::recover_disk(&disk, STATE_VERSION)
                    .expect("an honest disk")
                    .found
                    .expect("it was written");
                let start = Start::New(Bootstrap::default());
                victim = Victim::open(config, disk, Boot::Existing(Box::new(found), start), seed, others);
            }
        }
        victim
    }

    fn open(config: Config, disk: SimDisk, boot: Boot, seed: u64, others: Vec<MemberId>) -> Victim {
        let recovered = boot::recover_disk(&disk, STATE_VERSION).expect("an honest disk");
        let found = recovered.found.as_ref();
        let plan = Plan::draw_sized(seed, Profile::Standard, 1);
        let layout = recover::layout(config.identity, plan.members[0].layout, found);
        let epoch = found.map_or(0, |found| found.log.writer.last().0) + 1;
        let node = Node::open(config.clone(), boot, seed, Instant(0)).expect("an honest disk");
        Victim {
            config,
            seed,
            node,
            disk,
            layout,
            checkpoints: recovered.checkpoints,
            others,
            epoch,
            now: Instant(0),
            inputs: Vec::new(),
            effects: Effects::default(),
            flushes: true,
            unflushed: None,
            obliges: false,
            waiter: 0,
            reply: None,
            refused: 0,
            installed: 0,
            halted: None,
        }
    }

    fn forger(&self) -> Forger {
        let rng = Rng::named(self.seed, "forger");
        Forger::new(rng, self.config.identity, self.others.clone(), self.node.gauges())
    }

    fn tick(&mut self) {
        self.inputs.push(Input::Tick);
        self.turn();
    }

    /// A turn of many: time goes on by a quarter of a tick with each.
    fn nth_turn(&mut self, turn: u64) {
        if turn.is_multiple_of(4) { self.tick() } else { self.turn() }
    }

    /// A turn, whose effects are performed at once.
    fn turn(&mut self) {
        self.now = self.now.plus_ns(self.config.heartbeat_ns / 4);
        self.node.step(self.now, &mut self.inputs, &mut self.effects);
        for effect in std::mem::take(&mut self.effects.list) {
            match effect {
                Effect::Append { frames, through } => {
                    for op in self.layout.append(&frames, through) {
                        perform(&mut self.disk, op).expect("an honest disk");
                    }
                    match self.flushes {
                        true => self.inputs.push(Input::Persisted { through }),
                        false => self.unflushed = Some(through),
                    }
                }
                Effect::Checkpoint(step) => {
                    for op in self.checkpoints.plan(step) {
                        perform(&mut self.disk, op).expect("an honest disk");
                    }
                    self.inputs.push(Input::Checkpointed { ok: true });
                }
                Effect::Reclaim { through } => {
                    for op in self.layout.reclaim(through) {
                        perform(&mut self.disk, op).expect("an honest disk");
                    }
                }
                Effect::Reply { waiter, result } if waiter.0 == self.waiter => self.reply = Some(result),
                Effect::Send { to, message } if self.obliges => {
                    let answer = oblige(to, self.config.identity, message);
                    self.inputs.extend(answer.map(|message| Input::Peer { from: to, message }));
                }
                Effect::Note(Note::PeerRefused { .. }) => self.refused += 1,
                Effect::Note(Note::SnapshotInstalled { .. }) => self.installed += 1,
                Effect::Halt { why } => self.halted = Some(why),
                _ => {}
            }
        }
    }

    /// The first of the others leads it.
    fn follow(&mut self) {
        self.turn();
        let mut beat = self.mail(MessageType::MsgHeartbeat);
        beat.term = 2;
        self.hear(beat);
        self.turn();
    }

    fn learn(&mut self) {
        self.turn();
        let bootstrap = boot::bootstrap(0, 3);
        let mut members = bootstrap.members();
        members.retain(|member| self.others.contains(&member.id));
        let id = self.config.identity.member_id;
        members.push(Member { id, is_learner: true, ..Member::default() });
        let mut append = self.mail(MessageType::MsgAppend);
        (append.term, append.commit) = (1, members.len() as u64);
        let entries = (1..).zip(members).map(|(index, member)| Entry {
            entry_type: EntryType::EntryConfChange,
            index,
            term: 1,
            data: ConfCommand::bootstrap(member).encode(),
            ..Entry::default()
        });
        append.set_entries(entries.collect::<Vec<_>>().into());
        self.hear(append);
        for _ in 0..10 {
            self.turn();
        }
        assert!(self.node.gauges().is_learner, "it was told so");
    }

    fn mail(&self, kind: MessageType) -> Message {
        let mut m = Message::default();
        m.set_msg_type(kind);
        (m.from, m.to) = (self.others[0].0, self.config.identity.member_id.0);
        m
    }

    fn hear(&mut self, mail: Message) {
        let from = self.others[0];
        self.inputs.push(Input::Peer { from, message: PeerMessage::Raft(Box::new(mail)) });
    }

    /// Ticks until it leads and has committed something as leader.
    fn lead(&mut self) -> Result<(), String> {
        self.obliges = true;
        for turn in 0..TURNS_MAX {
            self.nth_turn(turn);
            let gauges = self.node.gauges();
            if gauges.is_leader && gauges.applied == gauges.last_index {
                return Ok(());
            }
        }
        Err(format!("it does not come to lead: {:?}", self.node.gauges()))
    }

    fn ask(&mut self, request: Request) {
        self.waiter += 1;
        self.inputs.push(Input::Client {
            waiter: WaiterId(self.waiter),
            credentials: Credentials::None,
            request,
        });
    }

    fn ask_something(&mut self, rng: &mut Rng) {
        let key = Bytes::from_static(b"a");
        self.ask(match rng.below(4) {
            0 => Request::Put(PutRequest { key, ..PutRequest::default() }),
            1 => Request::LeaseKeepAlive { id: LeaseId(1) },
            2 => Request::LeaseGrant(LeaseGrantRequest { id: LeaseId(1), ttl: 9 }),
            _ => Request::Range(RangeRequest { key, ..RangeRequest::default() }),
        });
    }

    /// Left alone, it answers: a learner of itself, any other a write that it decides as leader.
    fn must_work(&mut self, role: Role) -> Result<(), String> {
        if !self.flushes {
            // The disk wakes up: all that was written is there.
            self.flushes = true;
            self.inputs.extend(self.unflushed.take().map(|through| Input::Persisted { through }));
        }
        if role == Role::Learner && self.node.gauges().is_learner {
            self.ask(Request::Status);
            return self.await_reply().and_then(|result| match result {
                Ok(Response::Status(_)) => Ok(()),
                other => Err(format!("asked for its status it says {other:?}")),
            });
        }
        self.lead()?;
        self.ask(Request::Put(PutRequest { key: Bytes::from_static(b"works"), ..PutRequest::default() }));
        match self.await_reply()? {
            Ok(Response::Put(_)) => Ok(()),
            other => Err(format!("a put is answered with {other:?}")),
        }
    }

    fn await_reply(&mut self) -> Result<Result<Response, Status>, String> {
        self.reply = None;
        for turn in 0..TURNS_MAX {
            self.nth_turn(turn);
            if let Some(result) = self.reply.take() {
                return Ok(result);
            }
        }
        Err(format!("no answer: {:?}", self.node.gauges()))
    }
}

/// What an obliging member says to a message.
fn oblige(to: MemberId, identity: Identity, message: PeerMessage) -> Option<PeerMessage> {
    let mail = match message {
        PeerMessage::Raft(mail) => mail,
        PeerMessage::SnapshotPiece(piece) => {
            return Some(PeerMessage::SnapshotAck { transfer: piece.transfer, next: piece.number + 1 });
        }
        PeerMessage::Ask { epoch, number, .. } => {
            return Some(PeerMessage::Answer { epoch, number, answer: Answer::NotLeader });
        }
        _ => return None,
    };
    let mut reply = Message::default();
    reply.set_msg_type(match mail.get_msg_type() {
        MessageType::MsgRequestPreVote => MessageType::MsgRequestPreVoteResponse,
        MessageType::MsgRequestVote => MessageType::MsgRequestVoteResponse,
        MessageType::MsgAppend => MessageType::MsgAppendResponse,
        MessageType::MsgHeartbeat => MessageType::MsgHeartbeatResponse,
        _ => return None,
    });
    (reply.from, reply.to, reply.term) = (to.0, identity.member_id.0, mail.term);
    reply.index = mail.index + mail.get_entries().len() as u64;
    reply.context = mail.context.clone();
    Some(PeerMessage::Raft(Box::new(reply)))
}
