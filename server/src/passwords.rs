//! Passwords, hashed and checked away from the core loop: bcrypt takes tens of milliseconds by design.
//!
//! A few lanes take jobs in turn. What comes in faster than they are done waits with its callers; a put does not
//! wait behind a login.
//!
//! Source: AUTH-9; etcd 3.7.1 `server/etcdserver/v3_server.go` (UserAdd), `server/auth/store.go` (CheckPassword).

use holdfast_core::request::Secret;
use tokio::sync::mpsc;

use crate::core_loop::Event;
use crate::lane;

/// Cost where `--bcrypt-cost` names none that bcrypt knows.
const COST_DEFAULT: u32 = 10;

/// Costs that bcrypt knows.
const COSTS: std::ops::RangeInclusive<u32> = 4..=31;

/// Most lanes; with fewer processors half as many as there are, so that others find one free.
const LANES_MAX: usize = 4;

/// What a lane is asked to do.
#[derive(Debug)]
enum Work {
    Hash { job: u64, password: Secret },
    Check { job: u64, password: Secret, hash: Secret },
}

/// The lanes' inboxes.
#[derive(Debug)]
pub struct Passwords {
    lanes: Vec<mpsc::UnboundedSender<Work>>,
    next: usize,
}

impl Passwords {
    /// Starts the lanes; what they find goes to `events`. `cost`: doubles the work with each step; one that bcrypt
    /// does not know counts as 10, as in etcd.
    /// Errors: the system has no thread to give.
    pub fn start(cost: u32, events: &mpsc::UnboundedSender<Event>) -> std::io::Result<Passwords> {
        let cost = if COSTS.contains(&cost) { cost } else { COST_DEFAULT };
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let mut lanes = Vec::new();
        for _ in 0..(processors / 2).clamp(1, LANES_MAX) {
            let (give, mut work) = mpsc::unbounded_channel();
            let events = events.clone();
            lane::start("passwords", move || async move {
                while let Some(next) = work.recv().await {
                    if events.send(carry_out(next, cost)).is_err() {
                        // The loop is over; nobody waits.
                        return;
                    }
                }
            })?;
            lanes.push(give);
        }
        Ok(Passwords { lanes, next: 0 })
    }

    pub fn hash(&mut self, job: u64, password: Secret) {
        self.give(Work::Hash { job, password });
    }

    pub fn check(&mut self, job: u64, password: Secret, hash: Secret) {
        self.give(Work::Check { job, password, hash });
    }

    fn give(&mut self, work: Work) {
        self.next = (self.next + 1) % self.lanes.len();
        // A lane ends only with the loop that asks it.
        self.lanes[self.next].send(work).ok();
    }
}

fn carry_out(work: Work, cost: u32) -> Event {
    match work {
        Work::Hash { job, password } => {
            let hash = bcrypt::hash_with_salt(&password.0, cost, rand::random())
                .expect("the cost is one of bcrypt's, and the core lets no longer password pass");
            Event::PasswordHashed { job, hash: Secret::new(hash.to_string()) }
        }
        Work::Check { job, password, hash } => {
            let hash = std::str::from_utf8(&hash.0).unwrap_or_default();
            // What is no hash of bcrypt's, an empty one too, fits nothing.
            let fits = bcrypt::verify(&password.0, hash).unwrap_or(false);
            Event::PasswordChecked { job, fits, entropy: rand::random() }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash_of(password: &'static str) -> Secret {
        match carry_out(Work::Hash { job: 1, password: Secret::new(password) }, 4) {
            Event::PasswordHashed { job: 1, hash } => hash,
            other => panic!("{other:?}"),
        }
    }

    fn fits(password: &'static str, hash: Secret) -> bool {
        match carry_out(Work::Check { job: 2, password: Secret::new(password), hash }, 4) {
            Event::PasswordChecked { job: 2, fits, .. } => fits,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_password_fits_its_own_hash_alone() {
        let hash = hash_of("word");
        assert_ne!(hash, hash_of("word"), "salts differ");
        assert!(fits("word", hash.clone()));
        assert!(!fits("other", hash));
        assert!(fits("", hash_of("")));
        assert!(!fits("", Secret::default()), "no hash fits nothing");
    }

    /// Made by golang.org/x/crypto/bcrypt: a snapshot of etcd brings such ones.
    #[test]
    fn hashes_that_go_made_are_read() {
        let made_by_go = Secret::new("$2a$04$Ch4W2zBRd6kLOxuQ7NTzyuWMMV/dtDwo9oJKAh4Lap6PAMlKnHgNq");
        assert!(fits("word", made_by_go.clone()));
        assert!(!fits("not the word", made_by_go));
    }
}
