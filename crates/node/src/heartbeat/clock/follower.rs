//! Samples the reference at each heartbeat, adjusts the node's clock, and reports steps.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::discipline::{ClockVerdict, Discipline, STEP};
use innkeeper_core::rewind::Rewind;
use innkeeper_core::{Clock, SystemClock, Time};
use innkeeper_store::{DatabaseKind, Rewinding, StepOutcome, Store, StoreError, Ticker};

use super::words::{self, ClockMessage};
use crate::Seldom;
use crate::clock::{NodeClock, boot};
use crate::heartbeat::{Operator, OperatorMessage};

/// A sample whose query took longer is discarded: it says nothing about the time.
const SLOW: Duration = Duration::from_secs(3);
/// How long one heartbeat waits for recorded times to be moved back.
const REWIND_FOR: Duration = Duration::from_millis(400);
/// How long moving times back may be stuck, for instance by a lock or an unwritable row, before the operator is told.
const STUCK_AFTER: Duration = Duration::from_secs(30);
/// When later rows with old times are searched for: writes in progress at the step are committed a little later.
const STRAGGLERS: [Duration; 4] =
    [Duration::ZERO, Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(60)];
/// The most steps that wait to be recorded in the database.
const MOST_UNKEPT: usize = 16;

/// Samples the reference and adjusts the clock of this node.
pub(in crate::heartbeat) struct Follower {
    clock: Arc<NodeClock>,
    host: String,
    /// The clock that the nodes follow.
    reference: Ticker,
    /// `None` until the reference was first sampled.
    discipline: Option<Discipline>,
    /// How far the machine's clock was ahead of the boot clock at the last sample, in milliseconds.
    machine: Option<i64>,
    /// The number of the latest step that was followed, when this node last looked.
    followed: Option<i64>,
    rewinding: Option<Pass>,
    /// When to search for stragglers, by the boot clock, and the size of the step.
    stragglers: VecDeque<(Duration, TimeDelta)>,
    unkept: VecDeque<Unkept>,
    /// The database for passes, which may take longer than a heartbeat waits.
    patient: Store,
    stuck: Stuck,
}

/// Whether passes make progress.
#[derive(Default)]
struct Stuck {
    /// Since when every attempt has failed, by the boot clock.
    since: Option<Duration>,
    told: bool,
    said: Seldom,
}

/// The result of an attempt at a pass: how far it got, and whether it is complete.
type Attempted = (Rewinding, Result<bool, StoreError>);

/// A pass that moves back times that were recorded ahead, over as many heartbeats as needed.
struct Pass {
    by: TimeDelta,
    progress: Rewinding,
    /// Whether the node's time moves when the pass is complete.
    leads: bool,
    /// The attempt in progress on its own thread, so that heartbeats do not wait for it.
    under_way: Option<Receiver<Attempted>>,
}

impl Pass {
    fn new(by: TimeDelta, leads: bool) -> Self {
        let progress = if leads { Rewinding::default() } else { Rewinding::for_stragglers() };
        Self { by, progress, leads, under_way: None }
    }

    /// Continues the pass for a while, on a thread of its own.
    fn begin(&self, store: Store, clock: Arc<NodeClock>) -> Result<Receiver<Attempted>, StoreError> {
        let (done, attempted) = channel();
        let (by, mut progress) = (self.by, self.progress);
        let ahead = if self.leads { by } else { TimeDelta::zero() };
        let thread = std::thread::Builder::new().name("rewind".to_owned()).spawn(move || {
            let begun = boot::now();
            let through = loop {
                let rewind = Rewind { now: clock.now() - ahead, by };
                match store.rewind_some(&rewind, &mut progress) {
                    Ok(false) if boot::now().saturating_sub(begun) < REWIND_FOR => {}
                    through => break through,
                }
            };
            // After a stop the receiver is gone.
            drop(done.send((progress, through)));
        });
        thread.map_err(|error| StoreError::Unavailable(format!("no thread to be had: {error}")))?;
        Ok(attempted)
    }
}

/// A step that is not recorded in the database yet.
struct Unkept {
    clock: Ticker,
    by: TimeDelta,
    outcome: StepOutcome,
    message: OperatorMessage,
    told: bool,
}

/// The result of reading the clocks once.
struct Sample {
    boot: Duration,
    doubt: TimeDelta,
    machine: Time,
    reference: Time,
}

impl Follower {
    pub fn new(clock: Arc<NodeClock>, host: &str, store: &Store) -> Self {
        let reference = match store.backend() {
            DatabaseKind::Postgres => Ticker::Database,
            DatabaseKind::Sqlite => Ticker::Machine,
        };
        Self {
            clock,
            host: host.to_owned(),
            reference,
            discipline: None,
            machine: None,
            followed: None,
            rewinding: None,
            stragglers: VecDeque::new(),
            unkept: VecDeque::new(),
            patient: store.clone(),
            stuck: Stuck::default(),
        }
    }

