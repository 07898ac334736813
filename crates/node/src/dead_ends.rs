//! The search for reservations whose messages reach nobody, among all reservations.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use innkeeper_core::Time;
use innkeeper_core::ways::{DeadEnd, WaysOut};
use innkeeper_store::{SameRoute, Store, StoreError};

use crate::heartbeat::dead_end_reporter::line;

/// Reservations per query. Each distinct route among them is judged once, so a million reservations need little
/// memory.
const CHUNK: i64 = 20_000;
/// The most distinct routes that are remembered.
const REMEMBERED: usize = 10_000;

/// The result of the search.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeadEndCount {
    /// The number of reservations some of whose messages reach nobody.
    pub count: i64,
    /// The number of those that were reported.
    pub told: i64,
    /// The number of reservations by the hash of their route.
    routes: HashMap<u64, i64>,
}

impl DeadEndCount {
    /// Whether any route has more reservations than in `before`.
    pub fn is_news_after(&self, before: &Self) -> bool {
        self.routes.iter().any(|(route, count)| before.routes.get(route).is_none_or(|known| known < count))
    }
}

/// The dead ends that are reported elsewhere; none by default.
#[derive(Debug, Clone, Copy, Default)]
pub struct AlreadyTold<'a> {
    /// Those that existed with these alerters already.
    pub by: Option<&'a WaysOut>,
    /// Those of reservations created or changed after this time.
    pub after: Option<Time>,
}

/// Examines all reservations. The first `most` dead ends that are not reported elsewhere are passed to `name`, one
/// line each.
///
/// # Errors
/// A database error.
pub fn find(
    store: &Store,
    ways: &WaysOut,
    told: AlreadyTold<'_>,
    most: usize,
    name: &mut dyn FnMut(String),
) -> Result<DeadEndCount, StoreError> {
    let (mut found, mut after, mut named) = (DeadEndCount::default(), i64::MIN, 0);
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
