//! What the reporter of a run sends: the reservation, the start, and the end together with the waiting entries.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::super::setup::{Disk, Setup, USUAL_DELAY};
use super::super::terms::ExecSpec;
use super::{SPREAD, Shared, locked};
use crate::api::{Api, ApiTrouble};
use crate::logbook;
use crate::report::SpooledReport;
use crate::sender::{
    PATIENCE, ReportSender, SendResult, be_patient, deliver, is_final, jitter, keep_patience, reserve,
};
use crate::spool::{Destination, Name, SpoolEntry};

impl Shared {
    /// Makes or changes the reservation if its terms are new.
    pub(super) fn reserve(&self, setup: &Setup) {
        let Ok(api) = &setup.api else { return };
        if let (Some(terms), Destination::Server(server)) = (&self.facts.terms, &self.facts.destination) {
            let told =
                setup.disk.as_ref().and_then(|disk| ExecSpec::of(&disk.state, server.as_deref(), terms));
            if !told.as_ref().is_some_and(ExecSpec::is_known) {
                match reserve(api, server.as_deref(), terms, PATIENCE) {
                    Ok(reserved) => {
                        reserved.notes().for_each(logbook::note);
                        told.iter().for_each(|told| told.note());
                    }
                    Err(trouble) => logbook::note(format_args!("the reservation is not made: {trouble}")),
                }
            }
        }
    }

    /// Reports the start.
    pub(super) fn begin(&self, setup: &Setup) {
        let Some(start) = locked(&self.start).clone() else { return };
        if self.send(setup, &self.entry(vec![start]), PATIENCE).is_ok() {
            *locked(&self.start) = None;
        }
    }

    /// Sends one entry directly, without the spool.
    pub(super) fn send(
        &self,
        setup: &Setup,
        entry: &SpoolEntry,
        patience: Duration,
    ) -> Result<(), ApiTrouble> {
        let api = setup.api.as_ref().map_err(|problem| ApiTrouble::Unable(problem.clone()))?;
        let state = setup.disk.as_ref().map(|disk| &disk.state);
        state.map_or(Ok(()), |state| be_patient(state, &entry.destination))?;
        self.send_by(api, entry, patience).inspect_err(|trouble| {
            logbook::note(trouble);
            state.iter().for_each(|state| keep_patience(state, &entry.destination, trouble));
        })
    }

    fn send_by(&self, api: &Api, entry: &SpoolEntry, patience: Duration) -> Result<(), ApiTrouble> {
        let until = Instant::now() + patience;
        let left = || until.saturating_duration_since(Instant::now());
        let reports: Vec<&SpooledReport> = entry.reports.iter().collect();
        let mut delivered = deliver(api, &entry.destination, &reports, left())?;
        if let (Some(terms), Destination::Server(server)) = (&entry.terms, &entry.destination)
            && delivered.outcomes.contains(&SendResult::Unknown)
        {
            // The reservation was checked out since, or the server is a different one.
            reserve(api, server.as_deref(), terms, left())?.notes().for_each(logbook::note);
            delivered = deliver(api, &entry.destination, &reports, left())?;
        }
        self.learn(delivered.output_bytes);
        if let Some(problem) = delivered.outcomes.iter().find_map(SendResult::mendable_problem) {
            return Err(ApiTrouble::Unable(problem.to_owned()));
        }
        delivered.outcomes.iter().filter_map(SendResult::problem).for_each(logbook::note);
        Ok(())
    }

    /// Sends the end of the run, after the other entries of the spool.
    pub(super) fn last(&self, setup: &Setup, entry: &SpoolEntry) {
        let Ok(api) = &setup.api else { return };
        let until = Instant::now() + setup.delay;
        let left = || until.saturating_duration_since(Instant::now());
        let is_first = setup.disk.as_ref().is_none_or(|disk| !self.has_others(disk));
        let sent = is_first.then(|| self.send(setup, entry, left()));
        // Wait even if the entry was sent: the file in the spool can be removed only after it was written.
        let name = self.wait_until_kept();
        let sender = setup.disk.as_ref().map(|Disk { state, spool, .. }| ReportSender { spool, api, state });
        let again = match (sent, &sender, &name) {
            (Some(Ok(())), Some(sender), Some(name)) => return sender.spool.remove(name),
            (Some(Ok(())), ..) => return,
            (Some(Err(trouble)), ..) if trouble.may_pass_soon() => 1,
            (Some(Err(trouble)), Some(sender), Some(_)) if is_final(&trouble) => {
                // The pass removes the rejected entry from the spool.
                if let Some(_turn) = sender.turn(until, || false) {
                    sender.pass_of(&entry.destination, until);
                }
                return;
            }
            (Some(Err(_)), ..) => return,
            (None, ..) => 2,
        };
        for n in 0..again {
            if n > 0 || again == 1 {
                // A server that is restarting is back in a moment.
                thread::sleep(SPREAD / 8 + jitter(SPREAD / 4));
            }
            let trouble = match (&sender, &name) {
                (Some(sender), Some(name)) => {
                    let is_gone = || sender.spool.list().is_ok_and(|names| !names.contains(name));
                    let Some(_turn) = sender.turn(until, is_gone) else { return };
                    sender.pass_of(&entry.destination, until).trouble
                }
                _ => self.send(setup, entry, left()).err(),
            };
            if !trouble.is_some_and(|trouble| trouble.may_pass_soon()) {
                return;
            }
        }
    }

    /// Whether entries of other runs wait for the same destination. Those are sent first.
    fn has_others(&self, disk: &Disk) -> bool {
        let goes_first =
            |name: &Name| name.goes_to(&self.facts.destination) && !name.is_about(self.facts.run);
        disk.spool.list().is_ok_and(|names| names.iter().any(goes_first))
    }

    /// Sends the entries for other destinations in a thread that nothing waits for.
    pub(super) fn send_others(self: &Arc<Self>, setup: &Arc<Setup>) {
        let (shared, setup) = (Arc::clone(self), Arc::clone(setup));
        let send = move || {
            let (Ok(api), Some(Disk { state, spool, .. })) = (&setup.api, &setup.disk) else { return };
            let (sender, own) = (ReportSender { spool, api, state }, &shared.facts.destination);
            if spool.list().is_ok_and(|names| names.iter().any(|name| !name.goes_to(own)))
                && let Some(_turn) = sender.turn_of_others()
            {
                sender.pass_of_others(own, Instant::now() + PATIENCE);
            }
        };
        // If no thread can be started, the next run sends them.
        drop(thread::Builder::new().spawn(send));
    }

    fn wait_until_kept(&self) -> Option<Name> {
        let kept = locked(&self.kept);
        let kept = self.is_kept.wait_timeout_while(kept, USUAL_DELAY, |kept| kept.is_none());
        kept.unwrap_or_else(PoisonError::into_inner).0.clone().flatten()
    }

    pub(super) fn learn(&self, output_bytes: Option<usize>) {
        if let Some(bytes) = output_bytes {
            let most = self.most_output.load(Ordering::Relaxed);
            self.output_bytes.store(bytes.min(most), Ordering::Relaxed);
        }
    }
}
