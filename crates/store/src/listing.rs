//! Reservations page by page.
//!
//! A page is found by its key, not by counting, so the millionth costs what the first does. First the keys of some reservations are
//! read, in the order of the page, then their rows. What state a reservation is in is [`innkeeper_core::sla`]'s to say: SQL takes out what it knows to
//! be in another, the rest is evaluated, and more keys are read until the page is full or enough were looked at.

use std::collections::HashMap;

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};
use innkeeper_core::Time;
use innkeeper_core::sla::{State, evaluate};
use serde::{Deserialize, Serialize};

use crate::connection::AnyConnection;
use crate::readable::{Read, read};
use crate::rows::{NamedRow, ReservationRow, StateRow, ms, time};
use crate::schema::{alerts, reservations, states};
use crate::{LeftOut, Listed, Store, StoreError, reads};

/// The most reservations that are looked at for one page of those in a state.
pub const MOST_LOOKED_AT: i64 = 10_000;
/// So many at a time.
const CHUNK: i64 = 1000;
/// The same where each time takes a walk through all of them.
const LONG_CHUNK: i64 = 5000;

/// The order of [`Cursor::Silent`].
const SILENCE: &str = "COALESCE(states.last_checkin_at, 0), states.reservation_id";

diesel::define_sql_function! {
    /// In lower case.
    fn lower(text: Text) -> Text;
}

/// Which reservations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// A part of app or component, whatever its case.
    pub text: Option<String>,
    /// Just this app.
    pub app: Option<String>,
    /// Just this owner.
    pub owner: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// In this state.
    pub state: Option<State>,
    /// Of these apps alone: those that a caller is bound to.
    pub apps: Option<Vec<String>>,
}

impl Filter {
    /// Whether no column takes out any: it is empty, or its state is found by evaluation alone.
    fn is_derived(&self) -> bool {
        let by_set = matches!(self.state, Some(State::Down | State::Snoozed | State::New | State::Running));
        !by_set && *self == Self { state: self.state, ..Self::default() }
    }
}

/// Where a page begins, and so in which order it goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cursor {
    /// Those with an open alert first, then the others, each by name.
    Worst {
        /// Whether those with an open alert are not through yet.
        down: bool,
        /// Behind this app; empty before everything.
        app: String,
        /// And this component.
        component: String,
    },
    /// By app and component.
    Name {
        /// Behind this app; empty before everything.
        app: String,
        /// And this component.
        component: String,
    },
    /// The one made last first.
    Newest {
        /// Before this number.
        before: i64,
    },
    /// The one whose last success is longest ago first, before them those that had none. No index knows this order, because each check-in
    /// changes it: a page takes one walk through the states.
    Silent {
        /// Behind this last success.
        last: Option<Time>,
        /// And this number; 0 before everything.
        id: i64,
    },
}

impl Cursor {
    /// The worst first, from the beginning.
    pub fn worst() -> Self {
        Self::Worst { down: true, app: String::new(), component: String::new() }
    }

    /// By name, from the beginning.
    pub fn name() -> Self {
        Self::Name { app: String::new(), component: String::new() }
    }

    /// The newest first, from the beginning.
    pub fn newest() -> Self {
        Self::Newest { before: i64::MAX }
    }

    /// The longest silent first, from the beginning.
    pub fn silent() -> Self {
        Self::Silent { last: None, id: 0 }
    }

    /// The same place just behind `key`.
    fn behind(&self, key: &Key) -> Self {
        match self {
            Self::Worst { down, .. } => {
                Self::Worst { down: *down, app: key.app.clone(), component: key.component.clone() }
            }
            Self::Name { .. } => Self::Name { app: key.app.clone(), component: key.component.clone() },
            Self::Newest { .. } => Self::Newest { before: key.id },
            Self::Silent { .. } => Self::Silent { last: key.last.map(time), id: key.id },
        }
    }

    /// What comes when this order has no more.
    fn then(&self) -> Option<Self> {
        let more = matches!(self, Self::Worst { down: true, .. });
        more.then(|| Self::Worst { down: false, app: String::new(), component: String::new() })
    }

    fn chunk(&self) -> i64 {
        if matches!(self, Self::Silent { .. }) { LONG_CHUNK } else { CHUNK }
    }
}

/// A page of reservations.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The reservations, in order.
    pub listed: Vec<Listed>,
    /// Where to go on; none at the end.
    pub next: Option<Cursor>,
    /// How many were looked at, where that ended the page before it was full.
    pub looked_at: Option<i64>,
}

