//! Jobs that check in repeatedly, each in a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

use crate::client::Client;
use crate::process::Server;

/// Interval of a job's check-ins.
const EVERY: Duration = Duration::from_millis(700);

/// Running jobs. They end when stopped or dropped.
pub struct Jobs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Jobs {
    /// Makes a reservation `shop/NAME` for each of `names` at the first ingest (a period of two seconds, a grace of
    /// one second, notifying `hook`) and starts the jobs. Each check-in goes to the first of `ingests` that accepts
    /// it.
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
                    // An error means that a server was stopped, which may be intended by the test.
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

    /// Ends the jobs and waits for their threads.
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
