//! Slugs: each is the address of one reservation of its app.
//!
//! A reservation has a slug. If it was made before slugs were stored, it may also have an old slug,
//! which is still an address of it. Neither is given to another reservation: a new one whose slug
//! is taken gets a slug with a number.

use std::collections::{HashMap, HashSet};

use diesel::prelude::*;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::{PgConnection, SqliteConnection};
use innkeeper_core::reservation::Spec;
use innkeeper_core::{Invalid, Time, slug};
use uuid::Uuid;

use crate::connection::AnyConnection;
use crate::reservation_rows::insert;
use crate::rows::{ReservationRow, TermsRow};
use crate::schema::reservations;
use crate::{StoreError, past_addresses};

/// How many times a slug is chosen anew when others take it meanwhile. Of several who try at once,
/// one succeeds each time.
const TRIES: usize = 100;
/// The most slugs that one query asks for.
const MOST_AT_ONCE: usize = 512;
/// The version of the migration that introduces slugs.
const INTRODUCED_BY: &str = "20261130000016";

/// Inserts the row of a reservation as [`insert`] does, with the slug that its spec chooses, or one
/// that is made of its component. None when its names are taken.
pub(crate) fn insert_with_slug(
    connection: &mut AnyConnection,
    id: Option<i64>,
    key: Uuid,
    spec: &Spec,
    created_at: Time,
) -> Result<Option<i64>, StoreError> {
    let mut row = TermsRow::from(spec);
    let wanted = slug::of(&row.component);
    let is_chosen = !row.slug.is_empty();
    let before = match is_chosen {
        true => Vec::new(),
        false => past_addresses::latest_addresses(connection, &row.app, &row.component)?,
    };
    for _ in 0..TRIES {
        if is_chosen {
            check_terms(connection, spec)?;
        } else if let Some(slug) = before.first()
            && is_free(connection, &row.app, slug)?
        {
            // A reservation that is made anew under the same names gets the same slug, so that its
            // job finds it.
            row.slug.clone_from(slug);
        } else if wanted.is_empty() {
            // The slug is made of its number. Until that is known, its key takes the place of the
            // slug.
            row.slug = key.to_string();
        } else {
            row.slug = free(connection, &row.app, &row.component, &wanted)?;
        }
        if let Some(id) = insert(connection, id, key, &row, created_at)? {
            if row.slug == key.to_string() && !is_chosen {
                let slug = free(connection, &row.app, &row.component, &format!("job-{id}"))?;
                let made = reservations::table.filter(reservations::id.eq(id));
                diesel::update(made)
                    .set(reservations::slug.eq(slug))
                    .execute(connection)
                    .map_err(taken_just_now)?;
            }
            if let Some(old_slug) = before.get(1)
                && is_free(connection, &row.app, old_slug)?
            {
                give_old_slug(connection, id, Some(old_slug))?;
            }
            return Ok(Some(id));
        }
        if are_names_taken(connection, &row.app, &row.component)? {
            return Ok(None);
        }
    }
    Err(StoreError::Unavailable(format!("others are making reservations like {}/{}", row.app, row.component)))
}

/// Whether no reservation of the app has this address.
pub(crate) fn is_free(connection: &mut AnyConnection, app: &str, slug: &str) -> Result<bool, StoreError> {
    Ok(owner(connection, app, slug)?.is_none())
}

/// Restores the other values of a reservation whose checkout was undone: its old slug, unless that
/// is the address of another reservation by now, and the spec that its job sent last.
pub(crate) fn bring_back(connection: &mut AnyConnection, kept: &ReservationRow) -> Result<(), StoreError> {
    // A reservation that was checked out before slugs were stored has none. It gets the address
    // that it had as its old slug.
    let old_slug = match kept.slug.is_empty() {
        true => Some(slug::of_before(&kept.component)).filter(|slug| !slug.is_empty()),
        false => kept.old_slug.clone(),
    };
    let old_slug = match old_slug {
        Some(slug) if is_free(connection, &kept.app, &slug)? => Some(slug),
        _ => None,
    };
    diesel::update(reservations::table.filter(reservations::id.eq(kept.id)))
        .set(reservations::brought.eq(&kept.brought))
        .execute(connection)?;
    give_old_slug(connection, kept.id, old_slug.as_deref())
}

fn give_old_slug(connection: &mut AnyConnection, id: i64, slug: Option<&str>) -> Result<(), StoreError> {
    diesel::update(reservations::table.filter(reservations::id.eq(id)))
        .set(reservations::old_slug.eq(slug))
        .execute(connection)
        .map_err(taken_just_now)?;
    Ok(())
}

/// Takes the slugs from these reservations, so that they can exchange them. Each gets its new slug
/// afterwards.
pub(crate) fn take_away(connection: &mut AnyConnection, ids: &[i64]) -> Result<(), StoreError> {
    for ids in ids.chunks(MOST_AT_ONCE) {
        diesel::update(reservations::table.filter(reservations::id.eq_any(ids)))
            .set(reservations::slug.eq(reservations::key))
            .execute(connection)?;
    }
    Ok(())
}

