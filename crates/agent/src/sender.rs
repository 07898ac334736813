//! Brings reports to the server: what lies in the spool in its order, in batches, by one sender at a time.

mod batch;
mod kept;
mod patience;

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::thread;
use std::time::{Duration, Instant};

use crate::api::{Api, ApiTrouble};
use crate::clock::Stamp;
use crate::logbook;
use crate::report::{Names, SpooledReport};
use crate::spool::{Destination, Name, Spool, SpoolEntry};
use crate::state::{StateDirectory, try_lock};
use batch::Batch;
pub use batch::{Delivered, ReportOutcome, deliver, reserve};
pub use kept::KeptReports;
use kept::Tried;
use patience::NotBefore;
pub use patience::{BACKOFF, jitter, next_pause};

/// No request waits for longer.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How often a lock is tried that somebody else has.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// What a pass over the spool did.
#[derive(Debug, Default)]
pub struct Pass {
    /// Reports that the server has.
    pub sent: usize,
    /// Entries that it will never take, or that were too old.
    pub given_up: usize,
    /// Why some are left, where some are.
    pub trouble: Option<ApiTrouble>,
    /// The same of those to the server of the configuration: other destinations may have troubles of their own.
    pub server_trouble: Option<ApiTrouble>,
    /// For how long all destinations with trouble want to be left alone, where each of them said so.
    pub wait: Option<Duration>,
    /// What the server does not take as things are.
    pub kept: KeptReports,
    /// How much output the server keeps, where it said so.
    pub output_bytes: Option<usize>,
    /// Reservations that were made on the way.
    made: HashSet<Names>,
    /// Entries that were sent once more since their reservation was made.
    again: BTreeSet<Name>,
}

impl Pass {
    fn fail(&mut self, destination: &Destination, trouble: ApiTrouble) {
        if matches!(destination, Destination::Server(None)) {
            self.server_trouble = Some(trouble.clone());
        }
        self.trouble = Some(trouble);
    }
}

/// Sends from one spool.
pub struct ReportSender<'a> {
    /// The spool.
    pub spool: &'a Spool,
    /// The server.
    pub api: &'a Api,
    /// Where the lock lies, and what a server asked for.
    pub state: &'a StateDirectory,
}

/// The right to send; it ends when it is dropped.
#[derive(Debug)]
pub struct SendingTurn {
    _held: Option<File>,
}

