//! Name resolution: at most one look-up of a name runs at a time, and its result is cached for a while.
//!
//! The system's look-up cannot be cancelled. A caller stops waiting after its timeout; the thread of the look-up ends
//! when the system answers, and until then no second look-up of the same name starts.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How long a successful and a failed look-up are cached.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    pub(crate) of_success: Duration,
    pub(crate) of_failure: Duration,
}

impl Memory {
    /// For a look-up that a connection needs. Without the cache every request would look the name up again.
    pub(crate) const SHORT: Self =
        Self { of_success: Duration::from_secs(5), of_failure: Duration::from_secs(5) };
    /// For an optional look-up. Where outside names cannot be resolved, every request would otherwise wait in vain.
    pub(crate) const LONG_OF_FAILURE: Self =
        Self { of_success: Duration::from_secs(5), of_failure: Duration::from_secs(60) };
}

/// Resolves a name, however long that takes.
type Ask = dyn Fn(&Uri, &Config) -> Result<ResolvedSocketAddrs, ureq::Error> + Send + Sync;

/// Resolves names with a cache. It is meant for few distinct places.
pub(crate) struct LookUps {
    ask: Arc<Ask>,
    memory: Memory,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    by_place: Mutex<HashMap<String, LookUp>>,
    ended: Condvar,
}

#[derive(Default)]
struct LookUp {
    is_under_way: bool,
    answer: Option<(Instant, Result<ResolvedSocketAddrs, Failure>)>,
}

/// A cached error.
#[derive(Clone)]
enum Failure {
    NotFound,
    Late,
    Other(io::ErrorKind, String),
}

impl LookUps {
    pub(crate) fn new(memory: Memory) -> Self {
        // Without a time limit the resolver runs in the calling thread rather than in one of its own.
        let endless = || NextTimeout {
            after: ureq::unversioned::transport::time::Duration::NotHappening,
            reason: ureq::Timeout::Resolve,
            ..NextTimeout::default()
        };
        Self::by(
            Arc::new(move |uri, config| DefaultResolver::default().resolve(uri, config, endless())),
            memory,
        )
    }

    fn by(ask: Arc<Ask>, memory: Memory) -> Self {
        Self { ask, memory, shared: Arc::default() }
    }

    /// The addresses of the host in `uri`.
    pub(crate) fn look_up(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let place = format!("{:?} {:?}", uri.scheme(), uri.authority());
        let begun = Instant::now();
        let mut all = self.shared.lock();
        loop {
            let look_up = all.entry(place.clone()).or_default();
            if let Some((at, answer)) = &look_up.answer {
                let memory = if answer.is_ok() { self.memory.of_success } else { self.memory.of_failure };
                if at.elapsed() < memory {
                    return answer.clone().map_err(|failure| failure.into_error(timeout));
                }
            }
            if !look_up.is_under_way {
                look_up.is_under_way = true;
                if !self.begin(place.clone(), uri, config) {
                    look_up.is_under_way = false;
                    let why = "no thread to be had in which to look up the address";
                    return Err(ureq::Error::Io(io::Error::new(io::ErrorKind::WouldBlock, why)));
                }
            }
            let left = timeout.after.saturating_sub(begun.elapsed());
            if left.is_zero() {
                look_up.answer = Some((Instant::now(), Err(Failure::Late)));
                return Err(Failure::Late.into_error(timeout));
            }
            self.shared.ended.wait_for(&mut all, left);
        }
    }

    /// Starts a look-up. Returns whether the system gave a thread for it.
    fn begin(&self, place: String, uri: &Uri, config: &Config) -> bool {
        let (ask, shared) = (Arc::clone(&self.ask), Arc::clone(&self.shared));
        let (uri, config) = (uri.clone(), config.clone());
        let asked = thread::Builder::new().name("look-up".to_owned()).spawn(move || {
            let answer = ask(&uri, &config).map_err(Failure::of);
            let done = LookUp { is_under_way: false, answer: Some((Instant::now(), answer)) };
            shared.lock().insert(place, done);
            shared.ended.notify_all();
        });
        asked.is_ok()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, LookUp>> {
        self.by_place.lock()
    }
}

impl Failure {
    fn of(error: ureq::Error) -> Self {
        match error {
            ureq::Error::HostNotFound => Self::NotFound,
            ureq::Error::Timeout(_) => Self::Late,
            ureq::Error::Io(error) => Self::Other(error.kind(), error.to_string()),
            other => Self::Other(io::ErrorKind::Other, other.to_string()),
        }
    }

