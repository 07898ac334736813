//! Bounds every wait for Postgres, on the client's side.
//!
//! libpq waits for an answer without a limit. A proxy that drops bytes, or a stopped server, can
//! keep a connection open that never answers. Therefore each connection has a [`Line`]: a second
//! handle of its socket, and the time at which the current statement began. One thread checks all
//! lines, and shuts down ("cuts") the socket of each line whose statement has taken longer than its
//! bound. libpq then returns an error at once, and callers handle it like any lost connection.
//!
//! When one line is cut, the idle ones are cut with it. They have probably failed for the same
//! reason, and each would cost a wait of its own. Cutting a healthy one costs only a new
//! connection.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use crate::Seldom;
use diesel::connection::{Connection as _, Instrumentation, InstrumentationEvent};
use diesel::{ConnectionError, PgConnection};
use parking_lot::{Mutex, MutexGuard};
use rustix::net::{Shutdown, SocketAddrUnix, getpeername, shutdown, sockopt};

mod bounds;
mod connecting;

pub(crate) use bounds::{Bounds, IDLE_IN_TRANSACTION};

/// How often the lines are checked.
const TICK: Duration = Duration::from_millis(200);
/// If a check is this late, the whole process was stopped. Answers may have arrived meanwhile that
/// it could not read.
const STOPPED: Duration = Duration::from_secs(2);
/// How often the log reports that connections were cut.
const SAY_EVERY: Duration = Duration::from_secs(60);
/// Connects to Postgres. A statement on the connection that takes longer than `bound` fails.
pub(crate) fn connect(url: &str, bound: Duration) -> Result<PgConnection, ConnectionError> {
    start_watchdog()?;
    let (mut connection, socket) = connecting::connect(url)?;
    if socket.is_none() {
        static UNBOUND: Seldom = Seldom::new();
        UNBOUND.warn(
            "a database connection's socket was not found, so that only the server bounds its statements; does database.url switch keepalives off?",
        );
    }
    let line = Arc::new(Line { socket, state: Mutex::new(State { bound, since: None, cut: false }) });
    lines().push(Arc::downgrade(&line));
    connection.set_instrumentation(Guard { line, begin: None });
    Ok(connection)
}

/// Changes the bound of the statements that follow. Returns the previous bound, or `None` if the
/// connection has no line.
pub(crate) fn set_bound(connection: &mut PgConnection, bound: Duration) -> Option<Duration> {
    let Guard { line, .. } = connection.instrumentation().downcast_ref::<Guard>()?;
    Some(std::mem::replace(&mut line.state().bound, bound))
}

/// Sets the statements with which each transaction of the connection has to begin (see
/// [`begins_with`]).
pub(crate) fn begin_with(connection: &mut PgConnection, statements: String) {
    if let Some(guard) = connection.instrumentation().downcast_mut::<Guard>() {
        guard.begin = Some(statements.into());
    }
}

/// The statements with which each transaction of the connection has to begin, if there are any.
pub(crate) fn begins_with(connection: &mut PgConnection) -> Option<Arc<str>> {
    connection.instrumentation().downcast_ref::<Guard>()?.begin.clone()
}

/// The second handle of a connection's socket, and the state of its current statement. The
/// connection's instrumentation holds it, so both are dropped together.
struct Line {
    /// `None` if the socket was not found.
    socket: Option<OwnedFd>,
    state: Mutex<State>,
}

struct State {
    bound: Duration,
    /// When the current statement began. `None` between statements.
    since: Option<Instant>,
    /// Whether its socket was shut down.
    cut: bool,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Cuts the line if `ripe` returns true for its state, and it was not cut before. Returns
    /// whether it was cut. A line whose socket was not found cannot be cut. The state stays locked,
    /// so that no statement ends or begins meanwhile.
    fn cut_if(&self, ripe: impl FnOnce(&State) -> bool) -> bool {
        let Some(socket) = &self.socket else { return false };
        let mut state = self.state();
        if state.cut || !ripe(&state) {
            return false;
        }
        state.cut = true;
        if let Err(error) = shutdown(socket, Shutdown::Both) {
            log::debug!("a database connection was closed before it was cut: {error}");
        }
        true
    }
}

/// Diesel's hook that tells a line when statements begin and end.
struct Guard {
    line: Arc<Line>,
    /// The statements with which each transaction begins.
    begin: Option<Arc<str>>,
}

