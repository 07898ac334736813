//! Work that may block, on a thread for it, within the request that asks for it.

use actix_web::error::BlockingError;
use actix_web::web;

/// Runs `work` on a thread that may block. What it logs has the number of this request, too.
///
/// # Errors
/// The thread's end before that of the work: a panic.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, BlockingError> {
    let scopes = innkeeper_logging::current();
    web::block(move || innkeeper_logging::run_within(&scopes, work)).await
}
