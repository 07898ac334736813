//! `GET /metrics` for Prometheus, and `/healthz` (alive) and `/readyz` (can do its work) for the
//! supervisor of the process.

use std::collections::BTreeMap;
use std::sync::Arc;

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::access::Permission;
use innkeeper_core::{Clock, Time};
use innkeeper_node::heartbeat::{Heartbeat, Progresses, gone_after};
use innkeeper_node::metrics::{self, Metrics};
use innkeeper_store::{KnownNode, LatestFigure, NodeState, Store, StoreError};

use super::description::{Description, WATCHING};
use super::{ApiError, Routes, decoded, parameters};

const METRICS: Description =
    Description::get("/metrics", Permission::ReadAll, WATCHING, "Metrics for Prometheus")
        .answers("200", "text");
const ALIVE: Description =
    Description::get("/healthz", Permission::Nothing, WATCHING, "Ask whether the process is alive")
        .answers("200", "text");
const READY: Description =
    Description::get("/readyz", Permission::Nothing, WATCHING, "Ask whether it can do its work")
        .answers("200", "text");
pub(super) const ROUTES: [Description; 3] = [METRICS, ALIVE, READY];

/// The state that the three routes share.
#[derive(Clone)]
pub struct Observed {
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    progresses: Progresses,
}

impl Observed {
    /// For the process of this `heartbeat`.
    pub fn new(store: Store, heartbeat: &Heartbeat) -> Self {
        let progresses = heartbeat.progresses().clone();
        Self { store, clock: heartbeat.clock(), metrics: heartbeat.metrics().clone(), progresses }
    }

    /// Registers the three routes.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes
            .app_data(Data::new(self.clone()))
            .described(&METRICS, metrics)
            .described(&ALIVE, alive)
            .described(&READY, ready);
    }

    /// Updates the metrics: first the use of the pool, before this takes a connection itself, then
    /// those from the database.
    fn look(&self) -> Result<(), StoreError> {
        let pool = self.store.pool_use();
        for (state, count) in [("used", pool.used), ("idle", pool.idle)] {
            self.metrics.pool.with_label_values(&[state]).set(i64::from(count));
        }
        self.metrics.pool_size.set(i64::from(pool.size));
        self.show_nodes(&self.store.nodes()?);
        self.metrics.overdue_alerts.set(self.store.overdue_alerts()?);
        let open = self.store.open_counts()?;
        self.metrics.open_alerts.set(open.down);
        self.metrics.waiting.set(open.waiting);
        self.metrics.undelivered.reset();
        for outage in self.store.outages()? {
            for (state, count) in [("waiting", outage.waiting), ("given_up", outage.given_up)] {
                self.metrics.undelivered.with_label_values(&[outage.alerter.as_str(), state]).add(count);
            }
        }
        Ok(())
    }

    fn figures(&self, apps: &[String]) -> Result<Vec<LatestFigure>, StoreError> {
        let apps = if apps.iter().any(|app| app == "*") { &[] } else { apps };
        self.store.latest_figures(apps, MOST_FIGURES)
    }

    fn show_nodes(&self, nodes: &[KnownNode]) {
        let now = self.clock.now();
        let mut counts: BTreeMap<(&str, NodeState), i64> = BTreeMap::new();
        let mut beats: BTreeMap<&str, Time> = BTreeMap::new();
        for known in nodes {
            *counts.entry((&known.node.role, known.state(gone_after(&self.store), now))).or_default() += 1;
            let latest = beats.entry(&known.node.role).or_insert(known.beat_at);
            *latest = known.beat_at.max(*latest);
        }
        // Reset, so that roles and states without nodes disappear.
        self.metrics.nodes.reset();
        for ((role, state), count) in counts {
            self.metrics.nodes.with_label_values(&[role, state.as_str()]).set(count);
        }
        self.metrics.heartbeat_age.reset();
        for (role, beat_at) in beats {
            let age = (now - beat_at).as_seconds_f64().max(0.0);
            self.metrics.heartbeat_age.with_label_values(&[role]).set(age);
        }
    }
}

/// The most apps that one query may name; further ones are ignored.
const MOST_APPS: usize = 100;
/// The most figures in one response.
const MOST_FIGURES: i64 = 10_000;

/// The apps whose figures the query requests: `figures=shop` for each app, or `figures=*` for all.
fn wanted(query: &str) -> Vec<String> {
    let values = parameters(query).filter(|(name, _)| *name == "figures").map(|(_, value)| value);
    values.filter_map(|value| decoded(value).ok()).filter(|app| !app.is_empty()).take(MOST_APPS).collect()
}

async fn metrics(observed: Data<Observed>, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let asked = observed.clone();
    // Without the database, the process's own counters are still useful.
    if let Err(error) = web::block(move || asked.look()).await.map_err(ApiError::internal)? {
        log::debug!("metrics: {error}");
    }
    let mut text = observed.metrics.text().map_err(ApiError::internal)?;
    let apps = wanted(request.query_string());
    if !apps.is_empty() {
        match web::block(move || observed.figures(&apps)).await.map_err(ApiError::internal)? {
            Ok(figures) => text.push_str(&metrics::of_figures(&figures).map_err(ApiError::internal)?),
            Err(error) => log::debug!("figures for metrics cannot be read: {error}"),
        }
    }
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

/// Answers whether the process can do its work now, and if not, why.
async fn ready(observed: Data<Observed>) -> HttpResponse {
    let problem = observed.progresses.problem();
    let answered = web::block(move || observed.store.ping().map(|()| observed.store.damage())).await;
    let problem = match answered {
        // The file's path is not shown, because anybody may ask.
        Ok(Ok(Some(_))) => Some("the database file is damaged".to_owned()),
        Ok(Ok(None)) => problem,
        Ok(Err(error)) if error.is_file_lost() => {
            Some("the database file was deleted, moved, replaced or overwritten".to_owned())
        }
        Ok(Err(_)) | Err(_) => Some("the database does not answer".to_owned()),
    };
    match problem {
        None => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"),
        Some(problem) => HttpResponse::ServiceUnavailable()
            .content_type("text/plain; charset=utf-8")
            .body(format!("{problem}\n")),
    }
}