/// Whether the error means that another reservation has taken the slug meanwhile.
fn is_of_taken_slug(error: &DieselError) -> bool {
    let DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, told) = error else { return false };
    matches!(told.constraint_name(), Some("reservations_by_slug" | "reservations_by_old_slug"))
}

/// The error of writing a slug that was free when it was chosen. If the slug was taken since,
/// trying again is right.
fn taken_just_now(error: DieselError) -> StoreError {
    match is_of_taken_slug(&error) {
        true => StoreError::Unavailable("others are choosing the same slug".to_owned()),
        false => error.into(),
    }
}

/// The error of writing this spec. If its slug was taken since, that is [`StoreError::Invalid`].
pub(crate) fn not_written(spec: &Spec, error: DieselError) -> StoreError {
    match is_of_taken_slug(&error) {
        true => {
            let problem = format!("{:?} has just become an address of another component", spec.slug);
            StoreError::Invalid(Invalid::new("slug", problem))
        }
        false => error.into(),
    }
}

/// Checks that the slug chosen by this spec is not the address of another reservation.
///
/// # Errors
/// [`StoreError::Invalid`] when it is, and otherwise a `StoreError` when the database cannot be
/// reached, or refuses the statement.
pub(crate) fn check_terms(connection: &mut AnyConnection, spec: &Spec) -> Result<(), StoreError> {
    if spec.slug.is_empty() {
        return Ok(());
    }
    match owner(connection, spec.app.as_str(), &spec.slug)? {
        Some(other) if other != spec.component.as_str() => Err(taken(spec, &other)),
        _ => Ok(()),
    }
}

/// The error that the slug of this spec belongs to another component of the app.
pub(crate) fn taken(spec: &Spec, other: &str) -> StoreError {
    let Spec { app, component, slug, .. } = spec;
    let problem = format!("{slug:?} cannot be that of {app}/{component}: it is an address of {app}/{other}");
    StoreError::Invalid(Invalid::new("slug", problem))
}

/// The component of the reservation whose address this is.
fn owner(connection: &mut AnyConnection, app: &str, slug: &str) -> Result<Option<String>, StoreError> {
    let of_app = || reservations::table.filter(reservations::app.eq(app));
    let now = of_app().filter(reservations::slug.eq(slug)).select(reservations::component);
    let now = now.first(connection).optional()?;
    match now {
        Some(owner) => Ok(Some(owner)),
        None => {
            let before = of_app().filter(reservations::old_slug.eq(slug));
            Ok(before.select(reservations::component).first(connection).optional()?)
        }
    }
}

fn are_names_taken(connection: &mut AnyConnection, app: &str, component: &str) -> Result<bool, StoreError> {
    let named =
        reservations::table.filter(reservations::app.eq(app)).filter(reservations::component.eq(component));
    Ok(named.select(reservations::id).first::<i64>(connection).optional()?.is_some())
}

/// The slug `wanted`, or the first one with a number that is free: the address of no reservation of
/// the app, nor of one whose checkout can be undone.
fn free(
    connection: &mut AnyConnection,
    app: &str,
    component: &str,
    wanted: &str,
) -> Result<String, StoreError> {
    let mut candidates = slug::candidates(wanted);
    let mut most = 1;
    loop {
        let asked: Vec<String> = candidates.by_ref().take(most).collect();
        let of_app = || reservations::table.filter(reservations::app.eq(app));
        let now = of_app().filter(reservations::slug.eq_any(&asked)).select(reservations::slug);
        let before = of_app()
            .filter(reservations::old_slug.eq_any(&asked))
            .select(reservations::old_slug.assume_not_null());
        let mut taken: HashSet<String> = now.load(connection)?.into_iter().collect();
        taken.extend(before.load::<String>(connection)?);
        taken.extend(past_addresses::addresses_among(connection, app, component, &asked)?);
        if let Some(free) = asked.into_iter().find(|slug| !taken.contains(slug)) {
            return Ok(free);
        }
        // More with each query, so that many similar slugs do not cost a query each.
        most = (most * 8).min(MOST_AT_ONCE);
    }
}

/// A reservation from before slugs were stored.
#[derive(QueryableByName)]
struct Older {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Text)]
    app: String,
    #[diesel(sql_type = Text)]
    component: String,
    #[diesel(sql_type = Text)]
    slug: String,
}

