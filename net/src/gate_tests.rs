use super::*;

fn identity() -> Identity {
    Identity {
        cluster_id: ClusterId(1),
        member_id: MemberId(2),
        request_bytes_max: 1_572_864,
        election_timeout_ms: 1000,
        wall: WallClock::TRUE,
    }
}

#[tokio::test]
async fn call_gets_the_reply_of_its_waiter() {
    let (gate, mut inbox) = Gate::new(identity());
    let call = gate.call(Credentials::None, Request::Status);
    let serve = async {
        let Some(Inbound::Call { reply, request: Request::Status, .. }) = inbox.recv().await else {
            panic!("expected the call");
        };
        reply.send(Ok(Response::Defragment)).expect("caller waits");
    };
    let (answer, ()) = tokio::join!(call, serve);
    assert_eq!(answer, Ok(Response::Defragment));
    assert!(inbox.try_recv().is_err(), "an answered call is not abandoned");
}

#[tokio::test]
async fn dropped_call_is_abandoned_after_its_call() {
    let (gate, mut inbox) = Gate::new(identity());
    let call = gate.call(Credentials::None, Request::Status);
    tokio::select! {
        biased;
        _ = call => panic!("nobody answered"),
        () = std::future::ready(()) => {}
    }
    let Ok(Inbound::Call { waiter, .. }) = inbox.try_recv() else { panic!("expected the call") };
    let Ok(Inbound::Abandon { waiter: abandoned }) = inbox.try_recv() else { panic!("expected abandon") };
    assert_eq!(waiter, abandoned);
}

#[tokio::test]
async fn gone_core_loop_answers_stopped() {
    let (gate, inbox) = Gate::new(identity());
    drop(inbox);
    assert_eq!(gate.call(Credentials::None, Request::Status).await, Err(Status::Stopped));
    assert_eq!(gate.open_stream(Credentials::None).err(), Some(Status::Stopped));
    assert!(gate.is_stopped());
}

#[tokio::test]
async fn dropped_reply_answers_stopped() {
    let (gate, mut inbox) = Gate::new(identity());
    let (answer, ()) = tokio::join!(gate.call(Credentials::None, Request::Status), async {
        drop(inbox.recv().await);
    });
    assert_eq!(answer, Err(Status::Stopped));
}

#[tokio::test]
async fn dropped_watch_handle_closes_its_stream() {
    let (gate, mut inbox) = Gate::new(identity());
    let handle = gate.open_stream(Credentials::None).expect("loop is there");
    drop(handle);
    let Ok(Inbound::OpenStream { stream, .. }) = inbox.try_recv() else { panic!("expected open") };
    let Ok(Inbound::Stream { stream: closed, op: StreamOp::Close }) = inbox.try_recv() else {
        panic!("expected close")
    };
    assert_eq!(stream, closed);
}
