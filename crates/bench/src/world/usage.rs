//! The resources that a process has used, as the system counts them.

use std::time::Instant;

use anyhow::{Context, Result};
use innkeeper_testing::process::stat;

/// The resources that a process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    at: Instant,
    cpu_s: f64,
    /// Peak memory, in MB.
    pub peak_rss_mb: f64,
    /// Current memory, in MB.
    pub rss_mb: f64,
}

/// The unit of processor time in /proc. It is the same on all Linux systems that are supported.
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    /// The usage of the process `pid` with all its threads.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("process {pid} has gone"))
        };
        let ticks = stat(pid).with_context(|| format!("process {pid} has gone"))?.cpu_ticks;
        let status = read("status")?;
        let megabytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
        };
        Ok(Self {
            at: Instant::now(),
            cpu_s: ticks as f64 / TICKS_PER_SECOND,
            peak_rss_mb: megabytes("VmHWM:").context("/proc/…/status has no VmHWM")?,
            rss_mb: megabytes("VmRSS:").context("/proc/…/status has no VmRSS")?,
        })
    }

    /// Use of one core since `before`, in percent.
    pub fn cpu_percent_since(&self, before: &Self) -> f64 {
        let wall = (self.at - before.at).as_secs_f64();
        100.0 * (self.cpu_s - before.cpu_s) / wall.max(0.001)
    }
}
