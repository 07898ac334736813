//! Finds the socket of a new connection, and bounds the time that connecting takes.
//!
//! Over TCP, each attempt asks libpq for a `tcp_user_timeout` that differs by some milliseconds
//! from all others. This mark identifies its socket. A connection through a socket file has no such
//! mark. Such attempts begin one after the other, and the socket of each is the one that is new. A
//! thread searches for it while libpq connects. When it is found, the next attempt may begin.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use diesel::connection::Connection as _;
use diesel::{ConnectionError, PgConnection};
use parking_lot::{Condvar, Mutex, MutexGuard};
use rustix::net::{Shutdown, shutdown, sockopt};

use crate::database_url::{DatabaseUrl, PostgresUrl};

use super::{copy_if, has_mark, leads_to_postgres, open_files, with_file};

/// How long an attempt through a socket file waits for its turn.
const TURN_PATIENCE: Duration = Duration::from_secs(1);
/// How much longer an attempt may take than libpq waits for all hosts. libpq does not bound the
/// time for setting up the session.
const SETTING_UP: Duration = Duration::from_secs(3);
/// The pause between two searches for the socket of an attempt through a socket file: at first, and
/// after [`SOON`].
const LOOK_SOON: Duration = Duration::from_millis(1);
const LOOK_LATER: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_millis(100);
/// The number of different marks.
const MARKS: u32 = 5000;

/// Connects. Also returns a second handle of the connection's socket, if it was found.
pub(super) fn connect(url: &str) -> Result<(PgConnection, Option<OwnedFd>), ConnectionError> {
    let Ok(DatabaseUrl::Postgres(url)) = DatabaseUrl::parse(url) else {
        return Err(ConnectionError::InvalidConnectionUrl("it is no address of Postgres".to_owned()));
    };
    let address = Address::of(&url);
    let attempt = Attempt::begin(&address);
    let finder = if address.is_file { Some(Finder::start(address.mark)?) } else { None };
    let connection = PgConnection::establish(&address.marked_url);
    let found = finder.and_then(Finder::finish);
    drop(attempt);
    let connection = connection?;
    // libpq may have moved on to another host. Then this handle is the only one of the first socket
    // that is still open.
    let socket = match found.filter(|found| places(found.as_fd()) > 1) {
        Some(found) => Some(found),
        None => only(|socket| has_mark(socket, address.mark)),
    };
    if let Some(socket) = &socket
        && has_mark(socket.as_fd(), address.mark)
        && let Err(error) = sockopt::set_tcp_user_timeout(socket, address.user_timeout)
    {
        log::debug!("tcp_user_timeout: {error}");
    }
    Ok((connection, socket))
}

/// What an address says about connecting.
struct Address {
    marked_url: String,
    mark: u32,
    /// The `tcp_user_timeout` without the mark, in milliseconds.
    user_timeout: u32,
    /// Whether the connection may go through a socket file.
    is_file: bool,
    /// How long libpq may take.
    patience: Duration,
}

impl Address {
    fn of(url: &PostgresUrl) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = |name: &str| url.parameter(name).and_then(|value| value.parse::<u32>().ok());
        let user_timeout = number("tcp_user_timeout").unwrap_or_default();
        // Zero means the default of the system. Then the mark must be so large that it is no real
        // bound until it is removed again.
        let base = if user_timeout == 0 { 3_600_000 } else { user_timeout };
        let mark = base.saturating_add(1 + NEXT.fetch_add(1, Ordering::Relaxed) % MARKS);
        let by_parameter = url.parameter("host").or(url.parameter("hostaddr"));
        let all = match by_parameter {
            Some(hosts) => hosts.split(',').map(str::to_owned).collect(),
            None => url.hosts(),
        };
        let is_file = |host: &String| host.is_empty() || host.starts_with(['/', '@']);
        let mut marked = url.clone();
        marked.without("tcp_user_timeout");
        marked.add("tcp_user_timeout", &mark.to_string());
        let each = Duration::from_secs(number("connect_timeout").unwrap_or(3).clamp(2, 60).into());
        Self {
            marked_url: marked.to_string(),
            mark,
            user_timeout,
            is_file: all.iter().any(is_file),
            patience: each * u32::try_from(all.len()).unwrap_or(1) + SETTING_UP,
        }
    }
}

/// The only open socket that `is_it` accepts. `None` if there are several: another part of the
/// process then connects to Postgres without this module, and no socket is better than a wrong one.
fn only(is_it: impl Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    // Count by identity: the loop may meet its own copy of the socket under a new number.
    let mut found: HashMap<u64, OwnedFd> = HashMap::new();
    for file in open_files() {
        if let Some(copy) = copy_if(file, &is_it)
            && let Some(identity) = identity(copy.as_fd())
        {
            found.insert(identity, copy);
        }
    }
    if found.len() == 1 { found.into_values().next() } else { None }
}

/// The number of file descriptors by which this process has the socket open.
fn places(socket: BorrowedFd<'_>) -> usize {
    let wanted = identity(socket);
    open_files().into_iter().filter(|file| with_file(*file, identity) == wanted).count()
}

/// The identity of a socket, whatever its file descriptor.
fn identity(socket: BorrowedFd<'_>) -> Option<u64> {
    rustix::fs::fstat(socket).ok().map(|status| status.st_ino)
}

