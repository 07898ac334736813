//! The routes that `ingest` answers: method, path, permission, and what the description of the API says of them.
//!
//! `ingest` registers its handlers by these. They are a crate of their own since `web` shows them, too, and must not depend on `ingest`:
//! it may be a process by itself. Each protocol has a file of the same name as its handlers in `crates/ingest/src`.

pub mod gocron;
pub mod gotel;
pub mod healthchecks;
pub mod reports;

use innkeeper_http::description::Description;

/// All of them but those of [`reports`], which describe themselves.
pub fn all() -> Vec<Description> {
    let mut all = gotel::ROUTES.to_vec();
    all.extend(gocron::ROUTES);
    all.extend(healthchecks::routes());
    all
}
