//! Applies a declared set of reservations: makes those that are missing, changes those that differ
//! and, on request, removes those that are not declared. All of it happens in one transaction.

use std::collections::{BTreeSet, HashMap, HashSet};

use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::names::{AlerterName, AppName};
use innkeeper_core::reservation::Spec;

use crate::connection::AnyConnection;
use crate::reservation_rows::{lock_states, ping_key};
use crate::reserve::create;
use crate::rows::ReservationRow;
use crate::schema::reservations;
use crate::terms::write_terms;
use crate::{ActingStore, Store, StoreError, slugs};

/// The most apps that one query asks for.
const CHUNK: usize = 500;

/// A reservation by its number and names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentifiedReservation {
    /// Its number; none before it is made.
    pub id: Option<i64>,
    /// Its app.
    pub app: String,
    /// Its component.
    pub component: String,
}

/// A reservation whose declaration differs from what is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedDeclaration {
    /// The reservation.
    pub reservation: IdentifiedReservation,
    /// The differences, one line for each field: `grace: 1m -> 5m`.
    pub difference: Vec<String>,
}

/// What a declared set changed, or would change. Each list is sorted by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// What was made.
    pub created: Vec<IdentifiedReservation>,
    /// What was changed.
    pub changed: Vec<ChangedDeclaration>,
    /// What was checked out.
    pub removed: Vec<IdentifiedReservation>,
    /// How many already were as declared.
    pub unchanged: usize,
}

/// What has to be done, and to which rows.
#[derive(Default)]
struct Plan {
    create: Vec<Spec>,
    change: Vec<(i64, Spec, Spec)>,
    remove: Vec<ReservationRow>,
    unchanged: usize,
}

impl Store {
    /// The alerters that each reservation of these apps names, by app and component. Reservations
    /// that name none are left out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn alerters_named(
        &self,
        apps: &BTreeSet<&str>,
    ) -> Result<HashMap<(String, String), Vec<AlerterName>>, StoreError> {
        let mut named = HashMap::new();
        for row in rows_of(&mut *self.get()?, apps)? {
            let alerters = row.spec()?.alerters_named();
            if !alerters.is_empty() {
                named.insert((row.spec.app, row.spec.component), alerters);
            }
        }
        Ok(named)
    }
}

impl ActingStore {
    /// Makes the stored reservations match `declared`, in which each pair of names may occur once.
    /// With `prune`, every other reservation for whose app it returns true is checked out.
    /// `dry_run` only reports what would be done.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when others change the same reservations meanwhile,
    /// [`StoreError::Invalid`] when a declared slug is taken, and otherwise a `StoreError` when the
    /// database cannot be reached, or refuses the statement.
    pub fn apply(
        &self,
        declared: &[Spec],
        prune: Option<&dyn Fn(&AppName) -> bool>,
        dry_run: bool,
        now: Time,
    ) -> Result<Applied, StoreError> {
        if dry_run {
            // Without SQLite's write lock, so that a dry run does not hold up check-ins.
            return Ok(Plan::draw(&mut *self.get()?, declared, prune)?.told());
        }
        self.write(|connection| {
            // The ping keys first, as in every making of a reservation: no other lock is held while
            // this waits.
            let apps: BTreeSet<&str> = declared.iter().map(|spec| spec.app.as_str()).collect();
            for app in apps {
                ping_key(connection, app)?;
            }
            let mut touched = Plan::draw(connection, declared, prune)?.touched();
            touched.sort_unstable();
            lock_states(connection, &touched)?;
            // Again under the locks, since others may have changed something before.
            let plan = Plan::draw(connection, declared, prune)?;
            if plan.touched().iter().any(|id| touched.binary_search(id).is_err()) {
                return Err(in_between());
            }
            self.carry_out(connection, plan, now)
        })
    }

    fn carry_out(
        &self,
        connection: &mut AnyConnection,
        plan: Plan,
        now: Time,
    ) -> Result<Applied, StoreError> {
        let mut applied = plan.told();
        // A slug must be free before another reservation gets it, so those that give one up come
        // first.
        let wanted = plan.wanted();
        let (first, last): (Vec<_>, Vec<_>) = plan.remove.iter().partition(|row| {
            let mut slugs = std::iter::once(&row.slug).chain(&row.old_slug);
            slugs.any(|slug| wanted.contains(&(row.app.as_str(), slug.as_str())))
        });
        for row in first {
            self.remove(connection, row, now)?;
        }
        let others = plan.change.iter().filter(|(_, before, after)| before.slug != after.slug);
        slugs::take_away(connection, &others.map(|(id, ..)| *id).collect::<Vec<_>>())?;
        for (id, before, after) in &plan.change {
            write_terms(connection, *id, before, after, now)?;
            self.note_terms(connection, Some(before), after, now)?;
        }
        // Reservations with chosen slugs come before those that get a slug made from what is left.
        let mut create_next: Vec<_> = plan.create.iter().zip(&mut applied.created).collect();
        create_next.sort_by_key(|(spec, _)| spec.slug.is_empty());
        for (spec, named) in create_next {
            named.id = Some(create(connection, spec.clone(), now)?.ok_or_else(in_between)?);
            self.note_terms(connection, None, spec, now)?;
        }
        for row in last {
            self.remove(connection, row, now)?;
        }
        Ok(applied)
    }
}

