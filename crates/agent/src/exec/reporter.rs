//! Reports a run beside the job: in threads of its own, which nothing waits for but the end, and that for a bounded time.

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

use super::runs::{Record, Running, recover};
use super::setup::{Disk, Setup, USUAL_DELAY};
use crate::clock::Stamp;
use crate::config::Overrides;
use crate::logbook;
use crate::report::{Names, ReportKind, SpooledReport};
use crate::sender::{PATIENCE, ReportSender, jitter};
use crate::spool::{Destination, Name, SpoolEntry};

/// How much output the server keeps, as long as it does not say so.
const USUAL_OUTPUT: usize = 10_000;
/// After an outage not all agents begin at once.
const SPREAD: Duration = Duration::from_millis(500);
/// How long the run's end is waited for to be noted, on a machine that is so busy or a disk that is so slow.
const NOTING: Duration = Duration::from_secs(10);
/// How often it is noted that a run is still there.
const STILL_THERE: Duration = Duration::from_secs(60);

/// Which run is reported, to whom.
#[derive(Debug, Clone)]
pub struct RunFacts {
    /// The run.
    pub run: Uuid,
    /// Its reservation; none where the address says it.
    pub names: Option<Names>,
    /// Where its reports go.
    pub destination: Destination,
    /// The reservation that is made or changed on the way.
    pub terms: Option<Value>,
    /// When it began.
    pub began: Stamp,
}

struct Shared {
    facts: RunFacts,
    /// Whether there is a run, and not only something to tell of it.
    is_run: bool,
    end_key: Uuid,
    setup: Mutex<Option<Arc<Setup>>>,
    is_set_up: Condvar,
    output_bytes: AtomicUsize,
    most_output: AtomicUsize,
    /// The name of the end in the spool, once it is there for good; none within where it cannot be.
    kept: Mutex<Option<Option<Name>>>,
    is_kept: Condvar,
    /// Whether the end is noted in the run's record, or cannot be.
    is_noted: AtomicBool,
    began: SpooledReport,
    /// The start, until the server has it.
    start: Mutex<Option<SpooledReport>>,
    record: Mutex<RecordOf>,
}

/// The record of the run that is there while it lasts.
enum RecordOf {
    /// It is not written.
    NotYet,
    /// It is on disk, or on its way there.
    There(Arc<Running>),
    /// The run has ended: none is needed any more.
    Over,
}

enum Message {
    /// A report that is no end, sent if it can be.
    Beside(Box<SpooledReport>),
    /// The last entry, which is being put into the spool.
    Last(Box<SpoolEntry>),
}

/// What reports a run.
pub struct Reporter {
    shared: Arc<Shared>,
    tell: Channel<Message>,
    done: Receiver<()>,
}

impl Reporter {
    /// Begins to report the start of a run; none where there is no thread for it.
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
            // Whoever waited may have given up.
            let _ = finish.send(());
        };
        thread::Builder::new().spawn(work).ok()?;
        Some(Self { shared, tell, done })
    }

    /// How much output is reported, bytes.
    pub fn output_bytes(&self) -> usize {
        self.shared.output_bytes.load(Ordering::Relaxed)
    }

    /// Sends a report during the run.
    pub fn beside(&self, report: SpooledReport) {
        // It is lost where the thread is: it was only to know.
        let _ = self.tell.send(Message::Beside(Box::new(report)));
    }

    /// Keeps the report of the end, and waits a bounded time until the server has it.
    pub fn finish(self, mut end: SpooledReport) {
        let begun = Instant::now();
        let (shared, tell) = (Arc::clone(&self.shared), self.tell);
        if shared.is_run {
            // By this one a run is told as interrupted, too: only one of the two counts.
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
            // A run that ended is not to be told as one whose agent was killed.
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
    /// Puts the end into the spool while it is sent. It has a thread of its own: another may wait for the network.
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
                // Only now: until then the record says how the run ended.
                running.end();
                if added.is_err() {
                    // On a full disk there is room for one file now.
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

    /// Notes why the end is not with the server: whoever waits for its answer goes with this process.
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

    /// Notes in the run's record how it ended: cheaply, before the entry is synced. With a `disk` a record that is not
    /// there yet is made for it, and from then on no other is.
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

    /// What is written of this run while it lasts.
    fn record(&self) -> Option<Record> {
        let start = self.is_run.then(|| self.began.clone())?;
        Some(Record { run: self.facts.run, start: self.entry(vec![start]), end_key: self.end_key })
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
            // A bug in it is logged, and nothing else comes of it.
            let _ = recording.join();
        }
    }

    /// Writes the record of this run while its start is sent.
    fn record_beside(self: &Arc<Self>, setup: &Arc<Setup>) -> Option<JoinHandle<()>> {
        let (shared, setup) = (Arc::clone(self), Arc::clone(setup));
        let record = move || setup.disk.iter().for_each(|disk| shared.note_running(disk));
        thread::Builder::new().spawn(record).ok()
    }

    /// Writes the record of this run, which is found if nobody ends it.
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

    /// Sends what lies in the spool for the same destination, before this run's start. Gives back the run's end if that comes first.
    fn catch_up(&self, setup: &Setup, disk: &Disk, told: &Receiver<Message>) -> Option<Message> {
        let Ok(api) = &setup.api else { return None };
        let is_empty = disk.spool.list().is_ok_and(|names| {
            // Those of others are sent beside.
            !names.iter().any(|name| name.goes_to(&self.facts.destination))
        });
        if is_empty && disk.spool.dropped().entries().is_empty() {
            return None;
        }
        // There was an outage: many others wait for its end as well.
        if let Ok(message) = told.recv_timeout(jitter(SPREAD)) {
            return Some(message);
        }
        let sender = ReportSender { spool: &disk.spool, api, state: &disk.state };
        // Or another process does it.
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
