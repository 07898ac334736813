//! How long requests took: counts in steps of 10 µs, so that hours of load fit into one fixed piece of memory.

use std::time::Duration;

/// The width of a step, µs.
const STEP_US: usize = 10;
/// Steps: up to ten seconds. What took longer counts in the last one, and in the maximum.
const STEPS: usize = 1_000_000;

/// Counts of durations.
pub struct Histogram {
    counts: Vec<u32>,
    count: u64,
    most: Duration,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; STEPS], count: 0, most: Duration::ZERO }
    }
}

impl Histogram {
    /// Adds one.
    pub fn record(&mut self, took: Duration) {
        let step = (took.as_micros() as usize / STEP_US).min(STEPS - 1);
        self.counts[step] += 1;
        self.count += 1;
        self.most = self.most.max(took);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The duration that this share of them (0.99) did not exceed, in milliseconds; 0 where there are none.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (step, count) in self.counts.iter().enumerate() {
            seen += u64::from(*count);
            if seen >= wanted {
                return ((step + 1) * STEP_US) as f64 / 1000.0;
            }
        }
        0.0
    }

    /// The longest, in milliseconds.
    pub fn most_ms(&self) -> f64 {
        self.most.as_secs_f64() * 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        assert_eq!(histogram.count(), 1000);
        assert!((histogram.quantile_ms(0.5) - 500.0).abs() < 0.1);
        assert!((histogram.quantile_ms(0.99) - 990.0).abs() < 0.1);
        assert!((histogram.most_ms() - 1000.0).abs() < 0.1);
    }
}