impl ReportSender<'_> {
    /// The right to send, which one process has at a time. It is waited for until `until`, or until `is_done`.
    ///
    /// Where the disk knows no locks (some network file systems) everybody has it: what is sent twice is known by its
    /// key.
    pub fn turn(&self, until: Instant, is_done: impl Fn() -> bool) -> Option<SendingTurn> {
        self.turn_by("sender.lock", until, is_done)
    }

    /// The right to send to other destinations than the run that is reported: it waits for nobody.
    pub fn turn_of_others(&self) -> Option<SendingTurn> {
        self.turn_by("sender-others.lock", Instant::now(), || false)
    }

    fn turn_by(&self, lock: &str, until: Instant, is_done: impl Fn() -> bool) -> Option<SendingTurn> {
        let path = self.state.file(lock);
        loop {
            match try_lock(&path) {
                Ok(Some(held)) => return Some(SendingTurn { _held: Some(held) }),
                Ok(None) if Instant::now() >= until || is_done() => return None,
                Ok(None) => thread::sleep(LOOK_AGAIN),
                Err(error) => {
                    logbook::note(format_args!("{} cannot be locked: {error}", path.display()));
                    return Some(SendingTurn { _held: None });
                }
            }
        }
    }

    /// Has the next pass also send what was kept just now.
    pub fn retry_kept(&self) {
        Tried::forget(self.state);
    }

    /// Sends all that is in the spool, once, until it is empty, `until` has come, or nobody takes any more.
    ///
    /// What one destination does holds up no other; the server of the configuration comes first.
    pub fn pass(&self, until: Instant) -> Pass {
        self.pass_to(|_| true, |_| true, until)
    }

    /// The same of what goes to this destination.
    pub fn pass_of(&self, destination: &Destination, until: Instant) -> Pass {
        self.pass_to(|name| name.goes_to(destination), |other| other == destination, until)
    }

    /// The same of what goes to any other.
    pub fn pass_of_others(&self, than: &Destination, until: Instant) -> Pass {
        self.pass_to(|name| !name.goes_to(than), |other| other != than, until)
    }

    fn pass_to(
        &self,
        wants: impl Fn(&Name) -> bool,
        wants_dropped: impl Fn(&Destination) -> bool,
        until: Instant,
    ) -> Pass {
        let mut pass = Pass::default();
        let server = Destination::Server(None);
        let mut shut: Vec<Destination> = Vec::new();
        let mut waiting = match self.spool.list() {
            Ok(names) => names,
            Err(error) => {
                pass.fail(&server, ApiTrouble::Unable(format!("the spool cannot be read: {error}")));
                return pass;
            }
        };
        let (tried, now) = (Tried::read(self.state), Stamp::now());
        waiting.retain(|name| wants(name) && !tried.has(name, &now));
        waiting.sort_by_key(|name| !name.goes_to(&server));
        loop {
            let now = Stamp::now();
            let batch = Batch::gather(self.spool, &mut waiting, &shut, &now, &mut pass.given_up);
            let Some(batch) = batch else { break };
            let destination = batch.destination();
            let until = if *destination == server || waiting.is_empty() { until } else { share(until) };
            let sent = be_patient(self.state, destination).and_then(|()| self.send(&batch, until, &mut pass));
            if let Err(trouble) = sent {
                pass.fail(destination, trouble);
                shut.push(destination.clone());
            }
        }
        pass.given_up += pass.kept.finish(self.state, self.spool, tried);
        self.tell_dropped(until, wants_dropped, &mut shut, &mut pass);
        let waits: Option<Vec<Duration>> =
            shut.iter().map(|shut| NotBefore::read(self.state, shut)).collect();
        pass.wait = waits.and_then(|waits| waits.into_iter().min());
        if let Some(trouble) = &pass.trouble {
            logbook::note(trouble);
        }
        pass
    }

    /// Sends a batch; entries that are done with leave the spool.
    fn send(&self, batch: &Batch, until: Instant, pass: &mut Pass) -> Result<(), ApiTrouble> {
        let patience = until.saturating_duration_since(Instant::now()).min(PATIENCE);
        let reports: Vec<&SpooledReport> =
            batch.entries.iter().flat_map(|(_, entry)| &entry.reports).collect();
        match deliver(self.api, batch.destination(), &reports, patience) {
            Ok(delivered) => {
                pass.output_bytes = delivered.output_bytes.or(pass.output_bytes);
                let mut outcomes = delivered.outcomes.into_iter();
                for (name, entry) in &batch.entries {
                    let of_this: Vec<ReportOutcome> = outcomes.by_ref().take(entry.reports.len()).collect();
                    self.settle(name, entry, &of_this, until, pass)?;
                }
                Ok(())
            }
            Err(trouble) if is_about_the_reports(&trouble) => match &batch.entries[..] {
                // A proxy that lets less through, or is mistaken.
                [(name, entry)] if !is_final(&trouble) => {
                    pass.given_up += pass.kept.add(self.spool, name, entry, &trouble.to_string());
                    Ok(())
                }
                [(name, _)] => {
                    logbook::note(format_args!("a report is given up: {trouble}"));
                    self.spool.remove(name);
                    pass.given_up += 1;
                    Ok(())
                }
                // One of them is to blame; the others are not to suffer for it.
                several => {
                    several.iter().try_for_each(|one| self.send(&Batch::of_one(one.clone()), until, pass))
                }
            },
            Err(trouble) => {
                keep_patience(self.state, batch.destination(), &trouble);
                Err(trouble)
            }
        }
    }

    fn settle(
        &self,
        name: &Name,
        entry: &SpoolEntry,
        outcomes: &[ReportOutcome],
        until: Instant,
        pass: &mut Pass,
    ) -> Result<(), ApiTrouble> {
        let is_unknown = outcomes.iter().any(|outcome| matches!(outcome, ReportOutcome::Unknown));
        if let (true, Some(terms), Destination::Server(server)) =
            (is_unknown, &entry.terms, &entry.destination)
        {
            // The job's first run was while the server was away: nobody could make its reservation.
            let patience = until.saturating_duration_since(Instant::now()).min(PATIENCE);
            match reserve(self.api, server.as_deref(), terms, patience) {
                Ok(reserved) => {
                    reserved.notes().for_each(logbook::note);
                    pass.made.extend(entry.reports.iter().filter_map(|report| report.names.clone()));
                    let without = SpoolEntry { terms: None, ..entry.clone() };
                    return self.send(&Batch::of_one((name.clone(), without)), until, pass);
                }
                Err(trouble @ ApiTrouble::Refused { .. }) => logbook::note(trouble),
                Err(trouble) => return Err(trouble),
            }
        }
        let is_made =
            |report: &SpooledReport| report.names.as_ref().is_some_and(|names| pass.made.contains(names));
        if is_unknown
            && entry.terms.is_none()
            && entry.reports.iter().all(is_made)
            && pass.again.insert(name.clone())
        {
            // An entry before it has made its reservation since.
            return self.send(&Batch::of_one((name.clone(), entry.clone())), until, pass);
        }
        if let Some(problem) = outcomes.iter().find_map(ReportOutcome::mendable_problem) {
            // What the server has of it is known by its key.
            pass.given_up += pass.kept.add(self.spool, name, entry, problem);
            return Ok(());
        }
        let told = outcomes.iter().zip(&entry.reports);
        for (outcome, report) in told {
            if let Some(problem) = outcome.problem() {
                let whose =
                    report.names.as_ref().map_or_else(|| "a ping address".to_owned(), ToString::to_string);
                logbook::note(format_args!("a {} of {whose} is given up: {problem}", report.kind.word()));
                pass.given_up += 1;
            } else {
                pass.sent += 1;
            }
        }
        self.spool.remove(name);
        Ok(())
    }

    /// Tells those who are not `shut` how many reports they will never get.
    fn tell_dropped(
        &self,
        until: Instant,
        wants: impl Fn(&Destination) -> bool,
        shut: &mut Vec<Destination>,
        pass: &mut Pass,
    ) {
        let mut told = Vec::new();
        for entry in self.spool.dropped().entries() {
            if shut.contains(&entry.destination) || !wants(&entry.destination) {
                continue;
            }
            let patience = share(until).saturating_duration_since(Instant::now()).min(PATIENCE);
            let reports: Vec<&SpooledReport> = entry.reports.iter().collect();
            let sent = be_patient(self.state, &entry.destination)
                .and_then(|()| deliver(self.api, &entry.destination, &reports, patience));
            match sent {
                Err(trouble) if !is_final(&trouble) => {
                    keep_patience(self.state, &entry.destination, &trouble);
                    pass.fail(&entry.destination, trouble);
                    shut.push(entry.destination);
                }
                Err(trouble) => {
                    logbook::note(trouble);
                    told.push(entry);
                }
                Ok(_) => told.push(entry),
            }
        }
        if !told.is_empty() {
            self.spool.forget_dropped(&told);
        }
    }
}

