//! The webhook sink, as the figures use it.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use innkeeper_testing::client::Client;
use serde::Deserialize;

use super::program::Program;
use crate::table::median;

/// An alert that the sink has received.
#[derive(Debug, Clone, Deserialize)]
pub struct Receipt {
    /// `job-7`.
    pub component: String,
    /// `opened`.
    pub event: String,
    /// UTC milliseconds.
    pub at: i64,
}

/// A running `bench-sink`.
pub struct Sink {
    program: Program,
    client: Client,
}

impl Sink {
    /// Starts the sink.
    pub fn start() -> Result<Self> {
        Ok(Self { program: Program::start("bench-sink", "", &[])?, client: Client::default() })
    }

    /// The configuration of the alerter `hook` that sends to the sink.
    pub fn alerter(&self) -> Result<String> {
        Ok(format!("[alerter.hook]\nkind = \"webhook\"\nurl = \"{}\"\n", self.url("/hook")?))
    }

    /// Waits until `count` alerts have arrived, at most for `patience`. Returns all that have arrived.
    pub fn wait_for(&self, count: usize, patience: Duration) -> Result<Vec<Receipt>> {
        let end = Instant::now() + patience;
        let url = self.url("/count")?;
        while self.client.get(&url).body.parse::<usize>()? < count && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(serde_json::from_str(&self.client.get(&self.url("/report")?).body)?)
    }

    fn url(&self, path: &str) -> Result<String> {
        Ok(format!("http://{}{path}", self.program.address()?))
    }
}

/// The delay in ms between the deadline of each of the first `jobs` jobs and its alert, sorted. Fails if a job has no
/// alert or two, or if another job has one, because the measurement would be meaningless.
pub fn delays(receipts: &[Receipt], jobs: u64, deadline: impl Fn(u64) -> i64) -> Result<Vec<f64>> {
    let mut told = vec![false; jobs as usize];
    let mut delays = Vec::with_capacity(receipts.len());
    for Receipt { component, event, at } in receipts {
        let number: u64 = component.strip_prefix("job-").unwrap_or_default().parse()?;
        ensure!(number < jobs && event == "opened", "{component} {event}: nobody waited for that");
        ensure!(!std::mem::replace(&mut told[number as usize], true), "{component} was told of twice");
        delays.push((at - deadline(number)) as f64);
    }
    ensure!(jobs > 0 && delays.len() == told.len(), "of {jobs} silent jobs {} were told of", delays.len());
    delays.sort_by(f64::total_cmp);
    Ok(delays)
}

/// The quantile `share` (such as 0.99) of the sorted `delays`.
pub fn quantile(delays: &[f64], share: f64) -> f64 {
    if share == 0.5 {
        return median(delays.iter().copied());
    }
    let place = (delays.len() as f64 * share).ceil() as usize;
    delays.get(place.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receipt(number: u64) -> Receipt {
        Receipt { component: format!("job-{number}"), event: "opened".to_owned(), at: 1000 + number as i64 }
    }

    #[test]
    fn delays_are_counted_from_each_deadline() {
        let delays = delays(&[receipt(1), receipt(0)], 2, |number| 990 + number as i64).unwrap();
        assert_eq!(delays, [10.0, 10.0]);
    }

    #[test]
    fn a_job_that_nobody_was_told_of_is_an_error_and_no_delay() {
        for (receipts, jobs) in [(vec![], 1), (vec![receipt(0)], 2), (vec![], 0), (vec![receipt(0); 2], 2)] {
            assert!(delays(&receipts, jobs, |_| 0).is_err(), "{receipts:?} of {jobs}");
        }
        assert!(delays(&[receipt(2)], 2, |_| 0).is_err());
    }
}