/// A step of a walk through all reservations.
#[derive(Debug, Clone, PartialEq)]
pub struct Walked {
    /// The reservations that it came by; rows that cannot be read are logged and left out.
    pub listed: Vec<Listed>,
    /// Where to go on; none at the end.
    pub next: Option<i64>,
}

/// What a reservation is ordered by.
#[derive(Queryable)]
struct Key {
    id: i64,
    app: String,
    component: String,
    last: Option<i64>,
}

impl Store {
    /// Up to `limit` reservations behind `cursor`, and the place of the next page where there is one. Rows that cannot be read are logged
    /// and left out.
    pub fn page(&self, filter: &Filter, cursor: &Cursor, limit: i64, now: Time) -> Result<Page, StoreError> {
        let connection = &mut *self.get()?;
        // One more than is shown tells whether there is a next page.
        let wanted = limit + 1;
        let mut cursor = Some(cursor.clone());
        let mut found: Vec<(Listed, Cursor)> = Vec::new();
        let (mut looked_at, mut left_out) = (0, LeftOut::default());
        while let Some(from) = cursor.take() {
            let chunk = match filter.state {
                None => wanted - found.len() as i64,
                Some(_) => from.chunk().min(MOST_LOOKED_AT - looked_at),
            };
            let keys = match keys(connection, filter, &from, chunk, now) {
                Err(error) if !error.is_unavailable() => {
                    log::debug!("a page is made without what cannot be read: {error}");
                    readable_keys(connection, filter, &from, chunk)?
                }
                keys => keys?,
            };
            looked_at += keys.len() as i64;
            cursor = match keys.last() {
                Some(last) if keys.len() as i64 == chunk => Some(from.behind(last)),
                _ => from.then(),
            };
            found.extend(rows_of(connection, filter, &from, &keys, now, &mut left_out)?);
            if found.len() as i64 >= wanted {
                left_out.say();
                found.truncate(limit as usize);
                let next = found.last().map(|(_, behind)| behind.clone());
                let listed = found.into_iter().map(|(listed, _)| listed).collect();
                return Ok(Page { listed, next, looked_at: None });
            }
            if filter.state.is_some() && looked_at >= MOST_LOOKED_AT {
                break;
            }
        }
        left_out.say();
        let listed = found.into_iter().map(|(listed, _)| listed).collect();
        Ok(Page { listed, looked_at: cursor.is_some().then_some(looked_at), next: cursor })
    }

    /// Up to `limit` reservations with numbers behind `after`, by number: for a walk through all of them.
    pub fn walk(&self, after: i64, limit: i64, now: Time) -> Result<Walked, StoreError> {
        let (connection, mut left_out) = (&mut *self.get()?, LeftOut::default());
        let together: QueryResult<Vec<(ReservationRow, StateRow)>> = reservations::table
            .inner_join(states::table)
            .filter(reservations::id.gt(after))
            .order(reservations::id)
            .limit(limit)
            .select((ReservationRow::as_select(), StateRow::as_select()))
            .load(connection);
        let (ids, rows) = match together.map_err(StoreError::from) {
            Ok(rows) => (rows.iter().map(|(row, _)| row.id).collect::<Vec<i64>>(), rows),
            Err(error) if error.is_unavailable() => return Err(error),
            // One of them cannot be read: the others are.
            Err(_) => {
                let ids: Vec<i64> = states::table
                    .filter(states::reservation_id.gt(after))
                    .order(states::reservation_id)
                    .limit(limit)
                    .select(states::reservation_id)
                    .load(connection)?;
                let rows = read_in_order(connection, &ids, &mut left_out)?;
                (ids, rows)
            }
        };
        let next = ids.last().copied().filter(|_| ids.len() as i64 == limit);
        let listed = reads::listed(connection, rows, Some(&ids), now, &mut left_out)?;
        left_out.say();
        Ok(Walked { listed, next })
    }

    /// The reservation of this number; none where there is none.
    ///
    /// # Errors
    /// The database's, and [`StoreError::Unreadable`] where it is there and cannot be read.
    pub fn listed(&self, id: i64, now: Time) -> Result<Option<Listed>, StoreError> {
        let (connection, mut left_out) = (&mut *self.get()?, LeftOut::default());
        let rows = read_in_order(connection, &[id], &mut left_out)?;
        let listed = reads::listed(connection, rows, Some(&[id]), now, &mut left_out)?;
        match left_out.named.pop() {
            Some(unreadable) => Err(StoreError::Unreadable(unreadable)),
            None => Ok(listed.into_iter().next()),
        }
    }
}

