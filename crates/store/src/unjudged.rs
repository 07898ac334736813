//! Reservations that cannot be judged: a row that cannot be read or written, or terms from which
//! nothing can be concluded.
//!
//! One of them must not silence the others. A batch that fails is halved until the reservation at
//! fault is alone. That one is put aside and tried again after a minute. It is shown on the pages
//! and reported to the operator. It is remembered in a table of its own, because its own row may
//! not be writable.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Text};
use innkeeper_core::Time;

use crate::blind::Blindness;
use crate::connection::write_on;
use crate::readable::names_of;
use crate::rows::ms;
use crate::schema::{states, unjudged};
use crate::sweep::{AGAIN, Claim, Decider, SweepOutcome, Unjudged, aside, begin, due_ids, judged};
use crate::walk::{self, WalkFindings};
use crate::{NewDelivery, Store, StoreError, outbox};

/// This many failures without a single success are not the fault of single rows.
const NO_ROWS_FAULT: usize = 64;
/// The most other reservations that are tried, to see whether single rows are at fault.
const OTHERS: i64 = 5;
/// The latest time at which a reservation can be due: the end of the year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

impl Store {
    /// Like [`Store::sweep_from`], after that has just failed with `error` or by a panic. Judges
    /// all reservations that can be judged, and returns the others with what is wrong with them.
    ///
    /// # Errors
    /// `error` when single rows are not at fault, and otherwise a `StoreError` when the database
    /// cannot be reached, or refuses the statement.
    pub fn sweep_halves(
        &self,
        from: Option<Time>,
        now: Time,
        limit: i64,
        decider: &dyn Decider,
        error: StoreError,
    ) -> Result<SweepOutcome, StoreError> {
        let Some(WalkFindings { due, unreadable }) = self.due_around_damage(from, now, limit)? else {
            return Err(error);
        };
        let mut halves = Halves {
            store: self,
            now,
            decider,
            outcome: SweepOutcome::default(),
            failed: Vec::new(),
            succeeded: !unreadable.is_empty(),
        };
        if !due.is_empty() && !halves.sweep(&due)? {
            return Err(error);
        }
        if halves.succeeded {
            // What broke these may have been a general problem that has ended since. So they are
            // tried once more.
            for (id, _) in std::mem::take(&mut halves.failed) {
                halves.sweep(&[id])?;
            }
        }
        let Halves { mut outcome, failed, succeeded, .. } = halves;
        if !succeeded && !failed.is_empty() && !self.can_write_others(&due, failed.len())? {
            return Err(error);
        }
        outcome.looked += failed.len();
        outcome.unjudged.extend(failed);
        outcome.unjudged.extend(unreadable);
        Ok(outcome)
    }

    /// Whether the state of a reservation other than `these` can be written; `failed` is how many
    /// of these could not be judged. Where there is no other, a single failure counts as the row's
    /// own fault, and several failures do not.
    fn can_write_others(&self, these: &[i64], failed: usize) -> Result<bool, StoreError> {
        let others: Vec<i64> = states::table
            .filter(states::reservation_id.ne_all(these))
            .order(states::reservation_id)
            .limit(OTHERS)
            .select(states::reservation_id)
            .load(&mut *self.get()?)?;
        for id in &others {
            let written = self.write(|connection| {
                let other = states::table.filter(states::reservation_id.eq(*id));
                // Columns that a conclusion writes.
                let same = (states::status.eq(states::status), states::wake_at.eq(states::wake_at));
                Ok(diesel::update(other).set(same).execute(connection)?)
            });
            match written {
                Ok(_) => return Ok(true),
                Err(error) if error.is_unavailable() => return Err(error),
                Err(error) => log::debug!("nor can the state of reservation {id} be written: {error}"),
            }
        }
        Ok(others.is_empty() && failed == 1)
    }

    /// Which reservations are due, also when they cannot be read together. None when single rows
    /// are not at fault.
    fn due_around_damage(
        &self,
        from: Option<Time>,
        now: Time,
        limit: i64,
    ) -> Result<Option<WalkFindings>, StoreError> {
        let connection = &mut *self.get()?;
        // Judging each reservation needs this. If it cannot be read, no single reservation is at
        // fault.
        Blindness::at(connection, now)?;
        match due_ids(connection, from, now, limit) {
            Ok(due) => Ok((!due.is_empty()).then_some(WalkFindings { due, unreadable: Vec::new() })),
            Err(error) if error.is_unavailable() => Err(error),
            Err(error) => {
                log::debug!("what is due is looked for row by row: {error}");
                let aside = aside(connection)?.into_iter().filter(|(_, until)| *until > ms(now));
                let aside: Vec<i64> = aside.map(|(id, _)| id).collect();
                walk::due(connection, begin(from), now, limit, &aside)
            }
        }
    }

