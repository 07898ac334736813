//! A request's body within its bounds of size and time.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::dev::Payload;
use actix_web::error::PayloadError;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{FromRequest, HttpRequest};
use futures_core::Stream as _;
use innkeeper_core::Invalid;
use innkeeper_core::excerpt::Excerpt;
use innkeeper_core::figures::{Figures, Scanner};

use super::ApiError;
use super::connection::Usage;

/// The largest body that is read, bytes.
pub const LARGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most of a job's log that is read, bytes, and for how long: a log may be long or slow, and that must not cost its job the check-in.
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

/// What is kept of a job's log, however long it is; the rest is read and dropped. One that is too slow, too long or cut off is what
/// came of it.
#[derive(Debug, Clone)]
pub struct Log {
    /// Its beginning and its end. Where it is not whole, its text says so.
    pub excerpt: Excerpt,
    /// The figures that its lines name, wherever they stand in it; and what is wrong with the first that names none.
    pub figures: (Figures, Option<Invalid>),
    /// How it ended.
    pub end: LogEnd,
}

/// How a job's log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEnd {
    /// It came to its end.
    Whole,
    /// It was longer than is read.
    TooLong,
    /// It was too slow, or cut off. Its length was said before.
    CutOff,
    /// The same, and nobody knew how long it would be: whoever sends it may be at it still, or may have died of what it tells of.
    Broken,
}

impl FromRequest for Log {
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Infallible>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let mut payload = payload.take();
        let mark = request.conn_data::<Arc<Usage>>().map(Usage::reading);
        let is_measured = request.headers().contains_key(header::CONTENT_LENGTH);
        Box::pin(async move {
            let _mark = mark;
            let (mut excerpt, mut scanner) = (Excerpt::default(), Scanner::default());
            let reading = read_log(&mut payload, &mut excerpt, &mut scanner);
            let end = match actix_web::rt::time::timeout(LOG_PATIENCE, reading).await {
                Ok(Some(end)) => end,
                Ok(None) | Err(_) if is_measured => LogEnd::CutOff,
                Ok(None) | Err(_) => LogEnd::Broken,
            };
            let figures = match end {
                LogEnd::Whole => scanner.finish(),
                LogEnd::TooLong | LogEnd::CutOff | LogEnd::Broken => {
                    excerpt.cut_off();
                    scanner.finish_cut_off()
                }
            };
            Ok(Self { excerpt, figures, end })
        })
    }
}

/// How it ends once `excerpt` and `scanner` have taken what is taken of it; none where it is cut off.
async fn read_log(payload: &mut Payload, excerpt: &mut Excerpt, scanner: &mut Scanner) -> Option<LogEnd> {
    while excerpt.length() <= LARGEST_LOG as u64 {
        match next_piece(payload).await {
            Ok(Some(piece)) => {
                excerpt.push(&piece);
                scanner.push(&piece);
            }
            Ok(None) => return Some(LogEnd::Whole),
            // The client is gone, or waited for too long.
            Err(_) => return None,
        }
    }
    Some(LogEnd::TooLong)
}

/// The most of a batch of reports, bytes.
pub const LARGEST_REPORTS: usize = 1024 * 1024;

/// A whole body of up to `MOST` bytes, which may take a while to come. Over that is answered 413, too slow 408, cut off 400.
#[derive(Debug, Clone)]
pub struct BodyUpTo<const MOST: usize>(pub Vec<u8>);

/// One of up to [`LARGEST_LOG`].
pub type LargeBody = BodyUpTo<LARGEST_LOG>;

impl<const MOST: usize> FromRequest for BodyUpTo<MOST> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let mut payload = payload.take();
        let mark = request.conn_data::<Arc<Usage>>().map(Usage::reading);
        let reading = async move {
            let mut whole = Vec::new();
            while let Some(piece) = next_piece(&mut payload).await? {
                if whole.len() + piece.len() > MOST {
                    return Err(ApiError::TooLarge { most: MOST });
                }
                whole.extend_from_slice(&piece);
            }
            Ok(Self(whole))
        };
        Box::pin(async move {
            let _mark = mark;
            actix_web::rt::time::timeout(LOG_PATIENCE, reading).await.unwrap_or(Err(ApiError::TooSlow))
        })
    }
}

async fn next_piece(payload: &mut Payload) -> Result<Option<Bytes>, ApiError> {
    let next = std::future::poll_fn(|context| Pin::new(&mut *payload).poll_next(context)).await;
    Ok(next.transpose().map_err(|error| Invalid::new("body", format!("cannot be read: {error}")))?)
}
