//! Which reservations a page has, in which order: the keys of those that may fit, found in SQL.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Bool, Text};
use innkeeper_core::Time;
use innkeeper_core::sla::State;
use serde::{Deserialize, Serialize};

use crate::StoreError;
use crate::connection::AnyConnection;
use crate::rows::{NamedRow, ms, time};
use crate::schema::{alerts, reservations, states};

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
pub enum ListCursor {
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

impl ListCursor {
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
    pub(super) fn behind(&self, key: &Key) -> Self {
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
    pub(super) fn then(&self) -> Option<Self> {
        let more = matches!(self, Self::Worst { down: true, .. });
        more.then(|| Self::Worst { down: false, app: String::new(), component: String::new() })
    }

    /// How many keys are read at a time.
    pub(super) fn chunk(&self) -> i64 {
        if matches!(self, Self::Silent { .. }) { LONG_CHUNK } else { CHUNK }
    }
}

/// What a reservation is ordered by.
#[derive(Queryable)]
pub(super) struct Key {
    pub id: i64,
    app: String,
    component: String,
    last: Option<i64>,
}

/// The keys of up to `limit` reservations behind `cursor` that may fit.
pub(super) fn keys(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &ListCursor,
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
        ListCursor::Worst { app, component, .. } | ListCursor::Name { app, component } => {
            query = query.filter(behind(app, component)).order((reservations::app, reservations::component));
        }
        ListCursor::Newest { before } => {
            // Of both, or Postgres may walk through the states from their end.
            query = query
                .filter(reservations::id.lt(*before))
                .filter(states::reservation_id.lt(*before))
                .order(reservations::id.desc());
        }
        ListCursor::Silent { last, id } => {
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
        ListCursor::Worst { down: true, .. } => {
            let open = alerts::table.filter(alerts::closed_at.is_null()).select(alerts::reservation_id);
            query = query.filter(reservations::id.eq_any(open));
        }
        ListCursor::Worst { down: false, .. } => query = query.filter(states::status.ne("down")),
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
pub(super) fn readable_keys(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &ListCursor,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    let (app, component) = match cursor {
        ListCursor::Worst { down: true, .. } => return Ok(Vec::new()),
        ListCursor::Worst { app, component, .. } | ListCursor::Name { app, component } => {
            (app.as_str(), component.as_str())
        }
        // Without their rows the others have no order.
        ListCursor::Newest { .. } | ListCursor::Silent { .. } => ("", ""),
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
