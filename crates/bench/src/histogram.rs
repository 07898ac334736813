//! Durations of requests with three significant digits, so that hours of load need little memory.

use std::time::Duration;

/// Largest duration, in µs (one hour). Longer ones count as this.
const LONGEST_US: u64 = 3_600_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// A histogram of durations.
pub struct Histogram(hdrhistogram::Histogram<u64>);

impl Default for Histogram {
    fn default() -> Self {
        // The bounds are valid, so this cannot fail.
        Self(hdrhistogram::Histogram::new_with_bounds(1, LONGEST_US, DIGITS).expect("bounds in order"))
    }
}

impl Histogram {
    /// Adds a duration.
    pub fn record(&mut self, took: Duration) {
        self.0.saturating_record(u64::try_from(took.as_micros()).unwrap_or(LONGEST_US));
    }

    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The quantile `share` (such as 0.99) in milliseconds; 0 if there are no durations.
    pub fn quantile_ms(&self, share: f64) -> f64 {
        self.0.value_at_quantile(share) as f64 / 1000.0
    }

    /// The longest duration, in milliseconds.
    pub fn most_ms(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.quantile_ms(0.99), 0.0);
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        assert_eq!(histogram.count(), 1000);
        for (found, expected) in [
            (histogram.quantile_ms(0.5), 500.0),
            (histogram.quantile_ms(0.99), 990.0),
            (histogram.most_ms(), 1000.0),
        ] {
            assert!((found / expected - 1.0).abs() < 0.001, "{found} {expected}");
        }
        histogram.record(Duration::from_secs(1_000_000));
        assert!((histogram.most_ms() / 3.6e6 - 1.0).abs() < 0.001, "{}", histogram.most_ms());
    }
}
