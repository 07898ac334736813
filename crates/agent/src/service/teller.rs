//! Delivers the reports of the probes: first their reservations, then the waiting reports, then the new ones. While
//! the server is away, reports are kept in a spool of their own, so that they take no room from the jobs' reports.

use std::collections::{HashSet, VecDeque};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use innkeeper_core::backoff::Backoff;
use uuid::Uuid;

use super::plan::ServicePlan;
use super::say;
use super::settle::Reservations;
use crate::api::{Api, ApiTrouble};
use crate::logbook;
use crate::report::{Names, SpooledReport};
use crate::sender::{BACKOFF, PATIENCE, ReportSender, SendResult, deliver, next_pause};
use crate::spool::{Destination, Spool, SpoolEntry};
use crate::state::StateDirectory;

/// Most reports in one request, and in one entry of the spool.
const BATCH: usize = 100;
/// Most bytes of text in one request.
const BATCH_BYTES: usize = 256 * 1024;
/// After the first report, further reports are collected for this long and sent together.
const GATHER: Duration = Duration::from_millis(250);
/// Most reports that wait in memory if there is no spool.
const MOST_WAITING: usize = 10_000;
/// Longest wait for the lock for sending, which a pass of a crontab may hold.
const TURN: Duration = Duration::from_secs(1);
/// Interval at which the spool is checked while there is nothing to report.
const IDLE: Duration = Duration::from_secs(60);

/// Messages to the delivering thread.
#[derive(Debug)]
pub(super) enum Message {
    /// A new plan after the configuration was reloaded.
    Plan(Box<ServicePlan>),
    /// A report to deliver.
    Report(Box<SpooledReport>),
    /// Stop after delivering what is possible within this time.
    Stop(Duration),
}

/// Delivers reports, as described in the module's documentation.
pub(super) struct Teller {
    api: Result<Api, String>,
    state: Option<StateDirectory>,
    spool: Option<Spool>,
    reservations: Reservations,
    waiting: VecDeque<SpooledReport>,
    /// Reservations that the server did not know and that were logged already.
    unknown: HashSet<Names>,
    not_before: Instant,
    backoff: Backoff,
    last_problem: String,
}

impl Teller {
    /// Creates the deliverer for the reports of `plan`.
    pub fn new(plan: &ServicePlan) -> Self {
        let state = StateDirectory::open(plan.config.state.as_deref())
            .and_then(|state| StateDirectory::open(Some(&state.within("probes")?)))
            .map_err(|problem| {
                say(format_args!("{problem}; reports that cannot be sent at once wait in memory"))
            })
            .ok();
        let mut teller = Self {
            api: Err(String::new()),
            reservations: Reservations::new(plan, state.clone()),
            state,
            spool: None,
            waiting: VecDeque::new(),
            unknown: HashSet::new(),
            not_before: Instant::now(),
            backoff: BACKOFF,
            last_problem: String::new(),
        };
        teller.take(plan);
        teller
    }

    fn take(&mut self, plan: &ServicePlan) {
        self.api = Api::new(&plan.config);
        self.spool = self.state.as_ref().and_then(|state| {
            let spool = Spool::open(state, plan.config.spool);
            spool.map_err(|problem| say(format_args!("spool: {problem}"))).ok()
        });
        self.reservations = Reservations::new(plan, self.state.clone());
        self.unknown.clear();
        self.not_before = Instant::now();
    }

    /// Handles messages until [`Message::Stop`].
    pub fn run(mut self, inbox: &Receiver<Message>) {
        loop {
            let mut message = match inbox.recv_timeout(self.wait()) {
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return self.end(Duration::ZERO),
            };
            if matches!(message, Some(Message::Report(_))) {
                std::thread::sleep(GATHER);
            }
            while let Some(one) = message {
                match one {
                    Message::Plan(plan) => self.take(&plan),
                    Message::Report(report) => self.waiting.push_back(*report),
                    Message::Stop(patience) => {
                        let reports = inbox.try_iter().filter_map(|message| match message {
                            Message::Report(report) => Some(*report),
                            Message::Plan(_) | Message::Stop(_) => None,
                        });
                        self.waiting.extend(reports);
                        return self.end(patience);
                    }
                }
                message = inbox.try_recv().ok();
            }
            if Instant::now() >= self.not_before {
                self.step(Instant::now() + PATIENCE);
            } else {
                self.put_aside();
            }
        }
    }

    /// How long to wait for the next message.
    fn wait(&self) -> Duration {
        let until = match self.reservations.next() {
            _ if !self.waiting.is_empty() || !self.last_problem.is_empty() => self.not_before,
            Some(at) => at.max(self.not_before),
            None => return IDLE,
        };
        until.saturating_duration_since(Instant::now()).min(IDLE)
    }

