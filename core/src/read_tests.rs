//! Reads beside one another: rounds that are shared, and who is asked again.

use super::*;

fn reads() -> Reads {
    let mut reads = Reads::default();
    for (waiter, query) in [(1, Query::Members), (2, Query::KeepAlive(LeaseId(7)))] {
        let caller = Caller::Local(WaiterId(waiter));
        reads.linearizable(Read { caller, query, identity: None, deadline: Instant(1_000) });
    }
    reads
}

fn ask(reads: &mut Reads, number: &mut u64) -> Vec<(u64, Question)> {
    let mut questions = Vec::new();
    reads.take_questions(number, &mut questions);
    questions
}

#[test]
fn who_does_not_lead_is_asked_again_with_the_next_tick_and_not_before() {
    let (mut reads, mut number) = (reads(), 0);
    let expected = [(1, Question::KeepAlive { id: LeaseId(7), identity: None }), (2, Question::ReadIndex)];
    assert_eq!(ask(&mut reads, &mut number), expected);
    reads.on_not_leader(1);
    reads.on_not_leader(2);
    assert!(!reads.wants_round());
    reads.on_tick(Instant(10), true, &mut Vec::new());
    assert_eq!(ask(&mut reads, &mut number).len(), 2);
    // Late: the questions have other numbers by now.
    reads.on_not_leader(1);
    reads.on_not_leader(2);
    reads.on_tick(Instant(20), true, &mut Vec::new());
    assert!(!reads.wants_round(), "what is under way is not asked twice");
}

#[test]
fn reads_that_come_during_a_round_share_the_next_one() {
    let (mut reads, mut number) = (reads(), 0);
    ask(&mut reads, &mut number);
    for waiter in 3..6 {
        let caller = Caller::Local(WaiterId(waiter));
        reads.linearizable(Read { caller, query: Query::Members, identity: None, deadline: Instant(1_000) });
    }
    assert!(!reads.wants_asking());
    // What only a leader answers waits for no round.
    let (caller, query) = (Caller::Local(WaiterId(6)), Query::KeepAlive(LeaseId(8)));
    reads.linearizable(Read { caller, query, identity: None, deadline: Instant(1_000) });
    assert_eq!(ask(&mut reads, &mut number), [(3, Question::KeepAlive { id: LeaseId(8), identity: None })]);
    reads.on_confirmed(2, LogIndex(1), &mut Vec::new());
    assert_eq!(ask(&mut reads, &mut number), [(4, Question::ReadIndex)]);
    // One that is lost holds up nobody beyond a tick.
    let caller = Caller::Local(WaiterId(7));
    reads.linearizable(Read { caller, query: Query::Members, identity: None, deadline: Instant(1_000) });
    assert!(!reads.wants_asking());
    reads.on_tick(Instant(10), true, &mut Vec::new());
    assert_eq!(ask(&mut reads, &mut number), [(5, Question::ReadIndex)]);
}

#[test]
fn another_leader_is_asked_at_once() {
    let (mut reads, mut number) = (reads(), 0);
    ask(&mut reads, &mut number);
    reads.on_not_leader(1);
    reads.on_leader_changed(&mut Vec::new());
    assert_eq!(ask(&mut reads, &mut number).len(), 2);
}

#[test]
fn what_nobody_can_answer_ends_with_its_deadline() {
    let (mut reads, mut number) = (reads(), 0);
    ask(&mut reads, &mut number);
    reads.on_not_leader(1);
    reads.on_not_leader(2);
    let mut answers = Vec::new();
    reads.on_tick(Instant(1_000), false, &mut answers);
    let statuses: Vec<Status> = answers
        .iter()
        .map(|(_, told)| match told {
            Told::Done(Err(status)) => *status,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(statuses, [Status::NoLeader, Status::Timeout]);
}
