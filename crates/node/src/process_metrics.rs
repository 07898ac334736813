//! Metrics of this process from Linux, under the names that Prometheus' client libraries agree on.
//!
//! They come from `/proc/self`, see proc(5). Values that cannot be read are left out.

use std::fs;

use innkeeper_core::process_stat::ProcessStat;
use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, IntGauge};
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// The metrics; registered once a process.
pub(crate) struct ProcessMetrics {
    cpu_seconds: Counter,
    open_files: IntGauge,
    most_files: IntGauge,
    virtual_memory: IntGauge,
    resident_memory: IntGauge,
    start_time: IntGauge,
    threads: IntGauge,
}

impl ProcessMetrics {
    pub(crate) fn new() -> prometheus::Result<Self> {
        Ok(Self {
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            )?,
            open_files: IntGauge::new("process_open_fds", "Number of open file descriptors.")?,
            most_files: IntGauge::new("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_memory: IntGauge::new("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_memory: IntGauge::new(
                "process_resident_memory_bytes",
                "Resident memory size in bytes.",
            )?,
            start_time: IntGauge::new(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            threads: IntGauge::new("process_threads", "Number of OS threads in the process.")?,
        })
    }

    fn collectors(&self) -> [&dyn Collector; 7] {
        [
            &self.cpu_seconds,
            &self.open_files,
            &self.most_files,
            &self.virtual_memory,
            &self.resident_memory,
            &self.start_time,
            &self.threads,
        ]
    }

    fn look(&self) {
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of the entries is the open directory itself.
            self.open_files.set(count(entries.count().saturating_sub(1) as u64));
        }
        if let Some(most) = getrlimit(Resource::Nofile).current {
            self.most_files.set(count(most));
        }
        let Some(stat) = fs::read("/proc/self/stat").ok().and_then(|content| ProcessStat::parse(&content))
        else {
            return;
        };
        let ticks = clock_ticks_per_second().max(1);
        self.cpu_seconds.reset();
        self.cpu_seconds.inc_by(stat.cpu_ticks as f64 / ticks as f64);
        self.threads.set(count(stat.threads));
        self.virtual_memory.set(count(stat.virtual_bytes));
        self.resident_memory.set(count(stat.resident_pages.saturating_mul(page_size() as u64)));
        if let Some(booted) = fs::read_to_string("/proc/stat").ok().and_then(|text| boot_time(&text)) {
            self.start_time.set(count(booted.saturating_add(stat.started_ticks / ticks)));
        }
    }
}

impl Collector for ProcessMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.collectors().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.look();
        self.collectors().into_iter().flat_map(Collector::collect).collect()
    }
}

/// The count, limited to the range of a gauge.
fn count(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// When the machine started, in seconds since 1970: the line `btime` of `/proc/stat`.
fn boot_time(text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime};

    use super::*;

    #[test]
    fn the_machine_says_when_it_started() {
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 5\n"), Some(1_700_000_000));
    }

    #[test]
    fn it_is_this_process() {
        let metrics = ProcessMetrics::new().unwrap();
        let value = |name: &str| {
            let families = metrics.collect();
            let family = families.iter().find(|family| family.name() == name).unwrap();
            let metric = &family.get_metric()[0];
            metric.get_gauge().get_value() + metric.get_counter().get_value()
        };
        let files: Vec<_> = (0..20).map(|_| fs::File::open("/proc/self/stat").unwrap()).collect();
        assert!(value("process_open_fds") >= 20.0 && value("process_open_fds") <= value("process_max_fds"));
        drop(files);
        assert!(value("process_resident_memory_bytes") > 1e6);
        assert!(value("process_virtual_memory_bytes") >= value("process_resident_memory_bytes"));
        assert!(value("process_threads") >= 1.0);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let age = now.as_secs_f64() - value("process_start_time_seconds");
        assert!((-5.0..Duration::from_secs(86_400).as_secs_f64()).contains(&age), "{age}");
        let before = value("process_cpu_seconds_total");
        while value("process_cpu_seconds_total") <= before {
            std::hint::black_box(
                (0..1_000_000u64).fold(0, |sum: u64, n| sum.wrapping_mul(31).wrapping_add(n)),
            );
        }
    }
}
