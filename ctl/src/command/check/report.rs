//! What many calls took together.
//!
//! Source: etcd 3.7.1 pkg/report/report.go.

use std::collections::BTreeMap;
use std::time::Duration;

#[derive(Debug, Default)]
pub struct Report {
    took_s: Vec<f64>,
    /// Texts of failures, and how often each came.
    pub failures: BTreeMap<String, u64>,
}

impl Report {
    pub fn add(&mut self, took: Duration, failure: Option<String>) {
        match failure {
            Some(text) => *self.failures.entry(text).or_default() += 1,
            None => self.took_s.push(took.as_secs_f64()),
        }
    }

    /// Calls that succeeded, a second.
    pub fn rate(&self, total: Duration) -> f64 {
        self.took_s.len() as f64 / total.as_secs_f64()
    }

    pub fn slowest_s(&self) -> f64 {
        self.took_s.iter().copied().fold(0.0, f64::max)
    }

    /// Of the population; 0 if there were none.
    pub fn deviation_s(&self) -> f64 {
        if self.took_s.is_empty() {
            return 0.0;
        }
        let count = self.took_s.len() as f64;
        let mean = self.took_s.iter().sum::<f64>() / count;
        (self.took_s.iter().map(|took| (took - mean).powi(2)).sum::<f64>() / count).sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_summed_up() {
        let mut report = Report::default();
        for ms in [100, 200, 300] {
            report.add(Duration::from_millis(ms), None);
        }
        report.add(Duration::ZERO, Some("no".to_owned()));
        assert!((report.rate(Duration::from_secs(2)) - 1.5).abs() < 1e-9);
        assert!((report.slowest_s() - 0.3).abs() < 1e-9);
        assert!((report.deviation_s() - 0.081_649_658).abs() < 1e-6);
        assert_eq!(report.failures["no"], 1);
        assert!(Report::default().deviation_s().abs() < f64::EPSILON);
    }
}
