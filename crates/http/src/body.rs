//! Request bodies, limited in size and time.

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

/// The largest body that is read, in bytes.
pub const LARGEST_BODY: usize = 64 * 1024;
/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most of a job's log that is read, in bytes, and the time for it. A long or slow log must not cost the job its
/// check-in.
pub const LARGEST_LOG: usize = 16 * 1024 * 1024;
const LOG_PATIENCE: Duration = Duration::from_secs(60);

/// The complete body. A body that is too large is answered 413, too slow 408, cut off 400.
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

/// The excerpt of a job's log of any length; the rest is read and dropped. Of a log that is too slow, too long or cut
/// off, the part that arrived counts.
#[derive(Debug, Clone)]
pub struct Log {
    /// The beginning and the end of the log. Its text says if something is missing.
    pub excerpt: Excerpt,
    /// The figures in its lines, and the problem of the first line that is meant as a figure and is none.
    pub figures: (Figures, Option<Invalid>),
    /// How it ended.
    pub end: LogEnd,
}

/// How a job's log ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogEnd {
    /// It arrived completely.
    Whole,
    /// It was longer than the limit.
    TooLong,
    /// It was too slow or cut off, and its length was announced.
    CutOff,
    /// It was too slow or cut off, and its length was not announced: the sender may still be writing, or may have died
    /// with the job that it reports.
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

/// Reads the log into `excerpt` and `scanner` and returns how it ended; `None` if it was cut off.
async fn read_log(payload: &mut Payload, excerpt: &mut Excerpt, scanner: &mut Scanner) -> Option<LogEnd> {
    while excerpt.length() <= LARGEST_LOG as u64 {
        match next_piece(payload).await {
            Ok(Some(piece)) => {
                excerpt.push(&piece);
                scanner.push(&piece);
            }
            Ok(None) => return Some(LogEnd::Whole),
            // The client has disconnected, or took too long.
            Err(_) => return None,
        }
    }
    Some(LogEnd::TooLong)
}

/// The largest batch of reports, in bytes.
pub const LARGEST_REPORTS: usize = 1024 * 1024;

/// The complete body of up to `MOST` bytes, which may take as long as a log. A larger body is
/// answered 413, too slow 408, cut off 400.
#[derive(Debug, Clone)]
pub struct BodyUpTo<const MOST: usize>(pub Vec<u8>);

/// The complete body of up to [`LARGEST_LOG`] bytes.
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
