//! What waits to be said to one member on one connection.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use holdfast_core::peer::PeerMessage;
use tokio::sync::Notify;

use super::Lane;

/// Bytes that may wait. Mail: a second and a half of 20,000 small puts a second, so that a hiccup of the other end
/// loses nothing. Bulk: twice what a sender has under way.
const MAIL_BYTES_MAX: usize = 32 << 20;
const BULK_BYTES_MAX: usize = 8 << 20;

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Posted {
    Taken,
    /// Dropped: too much waits already.
    Full,
    /// Dropped: the other end is not there.
    Down,
}

/// A queue bounded by bytes, filled by the core loop and emptied by a connection.
#[derive(Debug)]
pub struct Outbox {
    lane: Lane,
    queue: Mutex<Queue>,
    /// There is something to take, or the outbox was closed.
    filled: Notify,
    /// Waiting for another attempt is over.
    woken: Notify,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<PeerMessage>,
    bytes: usize,
    /// The last attempt to connect failed and the next one has not begun: nothing is taken in.
    is_down: bool,
    is_closed: bool,
}

impl Outbox {
    pub fn new(lane: Lane) -> Outbox {
        Outbox { lane, queue: Mutex::default(), filled: Notify::new(), woken: Notify::new() }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().expect("nobody panics while holding it")
    }

    /// Takes a message in, or drops it.
    pub fn post(&self, message: PeerMessage) -> Posted {
        let bytes = message.size_hint();
        let bytes_max = match self.lane {
            Lane::Mail => MAIL_BYTES_MAX,
            Lane::Bulk => BULK_BYTES_MAX,
        };
        let mut queue = self.queue();
        if queue.is_down || queue.is_closed {
            return Posted::Down;
        }
        if !queue.messages.is_empty() && queue.bytes + bytes > bytes_max {
            return Posted::Full;
        }
        // A piece that is sent again because the way is slow would make it slower.
        if self.lane == Lane::Bulk && queue.messages.contains(&message) {
            return Posted::Taken;
        }
        queue.bytes += bytes;
        queue.messages.push_back(message);
        drop(queue);
        self.filled.notify_one();
        Posted::Taken
    }

    /// The messages in front, up to `bytes_max`, and at least one if there is any.
    pub fn take(&self, bytes_max: usize) -> Vec<PeerMessage> {
        let mut taken = Vec::new();
        let mut bytes = 0;
        let mut queue = self.queue();
        while let Some(message) = queue.messages.front() {
            let next = message.size_hint();
            if !taken.is_empty() && bytes + next > bytes_max {
                break;
            }
            bytes += next;
            taken.extend(queue.messages.pop_front());
        }
        queue.bytes -= bytes;
        taken
    }

    /// Waits until there is something to take.
    pub async fn filled(&self) {
        loop {
            let filled = self.filled.notified();
            {
                let queue = self.queue();
                if !queue.messages.is_empty() || queue.is_closed {
                    return;
                }
            }
            filled.await;
        }
    }

    /// The other end is not there: drops everything, and what comes until `begin`.
    pub fn fail(&self) {
        let mut queue = self.queue();
        queue.messages.clear();
        (queue.bytes, queue.is_down) = (0, true);
    }

    /// Another attempt begins: what comes waits for it.
    pub fn begin(&self) {
        self.queue().is_down = false;
    }

    /// Ends the pause before the next attempt.
    pub fn wake(&self) {
        self.woken.notify_one();
    }

    pub async fn woken(&self) {
        self.woken.notified().await;
    }

    /// Nothing is to be said any more: the connection ends.
    pub fn close(&self) {
        self.queue().is_closed = true;
        self.filled.notify_one();
        self.woken.notify_one();
    }

    pub fn is_closed(&self) -> bool {
        self.queue().is_closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use holdfast_core::base::LogIndex;
    use holdfast_core::peer::{Proposal, SnapshotPiece};

    fn forward(len: usize) -> PeerMessage {
        PeerMessage::Forward { commands: vec![Proposal::Command(Bytes::from(vec![0; len]))] }
    }

    fn piece(number: u64) -> PeerMessage {
        let bytes = Bytes::from(vec![0; 1 << 20]);
        PeerMessage::SnapshotPiece(SnapshotPiece {
            transfer: 1,
            number,
            index: LogIndex(1),
            bytes,
            last: None,
        })
    }

    #[test]
    fn a_full_outbox_drops_and_an_empty_one_takes_what_is_larger() {
        let outbox = Outbox::new(Lane::Mail);
        assert_eq!(outbox.post(forward(MAIL_BYTES_MAX + 1)), Posted::Taken);
        assert_eq!(outbox.post(forward(1)), Posted::Full);
        assert_eq!(outbox.take(1).len(), 1);
        assert_eq!(outbox.post(forward(1)), Posted::Taken);
    }

    #[test]
    fn messages_are_taken_in_order_up_to_the_bound() {
        let outbox = Outbox::new(Lane::Mail);
        for len in [10, 20, 30] {
            assert_eq!(outbox.post(forward(len)), Posted::Taken);
        }
        let two = forward(10).size_hint() + forward(20).size_hint();
        assert_eq!(outbox.take(two), [forward(10), forward(20)]);
        assert_eq!(outbox.take(1), [forward(30)]);
        assert_eq!(outbox.take(1), []);
    }

    #[test]
    fn what_comes_while_the_other_end_is_away_is_dropped() {
        let outbox = Outbox::new(Lane::Mail);
        outbox.post(forward(1));
        outbox.fail();
        assert_eq!(outbox.post(forward(1)), Posted::Down);
        assert_eq!(outbox.take(1), []);
        outbox.begin();
        assert_eq!(outbox.post(forward(1)), Posted::Taken);
        outbox.close();
        assert_eq!(outbox.post(forward(1)), Posted::Down);
    }

    #[test]
    fn a_piece_that_waits_already_is_not_queued_twice() {
        let outbox = Outbox::new(Lane::Bulk);
        for number in [0, 1, 0, 1, 2] {
            assert_eq!(outbox.post(piece(number)), Posted::Taken);
        }
        assert_eq!(outbox.take(usize::MAX), [piece(0), piece(1), piece(2)]);
    }
}