/// The keys of up to `limit` reservations behind `cursor` that may fit.
fn keys(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &Cursor,
    limit: i64,
    now: Time,
) -> Result<Vec<Key>, StoreError> {
    let mut query = reservations::table
        .inner_join(states::table)
        .limit(limit)
        .select((reservations::id, reservations::app, reservations::component, states::last_checkin_at))
        .into_boxed();
    // Both databases find the beginning of a pair of columns in an index where it is written as a pair.
    let behind = |app: &str, component: &str| {
        sql::<Bool>("(reservations.app, reservations.component) > (")
            .bind::<Text, _>(app.to_owned())
            .sql(", ")
            .bind::<Text, _>(component.to_owned())
            .sql(")")
    };
    match cursor {
        Cursor::Worst { app, component, .. } | Cursor::Name { app, component } => {
            query = query.filter(behind(app, component)).order((reservations::app, reservations::component));
        }
        Cursor::Newest { before } => {
            // Of both, or Postgres may walk through the states from their end.
            query = query
                .filter(reservations::id.lt(*before))
                .filter(states::reservation_id.lt(*before))
                .order(reservations::id.desc());
        }
        Cursor::Silent { last, id } => {
            let behind = |select: &str| {
                sql::<Bool>(&format!("{select} ({SILENCE}) > ("))
                    .bind::<BigInt, _>(last.map_or(0, ms))
                    .sql(", ")
                    .bind::<BigInt, _>(*id)
                    .sql(")")
            };
            query = query.filter(behind("")).order(sql::<(BigInt, BigInt)>(SILENCE));
            if filter.is_derived() {
                // The first of them are found in the states alone: with the join both databases would sort them all.
                query = query.filter(
                    behind("reservations.id IN (SELECT states.reservation_id FROM states WHERE")
                        .sql(&format!(" ORDER BY {SILENCE} LIMIT {limit})")),
                );
            }
        }
    }
    match cursor {
        Cursor::Worst { down: true, .. } => {
            let open = alerts::table.filter(alerts::closed_at.is_null()).select(alerts::reservation_id);
            query = query.filter(reservations::id.eq_any(open));
        }
        Cursor::Worst { down: false, .. } => query = query.filter(states::status.ne("down")),
        _ => {}
    }
    if let Some(text) = &filter.text {
        let pattern = containing(&text.to_lowercase());
        query = query.filter(
            lower(reservations::app)
                .like(pattern.clone())
                .escape('\\')
                .or(lower(reservations::component).like(pattern).escape('\\')),
        );
    }
    if let Some(app) = &filter.app {
        query = query.filter(reservations::app.eq(app.clone()));
    }
    if let Some(apps) = &filter.apps {
        query = query.filter(reservations::app.eq_any(apps.clone()));
    }
    if let Some(owner) = &filter.owner {
        query = query.filter(reservations::owner.eq(owner.clone()));
    }
    if let Some(tag) = &filter.tag {
        // As it stands in the JSON list.
        let quoted = serde_json::Value::from(tag.as_str()).to_string();
        query = query.filter(reservations::tags.like(containing(&quoted)).escape('\\'));
    }
    // Sets that are found without a look at each reservation. What is due to be looked at may be down before the sweeper has said so.
    match filter.state {
        Some(State::Down) => {
            query = query.filter(
                sql::<Bool>(
                    "reservations.id IN (
                         SELECT reservation_id FROM alerts WHERE closed_at IS NULL
                         UNION
                         SELECT reservation_id FROM states WHERE wake_at <= ",
                )
                .bind::<BigInt, _>(ms(now))
                .sql(")"),
            );
        }
        Some(State::Snoozed) => {
            query = query.filter(
                sql::<Bool>("reservations.id IN (SELECT reservation_id FROM states WHERE snoozed_until > ")
                    .bind::<BigInt, _>(ms(now))
                    .sql(")"),
            );
        }
        Some(State::New) => {
            query = query.filter(sql::<Bool>(
                "reservations.id IN (SELECT reservation_id FROM states WHERE checkins = 0)",
            ));
        }
        Some(State::Running) => {
            query = query.filter(sql::<Bool>(
                "reservations.id IN (
                     SELECT reservation_id FROM runs
                     WHERE started_at IS NOT NULL AND (ended_at IS NULL OR ended_at < started_at))",
            ));
        }
        Some(State::Late | State::Overdue | State::Held | State::Unobserved | State::Up) | None => {}
    }
    Ok(query.load(connection)?)
}

