//! Reservations that cannot be judged: a row that cannot be read or written, or terms that nothing can be concluded from.
//!
//! One of them must not silence the others. A batch that fails is halved until what breaks it stands alone; that is put aside for a
//! minute and then tried again, named on the pages, and told to the operator. It is remembered in a table of its own: the row itself may
//! not take a change.

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

/// So many failures without a single success are no fault of rows.
const NO_ROWS_FAULT: usize = 64;
/// So many others are tried, to see whether it is a fault of rows.
const OTHERS: i64 = 5;
/// No reservation is looked at later than this, year 9999.
const LATEST_MS: i64 = 253_402_300_799_999;

impl Store {
    /// As [`Store::sweep_from`] of what has just failed with `error`, or by a panic: what can be judged is, and the rest is returned with
    /// what is wrong with it.
    ///
    /// # Errors
    /// The database's, and `error` where it is no fault of single rows.
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
            // What was in the way of all may have ended in between, which is no fault of those that met it.
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

    /// Whether the state of another reservation than these, of which `failed` could not be judged, can be written. Where there is no other,
    /// one that fails may be at fault itself, and several that all fail are not.
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
                // What a conclusion writes.
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

    /// What is due, also where the look at all of it fails; none where that is not for single rows.
    fn due_around_damage(
        &self,
        from: Option<Time>,
        now: Time,
        limit: i64,
    ) -> Result<Option<WalkFindings>, StoreError> {
        let connection = &mut *self.get()?;
        // What all have in common: where that cannot be read, none of them is at fault.
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

    /// Puts these aside for a minute. What `tell` makes of those that are new goes into the outbox in the same transaction.
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

    /// Has those that were put aside tried again now: what kept them from being judged may be gone.
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

    /// Looks for times at which nobody would ever look at a reservation again (the sweeper finds what is due by them) and has it
    /// looked at now; forgets those put aside that are gone. Returns how many times it has mended.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn mend_wakes(&self, now: Time) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        // Both find them at the ends of the index. SQLite sorts texts behind all numbers.
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
            // One that cannot be read is not gone.
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

/// A sweep of what fails together, part by part.
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
    /// Whether it went on to the end, because it is the fault of single rows.
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

/// What a panic said.
fn panic_words(panic: &(dyn std::any::Any + Send)) -> String {
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("it breaks the sweep: {}", words.unwrap_or("no message"))
}
