//! Blocking work on a thread of its own, within a request.

use actix_web::error::BlockingError;
use actix_web::web;

/// Runs `work` on a thread that may block. Its log lines carry the number of this request too.
///
/// # Errors
/// The work panicked.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let scopes = innkeeper_logging::current();
    web::block(move || innkeeper_logging::run_within(&scopes, work)).await
}
