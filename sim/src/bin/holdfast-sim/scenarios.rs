//! `run` and `twice` of scenario files.

use std::process::ExitCode;
use std::time::Instant;

use holdfast_sim::run::Harvest;
use holdfast_sim::scenario::Scenario;
use holdfast_sim::scenario::farm::ScenarioFarm;

use super::run::Many;
use super::{corpus, failures, refuse};

/// Seeds of each scenario, if nothing is said.
const SEEDS: u64 = 100;

/// Exit code: that of the first failure; 12 if a scenario does not hit its marks; 2 if a file is wrong.
pub fn run(many: &Many, twice: bool) -> ExitCode {
    let start = Instant::now();
    let scenarios: Result<Vec<Scenario>, _> =
        many.scenarios.iter().map(|path| Scenario::read(path)).collect();
    let scenarios = match scenarios {
        Ok(scenarios) => scenarios,
        Err(error) => return refuse(&error.to_string()),
    };
    let mut all = Harvest::default();
    let mut code = 0;
    for scenario in &scenarios {
        let farm = ScenarioFarm {
            scenario,
            base: many.from,
            seeds: many.seeds.unwrap_or(SEEDS),
            jobs: many.jobs,
            twice,
            failures_max: many.failures,
        };
        failures::note_origin(scenario);
        let harvest = farm.run();
        for failure in &harvest.failures {
            failures::report(failure);
            code = if code == 0 { failure.exit_code() } else { code };
        }
        if harvest.failures.is_empty() {
            failures::note_sound(scenario);
        }
        let unhit = farm.unhit(&harvest);
        if !unhit.is_empty() && harvest.failures.is_empty() {
            println!("FAIL marks  {}: no seed hit {unhit:?}", scenario.path.display());
            code = if code == 0 { 12 } else { code };
        }
        all.merge(harvest);
    }
    corpus::keep(&all);
    println!("{}", all.summary(start.elapsed().as_secs_f64()));
    ExitCode::from(code)
}
