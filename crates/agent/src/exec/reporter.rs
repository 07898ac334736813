//! Reports a run from threads of its own. Only the end of the run waits for them, and only for a limited time.

mod sending;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender as Channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::duration;
use serde_json::Value;
use uuid::Uuid;

use super::runs::{RunRecord, Running, recover};
use super::setup::{Disk, Setup, USUAL_DELAY};
use crate::clock::Stamp;
use crate::config::Overrides;
use crate::logbook;
use crate::report::{Names, ReportKind, SpooledReport};
use crate::sender::{PATIENCE, ReportSender, jitter};
use crate::spool::{Destination, Name, SpoolEntry};

/// Most bytes of output that the server keeps, until the server says otherwise.
const USUAL_OUTPUT: usize = 10_000;
/// Longest random delay before the spool is sent, so that not all agents start at once after an outage.
const SPREAD: Duration = Duration::from_millis(500);
/// Longest wait until the end of the run is noted on disk, on a busy machine or a slow disk.
const NOTING: Duration = Duration::from_secs(10);
/// Interval at which the run's record is marked as alive.
const STILL_THERE: Duration = Duration::from_secs(60);

/// The run that is reported, and the destination of its reports.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// The run's id.
    pub run: Uuid,
    /// The reservation's names; none if the ping address implies the reservation.
    pub names: Option<Names>,
    /// Where the reports are sent.
    pub destination: Destination,
    /// Fields of the reservation that is made or changed before the start is reported.
    pub terms: Option<Value>,
    /// When the run began.
    pub began: Stamp,
}

struct Shared {
    facts: RunFacts,
    /// Whether there is a run, and not only a report without one.
    is_run: bool,
    end_key: Uuid,
    setup: Mutex<Option<Arc<Setup>>>,
    is_set_up: Condvar,
    output_bytes: AtomicUsize,
    most_output: AtomicUsize,
    /// The name of the end's entry in the spool, once it is on disk. The inner option is none if it cannot be
    /// written.
    kept: Mutex<Option<Option<Name>>>,
    is_kept: Condvar,
    /// Whether the end is noted in the run's record, or cannot be noted.
    is_noted: AtomicBool,
    began: SpooledReport,
    /// The report of the start, until the server has accepted it.
    start: Mutex<Option<SpooledReport>>,
    record: Mutex<RecordOf>,
}

/// The record that exists on disk while the run lasts.
enum RecordOf {
    /// The record is not written yet.
    NotYet,
    /// The record is on disk, or is being written.
    There(Arc<Running>),
    /// The run has ended and needs no record.
    Over,
}

enum Message {
    /// A report during the run. It is sent only if possible and is not kept.
    Beside(Box<SpooledReport>),
    /// The entry with the run's end, which is being written to the spool.
    Last(Box<SpoolEntry>),
}

/// Reports one run.
pub struct Reporter {
    shared: Arc<Shared>,
    tell: Channel<Message>,
    done: Receiver<()>,
}

impl Reporter {
    /// Starts reporting a run; none if no thread can be started.
    pub fn begin(facts: RunFacts, overrides: Overrides, is_run: bool) -> Option<Self> {
        let mut start = SpooledReport::new(facts.names.clone(), ReportKind::Start, facts.began.clone());
        start.run = Some(facts.run);
        let shared = Arc::new(Shared {
            facts,
            is_run,
            end_key: Uuid::new_v4(),
            setup: Mutex::new(None),
            is_set_up: Condvar::new(),
            output_bytes: AtomicUsize::new(USUAL_OUTPUT),
            most_output: AtomicUsize::new(super::LONGEST_OUTPUT),
            kept: Mutex::new(None),
            is_kept: Condvar::new(),
            is_noted: AtomicBool::new(false),
            start: Mutex::new(is_run.then(|| start.clone())),
            began: start,
            record: Mutex::new(RecordOf::NotYet),
        });
        let (tell, told) = mpsc::channel();
        let (finish, done) = mpsc::channel();
        let worker = Arc::clone(&shared);
        let work = move || {
            worker.work(&overrides, &told);
            // The receiver is gone if `finish` has stopped waiting.
            let _ = finish.send(());
        };
        thread::Builder::new().spawn(work).ok()?;
        Some(Self { shared, tell, done })
    }

    /// Most bytes of output that are reported.
    pub fn output_bytes(&self) -> usize {
        self.shared.output_bytes.load(Ordering::Relaxed)
    }