    /// Puts these reservations aside for a minute. For those that were not aside before, the
    /// messages of `tell` go into the outbox in the same transaction.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn put_aside(
        &self,
        problems: &[(i64, String)],
        now: Time,
        tell: &dyn Fn(&Unjudged) -> Vec<NewDelivery>,
    ) -> Result<(), StoreError> {
        for (id, problem) in problems {
            let (app, component) = names_of(&mut *self.get()?, *id)?;
            let unjudged =
                Unjudged { reservation_id: *id, app, component, problem: problem.clone(), since_at: now };
            self.write(|connection| {
                let added = sql_query(
                    "INSERT INTO unjudged (reservation_id, app, component, problem, since_at, again_at)
                     VALUES ($1, $2, $3, $4, $5, $6)
                     ON CONFLICT (reservation_id) DO NOTHING",
                )
                .bind::<BigInt, _>(unjudged.reservation_id)
                .bind::<Text, _>(&unjudged.app)
                .bind::<Text, _>(&unjudged.component)
                .bind::<Text, _>(&unjudged.problem)
                .bind::<BigInt, _>(ms(now))
                .bind::<BigInt, _>(ms(now + AGAIN))
                .execute(connection)?;
                if added == 0 {
                    diesel::update(unjudged::table.filter(unjudged::reservation_id.eq(*id)))
                        .set((unjudged::problem.eq(problem), unjudged::again_at.eq(ms(now + AGAIN))))
                        .execute(connection)?;
                    return Ok(());
                }
                log::error!("{} cannot be judged: {problem}", unjudged.name());
                for NewDelivery { alerter, recipient, notice } in &tell(&unjudged) {
                    outbox::put(connection, None, alerter, recipient, notice, now)?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    /// Makes the reservations that were put aside due now, because what kept them from being judged
    /// may be gone.
    pub(crate) fn try_unjudged_again(&self, now: Time) -> Result<(), StoreError> {
        self.write(|connection| {
            let put_off = states::reservation_id.eq_any(unjudged::table.select(unjudged::reservation_id));
            diesel::update(states::table.filter(put_off).filter(states::wake_at.gt(ms(now))))
                .set(states::wake_at.eq(ms(now)))
                .execute(connection)?;
            diesel::update(unjudged::table.filter(unjudged::again_at.gt(ms(now))))
                .set(unjudged::again_at.eq(ms(now)))
                .execute(connection)?;
            Ok(())
        })
    }

    /// Looks for wake times at which the sweeper would never judge a reservation again, and makes
    /// those reservations due now. Also forgets reservations that were put aside and are gone.
    /// Returns how many wake times it has mended.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn mend_wakes(&self, now: Time) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        // Both parts read only an end of the index. SQLite sorts texts after all numbers.
        let lost: Vec<OneId> = sql_query(
            "SELECT reservation_id AS id FROM states WHERE wake_at IS NULL
             UNION ALL
             SELECT reservation_id AS id FROM states WHERE wake_at > $1",
        )
        .bind::<BigInt, _>(LATEST_MS)
        .load(connection)?;
        let aside: Vec<i64> = aside(connection)?.into_iter().map(|(id, _)| id).collect();
        let mut gone = Vec::new();
        for id in aside {
            // A row that cannot be read is not gone.
            let found = states::table
                .filter(states::reservation_id.eq(id))
                .select(states::reservation_id)
                .first::<i64>(connection)
                .optional();
            gone.extend(matches!(found, Ok(None)).then_some(id));
        }
        if lost.is_empty() && gone.is_empty() {
            return Ok(0);
        }
        write_on(self.file(), connection, |connection| {
            judged(connection, &gone)?;
            let mut mended = 0;
            for OneId { id } in &lost {
                log::error!("reservation {id} would never have been looked at again: its wake_at is no time");
                mended += diesel::update(states::table.filter(states::reservation_id.eq(*id)))
                    .set(states::wake_at.eq(ms(now)))
                    .execute(connection)?;
            }
            Ok(mended)
        })
    }
}

#[derive(QueryableByName)]
struct OneId {
    #[diesel(sql_type = BigInt)]
    id: i64,
}

/// A sweep of reservations that fail together, part by part.
struct Halves<'a> {
    store: &'a Store,
    now: Time,
    decider: &'a dyn Decider,
    outcome: SweepOutcome,
    /// Those that could not be judged alone, and why.
    failed: Vec<(i64, String)>,
    succeeded: bool,
}

impl Halves<'_> {
    /// Sweeps these reservations. Returns false when it gave up because single rows are not at
    /// fault.
    fn sweep(&mut self, ids: &[i64]) -> Result<bool, StoreError> {
        let sweep = || self.store.sweep_claimed(&Claim::These(ids), self.now, self.decider);
        let problem = match catch_unwind(AssertUnwindSafe(sweep)) {
            Ok(Ok(outcome)) => {
                self.succeeded = true;
                self.outcome.add(outcome);
                return Ok(true);
            }
            Ok(Err(error)) if error.is_unavailable() => return Err(error),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic_words(panic.as_ref()),
        };
        if let [id] = ids {
            self.failed.push((*id, problem));
            return Ok(self.succeeded || self.failed.len() < NO_ROWS_FAULT);
        }
        let (first, second) = ids.split_at(ids.len() / 2);
        Ok(self.sweep(first)? && self.sweep(second)?)
    }
}

/// The message of a panic.
fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it breaks the sweep: {}", words.unwrap_or("no message"))
}
