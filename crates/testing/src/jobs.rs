//! Jobs that check in again and again, each on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::process::Server;

/// How often a job checks in.
const EVERY: Duration = Duration::from_millis(700);

/// Jobs that go on until they are stopped or dropped.
pub struct Jobs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Makes a reservation `shop/NAME` for each of `names` at the first ingest (every two seconds, a second of grace, told to `hook`), and
    /// starts them. Each check-in goes to the first of `ingests` that takes it.
    pub fn start(ingests: &[&Server], names: &[String]) -> Self {
        let client = Client::default();
        for name in names {
            let body = json!({
                "app": "shop", "component": name, "owner": "me", "notify": "hook", "frequency": 2,
                "time_units": "seconds", "grace": "1s",
            });
            let answer = client.post(&ingests[0].url("/reservation"), &body);
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        let stop = Arc::<AtomicBool>::default();
        let ingests: Arc<Vec<String>> =
            Arc::new(ingests.iter().map(|ingest| ingest.url("/checkin")).collect());
        let job = |name: &String| {
            let (ingests, name, stop) = (Arc::clone(&ingests), name.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let (client, headers) = (Client::default(), [("content-type", "application/json")]);
                let body = json!({ "app": "shop", "component": name }).to_string();
                while !stop.load(Ordering::SeqCst) {
                    // An error is the end of a server, by which a test may mean something.
                    let takes = |ingest: &String| {
                        let answer = client.send("POST", ingest, &headers, body.as_bytes());
                        answer.is_ok_and(|answer| answer.status == 200)
                    };
                    let _ = ingests.iter().any(takes);
                    std::thread::sleep(EVERY);
                }
            })
        };
        let threads = names.iter().map(job).collect();
        Self { stop, threads }
    }

    /// Has them end, and waits for it.
    pub fn stop(mut self) {
        self.stop.store(true, Ordering::SeqCst);
        for thread in self.threads.drain(..) {
            thread.join().expect("a job");
        }
    }
}

impl Drop for Jobs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}