    /// Takes one sample and acts on it. What an outage of the database prevents is done at a later
    /// sample.
    pub fn follow(&mut self, store: &Store, operator: &Operator) {
        if let Err(error) = self.try_follow(store, operator) {
            log::debug!("the clock: {error}");
        }
        self.keep(store, operator);
        let behind =
            self.rewinding.is_some() || self.stragglers.front().is_some_and(|(at, _)| *at <= boot::now());
        if let Some(discipline) = &self.discipline {
            self.clock.set(discipline.anchor_ms(), discipline.is_steady() && !behind);
        }
    }

    fn try_follow(&mut self, store: &Store, operator: &Operator) -> Result<(), StoreError> {
        if self.rewinding.is_some() {
            // The pass is completed first, whatever the clock does meanwhile.
            return self.rewind(store, operator);
        }
        let Some(sample) = look(store)? else { return Ok(()) };
        self.look_at_machine(&sample);
        let Some(discipline) = &mut self.discipline else { return self.begin(store, &sample) };
        if discipline.held_at().is_some() && followed(store)? > self.followed {
            // Other nodes have found that the clock stays as it is, and follow it.
            discipline.release();
        }
        match discipline.sample(sample.boot, sample.reference, sample.doubt) {
            ClockVerdict::Agrees | ClockVerdict::Waits => {}
            ClockVerdict::Stepped(by) => {
                let message = words::stepped(self.reference, &self.host, by);
                self.note(self.reference, by, StepOutcome::Waiting, message);
            }
            ClockVerdict::Returned { by, left } => {
                let message = words::returned(self.reference, &self.host, by, left);
                self.end(store, operator, StepOutcome::Returned, message)?;
            }
            ClockVerdict::Released => {
                self.end(
                    store,
                    operator,
                    StepOutcome::Released,
                    words::released(self.reference, &self.host),
                )?;
            }
            ClockVerdict::Follow(by) if by > TimeDelta::zero() => self.step(store, operator, by)?,
            ClockVerdict::Follow(by) => {
                self.rewinding = Some(Pass::new(-by, true));
                store.turn_clock_steps(
                    self.reference,
                    &self.host,
                    StepOutcome::Following,
                    self.clock.now(),
                )?;
                return self.rewind(store, operator);
            }
        }
        if let Some((_, by)) = self.stragglers.front().copied().filter(|(at, _)| *at <= sample.boot) {
            self.stragglers.pop_front();
            self.rewinding = Some(Pass::new(by, false));
            return self.rewind(store, operator);
        }
        Ok(())
    }

    /// The first sample. The node's time begins at the reference, or at the newest recorded time if
    /// the process holds at that.
    fn begin(&mut self, store: &Store, sample: &Sample) -> Result<(), StoreError> {
        let newest = store.newest_time()?;
        self.followed = followed(store)?;
        let mut discipline = Discipline::start(sample.boot, sample.reference, newest);
        match discipline.held_at() {
            Some(_) if store.clock_steps(1)?.iter().any(|step| step.outcome == StepOutcome::Following) => {
                // The last process ended while it moved times back. It had found that the clock
                // stays as it is.
                log::warn!("the last process ended while it was following the clock back; this is continued");
                discipline.release();
            }
            Some(newest) => {
                let message = words::held(self.reference, &self.host, newest, sample.reference);
                self.note(self.reference, sample.reference - newest, StepOutcome::Held, message);
            }
            None => {
                let off = sample.reference - sample.machine;
                if off.abs() > STEP {
                    log::warn!(
                        "this machine's clock is {} ms off the database's, which is used instead; is its time synchronised?",
                        off.num_milliseconds()
                    );
                }
            }
        }
        self.discipline = Some(discipline);
        Ok(())
    }

    /// Notes a jump of the machine's clock, even if the nodes follow the database's clock.
    fn look_at_machine(&mut self, sample: &Sample) {
        let ahead =
            sample.machine.timestamp_millis() - i64::try_from(sample.boot.as_millis()).unwrap_or(i64::MAX);
        let before = self.machine.replace(ahead);
        let by = TimeDelta::milliseconds(ahead.saturating_sub(before.unwrap_or(ahead)));
        if self.reference == Ticker::Database && by.abs() > STEP {
            let message = words::ignored(&self.host, by);
            self.note(Ticker::Machine, by, StepOutcome::Ignored, message);
        }
    }

