//! A request's body within its bounds of size and time.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use futures_core::Stream as _;
use innkeeper_core::Invalid;

use super::ApiError;
use super::connection::Usage;

/// The largest body that is read, bytes.
pub const LARGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// The largest body of which the beginning is kept, bytes, and how long it may take: a job's log may be long, and that must
/// not cost it its check-in.
pub const LARGEST_LOG: usize = 16 * 1024 * 1024;
const LOG_PATIENCE: Duration = Duration::from_secs(60);

/// The whole body. Too large is answered 413, too slow 408, cut off 400.
#[derive(Debug, Clone)]
pub struct Body(pub Bytes);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let reading = Bytes::from_request(request, payload);
        let mark = request.conn_data::<Arc<Usage>>().map(Usage::reading);
        Box::pin(async move {
            let _mark = mark;
            match actix_web::rt::time::timeout(PATIENCE, reading).await {
                Err(_) => Err(ApiError::TooSlow),
                Ok(Ok(bytes)) => Ok(Self(bytes)),
                Ok(Err(error)) => Err(match error.as_error::<PayloadError>() {
                    Some(PayloadError::Overflow) => ApiError::TooLarge { most: LARGEST_BODY },
                    _ => Invalid::new("body", format!("cannot be read: {error}")).into(),
                }),
            }
        })
    }
}

/// The first `KEEP` bytes of a body; the rest is read and dropped. Over [`LARGEST_LOG`] is answered 413, too slow 408, cut off
/// 400.
#[derive(Debug, Clone)]
pub struct Beginning<const KEEP: usize>(pub Vec<u8>);

impl<const KEEP: usize> FromRequest for Beginning<KEEP> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let payload = payload.take();
        let mark = request.conn_data::<Arc<Usage>>().map(Usage::reading);
        Box::pin(async move {
            let _mark = mark;
            let reading = actix_web::rt::time::timeout(LOG_PATIENCE, beginning(payload, KEEP));
            reading.await.unwrap_or(Err(ApiError::TooSlow)).map(Self)
        })
    }
}

/// A whole body of up to [`LARGEST_LOG`], which may take a while to come.
pub type LargeBody = Beginning<LARGEST_LOG>;

async fn beginning(mut payload: Payload, keep: usize) -> Result<Vec<u8>, ApiError> {
    let (mut kept, mut length) = (Vec::new(), 0);
    while let Some(chunk) = std::future::poll_fn(|context| Pin::new(&mut payload).poll_next(context)).await {
        let chunk = chunk.map_err(|error| Invalid::new("body", format!("cannot be read: {error}")))?;
        length += chunk.len();
        if length > LARGEST_LOG {
            return Err(ApiError::TooLarge { most: LARGEST_LOG });
        }
        kept.extend_from_slice(&chunk[..chunk.len().min(keep - kept.len())]);
    }
    Ok(kept)
}
