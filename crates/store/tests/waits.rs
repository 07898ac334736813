//! Every wait for Postgres has a bound, whatever happens on the way. These tests are a program of
//! their own: when one connection hangs, the idle ones of the process are cut with it, and attempts
//! to connect over a socket file take turns.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[allow(dead_code, reason = "these tests use a part of it")]
#[path = "contract/world.rs"]
mod world;

use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use innkeeper_store::{ActingStore, Store, StoreConfig};
use innkeeper_testing::cluster::Cluster;
use innkeeper_testing::database::{TestDatabase, tester};
use innkeeper_testing::proxy::SwallowingProxy;

use world::*;

/// The time allowed on a busy machine. Each bound is far below it.
const GENEROUS: Duration = Duration::from_secs(40);

fn connect(url: String) -> ActingStore {
    tester(&Store::connect(&StoreConfig { url, pool_size: 8 }).unwrap())
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let begun = Instant::now();
    let done = work();
    (done, begun.elapsed())
}

#[test]
fn a_proxy_that_swallows_bytes_holds_nobody_up_for_good() {
    let database = TestDatabase::postgres();
    database.store().book("backup", &every(60));
    let proxy = SwallowingProxy::before(database.url());
    let store = connect(proxy.url(database.url()));
    let batch = [arrival("backup", success(at(1)))];
    let mut writer = store.writer();
    writer.record(&batch).unwrap();
    // Several connections, which will be dead later.
    together(6, |_| store.count().unwrap());
    let open = proxy.connections();

    proxy.swallow(true);
    let (error, took) = timed(|| writer.record(&batch).unwrap_err());
    assert!(error.is_unavailable() && took < GENEROUS, "{error:?} after {took:?}");
    assert!(took > Duration::from_secs(4), "it waited for its bound: {took:?}");
    proxy.swallow(false);
    let (done, took) = timed(|| writer.record(&batch));
    assert!(done.is_ok() && took < Duration::from_secs(4), "{done:?} after {took:?}");
    // The idle ones were cut with it, so that none costs a wait of its own.
    let (counted, took) = timed(|| together(6, |_| store.count()));
    assert!(counted.iter().all(Result::is_ok) && took < Duration::from_secs(4), "{counted:?} after {took:?}");
    assert!(proxy.connections() > open);
    assert_eq!(database.count("checkins"), 2);
}

#[test]
fn a_server_that_stands_still_is_given_up_and_found_again() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let store = database.connect();
    store.migrate().unwrap();
    store.book("backup", &every(60));
    let heartbeat = store.apart_with_short_waits();
    heartbeat.ping().unwrap();
    let still = cluster.stand_still();
    // The first attempt loses its connection, and the second gets none.
    for _ in 0..2 {
        let (error, took) = timed(|| heartbeat.ping().unwrap_err());
        assert!(error.is_unavailable() && took < GENEROUS, "{error:?} after {took:?}");
    }
    drop(still);
    let begun = Instant::now();
    while let Err(error) = heartbeat.ping() {
        assert!(begun.elapsed() < GENEROUS, "{error:?}");
    }
    assert_eq!(store.count().unwrap(), 1);
}

#[test]
fn a_lock_is_waited_for_with_an_end_and_nobody_waits_on_at_the_server() {
    let database = TestDatabase::postgres();
    let store = database.store();
    store.book("backup", &every(60));
    let mut writer = store.writer();
    let held = database.hold("states");
    let (error, took) = timed(|| writer.record(&[arrival("backup", success(at(1)))]).unwrap_err());
    assert!(error.is_locked() && error.is_unavailable() && took < GENEROUS, "{error:?} after {took:?}");
    let waiting = "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    assert_eq!(database.count(waiting), 0);
    drop(held);
    writer.record(&[arrival("backup", success(at(1)))]).unwrap();
    assert_eq!(store.look("backup").facts.checkins, 1);
}

