//! Looking for reservations whose messages lead nowhere, among all that there are.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use innkeeper_core::Time;
use innkeeper_core::ways::{DeadEnd, WaysOut};
use innkeeper_store::{SameRoute, Store, StoreError};

use crate::heartbeat::dead_end_reporter::line;

/// Reservations of one query: each route among them is judged once, so that a million of them need no memory.
const CHUNK: i64 = 20_000;
/// Routes that are told apart at most.
const REMEMBERED: usize = 10_000;

/// What was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Reservations of whose messages some lead nowhere.
    pub count: i64,
    /// Those among them that are told.
    pub told: i64,
    /// How many there are of each route, by its hash.
    routes: HashMap<u64, i64>,
}

impl Found {
    /// Whether there is more of any route than in `before`.
    pub fn is_news_after(&self, before: &Self) -> bool {
        self.routes.iter().any(|(route, count)| before.routes.get(route).is_none_or(|known| known < count))
    }
}

/// What of it was told in another way; nothing by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<'a> {
    /// What led nowhere by these alerters already.
    pub by: Option<&'a WaysOut>,
    /// What was made or changed after this.
    pub after: Option<Time>,
}

/// Looks at all reservations. The first `most` that are found, and not told in another way, are given to `name`, each in a line.
///
/// # Errors
/// The database's.
pub fn find(
    store: &Store,
    ways: &WaysOut,
    told: Told<'_>,
    most: usize,
    name: &mut dyn FnMut(String),
) -> Result<Found, StoreError> {
    let (mut found, mut after, mut named) = (Found::default(), i64::MIN, 0);
    loop {
        let chunk = store.routes_after(after, told.after, CHUNK)?;
        let Some(last) = chunk.last_id else { return Ok(found) };
        for route in &chunk.routes {
            let of = |ways: &WaysOut| ways.route("notify", route.notify.iter(), &route.alerters).dead_ends;
            let dead_ends = of(ways);
            if dead_ends.is_empty() {
                continue;
            }
            found.count += route.count;
            if found.routes.len() < REMEMBERED {
                *found.routes.entry(hash(route)).or_default() += route.count;
            }
            if told.by.is_some_and(|by| are_same(&of(by), &dead_ends)) {
                continue;
            }
            found.told += route.count;
            let left = most.saturating_sub(named).min(CHUNK as usize);
            if left > 0 {
                for (app, component) in store.names_on_route(route, last, told.after, left as i64)? {
                    named += 1;
                    name(line(&format!("{app}/{component}"), &dead_ends));
                }
            }
        }
        after = last;
    }
}

fn are_same(some: &[DeadEnd], others: &[DeadEnd]) -> bool {
    some.len() == others.len() && some.iter().zip(others).all(|(one, other)| one.is_same(other))
}

fn hash(route: &SameRoute) -> u64 {
    let mut hasher = DefaultHasher::new();
    route.notify.to_string().hash(&mut hasher);
    route.alerters.hash(&mut hasher);
    hasher.finish()
}
