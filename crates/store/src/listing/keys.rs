//! Which reservations a page has, and in which order. SQL finds the keys of those that may match.

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

/// How many keys are read at a time.
const CHUNK: i64 = 1000;
/// How many keys are read at a time if each query walks through all reservations.
const LONG_CHUNK: i64 = 5000;

/// The order of [`ListCursor::Silent`].
const SILENCE: &str = "COALESCE(states.last_checkin_at, 0), states.reservation_id";

diesel::define_sql_function! {
    /// The text in lower case.
    fn lower(text: Text) -> Text;
}

/// Which reservations are listed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Those whose app or component contains this text. Upper and lower case are not distinguished.
    pub text: Option<String>,
    /// Those of this app.
    pub app: Option<String>,
    /// Those of this owner.
    pub owner: Option<String>,
    /// Those with this tag.
    pub tag: Option<String>,
    /// Those in this state.
    pub state: Option<State>,
    /// Those of these apps, to which the caller is limited.
    pub apps: Option<Vec<String>>,
}

impl Filter {
    /// Whether the filter adds no condition to the query of the keys: it is empty, or it asks only
    /// for a state that an evaluation alone can tell.
    fn is_derived(&self) -> bool {
        let by_set = matches!(self.state, Some(State::Down | State::Snoozed | State::New | State::Running));
        !by_set && *self == Self { state: self.state, ..Self::default() }
    }
}

/// Where a page begins, and in which order it lists reservations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ListCursor {
    /// Those with an open alert first, then the others, each by name.
    Worst {
        /// Whether the page begins among those with an open alert.
        down: bool,
        /// The app behind which the page begins. Empty for the first page.
        app: String,
        /// The component behind which the page begins.
        component: String,
    },
    /// By app and component.
    Name {
        /// The app behind which the page begins. Empty for the first page.
        app: String,
        /// The component behind which the page begins.
        component: String,
    },
    /// The newest first.
    Newest {
        /// The page begins with the next smaller id.
        before: i64,
    },
    /// The one whose last success is longest ago first. Those without a success come before all
    /// others. There is no index in this order, because every check-in would change it: each page
    /// walks through all states once.
    Silent {
        /// The last success behind which the page begins.
        last: Option<Time>,
        /// The id behind which the page begins. 0 for the first page.
        id: i64,
    },
}

impl ListCursor {
    /// The first page, the worst first.
    pub fn worst() -> Self {
        Self::Worst { down: true, app: String::new(), component: String::new() }
    }

    /// The first page, by name.
    pub fn name() -> Self {
        Self::Name { app: String::new(), component: String::new() }
    }

    /// The first page, the newest first.
    pub fn newest() -> Self {
        Self::Newest { before: i64::MAX }
    }

    /// The first page, the longest silent first.
    pub fn silent() -> Self {
        Self::Silent { last: None, id: 0 }
    }

    /// The cursor just behind `key`, in the same order.
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

    /// Where the list goes on when there are no more keys behind this cursor. `None` at the end.
    pub(super) fn then(&self) -> Option<Self> {
        let more = matches!(self, Self::Worst { down: true, .. });
        more.then(|| Self::Worst { down: false, app: String::new(), component: String::new() })
    }

    /// How many keys are read at a time.
    pub(super) fn chunk(&self) -> i64 {
        if matches!(self, Self::Silent { .. }) { LONG_CHUNK } else { CHUNK }
    }
}

/// The columns by which reservations are ordered.
#[derive(Queryable)]
pub(super) struct Key {
    pub id: i64,
    app: String,
    component: String,
    last: Option<i64>,
}

/// The keys of up to `limit` reservations behind `cursor` that may match the filter.
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
    // Compare the columns as a pair: then both databases find the first row through the index.
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
            // Limit both columns: otherwise Postgres may walk through all states from the end.
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
                // Find the first ones in `states` alone: with the join, both databases would sort
                // all rows.
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
        // As it is written in the JSON list.
        let quoted = serde_json::Value::from(tag.as_str()).to_string();
        query = query.filter(reservations::tags.like(containing(&quoted)).escape('\\'));
    }
    // States whose candidates are found without evaluating each reservation. One that is due may be
    // down before the sweeper has opened the alert.
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

/// The keys read from the index of names alone, for a table with rows that cannot be read. Of the
/// filter only `text`, `app` and `apps` are applied here: the index has no other columns. Those
/// silent longest are listed in the order in which they were created.
pub(super) fn readable_keys(
    connection: &mut AnyConnection,
    filter: &Filter,
    cursor: &ListCursor,
    limit: i64,
) -> Result<Vec<Key>, StoreError> {
    let text = filter.text.as_ref().map(|text| text.to_lowercase());
    let fits = |key: &Key| {
        let has =
            |text: &String| [&key.app, &key.component].iter().any(|name| name.to_lowercase().contains(text));
        filter.app.as_ref().is_none_or(|app| *app == key.app)
            && filter.apps.as_ref().is_none_or(|apps| apps.contains(&key.app))
            && text.as_ref().is_none_or(has)
    };
    let (mut from, mut found) = (cursor.clone(), Vec::new());
    loop {
        let rows = names_behind(connection, &from)?;
        let is_end = (rows.len() as i64) < CHUNK;
        for row in rows {
            let key = Key { id: row.id, app: row.app, component: row.component, last: None };
            from = from.behind(&key);
            found.extend(Some(key).filter(fits));
            if found.len() as i64 == limit {
                return Ok(found);
            }
        }
        if is_end {
            return Ok(found);
        }
    }
}

/// The next names behind the cursor, by the index of names.
fn names_behind(connection: &mut AnyConnection, cursor: &ListCursor) -> Result<Vec<NamedRow>, StoreError> {
    let (behind, order, app, component, id) = match cursor {
        ListCursor::Worst { down: true, .. } => return Ok(Vec::new()),
        ListCursor::Worst { app, component, .. } | ListCursor::Name { app, component } => (
            "(app, component) > ($1, $2) AND id <> $3",
            "app, component",
            app.as_str(),
            component.as_str(),
            0,
        ),
        ListCursor::Newest { before } => {
            ("app > $1 AND component > $2 AND id < $3", "id DESC", "", "", *before)
        }
        ListCursor::Silent { id, .. } => ("app > $1 AND component > $2 AND id > $3", "id", "", "", *id),
    };
    let index = match connection {
        AnyConnection::Postgres(_) => "",
        AnyConnection::Sqlite(_) => "INDEXED BY sqlite_autoindex_reservations_2",
    };
    Ok(sql_query(format!(
        "SELECT id, app, component FROM reservations {index}
         WHERE {behind} AND app IS NOT NULL AND component IS NOT NULL
         ORDER BY {order} LIMIT {CHUNK}"
    ))
    .bind::<Text, _>(app)
    .bind::<Text, _>(component)
    .bind::<BigInt, _>(id)
    .load(connection)?)
}

/// The LIKE pattern for texts that contain `text`. Characters that are special in a pattern are
/// escaped with `\`.
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
