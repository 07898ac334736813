//! Responses of any length, produced in one go and sent as slowly as the client reads.
//!
//! A list is written to a [`ListSpool`] while the database is queried: in compressed blocks, first
//! in memory and then in an unnamed temporary file, which disappears with the process. When the
//! list is complete, the database connection is free, the length of the response is known, and an
//! error can still be sent as one. Then it is sent block by block.
//!
//! [`Spools`] limits how many are produced and kept at a time.

use std::fs::File;
use std::future::Future;
use std::io::{self, Seek as _, SeekFrom, Write};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::body::{BodySize, MessageBody};
use actix_web::web::{self, Bytes};
use innkeeper_logging::Seldom;
use lz4_flex::block::{compress, decompress};
use parking_lot::Mutex;
use tempfile::SpooledTempFile;
use tokio::sync::Semaphore;

use super::ApiError;

/// The bytes of a block. One response holds a block in memory besides [`IN_MEMORY`].
const BLOCK: usize = 128 * 1024;
/// The most compressed bytes of one response that stay in memory.
const IN_MEMORY: usize = 256 * 1024;
/// The most compressed bytes of one response: enough for some millions of reservations.
const LARGEST: u64 = 512 * 1024 * 1024;
/// The most responses produced at a time; others wait.
const MAKING: usize = 4;
/// How long a request waits for its turn to produce a response.
const PATIENCE: Duration = Duration::from_secs(20);
/// The most files kept at a time.
const KEPT: usize = 16;
/// The age at which a file that is still being sent may be dropped in favour of another request.
const READ_WITHIN: Duration = Duration::from_secs(600);
/// The `Retry-After` of refused requests, in seconds.
const RETRY_AFTER_S: u32 = 10;

/// All spools of a process. Clones share the limits.
#[derive(Clone)]
pub struct Spools(Arc<Shared>);

struct Shared {
    making: Semaphore,
    kept: Mutex<Vec<Weak<Kept>>>,
}

/// A file from which a response is sent; none when it was dropped in favour of another.
struct Kept {
    since: Instant,
    file: Mutex<Option<File>>,
}

impl Default for Spools {
    fn default() -> Self {
        Self(Arc::new(Shared { making: Semaphore::new(MAKING), kept: Mutex::default() }))
    }
}

impl Spools {
    /// Runs `write`, which writes a response, on a thread that may block. Returns the response and
    /// the result of `write`. If the caller stops waiting, the next write fails.
    ///
    /// # Errors
    /// The error of `write`, or [`ApiError::Unavailable`] when too many responses are produced or
    /// kept, or the disk is full.
    pub async fn make<T: Send + 'static>(
        &self,
        write: impl FnOnce(&mut ListSpool) -> Result<T, ApiError> + Send + 'static,
    ) -> Result<(Spooled, T), ApiError> {
        let Ok(Ok(_permit)) = tokio::time::timeout(PATIENCE, self.0.making.acquire()).await else {
            return Err(unavailable("too many lists are asked for at once"));
        };
        let abandoned = Arc::new(AtomicBool::new(false));
        let _guard = Abandon(Arc::clone(&abandoned));
        let shared = Arc::clone(&self.0);
        let made = web::block(move || {
            let mut spool = ListSpool::new(abandoned);
            let value = write(&mut spool)?;
            let spooled = spool.finish(&shared).map_err(failed)?;
            Ok::<_, ApiError>((spooled, value))
        });
        made.await.map_err(ApiError::internal)?
    }
}

/// Notes, when it is dropped, that the caller no longer waits.
struct Abandon(Arc<AtomicBool>);

impl Drop for Abandon {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The error of writing. A full disk is not the caller's fault, and may pass.
fn failed(error: io::Error) -> ApiError {
    unavailable(&format!("a list cannot be kept in {}: {error}", std::env::temp_dir().display()))
}

fn unavailable(why: &str) -> ApiError {
    static REFUSALS: Seldom = Seldom::new();
    REFUSALS.warn(format_args!("answering 503: {why}"));
    ApiError::Unavailable { retry_after_s: RETRY_AFTER_S }
}

/// A response that is being written.
pub struct ListSpool {
    block: Vec<u8>,
    file: SpooledTempFile,
    length: u64,
    compressed: u64,
    abandoned: Arc<AtomicBool>,
}

impl ListSpool {
    fn new(abandoned: Arc<AtomicBool>) -> Self {
        let file = SpooledTempFile::new(IN_MEMORY);
        Self { block: Vec::with_capacity(BLOCK), file, length: 0, compressed: 0, abandoned }
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] when it cannot be written, for example because the disk is full.
    pub fn json(&mut self, value: &impl serde::Serialize) -> Result<(), ApiError> {
        serde_json::to_writer(self, value).map_err(|error| match error.io_error_kind() {
            Some(kind) => failed(io::Error::new(kind, error)),
            None => ApiError::internal(error),
        })
    }

    /// Writes text as it is.
    ///
    /// # Errors
    /// [`ApiError::Unavailable`] when it cannot be written, for example because the disk is full.
    pub fn text(&mut self, text: &str) -> Result<(), ApiError> {
        self.write_all(text.as_bytes()).map_err(failed)
    }