impl Plan {
    fn draw(
        connection: &mut AnyConnection,
        declared: &[Spec],
        prune: Option<&dyn Fn(&AppName) -> bool>,
    ) -> Result<Self, StoreError> {
        let mut known = HashMap::new();
        let mut plan = Self::default();
        for row in rows(connection, declared, prune.is_some())? {
            known.insert((row.app.clone(), row.component.clone()), row);
        }
        let mut declared: Vec<&Spec> = declared.iter().collect();
        declared.sort_by(|one, other| (&one.app, &one.component).cmp(&(&other.app, &other.component)));
        for after in declared {
            let name = (after.app.to_string(), after.component.to_string());
            let Some(row) = known.remove(&name) else {
                plan.create.push(after.clone());
                continue;
            };
            let before = row.spec()?;
            let after = after.clone().in_words_of(&before);
            if after == before {
                plan.unchanged += 1;
            } else {
                plan.change.push((row.id, before, after));
            }
        }
        if let Some(prune) = prune {
            plan.remove =
                known.into_values().filter(|row| prune(&AppName::trusted(row.app.clone()))).collect();
            plan.remove.sort_by(|one, other| (&one.app, &one.component).cmp(&(&other.app, &other.component)));
        }
        plan.check_slugs(connection)?;
        Ok(plan)
    }

    /// The slugs that the plan assigns, by app.
    fn wanted(&self) -> HashSet<(&str, &str)> {
        let changed = self.change.iter().map(|(_, _, after)| after);
        self.create.iter().chain(changed).map(|spec| (spec.app.as_str(), spec.slug.as_str())).collect()
    }

    /// The slugs, by app, that are free once the plan is carried out.
    fn given_up(&self) -> HashSet<(&str, &str)> {
        let of_removed = self.remove.iter().flat_map(|row| {
            let slugs = std::iter::once(&row.slug).chain(&row.old_slug);
            slugs.map(|slug| (row.app.as_str(), slug.as_str()))
        });
        let others = self.change.iter().filter(|(_, before, after)| before.slug != after.slug);
        of_removed.chain(others.map(|(_, before, _)| (before.app.as_str(), before.slug.as_str()))).collect()
    }

    /// Checks that each newly chosen slug will belong to one reservation only. A dry run checks
    /// this, too.
    fn check_slugs(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        let given_up = self.given_up();
        let others = self.change.iter().filter(|(_, before, after)| before.slug != after.slug);
        let mut chosen = HashMap::new();
        for spec in self.create.iter().chain(others.map(|(_, _, after)| after)) {
            if !given_up.contains(&(spec.app.as_str(), spec.slug.as_str())) {
                slugs::check_terms(connection, spec)?;
            }
            let taken = chosen.insert((&spec.app, &spec.slug), &spec.component);
            if let Some(other) = taken.filter(|_| !spec.slug.is_empty()) {
                return Err(slugs::taken(spec, other.as_str()));
            }
        }
        Ok(())
    }

    /// The reservations whose rows the plan writes.
    fn touched(&self) -> Vec<i64> {
        let changed = self.change.iter().map(|(id, _, _)| *id);
        changed.chain(self.remove.iter().map(|row| row.id)).collect()
    }

    fn told(&self) -> Applied {
        let named = |id, spec: &Spec| IdentifiedReservation {
            id,
            app: spec.app.to_string(),
            component: spec.component.to_string(),
        };
        let changed = |(id, before, after): &(i64, Spec, Spec)| ChangedDeclaration {
            reservation: named(Some(*id), after),
            difference: before.difference(after),
        };
        let removed = |row: &ReservationRow| IdentifiedReservation {
            id: Some(row.id),
            app: row.app.clone(),
            component: row.component.clone(),
        };
        Applied {
            created: self.create.iter().map(|spec| named(None, spec)).collect(),
            changed: self.change.iter().map(changed).collect(),
            removed: self.remove.iter().map(removed).collect(),
            unchanged: self.unchanged,
        }
    }
}

/// The reservations of the declared apps, or all reservations.
fn rows(
    connection: &mut AnyConnection,
    declared: &[Spec],
    all: bool,
) -> Result<Vec<ReservationRow>, StoreError> {
    if all {
        return Ok(reservations::table.select(ReservationRow::as_select()).load(connection)?);
    }
    rows_of(connection, &declared.iter().map(|spec| spec.app.as_str()).collect())
}

fn rows_of(connection: &mut AnyConnection, apps: &BTreeSet<&str>) -> Result<Vec<ReservationRow>, StoreError> {
    let apps: Vec<&str> = apps.iter().copied().collect();
    let mut rows = Vec::new();
    for apps in apps.chunks(CHUNK) {
        let query = reservations::table.filter(reservations::app.eq_any(apps));
        rows.extend(query.select(ReservationRow::as_select()).load::<ReservationRow>(connection)?);
    }
    Ok(rows)
}

fn in_between() -> StoreError {
    StoreError::Unavailable("others are changing the same reservations".to_owned())
}