    /// Sends a report during the run.
    pub fn beside(&self, report: SpooledReport) {
        // If the thread is gone the report is lost, which is acceptable for a report of this kind.
        let _ = self.tell.send(Message::Beside(Box::new(report)));
    }

    /// Keeps the report of the run's end on disk and waits, for a limited time, until the server has accepted it.
    pub fn finish(self, mut end: SpooledReport) {
        let begun = Instant::now();
        let (shared, tell) = (Arc::clone(&self.shared), self.tell);
        if shared.is_run {
            // A report of an interrupted run uses the same key, so that the server counts only one of the two.
            end.key = shared.end_key;
            end.run = Some(shared.facts.run);
        }
        let keep = move || shared.keep(end, begun, &tell);
        if thread::Builder::new().spawn(keep).is_err() {
            return;
        }
        loop {
            let longest = match locked(&self.shared.setup).as_ref() {
                Some(setup) if locked(&self.shared.kept).is_some() => setup.delay,
                Some(setup) => setup.delay.max(USUAL_DELAY),
                None => USUAL_DELAY,
            };
            // A run that has ended must not be reported later as interrupted, so wait until its end is noted.
            let longest = match self.shared.is_noted.load(Ordering::Acquire) {
                true => longest,
                false => longest.max(NOTING),
            };
            let left = longest.saturating_sub(begun.elapsed());
            match self.done.recv_timeout(left.min(Duration::from_millis(20))) {
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(RecvTimeoutError::Timeout) => return self.shared.note_late(longest),
                Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
            }
        }
    }
}

impl Shared {
    /// Puts the end into the spool while another thread sends it. This needs a thread of its own, because the other
    /// one may wait for the network.
    fn keep(&self, end: SpooledReport, begun: Instant, tell: &Channel<Message>) {
        let mut record = self.note_end(None, &end);
        let patience = USUAL_DELAY.saturating_sub(begun.elapsed());
        let waiting = locked(&self.setup);
        let waited = self.is_set_up.wait_timeout_while(waiting, patience, |setup| setup.is_none());
        let setup = waited.unwrap_or_else(PoisonError::into_inner).0.clone();
        let disk = setup.as_ref().and_then(|setup| setup.disk.as_ref());
        if record.is_none() {
            record = self.note_end(disk, &end);
        }
        self.is_noted.store(true, Ordering::Release);
        let reports = locked(&self.start).clone().into_iter().chain([end]).collect();
        let entry = self.entry(reports);
        let _ = tell.send(Message::Last(Box::new(entry.clone())));
        let name = disk.and_then(|disk| {
            let mut added = disk.spool.add(self.facts.run, &entry);
            if let Some(running) = record {
                // The record is removed only now, because until here it was the only note of how the run ended.
                running.end();
                if added.is_err() {
                    // On a full disk, removing the record has freed the space of one file.
                    added = disk.spool.add(self.facts.run, &entry);
                }
            }
            added
                .inspect_err(|error| logbook::note(format_args!("a report cannot be kept on disk: {error}")))
                .ok()
        });
        *locked(&self.kept) = Some(name);
        self.is_kept.notify_all();
    }

    /// Logs why the server does not have the end yet. The process is about to exit, so nobody else would.
    fn note_late(&self, waited: Duration) {
        if waited.is_zero() {
            return;
        }
        let waited = duration::short(TimeDelta::from_std(waited).unwrap_or(TimeDelta::MAX));
        let what =
            self.facts.names.as_ref().map_or_else(|| "a run".to_owned(), |names| format!("a run of {names}"));
        let of_it = match locked(&self.setup).as_ref().and_then(|setup| setup.api.as_ref().ok()) {
            Some(api) => format!("{} did not answer in time", api.place_of(&self.facts.destination)),
            None => "the configuration could not be read in time".to_owned(),
        };
        logbook::note(format_args!("the end of {what} was not delivered within {waited}: {of_it}"));
    }

    /// Notes in the run's record how the run ended. This is cheap and happens before the entry is synced. If no
    /// record exists yet and `disk` is given, it is created here, and no other thread creates one afterwards.
    fn note_end(&self, disk: Option<&Disk>, end: &SpooledReport) -> Option<Arc<Running>> {
        let mut place = locked(&self.record);
        let running = match (&*place, disk) {
            (RecordOf::There(running), _) => Arc::clone(running),
            (RecordOf::NotYet, None) => return None,
            (RecordOf::NotYet, Some(disk)) => {
                let running = self.record().and_then(|record| Running::begin(&disk.runs, &record).ok());
                *place = RecordOf::Over;
                Arc::new(running?)
            }
            (RecordOf::Over, _) => return None,
        };
        *place = RecordOf::Over;
        if let Err(error) = running.note_end(end) {
            logbook::note(format_args!("the end of a run cannot be noted: {error}"));
        }
        Some(running)
    }

