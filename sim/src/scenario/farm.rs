//! Many seeds of one scenario.

use super::Scenario;
use crate::marks::Mark;
use crate::rng::derive;
use crate::run::{Farm, Harvest};

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
        let ScenarioFarm { scenario, base, jobs, twice, failures_max, .. } = *self;
        let seeds = if scenario.seed.is_some() { 1 } else { self.seeds };
        let farm = Farm {
            base,
            seeds,
            jobs,
            profile: None,
            members: None,
            twice,
            failures_max,
            until: None,
            progress: None,
        };
        farm.run_plans(&|number| scenario.plan(scenario.seed.unwrap_or_else(|| derive(base, number))))
    }

    /// Marks that the scenario names and no seed has hit.
    pub fn unhit(&self, harvest: &Harvest) -> Vec<Mark> {
        self.scenario.hits.iter().copied().filter(|mark| harvest.marks.of(*mark) == 0).collect()
    }
}
