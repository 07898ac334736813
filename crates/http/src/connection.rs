//! A connection that is closed when it is idle.
//!
//! Actix closes idle connections after a time that is fixed for the whole server. Here the time depends on the number
//! of open connections, so that many idle ones cannot block active clients.

use std::future::Future as _;
use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Instant, Sleep, sleep};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use innkeeper_logging::Seldom;

/// How long a connection may be idle.
const IDLE: Duration = Duration::from_secs(5);
/// The idle time while more than three quarters of all allowed connections are open.
const IDLE_IN_A_CROWD: Duration = Duration::from_secs(1);
/// How long a connection may send without completing a request, and the same in a crowd. Outside a crowd, bodies have
/// time limits of their own instead.
const FRUITLESS: Duration = Duration::from_secs(15);
const FRUITLESS_IN_A_CROWD: Duration = Duration::from_secs(5);
/// How long a client may leave a response unread, and the same in a crowd.
const UNREAD: Duration = Duration::from_secs(300);
const UNREAD_IN_A_CROWD: Duration = Duration::from_secs(30);
/// How often a waiting connection checks how long it has waited.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The number of open connections of a listener.
pub(super) struct Census {
    open: AtomicUsize,
    most: usize,
    full: Seldom,
}

impl Census {
    /// The census of a listener with at most `most` open connections.
    pub(super) fn new(most: usize) -> Self {
        Self { open: AtomicUsize::new(0), most, full: Seldom::new() }
    }

    /// Whether so many are open that each must close after its response, to give waiting clients their turn.
    pub(super) fn is_crowded(&self) -> bool {
        self.open.load(Ordering::Relaxed) > self.most - self.most / 4
    }
}

/// State shared by a connection and its requests.
#[derive(Default)]
pub(super) struct Usage {
    /// Requests that a handler is working on.
    busy: AtomicUsize,
    /// Of those, the requests whose body has not arrived completely.
    reading: AtomicUsize,
}

impl Usage {
    /// A handler works while the mark exists.
    pub(super) fn busy(self: &Arc<Self>) -> Mark {
        Mark::on(self, |usage| &usage.busy)
    }

    /// A handler waits for the client while the mark exists.
    pub(super) fn reading(self: &Arc<Self>) -> Mark {
        Mark::on(self, |usage| &usage.reading)
    }
}

/// Increments a counter while it exists.
pub(super) struct Mark(Arc<Usage>, fn(&Usage) -> &AtomicUsize);

impl Mark {
    fn on(usage: &Arc<Usage>, count: fn(&Usage) -> &AtomicUsize) -> Self {
        count(usage).fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(usage), count)
    }
}

impl Drop for Mark {
    fn drop(&mut self) {
        self.1(&self.0).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A TCP connection that closes when it is idle for too long.
pub(super) struct Connection {
    stream: TcpStream,
    census: Arc<Census>,
    usage: Arc<Usage>,
    /// When bytes were last received or sent.
    moved_at: Instant,
    /// When it was last useful: bytes were sent, or a handler worked on a request.
    used_at: Instant,
    look: Pin<Box<Sleep>>,
}

impl Connection {
    pub(super) fn new(stream: TcpStream, census: Arc<Census>, name: &'static str) -> Self {
        if census.open.fetch_add(1, Ordering::Relaxed) + 1 >= census.most {
            census.full.warn(format_args!(
                "{name}: all {} connections are taken, and more wait outside: each now ends with its answer. A higher limit of open \
                 files (`ulimit -Hn`, LimitNOFILE in the unit) allows more, up to 20,000",
                census.most
            ));
        }
        let now = Instant::now();
        let look = Box::pin(sleep(LOOK_EVERY));
        Self { stream, census, usage: Arc::default(), moved_at: now, used_at: now, look }
    }

    pub(super) fn usage(&self) -> Arc<Usage> {
        Arc::clone(&self.usage)
    }

    /// Whether it has waited for too long, to receive bytes or (`going`) to send them. If not, the
    /// task is woken to check again.
    fn is_over(&mut self, context: &mut Context<'_>, going: bool) -> bool {
        while self.look.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let reading = self.usage.reading.load(Ordering::Relaxed) > 0;
            if self.usage.busy.load(Ordering::Relaxed) > 0 && !reading {
                (self.moved_at, self.used_at) = (now, now);
            }
            let crowded = self.census.is_crowded();
            let still = match (going, crowded) {
                (true, false) => UNREAD,
                (true, true) => UNREAD_IN_A_CROWD,
                (false, false) if reading => FRUITLESS,
                (false, false) => IDLE,
                (false, true) => IDLE_IN_A_CROWD,
            };
            let fruitless = match crowded {
                true => now - self.used_at >= FRUITLESS_IN_A_CROWD,
                false => now - self.used_at >= FRUITLESS && !reading,
            };
            if now - self.moved_at >= still || (!going && fruitless) {
                return true;
            }
            self.look.as_mut().reset(now + LOOK_EVERY);
        }
        false
    }

    fn written(
        &mut self,
        done: Poll<io::Result<usize>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        match &done {
            Poll::Pending if self.is_over(context, true) => {
                return Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "nobody reads the answer")));
            }
            Poll::Pending => {}
            Poll::Ready(_) => {
                self.moved_at = Instant::now();
                self.used_at = self.moved_at;
            }
        }
        done
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.census.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let before = buffer.filled().len();
        let done = Pin::new(&mut this.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            this.moved_at = Instant::now();
        }
        // Treated like a close by the client: a request in progress is still completed, even if its client is gone.
        match done {
            Poll::Pending if this.is_over(context, false) => Poll::Ready(Ok(())),
            Poll::Ready(Err(_)) if this.usage.busy.load(Ordering::Relaxed) > 0 => Poll::Ready(Ok(())),
            done => done,
        }
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(done, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(done, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