macro_rules! after_migration {
    ($name:ident, $connection:ty) => {
        /// Gives a slug of its own to every existing reservation, if the migration `version` is the
        /// one that introduces slugs.
        pub(crate) fn $name(connection: &mut $connection, version: &str) -> Result<(), StoreError> {
            if version != INTRODUCED_BY {
                return Ok(());
            }
            let all: Vec<Older> =
                sql_query("SELECT id, app, component, slug FROM reservations ORDER BY app, id")
                    .load(connection)?;
            for of_app in all.chunk_by(|one, other| one.app == other.app) {
                for (older, Given { slug, old_slug }) in of_app.iter().zip(give(of_app)) {
                    if older.slug == slug && old_slug.is_none() {
                        continue;
                    }
                    sql_query("UPDATE reservations SET slug = $1, old_slug = $2 WHERE id = $3")
                        .bind::<Text, _>(slug)
                        .bind::<Nullable<Text>, _>(old_slug)
                        .bind::<BigInt, _>(older.id)
                        .execute(connection)?;
                }
            }
            Ok(())
        }
    };
}

after_migration!(after_migration_of_postgres, PgConnection);
after_migration!(after_migration_of_sqlite, SqliteConnection);

/// The slugs that a reservation from before slugs were stored gets.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Given {
    slug: String,
    old_slug: Option<String>,
}

/// The slugs for the reservations of one app, in the order in which they were made. An address that
/// led to one of them still leads there. An address that several had in common led nowhere; now the
/// oldest of them has it, unless it is the slug of another.
fn give(older: &[Older]) -> Vec<Given> {
    let mut of_before: HashMap<&str, Vec<i64>> = HashMap::new();
    for one in older.iter().filter(|one| !one.slug.is_empty()) {
        of_before.entry(&one.slug).or_default().push(one.id);
    }
    let mut owners: HashMap<String, i64> = of_before
        .iter()
        .filter_map(|(slug, ids)| Some(((*slug).to_owned(), *ids.first().filter(|_| ids.len() == 1)?)))
        .collect();
    let mut given = Vec::with_capacity(older.len());
    // How many candidates are used up, so that similar names do not each begin at the first number.
    let mut passed: HashMap<String, usize> = HashMap::new();
    for one in older {
        // The component of a reservation that a ping made is exactly the slug of that ping.
        let mut wanted = match slug::is_slug(&one.component) {
            true => one.component.clone(),
            false => slug::of(&one.component),
        };
        if wanted.is_empty() {
            wanted = format!("job-{}", one.id);
        }
        let passed = passed.entry(wanted.clone()).or_default();
        let is_taken = |slug: &String| owners.get(slug).is_some_and(|owner| *owner != one.id);
        let mut candidates = slug::candidates(&wanted).skip(*passed);
        let slug = loop {
            *passed += 1;
            match candidates.next() {
                Some(slug) if !is_taken(&slug) => break slug,
                Some(_) => {}
                // Does not happen: the candidates have no end.
                None => break format!("job-{}", one.id),
            }
        };
        owners.insert(slug.clone(), one.id);
        given.push(Given { slug, old_slug: None });
    }
    for (one, given) in older.iter().zip(&mut given) {
        if !one.slug.is_empty() && given.slug != one.slug {
            let owner = *owners.entry(one.slug.clone()).or_insert(one.id);
            given.old_slug = Some(one.slug.clone()).filter(|_| owner == one.id);
        }
    }
    given
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    fn given(components: &[&str]) -> Vec<(String, Option<String>)> {
        let older: Vec<Older> = components
            .iter()
            .zip(1..)
            .map(|(component, id)| Older {
                id,
                app: "shop".to_owned(),
                component: (*component).to_owned(),
                slug: slug::of_before(component),
            })
            .collect();
        give(&older).into_iter().map(|Given { slug, old_slug }| (slug, old_slug)).collect()
    }

    fn check(older: &[(&str, &str, Option<&str>)]) {
        let components: Vec<&str> = older.iter().map(|(component, ..)| *component).collect();
        let expected: Vec<(String, Option<String>)> =
            older.iter().map(|(_, slug, old)| ((*slug).to_owned(), old.map(str::to_owned))).collect();
        assert_eq!(given(&components), expected);
    }

    #[test]
    fn what_was_an_address_stays_one() {
        check(&[
            ("Nightly Backup", "nightly-backup", None),
            ("a.b", "ab", Some("a-b")),
            ("Büro (v2)", "buro-v2", Some("b-ro-v2")),
            // Its slug would be the address of another.
            ("ä-b", "a-b-2", Some("b")),
            ("日本", "job-5", None),
            ("_x_", "_x_", None),
        ]);
    }

    #[test]
    fn of_those_that_collide_the_oldest_keeps_its_slug() {
        check(&[
            ("Nightly Backup", "nightly-backup", None),
            ("nightly--backup!", "nightly-backup-2", None),
            ("Nightly: backup", "nightly-backup-3", None),
        ]);
        check(&[("a/b", "ab", Some("a-b")), ("a.b", "ab-2", None)]);
        check(&[("a.b", "ab", None), ("a-b", "a-b", None)]);
        check(&[("backup-daily", "backup-daily", None), ("backup--daily", "backup--daily", None)]);
    }
}
