//! A bound on every wait for Postgres, enforced by the client.
//!
//! libpq waits for an answer without a limit, and a proxy that drops bytes or a stopped server can
//! keep a connection open that will never answer. Therefore each connection has a [`Line`]: a
//! second handle of its socket, and the time at which the current statement began. One thread
//! checks all lines, and shuts down the socket of each whose statement has taken longer than its
//! bound. libpq then returns an error at once, and the callers go on as after any lost connection.
//!
//! When one line is cut, the idle ones are cut with it: they have probably failed for the same
//! reason, and each would cost a wait of its own. Cutting a healthy one costs no more than a new
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
/// A check that comes this late shows that the whole process was stopped. Answers may have arrived
/// meanwhile, so no line is cut.
const STOPPED: Duration = Duration::from_secs(2);
/// How often the log says that connections were cut.
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

/// Changes the bound of the statements that follow; returns the one before, where there was one.
pub(crate) fn set_bound(connection: &mut PgConnection, bound: Duration) -> Option<Duration> {
    let Guard { line, .. } = connection.instrumentation().downcast_ref::<Guard>()?;
    Some(std::mem::replace(&mut line.state().bound, bound))
}

/// Makes each transaction begin with these statements (see [`begins_with`]).
pub(crate) fn begin_with(connection: &mut PgConnection, statements: String) {
    if let Some(guard) = connection.instrumentation().downcast_mut::<Guard>() {
        guard.begin = Some(statements.into());
    }
}

/// The statements that each transaction of the connection has to begin with, where there are any.
pub(crate) fn begins_with(connection: &mut PgConnection) -> Option<Arc<str>> {
    connection.instrumentation().downcast_ref::<Guard>()?.begin.clone()
}

/// The second handle of a connection's socket. The connection's instrumentation holds it, so both
/// end together.
struct Line {
    /// None where the socket was not found.
    socket: Option<OwnedFd>,
    state: Mutex<State>,
}

struct State {
    bound: Duration,
    /// When the current statement began; none between statements.
    since: Option<Instant>,
    /// Whether the socket was shut down.
    cut: bool,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Cuts the line once, if `ripe` says so of its state. A line whose socket was not found cannot
    /// be cut. The state stays locked meanwhile, so that no statement ends or begins.
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

/// The instrumentation of a connection: it notes on the line when statements begin and end.
struct Guard {
    line: Arc<Line>,
    /// The statements that each transaction begins with.
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

/// Starts the thread that checks the lines, once in this process.
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

/// Gives each statement under way its whole bound again.
fn begin_anew() {
    for line in known() {
        let mut state = line.state();
        state.since = state.since.map(|_| Instant::now());
    }
}

/// Cuts the lines that have waited too long, and then the idle ones. `said` is when the log last said so.
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

/// Whether this is a Unix socket of a Postgres on this machine.
fn leads_to_postgres(socket: BorrowedFd<'_>) -> bool {
    let Ok(Some(peer)) = getpeername(socket) else { return false };
    SocketAddrUnix::try_from(peer)
        .is_ok_and(|peer| peer.path_bytes().is_some_and(|path| path.windows(9).any(|at| at == b".s.PGSQL.")))
}

/// The numbers of this process's open files.
fn open_files() -> Vec<RawFd> {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return Vec::new() };
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Calls `look` with the open file of this number.
#[allow(unsafe_code, reason = "libpq does not hand out its socket, so it is looked for by its number")]
fn with_file<T>(number: RawFd, look: impl FnOnce(BorrowedFd<'_>) -> T) -> T {
    // SAFETY: The number was read from /proc/self/fd, so it is not -1. Another thread may have
    // closed the file since, or opened another one under the same number. Then the system calls of
    // `look` fail or answer for that other file; they touch no memory of this process. `copy_if`
    // checks its copy again after making it.
    look(unsafe { BorrowedFd::borrow_raw(number) })
}

/// A second handle of the file, if `wanted` accepts it. `wanted` is asked again about the new
/// handle.
fn copy_if(number: RawFd, wanted: impl Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    use std::os::fd::AsFd as _;
    if !with_file(number, &wanted) {
        return None;
    }
    let copy = with_file(number, |file| file.try_clone_to_owned()).ok()?;
    wanted(copy.as_fd()).then_some(copy)
}

/// Whether a TCP connection has this mark. The mark is the `tcp_user_timeout` of the address, which
/// libpq sets and which is different for each attempt.
fn has_mark(socket: BorrowedFd<'_>, mark: u32) -> bool {
    sockopt::tcp_user_timeout(socket) == Ok(mark)
}
