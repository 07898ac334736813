//! `GET /metrics` for Prometheus, `/healthz` (alive) and `/readyz` (can do its work) for who runs the process.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use innkeeper_core::Clock;
use innkeeper_core::access::Need;
use innkeeper_store::{Store, StoreError};

use super::{ApiError, Routes};
use crate::heart::{GONE_AFTER, Heart};
use crate::metrics::Metrics;

/// What the three share.
#[derive(Clone)]
pub struct Observed {
    store: Store,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
}

impl Observed {
    /// The process whose node `heart` is.
    pub fn new(store: Store, heart: &Heart) -> Self {
        Self { store, clock: heart.clock(), metrics: heart.metrics().clone() }
    }

    /// Registers the three.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes
            .app_data(Data::new(self.clone()))
            .get("/metrics", Need::ReadAll, metrics)
            .get("/healthz", Need::Nothing, alive)
            .get("/readyz", Need::Nothing, ready);
    }

    /// Asks the database for what it alone knows.
    fn look(&self) -> Result<(), StoreError> {
        let now = self.clock.now();
        self.metrics.nodes.reset();
        for known in self.store.nodes()? {
            let labels = [known.node.role.as_str(), known.state(GONE_AFTER, now)];
            self.metrics.nodes.with_label_values(&labels).inc();
        }
        let open = self.store.open_counts()?;
        self.metrics.open_alerts.set(open.down);
        self.metrics.waiting.set(open.waiting);
        Ok(())
    }
}

async fn metrics(observed: Data<Observed>) -> Result<HttpResponse, ApiError> {
    let asked = observed.clone();
    // Without a database the process's own counters still say something.
    if let Err(error) = web::block(move || asked.look()).await.map_err(ApiError::internal)? {
        log::debug!("metrics: {error}");
    }
    let text = observed.metrics.text().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text))
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("alive\n")
}

async fn ready(observed: Data<Observed>) -> HttpResponse {
    let answered = web::block(move || observed.store.ping()).await;
    match answered {
        Ok(Ok(())) => HttpResponse::Ok().content_type("text/plain; charset=utf-8").body("ready\n"),
        Ok(Err(_)) | Err(_) => HttpResponse::ServiceUnavailable()
            .content_type("text/plain; charset=utf-8")
            .body("the database does not answer\n"),
    }
}
