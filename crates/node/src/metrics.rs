//! The metrics of a process, for `GET /metrics`.
//!
//! One `Metrics` is created at the start and shared. All threads count into it; `GET /metrics` adds values that it
//! queries from the database.

use std::sync::Arc;

use innkeeper_store::LatestFigure;
use prometheus::{
    Encoder, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    PullingGauge, Registry, TextEncoder,
};

use crate::process_metrics::ProcessMetrics;

/// Bucket bounds for a commit or a sweep, in seconds.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Bucket bounds from the creation of a message, or from a deadline, to its delivery, in seconds.
const LAG: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0, 3600.0];
/// Bucket bounds for the check-ins of a batch.
const SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0, 1000.0];

/// The counters. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Check-ins by `result`: `recorded`, `unknown`, `refused`, `late` (answered 503; may still be recorded).
    pub checkins: IntCounterVec,
    /// The number of check-ins written together.
    pub batch: Histogram,
    /// The duration of writing a batch, including its commit.
    pub commit: Histogram,
    /// The duration of sweeps that had something to examine.
    pub sweep: Histogram,
    /// The results of sweeps, by `what`: `looked`, `opened`, `closed`, `reminded`.
    pub swept: IntCounterVec,
    /// Messages by `alerter` and `result`: `delivered`, `retry`, `dead`.
    pub deliveries: IntCounterVec,
    /// The time from the creation of a message to its delivery.
    pub lag: Histogram,
    /// The time from the deadline, the run limit or the report to the delivery of the first message about it, by
    /// `alerter`.
    pub alert_lag: HistogramVec,
    /// Connections of the pool by `state`: `used`, `idle`.
    pub pool: IntGaugeVec,
    /// The most connections that the pool may have.
    pub pool_size: IntGauge,
    /// Nodes by `role` and `state`, at the time of the request.
    pub nodes: IntGaugeVec,
    /// Seconds since the latest heartbeat of a `role`, at the time of the request.
    pub heartbeat_age: GaugeVec,
    /// Alerts open because a check-in is missing, at the time of the request.
    pub overdue_alerts: IntGauge,
    /// Open alerts, at the time of the request.
    pub open_alerts: IntGauge,
    /// Waiting messages, at the time of the request.
    pub waiting: IntGauge,
    /// Undelivered messages by `alerter` and `state`: `waiting` for longer than ten minutes, or `given_up` in the
    /// present outage. At the time of the request.
    pub undelivered: IntGaugeVec,
}

impl Metrics {
    /// Creates all metrics with the value zero.
    ///
    /// # Errors
    /// Two metrics have the same name.
    pub fn new() -> prometheus::Result<Self> {
        let registry = Registry::new();
        let histogram = |name: &str, help: &str, buckets: &[f64]| {
            let histogram = Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets.to_vec()))?;
            registry.register(Box::new(histogram.clone()))?;
            prometheus::Result::Ok(histogram)
        };
        let counters = |name: &str, help: &str, labels: &[&str]| {
            let counters = IntCounterVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(counters.clone()))?;
            prometheus::Result::Ok(counters)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            prometheus::Result::Ok(gauge)
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            let gauges = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauges.clone()))?;
            prometheus::Result::Ok(gauges)
        };
        let alert_lag = HistogramVec::new(
            HistogramOpts::new(
                "innkeeper_alert_lag_seconds",
                "From the deadline, the run limit or the report to the delivery of what tells it first, by alerter",
            )
            .buckets(LAG.to_vec()),
            &["alerter"],
        )?;
        registry.register(Box::new(alert_lag.clone()))?;
        let heartbeat_age = GaugeVec::new(
            Opts::new("innkeeper_heartbeat_age_seconds", "Since the latest heartbeat of a role"),
            &["role"],
        )?;
        registry.register(Box::new(heartbeat_age.clone()))?;
        registry.register(Box::new(ProcessMetrics::new()?))?;
        Ok(Self {
            checkins: counters(
                "innkeeper_checkins_total",
                "Check-ins by result: recorded, known (by its key), unknown, refused, late (answered 503; it may be recorded yet)",
                &["result"],
            )?,
            batch: histogram("innkeeper_batch_checkins", "Check-ins that were written together", &SIZES)?,
            commit: histogram("innkeeper_commit_seconds", "Writing a batch, its commit included", &SECONDS)?,
            sweep: histogram("innkeeper_sweep_seconds", "A pass that had something to look at", &SECONDS)?,
            swept: counters(
                "innkeeper_swept_total",
                "What passes did: reservations looked at, alerts opened, closed, reminded",
                &["what"],
            )?,
            deliveries: counters(
                "innkeeper_deliveries_total",
                "Messages by alerter and result: delivered, retry, dead",
                &["alerter", "result"],
            )?,
            lag: histogram(
                "innkeeper_delivery_lag_seconds",
                "From the making of a message to its delivery",
                &LAG,
            )?,
            alert_lag,
            pool: gauges(
                "innkeeper_pool_connections",
                "Connections of the pool by state: used, idle",
                &["state"],
            )?,
            pool_size: gauge("innkeeper_pool_size", "The most connections that the pool may have")?,
            nodes: gauges(
                "innkeeper_nodes",
                "Processes of the installation, by role and state",
                &["role", "state"],
            )?,
            heartbeat_age,
            overdue_alerts: gauge(
                "innkeeper_overdue_alerts",
                "Alerts that are open because nothing came by the deadline",
            )?,
            open_alerts: gauge("innkeeper_open_alerts", "Alerts that are open")?,
            undelivered: gauges(
                "innkeeper_undelivered",
                "Messages that do not get through, by alerter and state: waiting for longer than ten minutes, given_up in the outage that goes on",
                &["alerter", "state"],
            )?,
            waiting: gauge("innkeeper_waiting_deliveries", "Messages that wait to be sent, or sent again")?,
            registry: Arc::new(registry),
        })
    }

    /// Makes each request call `depth` for the number of check-ins that wait to be written.
    ///
    /// # Errors
    /// It was called before.
    pub fn watch_queue(&self, depth: impl Fn() -> usize + Send + Sync + 'static) -> prometheus::Result<()> {
        self.registry.register(Box::new(PullingGauge::new(
            "innkeeper_queue_checkins",
            "Check-ins that wait to be written",
            Box::new(move || depth() as f64),
        )?))
    }

    /// All metrics in Prometheus's text format.
    ///
    /// # Errors
    /// A value cannot be written in that format.
    pub fn text(&self) -> prometheus::Result<String> {
        text_of(&self.registry)
    }
}

/// The latest figures of jobs in Prometheus's text format.
///
/// # Errors
/// A value cannot be written in that format.
pub fn of_figures(figures: &[LatestFigure]) -> prometheus::Result<String> {
    let registry = Registry::new();
    let value = GaugeVec::new(
        Opts::new("innkeeper_figure", "The latest value of a figure that a job brought"),
        &["app", "component", "figure"],
    )?;
    let run = GaugeVec::new(
        Opts::new("innkeeper_run_seconds", "How long the latest run of a job took that was timed"),
        &["app", "component"],
    )?;
    registry.register(Box::new(value.clone()))?;
    registry.register(Box::new(run.clone()))?;
    for one in figures {
        match one.name.as_str() {
            "" => run.with_label_values(&[one.app.as_str(), &one.component]).set(one.value / 1000.0),
            name => value.with_label_values(&[one.app.as_str(), &one.component, name]).set(one.value),
        }
    }
    text_of(&registry)
}

fn text_of(registry: &Registry) -> prometheus::Result<String> {
    let mut text = Vec::new();
    TextEncoder::new().encode(&registry.gather(), &mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
