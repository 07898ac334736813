//! What a process has used, as the system counts it.

use std::time::Instant;

use anyhow::{Context, Result};

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    at: Instant,
    cpu_s: f64,
    /// The most memory it has had, MB.
    pub peak_rss_mb: f64,
    /// The memory it has, MB.
    pub rss_mb: f64,
}

/// The kernel's unit of processor time in /proc, on every Linux that runs here.
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    /// Of the process `pid`, all its threads.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/{file}"))
                .with_context(|| format!("process {pid} has gone"))
        };
        let stat = read("stat")?;
        // After the name, which may have blanks: state is field 3; utime 14; stime 15.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3).and_then(|text| text.parse::<f64>().ok());
        let cpu = ticks(14).zip(ticks(15)).context("/proc/…/stat has no times")?;
        let status = read("status")?;
        let megabytes = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kilobytes| kilobytes / 1024.0)
        };
        Ok(Self {
            at: Instant::now(),
            cpu_s: (cpu.0 + cpu.1) / TICKS_PER_SECOND,
            peak_rss_mb: megabytes("VmHWM:").context("/proc/…/status has no VmHWM")?,
            rss_mb: megabytes("VmRSS:").context("/proc/…/status has no VmRSS")?,
        })
    }

    /// The share of one core that was used since `before`, in percent.
    pub fn cpu_percent_since(&self, before: &Self) -> f64 {
        let wall = (self.at - before.at).as_secs_f64();
        100.0 * (self.cpu_s - before.cpu_s) / wall.max(0.001)
    }
}
