//! Many seeds of one scenario.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Scenario;
use crate::marks::Mark;
use crate::rng::derive;
use crate::run::{Harvest, STACK_BYTES, run_plan, run_twice};

/// Seeds of one scenario.
#[derive(Clone, Debug)]
pub struct ScenarioFarm<'a> {
    pub scenario: &'a Scenario,
    pub base: u64,
    /// How many; a scenario that is about one seed is run with that one alone.
    pub seeds: u64,
    pub jobs: usize,
    pub twice: bool,
    /// Stop after so many failures.
    pub failures_max: usize,
}

impl ScenarioFarm<'_> {
    /// Runs the seeds, each on one of `jobs` threads.
    pub fn run(&self) -> Harvest {
        let seeds = if self.scenario.seed.is_some() { 1 } else { self.seeds };
        let next = AtomicU64::new(0);
        let harvest = Mutex::new(Harvest::default());
        std::thread::scope(|scope| {
            for job in 0..self.jobs.clamp(1, seeds.max(1) as usize) {
                let builder = std::thread::Builder::new().name(format!("sim-{job}")).stack_size(STACK_BYTES);
                builder
                    .spawn_scoped(scope, || self.work(seeds, &next, &harvest))
                    .expect("a thread can be had");
            }
        });
        let mut harvest = harvest.into_inner().expect("no job panics: each seed is caught");
        harvest.failures.sort_by_key(|failure| failure.seed);
        harvest
    }

    fn work(&self, seeds: u64, next: &AtomicU64, harvest: &Mutex<Harvest>) {
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let failures = harvest.lock().expect("no job panics: each seed is caught").failures.len();
            if number >= seeds || failures >= self.failures_max {
                return;
            }
            let seed = self.scenario.seed.unwrap_or_else(|| derive(self.base, number));
            let plan = self.scenario.plan(seed);
            let result = if self.twice { run_twice(plan) } else { run_plan(plan, false).0 };
            let mut harvest = harvest.lock().expect("no job panics: each seed is caught");
            harvest.seeds += 1;
            match result {
                Ok(report) => harvest.add(&report),
                Err(failure) => harvest.failures.push(failure),
            }
        }
    }

    /// Marks that the scenario names and no seed has hit.
    pub fn unhit(&self, harvest: &Harvest) -> Vec<Mark> {
        self.scenario.hits.iter().copied().filter(|mark| harvest.marks.of(*mark) == 0).collect()
    }
}
