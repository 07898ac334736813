//! What a process counts about itself, for `GET /metrics`.
//!
//! One value is made at the start and shared; the parts count into it, and the page adds what it asks the database at that moment.

use std::sync::Arc;

use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry, TextEncoder,
};

/// Seconds: a commit, a sweep.
const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
/// Seconds from a message's making to its delivery.
const LAG: [f64; 10] = [0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 600.0, 3600.0];
/// Check-ins of a batch.
const SIZES: [f64; 9] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 500.0, 1000.0];

/// The counters. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    /// Check-ins by `result`: `recorded`, `unknown`, `refused`, `late` (answered 503).
    pub checkins: IntCounterVec,
    /// Check-ins that were written together.
    pub batch: Histogram,
    /// How long a batch took, its commit included.
    pub commit: Histogram,
    /// Check-ins that wait to be written.
    pub queue: IntGauge,
    /// How long a pass of the sweep took that had something to look at.
    pub sweep: Histogram,
    /// What passes did, by `what`: `looked`, `opened`, `closed`, `reminded`.
    pub swept: IntCounterVec,
    /// Messages by `alerter` and `result`: `delivered`, `retry`, `dead`.
    pub deliveries: IntCounterVec,
    /// From the making of a message to its delivery.
    pub lag: Histogram,
    /// Nodes by `role` and `state`, as of this look.
    pub(crate) nodes: IntGaugeVec,
    /// Alerts that are open, as of this look.
    pub(crate) open_alerts: IntGauge,
    /// Messages that wait, as of this look.
    pub(crate) waiting: IntGauge,
}

impl Metrics {
    /// Counters that stand at zero.
    ///
    /// # Errors
    /// Two of the same name.
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
        let nodes = IntGaugeVec::new(
            Opts::new("innkeeper_nodes", "Processes of the installation, by role and state"),
            &["role", "state"],
        )?;
        registry.register(Box::new(nodes.clone()))?;
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(Self {
            checkins: counters(
                "innkeeper_checkins_total",
                "Check-ins by result: recorded, unknown, refused, late (answered 503)",
                &["result"],
            )?,
            batch: histogram("innkeeper_batch_checkins", "Check-ins that were written together", &SIZES)?,
            commit: histogram("innkeeper_commit_seconds", "Writing a batch, its commit included", &SECONDS)?,
            queue: gauge("innkeeper_queue_checkins", "Check-ins that wait to be written")?,
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
            nodes,
            open_alerts: gauge("innkeeper_open_alerts", "Alerts that are open")?,
            waiting: gauge("innkeeper_waiting_deliveries", "Messages that wait to be sent, or sent again")?,
            registry: Arc::new(registry),
        })
    }

    /// Everything in Prometheus's text format.
    ///
    /// # Errors
    /// A value that cannot be written.
    pub fn text(&self) -> prometheus::Result<String> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}
