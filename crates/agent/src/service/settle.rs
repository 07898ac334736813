//! Has the reservations of the probes as they are to be: makes and changes them, and checks out those that this agent
//! made and no probe has any more.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::ledger::{Known, Ledger};
use super::plan::{ServicePlan, names_of};
use super::{say, terms};
use crate::api::{Api, ApiTrouble};
use crate::clock::Stamp;
use crate::report::{Names, ReportKind, SpooledReport};
use crate::sender::{PATIENCE, ReportOutcome, deliver, reserve};
use crate::spool::Destination;
use crate::state::{StateDirectory, try_lock};

/// The most notes of one request.
const BATCH: usize = 100;
/// A refusal is tried again after this: somebody may have given the token its right.
const AFTER_REFUSAL: Duration = Duration::from_secs(600);
/// When another process does the same at this moment.
const AFTER_ANOTHER: Duration = Duration::from_secs(2);

/// A reservation that is to be there.
#[derive(Debug, Clone)]
struct Promised {
    names: Names,
    probe: String,
    by_host: bool,
    terms: Value,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Reservations {
    promised: Vec<Promised>,
    /// The probes that cannot be loaded: theirs stay.
    broken: HashSet<String>,
    /// Whether nothing is checked out, because something is wrong with the configuration: a slip of the pen is no wish.
    keeps_all: bool,
    host: String,
    ledger: Ledger,
    state: Option<StateDirectory>,
    is_settled: bool,
    not_before: Instant,
}

impl Reservations {
    /// Those of this plan; what is known of them lies in `state`.
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

    /// Whether all are as they are to be.
    pub fn are_settled(&self) -> bool {
        self.is_settled
    }

    /// When there is something to do again; none where all are as they are to be.
    pub fn next(&self) -> Option<Instant> {
        (!self.is_settled).then_some(self.not_before)
    }

    /// The server does not know this one: it is made again.
    pub fn forget(&mut self, names: &Names) {
        self.ledger.forget(names);
        // One that was refused is tried at its time.
        if self.is_settled {
            (self.is_settled, self.not_before) = (false, Instant::now());
        }
    }

    /// Does what can be done until then; the rest is done at [`Self::next`].
    ///
    /// # Errors
    /// The server cannot be asked just now.
    pub fn settle(&mut self, api: &Api, until: Instant) -> Result<(), ApiTrouble> {
        if self.is_settled || Instant::now() < self.not_before {
            return Ok(());
        }
        // Of two processes that do it at once, one would take for somebody else's what the other makes.
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

    /// Makes and changes them.
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
            let mut now = Known {
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
                            "{} was there before: what its probe says of it holds from now on, its schedule above all",
                            one.names
                        ));
                    }
                    self.ledger.put(now);
                }
                Err(trouble @ ApiTrouble::Refused { .. }) => {
                    say(format_args!("the reservation {} is not as it is to be: {trouble}", one.names));
                    progress = Progress::Refused;
                    // Whoever makes it by hand meanwhile has made it; one that is there needs no further note.
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

    /// Of those of which nothing is known, whether they are there already: a note that changes nothing is refused for one
    /// that is not.
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
                told.map(|(outcome, one)| (one.names.clone(), !matches!(outcome, ReportOutcome::Unknown))),
            );
        }
        Ok(found)
    }

    /// Checks out what this agent made and no probe has any more.
    fn check_out_gone(&mut self, api: &Api, until: Instant) -> Result<Progress, ApiTrouble> {
        if self.keeps_all {
            return Ok(Progress::Done);
        }
        let wanted: HashSet<&Names> = self.promised.iter().map(|one| &one.names).collect();
        let gone = self.ledger.gone(|known| {
            wanted.contains(&known.names)
                || known.probe.is_empty()
                || self.broken.contains(&known.probe)
                // The machine has another name now, perhaps until it knows its own.
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
                    Ok(()) => say(format_args!("{} is checked out: no probe has it any more", known.names)),
                    // Somebody was quicker.
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

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Progress {
    Done,
    /// Something was refused.
    Refused,
    /// There was no time for the rest.
    Left,
}

impl Progress {
    /// What both come to.
    fn and(self, other: Self) -> Self {
        self.max(other)
    }
}

fn check_out(api: &Api, names: &Names, patience: Duration) -> Result<(), ApiTrouble> {
    let body = json!({ "app": names.app, "component": names.component });
    api.post(&api.address(None, "/checkout")?, &body, true, patience).map(drop)
}