    /// Delivers all reports within `patience` and keeps the rest in the spool. Returns whether nothing is left.
    pub fn tell(mut self, reports: Vec<SpooledReport>, patience: Duration) -> bool {
        self.waiting.extend(reports);
        let until = Instant::now() + patience;
        loop {
            self.step(until);
            let is_done =
                self.waiting.is_empty() && self.last_problem.is_empty() && self.reservations.are_settled();
            let next = self.not_before.max(self.reservations.next().unwrap_or(self.not_before));
            if is_done || next >= until {
                self.put_aside();
                return is_done;
            }
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    fn end(mut self, patience: Duration) {
        if !self.waiting.is_empty() && !patience.is_zero() {
            self.step(Instant::now() + patience);
        }
        self.put_aside();
    }

    /// Makes one attempt to deliver everything.
    fn step(&mut self, until: Instant) {
        match self.bring(until) {
            Ok(()) => {
                if !self.last_problem.is_empty() {
                    say("the server has received all waiting reports");
                    self.last_problem.clear();
                }
                self.backoff.reset();
                self.not_before = Instant::now();
            }
            Err(trouble) => {
                let problem = trouble.to_string();
                if problem != self.last_problem {
                    say(format_args!("{problem}; the probes' results are kept until they can be sent"));
                    self.last_problem = problem;
                }
                let pause = next_pause(&mut self.backoff);
                let wait = match trouble {
                    ApiTrouble::Busy { retry_after: Some(wait), .. } => wait,
                    _ => pause,
                };
                self.not_before = Instant::now() + wait;
                self.put_aside();
            }
        }
    }

    fn bring(&mut self, until: Instant) -> Result<(), ApiTrouble> {
        let api = self.api.as_ref().map_err(|problem| ApiTrouble::Unable(problem.clone()))?;
        self.reservations.settle(api, until)?;
        if let (Some(spool), Some(state)) = (&self.spool, &self.state)
            && spool.list().is_ok_and(|waiting| !waiting.is_empty())
        {
            let sender = ReportSender { spool, api, state };
            // Without the lock, another process is sending the spool.
            let turn = sender.turn(Instant::now() + TURN, || false);
            if turn.is_some()
                && let Some(trouble) = sender.pass(until).server_trouble
            {
                return Err(trouble);
            }
        }
        let mut unknown = Vec::new();
        while !self.waiting.is_empty() {
            let outcomes = deliver_front(api, &self.waiting, until)?;
            let brought: Vec<SpooledReport> = self.waiting.drain(..outcomes.len()).collect();
            for (outcome, report) in outcomes.into_iter().zip(brought) {
                let Some(names) = &report.names else { continue };
                match outcome {
                    SendResult::Done => {}
                    SendResult::Unknown => {
                        self.reservations.forget(names);
                        unknown.push(report);
                    }
                    SendResult::Refused(problem) | SendResult::GivenUp(problem) => {
                        say(format_args!("the server rejected a report of {names}: {problem}"));
                    }
                }
            }
        }
        self.bring_again(unknown, until)
    }

    /// Makes the reservations that the server did not know and sends their reports again. A reservation that is still
    /// unknown then cannot be made.
    fn bring_again(&mut self, unknown: Vec<SpooledReport>, until: Instant) -> Result<(), ApiTrouble> {
        if unknown.is_empty() {
            return Ok(());
        }
        self.waiting.extend(unknown);
        let api = self.api.as_ref().map_err(|problem| ApiTrouble::Unable(problem.clone()))?;
        self.reservations.settle(api, until)?;
        while !self.waiting.is_empty() {
            let outcomes = deliver_front(api, &self.waiting, until)?;
            let brought: Vec<SpooledReport> = self.waiting.drain(..outcomes.len()).collect();
            for (outcome, report) in outcomes.iter().zip(brought) {
                if let (Some(problem), Some(names)) = (outcome.problem(), report.names)
                    && self.unknown.insert(names.clone())
                {
                    say(format_args!("reports of {names} are given up: {problem}"));
                }
            }
        }
        Ok(())
    }

    /// Moves the waiting reports into the spool, if there is one.
    fn put_aside(&mut self) {
        if let Some(spool) = &self.spool {
            while !self.waiting.is_empty() {
                let batch: Vec<&SpooledReport> = batch(&self.waiting);
                let count = batch.len();
                let entry = SpoolEntry {
                    destination: Destination::Server(None),
                    reports: batch.into_iter().cloned().collect(),
                    terms: None,
                };
                if let Err(error) = spool.add(Uuid::new_v4(), &entry) {
                    logbook::note(format_args!("reports cannot be kept on disk: {error}"));
                    break;
                }
                self.waiting.drain(..count);
            }
        }
        let too_many = self.waiting.len().saturating_sub(MOST_WAITING);
        self.waiting.drain(..too_many);
    }
}

/// The first reports of `waiting`, up to the limits of one request.
fn batch(waiting: &VecDeque<SpooledReport>) -> Vec<&SpooledReport> {
    let mut bytes = 0;
    let fits = |report: &&SpooledReport| {
        bytes += report.size();
        bytes <= BATCH_BYTES
    };
    let mut batch: Vec<&SpooledReport> = waiting.iter().take(BATCH).take_while(fits).collect();
    if batch.is_empty() {
        batch.extend(waiting.front());
    }
    batch
}

/// Sends the first reports of `waiting` and returns the result of each.
fn deliver_front(
    api: &Api,
    waiting: &VecDeque<SpooledReport>,
    until: Instant,
) -> Result<Vec<SendResult>, ApiTrouble> {
    let left = until.saturating_duration_since(Instant::now());
    Ok(deliver(api, &Destination::Server(None), &batch(waiting), left)?.outcomes)
}