    fn into_error(self, timeout: NextTimeout) -> ureq::Error {
        match self {
            Self::NotFound => ureq::Error::HostNotFound,
            Self::Late => ureq::Error::Timeout(timeout.reason),
            Self::Other(kind, text) => ureq::Error::Io(io::Error::new(kind, text)),
        }
    }
}

impl fmt::Debug for LookUps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LookUps").field("memory", &self.memory).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(600);

    fn within(time: Duration) -> NextTimeout {
        NextTimeout { after: time.into(), reason: ureq::Timeout::Resolve, ..NextTimeout::default() }
    }

    /// Look-ups with a counter. Each takes its answer from the channel.
    fn counted(memory: Memory) -> (LookUps, Arc<AtomicUsize>, mpsc::Sender<bool>) {
        let (answers, answer) = mpsc::channel();
        let (asked, answer) = (Arc::new(AtomicUsize::new(0)), Mutex::new(answer));
        let count = Arc::clone(&asked);
        let ask = move |_: &Uri, _: &Config| {
            count.fetch_add(1, Ordering::SeqCst);
            let is_known = answer.lock().recv().unwrap_or_default();
            let mut addresses = DefaultResolver::default().empty();
            addresses.push("192.0.2.1:80".parse().unwrap());
            if is_known { Ok(addresses) } else { Err(ureq::Error::HostNotFound) }
        };
        (LookUps::by(Arc::new(ask), memory), asked, answers)
    }

    /// Waits until `times` look-ups have begun, and checks that there are no more.
    fn is_asked(asked: &AtomicUsize, times: usize) {
        while asked.load(Ordering::SeqCst) < times {
            thread::yield_now();
        }
        assert_eq!(asked.load(Ordering::SeqCst), times);
    }

    #[test]
    fn one_is_under_way_at_a_time_and_what_it_says_is_said_to_all_who_wait() {
        let (look_ups, asked, answers) = counted(Memory { of_success: LONG, of_failure: LONG });
        let uri = Uri::from_static("http://a.example/");
        let config = Config::default();
        thread::scope(|scope| {
            let all: Vec<_> =
                (0..20).map(|_| scope.spawn(|| look_ups.look_up(&uri, &config, within(LONG)))).collect();
            answers.send(true).unwrap();
            for one in all {
                assert_eq!(one.join().unwrap().unwrap().len(), 1);
            }
        });
        is_asked(&asked, 1);
    }

    #[test]
    fn a_failure_is_remembered_and_nobody_waits_twice() {
        let (look_ups, asked, answers) = counted(Memory { of_success: LONG, of_failure: LONG });
        let config = Config::default();
        let look = |host: &str, time| {
            look_ups.look_up(&format!("http://{host}/").parse().unwrap(), &config, within(time))
        };
        answers.send(false).unwrap();
        for _ in 0..3 {
            assert!(matches!(look("a.example", LONG), Err(ureq::Error::HostNotFound)));
        }
        is_asked(&asked, 1);
        // With a look-up that does not answer, the first caller waits for its timeout, and the others do not wait.
        for _ in 0..3 {
            assert!(matches!(look("b.example", Duration::from_millis(50)), Err(ureq::Error::Timeout(_))));
        }
        assert!(matches!(look("b.example", LONG), Err(ureq::Error::Timeout(_))), "without a wait");
        is_asked(&asked, 2);
        // When the look-up answers at last, its answer is used.
        answers.send(true).unwrap();
        while look("b.example", LONG).is_err() {
            thread::yield_now();
        }
        is_asked(&asked, 2);
    }

    #[test]
    fn what_is_forgotten_is_asked_anew_but_not_beside_one_that_is_under_way() {
        let (look_ups, asked, answers) =
            counted(Memory { of_success: Duration::ZERO, of_failure: Duration::ZERO });
        let (config, uri) = (Config::default(), Uri::from_static("http://a.example/"));
        for _ in 0..3 {
            let late = look_ups.look_up(&uri, &config, within(Duration::from_millis(20)));
            assert!(matches!(late, Err(ureq::Error::Timeout(_))));
        }
        is_asked(&asked, 1);
        answers.send(false).unwrap();
        while asked.load(Ordering::SeqCst) == 1 {
            assert!(look_ups.look_up(&uri, &config, within(Duration::from_millis(20))).is_err());
        }
    }
}
