//! Where a gateway sends connections: by priority, then by weight, else in turns.
//!
//! Source: etcd 3.7.1 server/proxy/tcpproxy/userspace.go (pick); RFC 2782.

use std::fmt;

use rand::Rng;

/// One of a hundred connections goes to servers without a weight beside those that have one.
const UNWEIGHTED_PERCENT: u32 = 1;

/// A server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remote {
    pub host: String,
    pub port: u16,
    /// The lowest counts while any server of it can be reached.
    pub priority: u16,
    /// Share among those of its priority; 0: none of its own.
    pub weight: u16,
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

/// All servers, and which of them can be reached as far as is known.
#[derive(Debug)]
pub struct Remotes {
    all: Vec<(Remote, bool)>,
    /// Whose turn it is.
    turn: usize,
}

impl Remotes {
    pub fn new(all: Vec<Remote>) -> Remotes {
        Remotes { all: all.into_iter().map(|remote| (remote, true)).collect(), turn: 0 }
    }

    /// The place of the server that the next connection goes to; `None`: none can be reached.
    pub fn pick(&mut self, rng: &mut impl Rng) -> Option<usize> {
        let active = || self.all.iter().enumerate().filter(|(_, (_, is_active))| *is_active);
        let best = active().map(|(_, (remote, _))| remote.priority).min()?;
        let of_class: Vec<(usize, u32)> = active()
            .filter(|(_, (remote, _))| remote.priority == best)
            .map(|(place, (remote, _))| (place, u32::from(remote.weight)))
            .collect();
        let total: u32 = of_class.iter().map(|(_, weight)| weight).sum();
        let unweighted: Vec<usize> =
            of_class.iter().filter(|(_, weight)| *weight == 0).map(|(place, _)| *place).collect();
        let takes_unweighted =
            !unweighted.is_empty() && (total == 0 || rng.random_range(0..100) < UNWEIGHTED_PERCENT);
        if takes_unweighted {
            self.turn += 1;
            return Some(unweighted[(self.turn - 1) % unweighted.len()]);
        }
        let mut chosen = rng.random_range(0..total);
        of_class.iter().find_map(|(place, weight)| match chosen.checked_sub(*weight) {
            None => Some(*place),
            Some(left) => {
                chosen = left;
                None
            }
        })
    }

    pub fn get(&self, place: usize) -> &Remote {
        &self.all[place].0
    }

    pub fn set_active(&mut self, place: usize, is_active: bool) {
        self.all[place].1 = is_active;
    }

    /// Places of those that could not be reached.
    pub fn inactive(&self) -> Vec<usize> {
        self.all.iter().enumerate().filter(|(_, (_, is_active))| !is_active).map(|(place, _)| place).collect()
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn remotes(servers: &[(u16, u16)]) -> Remotes {
        let remote = |(priority, weight): &(u16, u16)| Remote {
            priority: *priority,
            weight: *weight,
            ..Remote::default()
        };
        Remotes::new(servers.iter().map(remote).collect())
    }

    /// How many of so many connections went to each.
    fn shares(remotes: &mut Remotes, connections: usize) -> Vec<usize> {
        let mut rng = StdRng::seed_from_u64(7);
        let mut shares = vec![0; remotes.all.len()];
        for _ in 0..connections {
            shares[remotes.pick(&mut rng).expect("one is active")] += 1;
        }
        shares
    }

    #[test]
    fn servers_without_weights_take_turns() {
        assert_eq!(shares(&mut remotes(&[(0, 0), (0, 0), (0, 0)]), 300), [100, 100, 100]);
    }

    #[test]
    fn weights_are_shares_and_the_others_get_hardly_any() {
        let shares = shares(&mut remotes(&[(0, 30), (0, 10), (0, 0)]), 10_000);
        assert!((7_000..8_000).contains(&shares[0]), "{shares:?}");
        assert!((2_000..3_000).contains(&shares[1]), "{shares:?}");
        assert!((1..300).contains(&shares[2]), "{shares:?}");
    }

    #[test]
    fn a_later_priority_counts_when_none_of_an_earlier_one_is_left() {
        let mut remotes = remotes(&[(10, 0), (20, 0), (20, 0)]);
        assert_eq!(shares(&mut remotes, 10), [10, 0, 0]);
        remotes.set_active(0, false);
        assert_eq!(shares(&mut remotes, 10), [0, 5, 5]);
        assert_eq!(remotes.inactive(), [0]);
        remotes.set_active(1, false);
        remotes.set_active(2, false);
        assert_eq!(remotes.pick(&mut StdRng::seed_from_u64(1)), None);
        remotes.set_active(0, true);
        assert_eq!(shares(&mut remotes, 10), [10, 0, 0]);
    }
}
