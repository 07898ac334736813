//! A request's body within its bounds of size and time.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use innkeeper_core::Invalid;

use super::ApiError;

/// The largest body that is read, bytes.
pub const LARGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);

/// The whole body. Too large is answered 413, too slow 408, cut off 400.
#[derive(Debug, Clone)]
pub struct Body(pub Bytes);

impl FromRequest for Body {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let reading = Bytes::from_request(request, payload);
        Box::pin(async move {
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