    fn end_block(&mut self) -> io::Result<()> {
        if self.abandoned.load(Ordering::Relaxed) {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody waits for it any more"));
        }
        let compressed = compress(&self.block);
        self.compressed += 8 + compressed.len() as u64;
        if self.compressed > LARGEST {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "it is too long"));
        }
        for length in [compressed.len(), self.block.len()] {
            self.file.write_all(&(length as u32).to_le_bytes())?;
        }
        self.file.write_all(&compressed)?;
        self.block.clear();
        Ok(())
    }

    fn finish(mut self, shared: &Shared) -> io::Result<Spooled> {
        self.end_block()?;
        self.file.seek(SeekFrom::Start(0))?;
        let source = match self.file.into_inner() {
            tempfile::SpooledData::InMemory(bytes) => Source::Memory(io::Cursor::new(bytes.into_inner())),
            tempfile::SpooledData::OnDisk(file) => Source::File(shared.keep(file)?),
        };
        Ok(Spooled { length: self.length, source })
    }
}

impl Write for ListSpool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..taken]);
        self.length += taken as u64;
        if self.block.len() == BLOCK {
            self.end_block()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Shared {
    /// Adds this file to those that are kept. If there are too many, drops the oldest one that has
    /// been read for [`READ_WITHIN`].
    fn keep(&self, file: File) -> io::Result<Arc<Kept>> {
        let mut all = self.kept.lock();
        all.retain(|kept| kept.strong_count() > 0);
        if all.len() >= KEPT {
            let oldest = all.iter().enumerate().filter_map(|(place, kept)| Some((place, kept.upgrade()?)));
            match oldest.min_by_key(|(_, kept)| kept.since) {
                Some((place, kept)) if kept.since.elapsed() > READ_WITHIN => {
                    *kept.file.lock() = None;
                    all.swap_remove(place);
                }
                _ => return Err(io::Error::new(io::ErrorKind::QuotaExceeded, "too many are being read")),
            }
        }
        let kept = Arc::new(Kept { since: Instant::now(), file: Mutex::new(Some(file)) });
        all.push(Arc::downgrade(&kept));
        Ok(kept)
    }
}

/// A complete response.
pub struct Spooled {
    length: u64,
    source: Source,
}

enum Source {
    Memory(io::Cursor<Vec<u8>>),
    File(Arc<Kept>),
}

impl Spooled {
    /// The HTTP response, with `head` before the text that was written.
    pub fn answer(self, content_type: &'static str, head: String) -> HttpResponse {
        let left = head.len() as u64 + self.length;
        let body = Body { head: head.into(), length: left, left, source: Some(self.source), reading: None };
        HttpResponse::Ok().content_type(content_type).body(body)
    }
}

/// A source, and its next block.
type Reading = Pin<Box<dyn Future<Output = io::Result<(Source, Bytes)>>>>;

/// The body of a response.
struct Body {
    head: Bytes,
    length: u64,
    left: u64,
    source: Option<Source>,
    reading: Option<Reading>,
}

impl MessageBody for Body {
    type Error = io::Error;

    fn size(&self) -> BodySize {
        BodySize::Sized(self.length)
    }

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, io::Error>>> {
        let body = &mut *self;
        let mut next = std::mem::take(&mut body.head);
        if next.is_empty() {
            if body.left == 0 {
                return Poll::Ready(None);
            }
            if let Some(source) = body.source.take() {
                body.reading = Some(Box::pin(read(source)));
            }
            let Some(reading) = &mut body.reading else {
                return Poll::Ready(Some(Err(io::ErrorKind::UnexpectedEof.into())));
            };
            let read = ready!(reading.as_mut().poll(context));
            body.reading = None;
            match read {
                Ok((source, bytes)) => (body.source, next) = (Some(source), bytes),
                Err(error) => {
                    static CUT: Seldom = Seldom::new();
                    CUT.warn(format_args!("a list was cut off while it was sent: {error}"));
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        body.left = body.left.saturating_sub(next.len() as u64);
        Poll::Ready(Some(Ok(next)))
    }
}

/// Reads the next block; from a file, on a thread that may block.
async fn read(source: Source) -> io::Result<(Source, Bytes)> {
    match source {
        Source::Memory(mut bytes) => {
            let block = next_block(&mut bytes)?;
            Ok((Source::Memory(bytes), block))
        }
        Source::File(kept) => {
            let read = web::block(move || {
                let block = match &mut *kept.file.lock() {
                    Some(file) => next_block(file),
                    None => Err(io::Error::new(io::ErrorKind::TimedOut, "it was read too slowly")),
                };
                block.map(|block| (Source::File(kept), block))
            });
            read.await.map_err(io::Error::other)?
        }
    }
}

fn next_block(from: &mut impl io::Read) -> io::Result<Bytes> {
    let mut length = || {
        let mut bytes = [0; 4];
        from.read_exact(&mut bytes).map(|()| u32::from_le_bytes(bytes) as usize)
    };
    let (compressed, whole) = (length()?, length()?);
    let mut bytes = vec![0; compressed];
    from.read_exact(&mut bytes)?;
    let block = decompress(&bytes, whole).map_err(io::Error::other)?;
    Ok(block.into())
}