    /// Continues the pass, and checks whether it makes progress.
    fn rewind(&mut self, store: &Store, operator: &Operator) -> Result<(), StoreError> {
        let Some(pass) = &mut self.rewinding else { return Ok(()) };
        let attempted = match pass.under_way.take() {
            Some(attempted) => attempted,
            None => {
                // This query comes before each attempt, because an unreachable database is reported
                // elsewhere and must not count as a stuck pass.
                let latest = followed(store).inspect_err(|_| self.stuck.since = None)?;
                if pass.leads && latest > self.followed {
                    // Another node has completed the pass and uses the new time. This node does the
                    // same, and searches for times that it recorded meanwhile.
                    let by = pass.by;
                    self.rewinding = None;
                    return self.step(store, operator, -by);
                }
                pass.begin(self.patient.apart(), Arc::clone(&self.clock))?
            }
        };
        let through = match attempted.recv_timeout(REWIND_FOR) {
            Err(RecvTimeoutError::Timeout) => {
                pass.under_way = Some(attempted);
                return Ok(());
            }
            Err(RecvTimeoutError::Disconnected) => Err(StoreError::Sweep("it panicked".to_owned())),
            Ok((progress, through)) => {
                pass.progress = progress;
                through
            }
        };
        match through {
            Err(error) => {
                self.stuck.fails(&self.host, &error, operator);
                return Ok(());
            }
            Ok(through) => {
                self.stuck.goes_on(&self.host, operator);
                if !through {
                    return Ok(());
                }
            }
        }
        let (by, leads) = (pass.by, pass.leads);
        if leads {
            self.step(store, operator, -by)?;
        }
        self.rewinding = None;
        Ok(())
    }

    /// Moves the node's time by `by`.
    fn step(&mut self, store: &Store, operator: &Operator, by: TimeDelta) -> Result<(), StoreError> {
        let Some(discipline) = &mut self.discipline else { return Ok(()) };
        let held = discipline.held_at().is_some();
        log::warn!("the time moves {}, as the clock has", words::size(by));
        store.turn_clock_steps(self.reference, &self.host, StepOutcome::Followed, self.clock.now() + by)?;
        discipline.step(by);
        if by < TimeDelta::zero() {
            let now = boot::now();
            self.stragglers.extend(STRAGGLERS.map(|after| (now + after, -by)));
        }
        self.clock.set(discipline.anchor_ms(), false);
        self.followed = followed(store)?;
        if held {
            operator.tell(words::released(self.reference, &self.host));
        }
        Ok(())
    }

    /// Records that the noted step is over. The first node that records it notifies the operator.
    fn end(
        &mut self,
        store: &Store,
        operator: &Operator,
        outcome: StepOutcome,
        message: OperatorMessage,
    ) -> Result<(), StoreError> {
        self.keep(store, operator);
        if store.turn_clock_steps(self.reference, &self.host, outcome, self.clock.now())? {
            operator.tell(message);
        }
        Ok(())
    }

    fn note(&mut self, clock: Ticker, by: TimeDelta, outcome: StepOutcome, message: OperatorMessage) {
        if self.unkept.len() < MOST_UNKEPT {
            self.unkept.push_back(Unkept { clock, by, outcome, message, told: false });
        }
    }

    /// Records the noted steps, and notifies the operator of each, unless another node has done so.
    /// If the database is unreachable, the operator is notified at once.
    fn keep(&mut self, store: &Store, operator: &Operator) {
        let now = self.clock.now();
        while let Some(step) = self.unkept.front_mut() {
            let kept = store.note_clock_step(step.clock, &self.host, step.by, step.outcome, now);
            if !step.told && !matches!(kept, Ok(false)) {
                operator.tell(step.message.clone());
                step.told = true;
            }
            if kept.is_err() {
                return;
            }
            self.unkept.pop_front();
        }
    }
}

impl Stuck {
    fn fails(&mut self, host: &str, error: &StoreError, operator: &Operator) {
        self.said.warn(format_args!("times ahead of the clock cannot be moved back: {error}"));
        let now = boot::now();
        let since = *self.since.get_or_insert(now);
        if now.saturating_sub(since) >= STUCK_AFTER && !std::mem::replace(&mut self.told, true) {
            operator.tell(ClockMessage::Stuck { host, error });
        }
    }

    fn goes_on(&mut self, host: &str, operator: &Operator) {
        self.since = None;
        if std::mem::take(&mut self.told) {
            operator.tell(ClockMessage::GoesOn { host });
        }
    }
}

/// The number of the latest step that was followed.
fn followed(store: &Store) -> Result<Option<i64>, StoreError> {
    Ok(store
        .clock_steps(20)?
        .into_iter()
        .find(|step| step.outcome == StepOutcome::Followed)
        .map(|step| step.id))
}

/// Reads all clocks. `None` if this took so long that it says nothing about the time.
fn look(store: &Store) -> Result<Option<Sample>, StoreError> {
    let asked = boot::now();
    let database = store.database_time()?;
    let answered = boot::now();
    let machine = SystemClock.now();
    let read = boot::now();
    // The database's clock was read between `asked` and `answered`, the machine's between
    // `answered` and `read`.
    let (from, until) = if database.is_some() { (asked, answered) } else { (answered, read) };
    let took = until.saturating_sub(from);
    if took > SLOW || read.saturating_sub(answered) > SLOW {
        return Ok(None);
    }
    let doubt = TimeDelta::from_std(took / 2).unwrap_or_default();
    Ok(Some(Sample { boot: from + took / 2, doubt, machine, reference: database.unwrap_or(machine) }))
}
