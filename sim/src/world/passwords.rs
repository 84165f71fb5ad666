//! Passwords in a world without bcrypt: a hash is its salt and the word itself, and takes its time.

use bytes::Bytes;
use holdfast_core::boundary::Input;
use holdfast_core::request::Secret;

use super::World;
use super::event::{Completion, Event};
use crate::plan::MS;
use crate::rng::Rng;

/// Longest time that a hash or a check of one takes.
const TAKES_NS_MAX: u64 = 300 * MS;

/// The word behind a hash of these worlds.
pub fn word_of(hash: &Secret) -> Secret {
    match hash.0.iter().position(|byte| *byte == b':') {
        Some(colon) => Secret(hash.0.slice(colon + 1..)),
        None => Secret::default(),
    }
}

impl World {
    pub(super) fn hash_password(&mut self, m: usize, job: u64, password: &Secret) {
        let mut words = self.words_of(m);
        let salt = format!("{}:", words.next());
        let hash = Secret(Bytes::from([salt.as_bytes(), &password.0[..]].concat()));
        self.finish_password(m, &mut words, Input::PasswordHashed { job, hash });
    }

    pub(super) fn check_password(&mut self, m: usize, job: u64, password: &Secret, hash: &Secret) {
        let fits = !hash.0.is_empty() && word_of(hash) == *password;
        let mut words = self.words_of(m);
        let entropy = u128::from(words.next()) << 64 | u128::from(words.next());
        self.finish_password(m, &mut words, Input::PasswordChecked { job, fits, entropy });
    }

    /// Draws of what passwords take and give.
    fn words_of(&self, m: usize) -> Rng {
        self.draws_of("words", m as u64, self.now_ns)
    }

    /// Jobs may overtake each other.
    fn finish_password(&mut self, m: usize, words: &mut Rng, input: Input) {
        let takes_ns = words.log_between(1, TAKES_NS_MAX);
        let process = self.machines[m].process.as_mut().expect("it asked");
        let slot = process.passwords.len() as u32;
        process.passwords.push(Some(input));
        let life = process.life as u32;
        self.after(takes_ns, Event::Complete { life, completion: Completion::Password(slot) });
    }

    pub(super) fn on_password(&mut self, m: usize, slot: u32) {
        let process = self.machines[m].process.as_mut().expect("it lives");
        let input = process.passwords[slot as usize].take().expect("each job ends once");
        self.give(m, input);
    }
}
