//! Randomness of one simulated world: everything drawn comes from the seed.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A stream of draws. Streams forked under different names do not disturb each other, so that one more
/// draw in the workload leaves the faults of the same seed where they were.
#[derive(Clone, Debug)]
pub struct Rng {
    source: ChaCha8Rng,
}

impl Rng {
    pub fn new(seed: u64) -> Rng {
        Rng { source: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// The stream of `seed` that belongs to `name`.
    pub fn named(seed: u64, name: &str) -> Rng {
        Rng::new(mix(seed, name.as_bytes()))
    }

    #[expect(clippy::should_implement_trait, reason = "an endless source is no iterator to loop over")]
    pub fn next(&mut self) -> u64 {
        self.source.next_u64()
    }

    /// A number below `bound`, which must not be 0. The bias is below 2^-32 for bounds that fit 32 bits.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw from nothing");
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// A number in `low..=high`.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low <= high, "draw between {low} and {high}");
        low + self.below(high - low + 1)
    }

    /// A number in `low..=high` whose order of magnitude is uniform.
    pub fn log_between(&mut self, low: u64, high: u64) -> u64 {
        assert!(low > 0, "a logarithmic draw begins above 0");
        let exponent = self.unit() * (high as f64 / low as f64).ln();
        ((low as f64 * exponent.exp()) as u64).clamp(low, high)
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        probability > 0.0 && self.unit() < probability
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index drawn by weight. The weights must not all be 0.
    pub fn weighted(&mut self, weights: &[u32]) -> usize {
        let total: u64 = weights.iter().map(|w| u64::from(*w)).sum();
        let mut draw = self.below(total);
        for (index, weight) in weights.iter().enumerate() {
            if draw < u64::from(*weight) {
                return index;
            }
            draw -= u64::from(*weight);
        }
        unreachable!("the draw is below the sum of the weights")
    }

    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len() as u64) as usize]
    }
}

/// Mixes bytes into a seed (FNV-1a, then a finaliser of splitmix64).
pub fn mix(seed: u64, bytes: &[u8]) -> u64 {
    let mut hash = seed ^ 0xcbf2_9ce4_8422_2325;
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    scramble(hash)
}

/// The `n`th seed of a base.
pub fn derive(base: u64, n: u64) -> u64 {
    scramble(base ^ scramble(n.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_depend_on_seed_and_name_only() {
        let draw = |seed, name| Rng::named(seed, name).next();
        assert_eq!(draw(1, "disk"), draw(1, "disk"));
        assert_ne!(draw(1, "disk"), draw(1, "clients"));
        assert_ne!(draw(1, "disk"), draw(2, "disk"));
    }

    #[test]
    fn draws_keep_their_bounds() {
        let mut rng = Rng::new(7);
        for _ in 0..1000 {
            assert!((3..=9).contains(&rng.between(3, 9)));
            assert!((10..=5000).contains(&rng.log_between(10, 5000)));
            assert_eq!(rng.weighted(&[0, 4, 0]), 1);
        }
        assert!(!rng.chance(0.0));
        assert!(rng.chance(1.0));
    }
}