impl Instrumentation for Guard {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            InstrumentationEvent::StartQuery { .. } => self.line.state().since = Some(Instant::now()),
            InstrumentationEvent::FinishQuery { .. } => self.line.state().since = None,
            _ => {}
        }
    }
}

/// All lines of this process.
fn lines() -> MutexGuard<'static, Vec<Weak<Line>>> {
    static LINES: Mutex<Vec<Weak<Line>>> = Mutex::new(Vec::new());
    LINES.lock()
}

/// Starts the thread that checks the lines, once for the process.
fn start_watchdog() -> Result<(), ConnectionError> {
    static STARTED: OnceLock<Result<(), String>> = OnceLock::new();
    let started = STARTED.get_or_init(|| {
        let watchdog = std::thread::Builder::new().name("database waits".to_owned());
        let running = watchdog.spawn(|| {
            let mut said = None;
            loop {
                let slept = Instant::now();
                std::thread::sleep(TICK);
                if slept.elapsed() > STOPPED { begin_anew() } else { look(&mut said) }
            }
        });
        running.map(drop).map_err(|error| error.to_string())
    });
    started.clone().map_err(|error| ConnectionError::BadConnection(format!("no thread to be had: {error}")))
}

fn known() -> Vec<Arc<Line>> {
    let mut lines = lines();
    lines.retain(|line| line.strong_count() > 0);
    lines.iter().filter_map(Weak::upgrade).collect()
}

/// Restarts the bound of each statement that is under way.
fn begin_anew() {
    for line in known() {
        let mut state = line.state();
        state.since = state.since.map(|_| Instant::now());
    }
}

/// Cuts the lines that have waited too long, and then the idle ones. `said` is when the log last
/// reported that.
fn look(said: &mut Option<Instant>) {
    connecting::look();
    let known = known();
    let overdue = |state: &State| state.since.is_some_and(|since| since.elapsed() > state.bound);
    let cut = known.iter().filter(|line| line.cut_if(overdue)).count();
    if cut > 0 {
        let at_rest = known.iter().filter(|line| line.cut_if(|state| state.since.is_none())).count();
        let level = match said {
            Some(at) if at.elapsed() < SAY_EVERY => log::Level::Debug,
            _ => log::Level::Warn,
        };
        if level == log::Level::Warn {
            *said = Some(Instant::now());
        }
        log::log!(
            level,
            "the database does not answer: gave up {cut} connections that waited too long, and {at_rest} idle ones"
        );
    }
}

/// Whether the socket is connected to a Postgres on this machine through a socket file.
fn leads_to_postgres(socket: BorrowedFd<'_>) -> bool {
    let Ok(Some(peer)) = getpeername(socket) else { return false };
    SocketAddrUnix::try_from(peer)
        .is_ok_and(|peer| peer.path_bytes().is_some_and(|path| path.windows(9).any(|at| at == b".s.PGSQL.")))
}

/// The file descriptors of this process.
fn open_files() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Calls `look` with the file descriptor `number` of this process.
#[allow(unsafe_code, reason = "libpq does not hand out its socket, so it is looked for by its number")]
fn with_file<T>(number: RawFd, look: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    // SAFETY: The number was read from /proc/self/fd, so it is not -1. Another thread may have
    // closed it since, or opened another file under the same number. Then the system calls in
    // `look` fail or describe that other file, and touch no memory of this process. A caller that
    // keeps a copy must check the copy.
    look(unsafe { BorrowedFd::borrow_raw(number) })
}

/// A second handle of the file descriptor, if `wanted` accepts it. The new handle is checked again,
/// because the number may have been reused meanwhile.
fn copy_if(number: RawFd, wanted: impl Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    use std::os::fd::AsFd as _;
    if !with_file(number, &wanted) {
        return None;
    }
    let copy = with_file(number, |file| file.try_clone_to_owned()).ok()?;
    wanted(copy.as_fd()).then_some(copy)
}

/// Whether the socket has this mark. The mark of a TCP connection is its `tcp_user_timeout`, which
/// libpq sets from the address, and which differs for each attempt.
fn has_mark(socket: BorrowedFd<'_>, mark: u32) -> bool {
    sockopt::tcp_user_timeout(socket) == Ok(mark)
}
