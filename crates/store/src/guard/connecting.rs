//! Finding the socket of a new connection, and a bound on the connecting itself.
//!
//! Over TCP each attempt asks libpq for a `tcp_user_timeout` that differs by some milliseconds from all others; this mark identifies
//! its socket. A socket file has no such mark. Such attempts begin one after the other, and the socket of each is the one that is new.
//! It is searched for while libpq connects, and once it is found the next attempt may begin.

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

/// How long an attempt over a socket file waits until nobody else begins one.
const TURN_PATIENCE: Duration = Duration::from_secs(1);
/// How long an attempt may take beyond what libpq waits for each host: it sets the session up, and libpq bounds only what comes before.
const SETTING_UP: Duration = Duration::from_secs(3);
/// How often the socket of an attempt over a file is looked for: at first, and after [`SOON`].
const LOOK_SOON: Duration = Duration::from_millis(1);
const LOOK_LATER: Duration = Duration::from_millis(20);
const SOON: Duration = Duration::from_millis(100);
/// The number of different marks.
const MARKS: u32 = 5000;

/// Connects; returns a second handle of the connection's socket, where it was found.
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
    // libpq may have gone on to another host; then only this handle of the first socket is still open.
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

/// What an address says about the connecting.
struct Address {
    marked_url: String,
    mark: u32,
    /// What `tcp_user_timeout` is without the mark, ms.
    user_timeout: u32,
    /// Whether it may lead through a socket file.
    is_file: bool,
    /// How long libpq may take.
    patience: Duration,
}

impl Address {
    fn of(url: &PostgresUrl) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = |name: &str| url.parameter(name).and_then(|value| value.parse::<u32>().ok());
        let user_timeout = number("tcp_user_timeout").unwrap_or_default();
        // Zero leaves it to the system; the mark must then be no bound, before it is taken away again.
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

/// The one open socket that `is_it` accepts. None if there are several: another part of the process then connects to Postgres without this
/// module, and no socket is better than a wrong one.
fn only(is_it: impl Fn(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    // By its identity: a copy made a moment ago may be met under a number that was free.
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

/// What looks for the socket of an attempt over a file while libpq connects, on a thread.
struct Finder {
    stop: Sender<()>,
    thread: JoinHandle<Option<OwnedFd>>,
}

impl Finder {
    /// Waits for its turn, and begins.
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

    /// What it has found, now that libpq is done.
    fn finish(self) -> Option<OwnedFd> {
        // An error says that it has ended already.
        let _ = self.stop.send(());
        self.thread.join().unwrap_or_default()
    }
}

/// The right to begin to connect over a socket file; given back when dropped.
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

/// An attempt under way, which the watchdog ends when it takes too long. Over when dropped.
struct Attempt {
    mark: u32,
}

struct UnderWay {
    mark: u32,
    /// Its socket, where it was found otherwise than by the mark.
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

/// Says which socket is that of an attempt.
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
        // libpq goes on to its next host.
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
