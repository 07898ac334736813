//! Brings the probes' reservations in line with the configuration: makes and changes them, and checks out those that
//! this agent made and that no probe needs any more.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ledger::{KnownReservation, Ledger};
use super::plan::{ServicePlan, names_of};
use super::{say, terms};
use crate::api::{Api, ApiTrouble};
use crate::clock::Stamp;
use crate::report::{Names, ReportKind, SpooledReport};
use crate::sender::{PATIENCE, SendResult, deliver, reserve};
use crate::spool::Destination;
use crate::state::{StateDirectory, try_lock};

/// Most notes in one request.
const BATCH: usize = 100;
/// Delay before a rejected reservation is tried again. The token may have been given the permission by then.
const AFTER_REFUSAL: Duration = Duration::from_secs(600);
/// Delay while another process does the same.
const AFTER_ANOTHER: Duration = Duration::from_secs(2);

/// A reservation that a probe needs.
#[derive(Debug, Clone)]
struct Promised {
    names: Names,
    probe: String,
    by_host: bool,
    terms: Value,
}

/// The reservations of the probes and their progress.
#[derive(Debug)]
pub(super) struct Reservations {
    promised: Vec<Promised>,
    /// The probes that cannot be loaded. Their reservations stay.
    broken: HashSet<String>,
    /// Whether nothing is checked out because the configuration has problems: a typing error must not remove
    /// reservations.
    keeps_all: bool,
    host: String,
    ledger: Ledger,
    state: Option<StateDirectory>,
    is_settled: bool,
    not_before: Instant,
}

impl Reservations {
    /// The reservations of `plan`. The ledger of them lies in `state`.
    pub fn new(plan: &ServicePlan, state: Option<StateDirectory>) -> Self {
        let of_target = |(probe, target): (&crate::probe::Probe, &crate::probe::ProbeTarget)| Promised {
            names: names_of(target),
            probe: probe.name.clone(),
            by_host: target.app.as_str() == plan.host,
            terms: terms::of(&probe.promise, target),
        };
        let own = plan.own.iter().map(|names| Promised {
            names: names.clone(),
            probe: String::new(),
            by_host: true,
            terms: terms::own(names),
        });
        let server = plan.config.server.as_ref().map(url::Url::to_string).unwrap_or_default();
        Self {
            promised: plan.targets().map(of_target).chain(own).collect(),
            broken: plan.broken.clone(),
            keeps_all: plan.is_file_lost || !plan.problems.is_empty(),
            host: plan.host.clone(),
            ledger: Ledger::open(state.clone(), &server),
            state,
            is_settled: false,
            not_before: Instant::now(),
        }
    }

    /// Whether all reservations are as configured.
    pub fn are_settled(&self) -> bool {
        self.is_settled
    }

    /// When to call [`Self::settle`] again; none if all reservations are as configured.
    pub fn next(&self) -> Option<Instant> {
        (!self.is_settled).then_some(self.not_before)
    }

    /// Makes the reservation again, after the server has answered that it does not exist.
    pub fn forget(&mut self, names: &Names) {
        self.ledger.forget(names);
        // A rejected reservation keeps its later time.
        if self.is_settled {
            (self.is_settled, self.not_before) = (false, Instant::now());
        }
    }

    /// Does as much as possible until `until`. The rest is done at [`Self::next`].
    ///
    /// # Errors
    /// The server cannot be reached now.
    pub fn settle(&mut self, api: &Api, until: Instant) -> Result<(), ApiTrouble> {
        if self.is_settled || Instant::now() < self.not_before {
            return Ok(());
        }
        // Only one process may do this: otherwise one could take a reservation that the other has just made for a
        // stranger's.
        let lock = self.state.as_ref().map(|state| try_lock(&state.file("reservations.lock")));
        if matches!(lock, Some(Ok(None))) {
            self.not_before = Instant::now() + AFTER_ANOTHER;
            return Ok(());
        }
        self.ledger.write();
        self.ledger.read();
        let done = self.make(api, until).and_then(|made| Ok(made.and(self.check_out_gone(api, until)?)));
        self.ledger.write();
        match done? {
            Progress::Done => self.is_settled = true,
            Progress::Refused => self.not_before = Instant::now() + AFTER_REFUSAL,
            Progress::Left => self.not_before = Instant::now(),
        }
        Ok(())
    }