/// Half of what is left: who does not answer leaves time for the others.
fn share(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 2
}

/// Keeps what a destination asks for in its `Retry-After`, for all who send from this state's spool.
pub fn keep_patience(state: &StateDirectory, destination: &Destination, trouble: &ApiTrouble) {
    if let ApiTrouble::Busy { retry_after: Some(wait), .. } = trouble {
        NotBefore::write(state, destination, *wait);
    }
}

/// Refuses while the destination wants to be left alone.
///
/// # Errors
/// For how long.
pub fn be_patient(state: &StateDirectory, destination: &Destination) -> Result<(), ApiTrouble> {
    match NotBefore::read(state, destination) {
        None => Ok(()),
        Some(left) => {
            Err(ApiTrouble::Unable(format!("the server asked for {} s of patience", left.as_secs() + 1)))
        }
    }
}

/// Whether trying again is of no use: Innkeeper itself says so, of what it was sent.
///
/// A token or an address can be set right while reports wait, and a server may be an older one for a while.
pub fn is_final(trouble: &ApiTrouble) -> bool {
    matches!(trouble, ApiTrouble::Refused { status, is_own: true, .. } if !matches!(status, 401 | 403..=405 | 407))
}

/// Whether one of the reports may be to blame, so that the others are taken without it.
fn is_about_the_reports(trouble: &ApiTrouble) -> bool {
    is_final(trouble) || matches!(trouble, ApiTrouble::Refused { status: 400 | 413 | 422, .. })
}

#[cfg(test)]
mod tests;