    /// The content of the run's record.
    fn record(&self) -> Option<RunRecord> {
        let start = self.is_run.then(|| self.began.clone())?;
        Some(RunRecord { run: self.facts.run, start: self.entry(vec![start]), end_key: self.end_key })
    }

    fn entry(&self, reports: Vec<SpooledReport>) -> SpoolEntry {
        let RunFacts { destination, terms, .. } = &self.facts;
        SpoolEntry { destination: destination.clone(), reports, terms: terms.clone() }
    }

    fn work(self: &Arc<Self>, overrides: &Overrides, told: &Receiver<Message>) {
        let setup = Arc::new(Setup::of(overrides));
        self.most_output.store(setup.output_bytes, Ordering::Relaxed);
        self.output_bytes.fetch_min(setup.output_bytes, Ordering::Relaxed);
        *locked(&self.setup) = Some(Arc::clone(&setup));
        self.is_set_up.notify_all();
        let mut last = None;
        let recording = self.record_beside(&setup);
        if let Some(disk) = &setup.disk {
            recover(&disk.runs, &disk.spool);
            disk.spool.sweep();
            self.send_others(&setup);
            last = self.catch_up(&setup, disk, told);
        }
        self.reserve(&setup);
        if last.is_none() {
            self.begin(&setup);
        }
        loop {
            let message = match last.take() {
                Some(message) => message,
                None => match told.recv_timeout(STILL_THERE) {
                    Ok(message) => message,
                    Err(RecvTimeoutError::Timeout) => {
                        if let RecordOf::There(running) = &*locked(&self.record) {
                            running.touch();
                        }
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                },
            };
            match message {
                Message::Beside(report) => drop(self.send(&setup, &self.entry(vec![*report]), PATIENCE)),
                Message::Last(entry) => {
                    self.last(&setup, &entry);
                    break;
                }
            }
        }
        if let Some(recording) = recording {
            // A panic in that thread is logged, and has no other effect.
            let _ = recording.join();
        }
    }

    /// Writes the record of this run in a thread, while the start is sent.
    fn record_beside(self: &Arc<Self>, setup: &Arc<Setup>) -> Option<JoinHandle<()>> {
        let (shared, setup) = (Arc::clone(self), Arc::clone(setup));
        let record = move || setup.disk.iter().for_each(|disk| shared.note_running(disk));
        thread::Builder::new().spawn(record).ok()
    }

    /// Writes the record of this run. If nobody removes it, a later agent finds it and reports the run as
    /// interrupted.
    fn note_running(&self, disk: &Disk) {
        let Some(record) = self.record() else { return };
        let begun = {
            let mut place = locked(&self.record);
            if !matches!(*place, RecordOf::NotYet) {
                return;
            }
            let begun = Running::begin(&disk.runs, &record).map(Arc::new);
            if let Ok(running) = &begun {
                *place = RecordOf::There(Arc::clone(running));
            }
            begun
        };
        let is_over = || matches!(*locked(&self.record), RecordOf::Over);
        if let Err(error) = begun.and_then(|running| running.publish(is_over)) {
            logbook::note(format_args!("the record of a run cannot be kept: {error}"));
        }
    }

    /// Sends the entries of the spool for the same destination before the start of this run. Returns the run's end if
    /// it arrives meanwhile.
    fn catch_up(&self, setup: &Setup, disk: &Disk, told: &Receiver<Message>) -> Option<Message> {
        let Ok(api) = &setup.api else { return None };
        let is_empty = disk.spool.list().is_ok_and(|names| {
            // Entries for other destinations are sent by another thread.
            !names.iter().any(|name| name.goes_to(&self.facts.destination))
        });
        if is_empty && disk.spool.dropped().entries().is_empty() {
            return None;
        }
        // Waiting entries mean that there was an outage, and other agents are about to send as well.
        if let Ok(message) = told.recv_timeout(jitter(SPREAD)) {
            return Some(message);
        }
        let sender = ReportSender { spool: &disk.spool, api, state: &disk.state };
        // Without the lock, another process is already sending.
        if let Some(_turn) = sender.turn(Instant::now(), || false) {
            let pass = sender.pass_of(&self.facts.destination, Instant::now() + PATIENCE);
            self.learn(pass.output_bytes);
        }
        told.try_recv().ok()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
