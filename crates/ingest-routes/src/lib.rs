//! The routes that `ingest` serves: method, path, permission, and documentation for the API's description.
//!
//! `ingest` registers its handlers by these. They are a separate crate because `web` documents them too and must not
//! depend on `ingest`, which may run as another process. Each protocol has a file of the same name with its handlers
//! in `crates/ingest/src`.

pub mod gocron;
pub mod gotel;
pub mod healthchecks;
pub mod reports;

use innkeeper_http::description::Description;

/// All routes except those of [`reports`], which describe themselves.
pub fn all() -> Vec<Description> {
    let mut all = gotel::ROUTES.to_vec();
    all.extend(gocron::ROUTES);
    all.extend(healthchecks::routes());
    all
}
