//! The sweep: one step, and the loop around it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::discipline::STEP;
use innkeeper_core::{Clock, Time};
use innkeeper_logging::{Numbers, within};
use innkeeper_node::heartbeat::Operator;
use innkeeper_node::heartbeat::progress::Progress;
use innkeeper_node::{Metrics, Seldom, Wake};
use innkeeper_store::{AlertEvent, Store, StoreError, SweepOutcome, Unjudged};

use crate::decide::Rules;
use crate::dispatch::WorkerPool;
use crate::messages::MessageComposer;
use crate::scan_cursor::ScanCursor;
use crate::worker_pools::WorkerPools;

/// The longest sleep. A change by another process is seen at the latest after it.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// The sleep while another process has locked all due reservations: an ingest that writes, or another sweeper.
const LOCKED_SLEEP: Duration = Duration::from_millis(100);

/// The shortest sleep between two passes. Reservations that fall due meanwhile are handled together, which costs far
/// less than one by one.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// How far before the earliest due entry of the last full scan the other passes begin, since check-ins are written a
/// little after their time.
const OVERLAP: TimeDelta = TimeDelta::seconds(1);

/// The messages to the operator about the sweep and the senders.
#[derive(Template)]
enum SweepMessage<'a> {
    #[template(path = "job_not_judged.txt")]
    NotJudged { job: String, problem: &'a str },
    #[template(path = "job_judged_again.txt")]
    JudgedAgain { job: &'a str },
    #[template(path = "senders_missing.txt")]
    SendersMissing { error: String },
    #[template(path = "senders_back.txt")]
    SendersBack,
}

/// The parts that the sweep needs.
pub struct Watch {
    /// The database.
    pub store: Store,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Composes the messages.
    pub composer: MessageComposer,
    /// The most reservations in one transaction.
    pub batch: i64,
    /// The counters of the sweep.
    pub metrics: Metrics,
    /// How the operator is told about reservations that cannot be evaluated.
    pub operator: Option<Operator>,
}

impl Watch {
    /// Evaluates one batch of due reservations.
    ///
    /// # Errors
    /// A database error.
    pub fn sweep_once(&self, now: Time) -> Result<SweepOutcome, StoreError> {
        let mut outcome = self.sweep(None, now)?;
        self.put_aside(&mut outcome, now)?;
        Ok(outcome)
    }

    /// Evaluates one batch. If that fails, it evaluates those parts of the batch that can be evaluated.
    fn sweep(&self, from: Option<Time>, now: Time) -> Result<SweepOutcome, StoreError> {
        let rules = Rules(|event: &AlertEvent<'_>| self.composer.tell(event));
        let sweep = || self.store.sweep_from(from, now, self.batch, &rules);
        let error = match catch_unwind(AssertUnwindSafe(sweep)) {
            Ok(Err(error)) if !error.is_unavailable() => error,
            Ok(done) => return done,
            // The connection is discarded with its transaction.
            Err(_) => StoreError::Sweep("it panicked".to_owned()),
        };
        self.store.sweep_halves(from, now, self.batch, &rules, error)
    }

    /// Tells the operator which reservations cannot be evaluated, and which can be again.
    fn put_aside(&self, outcome: &mut SweepOutcome, now: Time) -> Result<(), StoreError> {
        let tell = |unjudged: &Unjudged| {
            let Some(operator) = &self.operator else { return Vec::new() };
            let (job, problem) = (unjudged.name(), &unjudged.problem);
            operator.deliveries(SweepMessage::NotJudged { job, problem }, now)
        };
        let problems = std::mem::take(&mut outcome.unjudged);
        self.store.put_aside(&problems, now, &tell)?;
        for name in &outcome.judged_again {
            match &self.operator {
                Some(operator) => operator.tell(SweepMessage::JudgedAgain { job: name }),
                None => log::info!("{name} is judged again"),
            }
        }
        Ok(())
    }

    fn tell(&self, message: SweepMessage<'_>) {
        if let Some(operator) = &self.operator {
            operator.tell(message);
        }
    }

    fn count(&self, outcome: &SweepOutcome, begun: Instant) {
        if outcome.looked == 0 {
            return;
        }
        self.metrics.sweep.observe(begun.elapsed().as_secs_f64());
        let SweepOutcome { looked, opened, closed, reminded, .. } = outcome;
        for (what, count) in
            [("looked", looked), ("opened", opened), ("closed", closed), ("reminded", reminded)]
        {
            self.metrics.swept.with_label_values(&[what]).inc_by(*count as u64);
        }
    }

    /// Whether reservations may be evaluated at `now`. They may not while the clock is in doubt, nor while the
    /// database's clock differs: then other nodes may already have moved the times of facts to that clock.
    fn may_judge(&self, now: Time) -> Result<bool, StoreError> {
        Ok(self.clock.is_steady()
            && self.store.database_time()?.is_none_or(|there| (there - now).abs() <= STEP))
    }

    /// One pass over one batch. Returns how long to sleep before the next, or none if nothing may be evaluated now.
    fn pass(
        &self,
        cursor: &mut ScanCursor<Time>,
        worker_pools: &[WorkerPool],
    ) -> Result<Option<Duration>, StoreError> {
        let now = self.clock.now();
        if !self.may_judge(now)? {
            return Ok(None);
        }
        let _pass = within("pass", PASSES.next());
        let from = cursor.of_look(now);
        let begun = Instant::now();
        let mut outcome = self.sweep(from, now)?;
        self.put_aside(&mut outcome, now)?;
        if from.is_none() && (cursor.is_new() || begin_of_minute(now)) {
            match self.store.mend_wakes(now) {
                // If a row cannot be read, the sweep itself reports it.
                Err(error) if !error.is_unavailable() => {
                    log::warn!("jobs that nobody would look at again are not looked for: {error}");
                }
                done => drop(done?),
            }
            for name in self.store.remove_own_reservations(now)? {
                log::info!(
                    "{name} is removed: a node of an older version made it, and its duty is known without it"
                );
            }
        }
        self.count(&outcome, begun);
        let backlog = outcome.looked >= self.batch as usize;
        for worker_pool in worker_pools {
            worker_pool.call(outcome.deliveries.contains_key(worker_pool.name.as_str()));
        }
        if backlog {
            return Ok(Some(Duration::ZERO));
        }
        let next = match self.store.next_wake_from(from) {
            // The next due row cannot be read. The next look, in a second, finds the rows after it.
            Err(error) if !error.is_unavailable() => {
                log::debug!("what is due next: {error}");
                None
            }
            next => next?,
        };
        if from.is_none() {
            cursor.whole(now, Some(next.map_or(now, |next| next.min(now)) - OVERLAP));
        }
        let until_next = |next: Time| (next - self.clock.now()).to_std().unwrap_or_default();
        let pause = next.map_or(LONGEST_SLEEP, until_next).min(LONGEST_SLEEP);
        let is_locked = outcome.looked == 0 && pause.is_zero();
        Ok(Some(if is_locked { LOCKED_SLEEP } else { pause.max(SHORTEST_SLEEP) }))
    }
}

/// Numbers the passes, so that the log lines of one pass can be found.
static PASSES: Numbers = Numbers::new();

/// Whether `now` is within the first two seconds of a minute, for work that is done about once a minute.
fn begin_of_minute(now: Time) -> bool {
    now.timestamp() % 60 < 2
}

/// The loop, until the process stops.
pub(crate) fn run(watch: &mut Watch, progress: &Progress, wake: &Wake, worker_pools: &mut WorkerPools) {
    let (mut away, mut short) = (false, false);
    let (poolless, failures) = (Seldom::new(), Seldom::new());
    let mut cursor = ScanCursor::default();
    loop {
        match worker_pools.follow() {
            Ok(Some(config)) => {
                watch.batch = i64::from(config.sweeper.batch);
                watch.composer = MessageComposer::new(&config, &watch.composer.ways);
                if std::mem::take(&mut short) {
                    watch.tell(SweepMessage::SendersBack);
                }
            }
            Ok(None) => {}
            Err(error) => {
                poolless.error(format_args!("not every alerter has its senders: {error:#}"));
                if !std::mem::replace(&mut short, true) {
                    watch.tell(SweepMessage::SendersMissing { error: format!("{error:#}") });
                }
            }
        }
        let attempt = progress.begin("sweep");
        let pause = match watch.pass(&mut cursor, &worker_pools.working) {
            Ok(pause) => {
                match pause {
                    Some(_) => attempt.succeeded(),
                    // The attempt counts neither as done nor as failed: peers see that jobs are not watched, and the
                    // operator has been told about the clock.
                    None => drop(attempt),
                }
                if away {
                    log::info!("the database answers again; sweeping goes on");
                    away = false;
                }
                pause.unwrap_or(LONGEST_SLEEP)
            }
            Err(error) => {
                attempt.failed(&error);
                if !error.is_unavailable() {
                    failures.error(format_args!("sweep: {error}"));
                } else if !away {
                    log::warn!("sweep: {error}; trying again each second");
                    away = true;
                }
                LONGEST_SLEEP
            }
        };
        if !wake.sleep(pause) {
            return;
        }
    }
}