#[test]
fn an_operators_stricter_bound_stays_and_its_end_is_passing() {
    let database = TestDatabase::postgres();
    database.store().book("backup", &every(60));
    let name = database.url().rsplit('/').next().unwrap().to_owned();
    database.execute(&format!("ALTER DATABASE {name} SET statement_timeout = '150ms'"));
    let store = database.connect();
    let held = database.hold("states");
    let (error, took) = timed(|| store.sweep(at(60), 10, &Rules(tell_log)).unwrap_err());
    drop(held);
    assert!(error.is_unavailable() && took < Duration::from_secs(4), "{error:?} after {took:?}");
    assert_eq!(store.pass(at(60)).opened, 1);
}

#[test]
fn thirty_connections_made_at_once_over_a_socket_file_are_all_bounded() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let store = database.connect();
    let own: Vec<Store> = (0..30).map(|_| store.apart_with_short_waits()).collect();
    let (pinged, took) = timed(|| together(own.len(), |n| own[n].ping()));
    assert!(pinged.iter().all(Result::is_ok) && took < Duration::from_secs(10), "{pinged:?} after {took:?}");
    println!("made in {took:?}");
    let still = cluster.stand_still();
    // Without a bound the wait would last until then.
    let bounded = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let begun = Instant::now();
            while !bounded.load(Ordering::SeqCst) && begun.elapsed() < GENEROUS {
                std::thread::sleep(Duration::from_millis(50));
            }
            drop(still);
        });
        let (pinged, took) = timed(|| together(own.len(), |n| own[n].ping()));
        bounded.store(true, Ordering::SeqCst);
        assert!(pinged.iter().all(Result::is_err) && took < GENEROUS, "{pinged:?} after {took:?}");
    });
}

/// A proxy before the socket file of a server. On request it does not answer the next connection.
struct Doorkeeper {
    directory: tempfile::TempDir,
    ignores: Arc<AtomicBool>,
}

impl Doorkeeper {
    fn before(server: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let ignores = Arc::<AtomicBool>::default();
        let (server, ignored) = (format!("{server}/.s.PGSQL.5432"), Arc::clone(&ignores));
        std::thread::spawn(move || {
            let mut kept = Vec::new();
            for inward in listener.incoming().map_while(Result::ok) {
                if ignored.swap(false, Ordering::SeqCst) {
                    kept.push(inward);
                    continue;
                }
                let Ok(outward) = UnixStream::connect(&server) else { return };
                let there = (inward.try_clone().unwrap(), outward.try_clone().unwrap());
                for (mut from, mut to) in [there, (outward, inward)] {
                    std::thread::spawn(move || {
                        let _ = std::io::copy(&mut from, &mut to);
                        let _ = to.shutdown(std::net::Shutdown::Both);
                    });
                }
            }
        });
        Self { directory, ignores }
    }
}

#[test]
fn a_connection_over_a_socket_file_that_hangs_while_it_is_made_holds_up_no_other() {
    let cluster = Cluster::start();
    let database = TestDatabase::postgres_in(&cluster.url());
    let host = database.url().split(['@', '/']).nth(3).unwrap();
    let door = Doorkeeper::before(&host.replace("%2F", "/"));
    let store = connect(
        database.url().replace(host, &door.directory.path().display().to_string().replace('/', "%2F")),
    );
    store.ping().unwrap();
    door.ignores.store(true, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let (hung, took_part) = (store.apart(), Instant::now());
        let hanging = scope.spawn(move || hung.ping());
        while door.ignores.load(Ordering::SeqCst) {
            assert!(took_part.elapsed() < GENEROUS, "it never came");
            std::thread::sleep(Duration::from_millis(5));
        }
        let own: Vec<Store> = (0..12).map(|_| store.apart()).collect();
        let (pinged, took) = timed(|| together(own.len(), |n| own[n].ping()));
        assert!(
            pinged.iter().all(Result::is_ok) && took < Duration::from_secs(1),
            "{pinged:?} after {took:?}"
        );
        // The hanging connection ends at its bound, and connections made meanwhile are not
        // affected.
        let (hanging, took) = timed(|| hanging.join().unwrap());
        println!("{hanging:?} after {took:?}");
        assert!(took < GENEROUS);
        assert!(own.iter().all(|store| store.ping().is_ok()));
    });
}