    /// Makes and changes the reservations.
    fn make(&mut self, api: &Api, until: Instant) -> Result<Progress, ApiTrouble> {
        let to_tell: Vec<Promised> = self
            .promised
            .iter()
            .filter(|one| {
                let known = self.ledger.get(&one.names);
                known.is_none_or(|known| known.told.as_ref() != Some(&one.terms) || known.probe != one.probe)
            })
            .cloned()
            .collect();
        let was_there = self.what_is_there(api, &to_tell, until)?;
        let mut progress = Progress::Done;
        for one in to_tell {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Progress::Left);
            }
            let known = self.ledger.get(&one.names);
            let made = match (known, was_there.get(&one.names)) {
                (Some(known), _) => known.made,
                (None, Some(was_there)) => !was_there,
                (None, None) => return Ok(Progress::Left),
            };
            let is_taken_over = known.is_none() && !made;
            let mut now = KnownReservation {
                names: one.names.clone(),
                probe: one.probe,
                made,
                by_host: one.by_host,
                told: Some(one.terms.clone()),
            };
            match reserve(api, None, &one.terms, left.min(PATIENCE)) {
                Ok(reserved) => {
                    reserved.notes().for_each(|note| say(format_args!("{}: {note}", one.names)));
                    if is_taken_over {
                        say(format_args!(
                            "{} existed before: from now on the probe determines its schedule and other configured fields",
                            one.names
                        ));
                    }
                    self.ledger.put(now);
                }
                Err(trouble @ ApiTrouble::Refused { .. }) => {
                    say(format_args!(
                        "the reservation {} could not be made or changed: {trouble}",
                        one.names
                    ));
                    progress = Progress::Refused;
                    // The agent still did not make it. If somebody makes it by hand meanwhile, it is theirs; if it
                    // exists, no further note is needed.
                    if !made {
                        now.told = None;
                        self.ledger.put(now);
                    }
                }
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(progress)
    }

    /// Finds out which of the reservations without an entry in the ledger exist. Each is sent a note, which changes
    /// nothing and which the server rejects if the reservation does not exist.
    fn what_is_there(
        &self,
        api: &Api,
        promised: &[Promised],
        until: Instant,
    ) -> Result<HashMap<Names, bool>, ApiTrouble> {
        let unknown: Vec<&Promised> =
            promised.iter().filter(|one| self.ledger.get(&one.names).is_none()).collect();
        let mut found = HashMap::new();
        for batch in unknown.chunks(BATCH) {
            let now = Stamp::now();
            let note = |one: &&Promised| SpooledReport {
                output: Some("From now on a probe of innkeeper-agent checks in here.".to_owned()),
                ..SpooledReport::new(Some(one.names.clone()), ReportKind::Log, now.clone())
            };
            let notes: Vec<SpooledReport> = batch.iter().map(note).collect();
            let left = until.saturating_duration_since(Instant::now()).min(PATIENCE);
            let notes: Vec<&SpooledReport> = notes.iter().collect();
            let delivered = deliver(api, &Destination::Server(None), &notes, left)?;
            let told = delivered.outcomes.iter().zip(batch);
            found.extend(
                told.map(|(outcome, one)| (one.names.clone(), !matches!(outcome, SendResult::Unknown))),
            );
        }
        Ok(found)
    }

    /// Checks out the reservations that this agent made and that no probe needs any more.
    fn check_out_gone(&mut self, api: &Api, until: Instant) -> Result<Progress, ApiTrouble> {
        if self.keeps_all {
            return Ok(Progress::Done);
        }
        let wanted: HashSet<&Names> = self.promised.iter().map(|one| &one.names).collect();
        let gone = self.ledger.gone(|known| {
            wanted.contains(&known.names)
                || known.probe.is_empty()
                || self.broken.contains(&known.probe)
                // The machine has another name now, perhaps only until the boot has finished.
                || (known.by_host && known.names.app.as_str() != self.host)
        });
        let mut progress = Progress::Done;
        for known in gone {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Progress::Left);
            }
            if known.made {
                match check_out(api, &known.names, left.min(PATIENCE)) {
                    Ok(()) => {
                        say(format_args!("{} is checked out: no probe reports to it any more", known.names))
                    }
                    // Somebody else has checked it out first.
                    Err(ApiTrouble::Refused { status: 404, is_own: true, .. }) => {}
                    Err(trouble @ ApiTrouble::Refused { .. }) => {
                        say(format_args!("{} cannot be checked out: {trouble}", known.names));
                        progress = Progress::Refused;
                        continue;
                    }
                    Err(trouble) => return Err(trouble),
                }
            }
            self.ledger.forget(&known.names);
        }
        Ok(progress)
    }
}

/// The progress of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Done,
    /// The server rejected a request.
    Refused,
    /// Time ran out before all was done.
    Left,
}

impl Progress {
    /// Combines the progress of two steps.
    fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

fn check_out(api: &Api, names: &Names, patience: Duration) -> Result<(), ApiTrouble> {
    let body = json!({ "app": names.app, "component": names.component });
    api.post(&api.address(None, "/checkout")?, &body, true, patience).map(drop)
}