/// The keys by name, read from the index of names alone: for a table of which not all can be read. What the filter means is left to the
/// rows, as far as they tell.
fn readable_keys(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &Cursor,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    let (app, component) = match cursor {
        Cursor::Worst { down: true, .. } => return Ok(Vec::new()),
        Cursor::Worst { app, component, .. } | Cursor::Name { app, component } => {
            (app.as_str(), component.as_str())
        }
        // Without their rows the others have no order.
        Cursor::Newest { .. } | Cursor::Silent { .. } => ("", ""),
    };
    let index = match connection {
        AnyConnection::Postgres(_) => "",
        AnyConnection::Sqlite(_) => "INDEXED BY sqlite_autoindex_reservations_2",
    };
    let rows: Vec<NamedRow> = sql_query(format!(
        "SELECT id, app, component FROM reservations {index}
         WHERE (app, component) > ($1, $2)
         ORDER BY app, component LIMIT $3"
    ))
    .bind::<Text, _>(app)
    .bind::<Text, _>(component)
    .bind::<BigInt, _>(limit)
    .load(connection)?;
    let fits = |row: &NamedRow| {
        filter.app.as_ref().is_none_or(|app| *app == row.app)
            && filter.apps.as_ref().is_none_or(|apps| apps.contains(&row.app))
    };
    let key = |row: NamedRow| Key { id: row.id, app: row.app, component: row.component, last: None };
    Ok(rows.into_iter().filter(fits).map(key).collect())
}

/// The reservations of these keys that fit, in their order, each with the place behind it.
fn rows_of(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &Cursor,
    keys: &[Key],
    now: Time,
    left_out: &mut LeftOut,
) -> Result<Vec<(Listed, Cursor)>, StoreError> {
    let ids: Vec<i64> = keys.iter().map(|key| key.id).collect();
    let mut query = reservations::table
        .inner_join(states::table)
        .filter(reservations::id.eq_any(ids))
        .select((ReservationRow::as_select(), StateRow::as_select()))
        .into_boxed();
    if matches!(filter.state, Some(State::Late | State::Overdue | State::Held | State::Unobserved)) {
        // Expected by now, as far as arithmetic says; a run over its limit may be held before that.
        let by_now = |from: &str| format!("COALESCE({from}, 0) + reservations.period_ms <= ");
        query = query.filter(
            sql::<Bool>("(reservations.period_ms IS NULL OR reservations.max_run_ms IS NOT NULL OR (")
                .sql(&by_now("reservations.created_at"))
                .bind::<BigInt, _>(ms(now))
                .sql(&format!(" AND {}", by_now("states.last_checkin_at")))
                .bind::<BigInt, _>(ms(now))
                .sql(&format!(" AND {}", by_now("states.last_fail_at")))
                .bind::<BigInt, _>(ms(now))
                .sql("))"),
        );
    }
    let together: QueryResult<Vec<(ReservationRow, StateRow)>> = query.load(connection);
    let rows = match together.map_err(StoreError::from) {
        Ok(rows) => rows,
        Err(error) if error.is_unavailable() => return Err(error),
        Err(_) => {
            let ids: Vec<i64> = keys.iter().map(|key| key.id).collect();
            read_in_order(connection, &ids, left_out)?
        }
    };
    let ids: Vec<i64> = rows.iter().map(|(row, _)| row.id).collect();
    let listed = reads::listed(connection, rows, Some(&ids), now, left_out)?;
    let mut by_id: HashMap<i64, Listed> =
        listed.into_iter().map(|listed| (listed.reservation.id, listed)).collect();
    let fits =
        |listed: &Listed| filter.state.is_none_or(|state| evaluate(&listed.view(), now).state == state);
    Ok(keys
        .iter()
        .filter_map(|key| Some((by_id.remove(&key.id).filter(fits)?, cursor.behind(key))))
        .collect())
}

/// The rows of these reservations that can be read, by number.
fn read_in_order(
    connection: &mut AnyConnection,
    ids: &[i64],
    left_out: &mut LeftOut,
) -> Result<Vec<(ReservationRow, StateRow)>, StoreError> {
    let Read { mut rows, unreadable } = read(connection, ids)?;
    left_out.add_all(connection, unreadable)?;
    rows.sort_by_key(|(row, _)| row.id);
    Ok(rows)
}

/// The pattern of texts that contain `text`, with `\` before what LIKE would take for more than itself.
fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for character in text.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "%"
}
