//! Delivers the entries of the spool to the server, in their order and in batches. Only one process sends at a time.

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
pub use batch::{Delivered, SendResult, deliver, reserve};
pub use kept::KeptReports;
use kept::Tried;
use patience::NotBefore;
pub use patience::{BACKOFF, jitter, next_pause};

/// Longest timeout of a request.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// Polling interval while another process holds the lock.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The result of one pass over the spool.
#[derive(Debug, Default)]
pub struct Pass {
    /// Number of reports that the server has accepted.
    pub sent: usize,
    /// Number of reports that were given up, because the server will never accept them or they were too old.
    pub given_up: usize,
    /// Why entries are left, if any are.
    pub trouble: Option<ApiTrouble>,
    /// The same for entries to the configured server only. Other destinations may have troubles of their own.
    pub server_trouble: Option<ApiTrouble>,
    /// If every failing destination sent a `Retry-After`, the shortest of them.
    pub wait: Option<Duration>,
    /// The entries that the server rejects for now.
    pub kept: KeptReports,
    /// Most bytes of output that the server keeps, if it said so.
    pub output_bytes: Option<usize>,
    /// Reservations that were made during the pass.
    made: HashSet<Names>,
    /// Entries that were sent a second time after their reservation was made.
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

/// Sends the entries of one spool.
pub struct ReportSender<'a> {
    /// The spool with the entries.
    pub spool: &'a Spool,
    /// The client for the server.
    pub api: &'a Api,
    /// The state directory, for locks and `Retry-After` times.
    pub state: &'a StateDirectory,
}

/// The lock for sending. Dropping it releases the lock.
#[derive(Debug)]
pub struct SendingTurn {
    _held: Option<File>,
}

impl ReportSender<'_> {
    /// Takes the lock for sending, which one process has at a time. Waits for it until `until`, or until `is_done`
    /// returns true.
    ///
    /// On a disk without locks (some network file systems) every process may send. The server then recognizes repeats
    /// by their key.
    pub fn turn(&self, until: Instant, is_done: impl Fn() -> bool) -> Option<SendingTurn> {
        self.turn_by("sender.lock", until, is_done)
    }

    /// Takes the lock for sending to other destinations than that of the current run, without waiting.
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

    /// Lets the next pass also send the entries that were rejected a moment ago.
    pub fn retry_kept(&self) {
        Tried::forget(self.state);
    }

    /// Sends every entry of the spool once, until the spool is empty, `until` has come, or every destination fails.
    ///
    /// The configured server comes first. A destination that fails does not delay the others.
    pub fn pass(&self, until: Instant) -> Pass {
        self.pass_to(|_| true, |_| true, until)
    }

    /// Like [`Self::pass`], but only for entries to `destination`.
    pub fn pass_of(&self, destination: &Destination, until: Instant) -> Pass {
        self.pass_to(|name| name.goes_to(destination), |other| other == destination, until)
    }

    /// Like [`Self::pass`], but only for entries to other destinations than `than`.
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

    /// Sends a batch and removes the entries that are done from the spool.
    fn send(&self, batch: &Batch, until: Instant, pass: &mut Pass) -> Result<(), ApiTrouble> {
        let patience = until.saturating_duration_since(Instant::now()).min(PATIENCE);
        let reports: Vec<&SpooledReport> =
            batch.entries.iter().flat_map(|(_, entry)| &entry.reports).collect();
        match deliver(self.api, batch.destination(), &reports, patience) {
            Ok(delivered) => {
                pass.output_bytes = delivered.output_bytes.or(pass.output_bytes);
                let mut outcomes = delivered.outcomes.into_iter();
                for (name, entry) in &batch.entries {
                    let of_this: Vec<SendResult> = outcomes.by_ref().take(entry.reports.len()).collect();
                    self.settle(name, entry, &of_this, until, pass)?;
                }
                Ok(())
            }
            Err(trouble) if is_about_the_reports(&trouble) => match &batch.entries[..] {
                // A proxy rejects the request, because of a small limit or by mistake.
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
                // One of the entries causes the rejection, so each is sent alone.
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
        outcomes: &[SendResult],
        until: Instant,
        pass: &mut Pass,
    ) -> Result<(), ApiTrouble> {
        let is_unknown = outcomes.iter().any(|outcome| matches!(outcome, SendResult::Unknown));
        if let (true, Some(terms), Destination::Server(server)) =
            (is_unknown, &entry.terms, &entry.destination)
        {
            // The job first ran while the server was away, so its reservation does not exist yet.
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
            // An earlier entry of this pass has made the reservation meanwhile.
            return self.send(&Batch::of_one((name.clone(), entry.clone())), until, pass);
        }
        if let Some(problem) = outcomes.iter().find_map(SendResult::mendable_problem) {
            // The server recognizes the reports that it has accepted already by their keys.
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

    /// Reports the number of dropped reports to each destination that is not in `shut`.
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

/// Half of the remaining time, so that a destination that does not answer leaves time for the others.
fn share(until: Instant) -> Instant {
    let now = Instant::now();
    now + until.saturating_duration_since(now) / 2
}

/// Remembers the `Retry-After` of a destination for all processes that use this state directory.
pub fn keep_patience(state: &StateDirectory, destination: &Destination, trouble: &ApiTrouble) {
    if let ApiTrouble::Busy { retry_after: Some(wait), .. } = trouble {
        NotBefore::write(state, destination, *wait);
    }
}

/// Fails while a `Retry-After` of the destination lasts.
///
/// # Errors
/// [`ApiTrouble::Unable`] with the remaining time.
pub fn be_patient(state: &StateDirectory, destination: &Destination) -> Result<(), ApiTrouble> {
    match NotBefore::read(state, destination) {
        None => Ok(()),
        Some(left) => {
            Err(ApiTrouble::Unable(format!("the server asked for no requests for {} s", left.as_secs() + 1)))
        }
    }
}

/// Whether a retry is pointless: Innkeeper itself has rejected the content of the request.
///
/// Refusals because of the token or the address are not final, because both can be corrected while reports wait. The
/// same goes for routes that an older server lacks.
pub fn is_final(trouble: &ApiTrouble) -> bool {
    matches!(trouble, ApiTrouble::Refused { status, is_own: true, .. } if !matches!(status, 401 | 403..=405 | 407))
}

/// Whether a single report may be the cause, so that the others can be accepted without it.
fn is_about_the_reports(trouble: &ApiTrouble) -> bool {
    is_final(trouble) || matches!(trouble, ApiTrouble::Refused { status: 400 | 413 | 422, .. })
}

#[cfg(test)]
mod tests;
