//! `GET /healthcheck` and `GET /version`: whether the database answers, and what runs here.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use actix_web::web::{self, Data};
use actix_web::{HttpResponse, http::StatusCode};
use innkeeper_core::access::Permission;
use innkeeper_store::{Store, StoreError};
use serde_json::json;

use super::description::{Description, WATCHING};
use super::{ApiError, Routes};

const HEALTHCHECK: Description =
    Description::get("/healthcheck", Permission::Nothing, WATCHING, "Ask whether the database answers");
const VERSION: Description = Description::get(
    "/version",
    Permission::Nothing,
    WATCHING,
    "Ask for the versions of Innkeeper and its database",
);
pub(super) const ROUTES: [Description; 2] = [HEALTHCHECK, VERSION];

/// The time allowed for the database to answer a health check.
const PATIENCE: Duration = Duration::from_secs(2);
/// The most concurrent queries. A hanging query keeps its thread, while a load balancer continues to ask.
const AT_ONCE: usize = 4;

/// The queries of these two routes.
pub trait HealthQueries: Send + Sync {
    /// Checks that the database answers.
    ///
    /// # Errors
    /// A `StoreError` when it does not.
    fn ping(&self) -> Result<(), StoreError>;
    /// The database's type (`postgres`, `sqlite`) and version.
    ///
    /// # Errors
    /// A `StoreError` when it does not answer.
    fn version(&self) -> Result<(String, String), StoreError>;
}

impl HealthQueries for Store {
    fn ping(&self) -> Result<(), StoreError> {
        Store::ping(self)
    }

    fn version(&self) -> Result<(String, String), StoreError> {
        self.database_version()
    }
}

/// The state that both routes share. Make one for the process, and give a clone to each listener.
#[derive(Clone)]
pub struct Health {
    database: Arc<dyn HealthQueries>,
    asking: Arc<AtomicUsize>,
    /// Whether a persisting problem has been logged.
    said: Arc<AtomicBool>,
    version: &'static str,
}

impl Health {
    /// The health of a process of this `version` over `database`.
    pub fn new(database: impl HealthQueries + 'static, version: &'static str) -> Self {
        Self { database: Arc::new(database), asking: Arc::default(), said: Arc::default(), version }
    }

    /// Registers `/healthcheck` and `/version`.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes
            .app_data(Data::new(self.clone()))
            .described(&HEALTHCHECK, healthcheck)
            .described(&VERSION, version);
    }

    /// Asks the database on a thread that may block. The error may be shown to anybody.
    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&dyn HealthQueries) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, &'static str> {
        const SILENT: &str = "the database does not answer";
        let place = Place::take(&self.asking).ok_or(SILENT)?;
        let database = Arc::clone(&self.database);
        let asking = web::block(move || {
            let answer = question(database.as_ref());
            drop(place);
            answer
        });
        let (reason, detail) = match actix_web::rt::time::timeout(PATIENCE, asking).await {
            Ok(Ok(Ok(answer))) => {
                if self.said.swap(false, Ordering::SeqCst) {
                    log::info!("at a health check: the database answers again");
                }
                return Ok(answer);
            }
            Ok(Ok(Err(error))) if error.is_unavailable() => {
                ("the database is not available", error.to_string())
            }
            Ok(Ok(Err(error))) => ("the database has a problem", error.to_string()),
            Ok(Err(_)) => return Err("Innkeeper is stopping"),
            Err(_) => (SILENT, format!("nothing for {} s", PATIENCE.as_secs())),
        };
        // Logged once: a load balancer asks every few seconds.
        if !self.said.swap(true, Ordering::SeqCst) {
            log::warn!("at a health check: the database reported: {detail}");
        }
        Err(reason)
    }
}

async fn healthcheck(health: Data<Health>) -> HttpResponse {
    match health.ask(|database| database.ping()).await {
        Ok(()) => HttpResponse::Ok().json(json!({ "success": true, "message": "the database answers" })),
        Err(reason) => HttpResponse::build(StatusCode::INTERNAL_SERVER_ERROR)
            .json(json!({ "success": false, "message": reason })),
    }
}

async fn version(health: Data<Health>) -> Result<HttpResponse, ApiError> {
    match health.ask(|database| database.version()).await {
        Ok((kind, version)) => Ok(HttpResponse::Ok().json(json!({
            "version": health.version,
            "database": { "type": kind, "version": version },
        }))),
        Err(_) => Err(ApiError::Unavailable { retry_after_s: 1 }),
    }
}

/// One of the concurrent queries; dropping it makes room for another.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(asking: &Arc<AtomicUsize>) -> Option<Self> {
        if asking.fetch_add(1, Ordering::SeqCst) < AT_ONCE {
            return Some(Self(Arc::clone(asking)));
        }
        asking.fetch_sub(1, Ordering::SeqCst);
        None
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}