fn files_to_postgres() -> HashSet<u64> {
    let known = |socket: BorrowedFd<'_>| leads_to_postgres(socket).then(|| identity(socket)).flatten();
    open_files().into_iter().filter_map(|file| with_file(file, known)).collect()
}

/// A thread that searches for the socket of an attempt through a socket file while libpq connects.
struct Finder {
    stop: Sender<()>,
    thread: JoinHandle<Option<OwnedFd>>,
}

impl Finder {
    /// Waits for its turn, and starts the thread.
    fn start(mark: u32) -> Result<Self, ConnectionError> {
        let turn = Turn::take()?;
        let before = files_to_postgres();
        let (stop, stopped) = channel();
        let find = move || {
            let _turn = turn;
            let begun = Instant::now();
            let is_new = |socket: BorrowedFd<'_>| {
                leads_to_postgres(socket)
                    && identity(socket).is_some_and(|identity| !before.contains(&identity))
            };
            loop {
                let pause = if begun.elapsed() < SOON { LOOK_SOON } else { LOOK_LATER };
                let is_over = stopped.recv_timeout(pause) != Err(RecvTimeoutError::Timeout);
                let found = only(is_new);
                if let Some(identity) = found.as_ref().and_then(|found| identity(found.as_fd())) {
                    claim(mark, identity);
                }
                if is_over || found.is_some() {
                    return found;
                }
            }
        };
        let thread = std::thread::Builder::new().name("new connection".to_owned()).spawn(find);
        let thread = thread
            .map_err(|error| ConnectionError::BadConnection(format!("no thread to be had: {error}")))?;
        Ok(Self { stop, thread })
    }

    /// Ends the thread when libpq is done. Returns the socket that it has found.
    fn finish(self) -> Option<OwnedFd> {
        // An error means that the thread has ended already.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

/// The right to begin a connection through a socket file. Dropping it gives the right back.
struct Turn;

static TAKEN: Mutex<bool> = Mutex::new(false);
static GIVEN_BACK: Condvar = Condvar::new();

impl Turn {
    fn take() -> Result<Self, ConnectionError> {
        let mut taken = TAKEN.lock();
        GIVEN_BACK.wait_while_for(&mut taken, |taken| *taken, TURN_PATIENCE);
        if *taken {
            let hung = "another connection to the server is being begun, and takes long";
            return Err(ConnectionError::BadConnection(hung.to_owned()));
        }
        *taken = true;
        Ok(Self)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *TAKEN.lock() = false;
        GIVEN_BACK.notify_one();
    }
}

/// An attempt that is under way. The watchdog ends it if it takes too long. Dropping it marks the
/// end of the attempt.
struct Attempt {
    mark: u32,
}

struct UnderWay {
    mark: u32,
    /// The identity of its socket, if it was found without the mark.
    socket: Option<u64>,
    until: Instant,
}

fn under_way() -> MutexGuard<'static, Vec<UnderWay>> {
    static UNDER_WAY: Mutex<Vec<UnderWay>> = Mutex::new(Vec::new());
    UNDER_WAY.lock()
}

impl Attempt {
    fn begin(address: &Address) -> Self {
        let until = Instant::now() + address.patience;
        under_way().push(UnderWay { mark: address.mark, socket: None, until });
        Self { mark: address.mark }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        under_way().retain(|one| one.mark != self.mark);
    }
}

/// Stores which socket belongs to an attempt.
fn claim(mark: u32, socket: u64) {
    for one in under_way().iter_mut().filter(|one| one.mark == mark) {
        one.socket = Some(socket);
    }
}

/// Cuts the attempts that take too long.
pub(super) fn look() {
    let mut under_way = under_way();
    let now = Instant::now();
    for one in under_way.iter_mut().filter(|one| one.until < now) {
        // libpq then tries the next host, which gets this much time.
        one.until = now + SETTING_UP;
        for file in open_files() {
            let is_it = |socket: BorrowedFd<'_>| {
                has_mark(socket, one.mark) || (one.socket.is_some() && identity(socket) == one.socket)
            };
            if let Some(socket) = copy_if(file, is_it)
                && let Err(error) = shutdown(&socket, Shutdown::Both)
            {
                log::debug!("an attempt to connect ended before it was cut: {error}");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_address_says_about_connecting() {
        let of = |url: &str| match DatabaseUrl::parse(url) {
            Ok(DatabaseUrl::Postgres(url)) => Address::of(&url),
            other => panic!("{url}: {other:?}"),
        };
        let address = of(
            "postgres://me:x@a:1,b/x?connect_timeout=9&options=-c%20a%3Db&password=x+%2B&tcp_user_timeout=10000",
        );
        assert!(!address.is_file && address.user_timeout == 10_000);
        assert_eq!(address.patience, Duration::from_secs(21));
        assert!((10_001..=15_000).contains(&address.mark));
        assert!(address.marked_url.contains("options=-c%20a%3Db"), "{}", address.marked_url);
        assert!(
            address.marked_url.contains("password=x+%2B"),
            "a plus sign is itself: {}",
            address.marked_url
        );
        assert!(address.marked_url.ends_with(&format!("tcp_user_timeout={}", address.mark)));
        for file in ["postgres://%2Ftmp/x", "postgres:///x", "postgres://me@/x", "postgres://h/x?host=/tmp"] {
            assert!(of(file).is_file, "{file}");
        }
        let (one, other) = (of("postgres://h/x"), of("postgres://h/x"));
        assert!(one.mark != other.mark && one.mark > 3_600_000 && one.user_timeout == 0);
    }
}
