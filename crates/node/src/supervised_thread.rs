//! A thread whose death ends the whole process, so that a supervisor can restart it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::Shutdown;

/// A thread that its process cannot work without.
#[derive(Debug)]
#[must_use = "a thread that is not joined may be cut off when the process ends"]
pub struct SupervisedThread {
    name: &'static str,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl SupervisedThread {
    /// Runs `work` on a new thread. If it fails or panics, the process is asked to stop, and
    /// [`SupervisedThread::join`] returns the error.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn spawn(
        name: &'static str,
        shutdown: &Shutdown,
        work: impl FnOnce() -> anyhow::Result<()> + Send + 'static,
    ) -> std::io::Result<Self> {
        let shutdown = shutdown.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let done = catch_unwind(AssertUnwindSafe(work))
                .unwrap_or_else(|panic| Err(anyhow::anyhow!("panicked: {}", panic_text(panic.as_ref()))));
            if let Err(error) = &done {
                log::error!("{name} died: {error:#}");
                shutdown.request();
            }
            done
        });
        // The system's error does not say which thread could not be started.
        let thread = thread.map_err(|error| {
            std::io::Error::new(error.kind(), format!("no thread to be had for {name}: {error}"))
        })?;
        Ok(Self { name, thread })
    }

    /// Waits at most `bound` for its end. A thread that hangs longer is abandoned until the process ends.
    ///
    /// # Errors
    /// Why it died, if it did.
    pub fn join_within(self, bound: Duration) -> anyhow::Result<()> {
        let end = Instant::now() + bound;
        while !self.thread.is_finished() {
            if Instant::now() >= end {
                log::warn!("{} has not ended within {} s and is left behind", self.name, bound.as_secs());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.join()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Why it died, if it did.
    pub fn join(self) -> anyhow::Result<()> {
        let done = self.thread.join().unwrap_or_else(|_| Err(anyhow::anyhow!("panicked")));
        done.map_err(|error| error.context(format!("{} died", self.name)))
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_that_dies_stops_the_process_and_says_why() {
        for death in [|| anyhow::bail!("no more"), || panic!("no more")] {
            let shutdown = Shutdown::new();
            let part = SupervisedThread::spawn("test", &shutdown, death).unwrap();
            let error = part.join().unwrap_err();
            assert!(shutdown.is_requested());
            assert!(format!("{error:#}").contains("no more"), "{error:#}");
        }
    }

    #[test]
    fn a_part_that_hangs_is_left_behind() {
        let (open, hangs) = std::sync::mpsc::channel::<()>();
        let hang = move || {
            let _ = hangs.recv();
            Ok(())
        };
        let part = SupervisedThread::spawn("test", &Shutdown::new(), hang).unwrap();
        part.join_within(Duration::from_millis(30)).unwrap();
        drop(open);
        let part = SupervisedThread::spawn("test", &Shutdown::new(), || anyhow::bail!("no more")).unwrap();
        assert!(part.join_within(Duration::from_secs(60)).is_err(), "it died, and that is told");
    }

    #[test]
    fn a_part_that_ends_well_stops_nobody() {
        let shutdown = Shutdown::new();
        SupervisedThread::spawn("test", &shutdown, || Ok(())).unwrap().join().unwrap();
        assert!(!shutdown.is_requested());
    }
}
