//! Blind windows: spans in which check-ins could not be written, derived from the nodes'
//! heartbeats.
//!
//! An ingest node reports up to when every check-in that came to it has been written, and whether
//! it can write at all ([`crate::Work`]). The time up to which all nodes together have written is
//! the time of the duty `ingest`. A span between two such times that is too long is a blind window;
//! the heartbeat that ends it records it in its own transaction. The sweeper also sees a window
//! that still goes on, so that no job is blamed for silence while ingest was away. While the nodes
//! are well, silence is not judged beyond the time of the duty either: a check-in may not have been
//! written yet.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::duty::Duty;
use innkeeper_core::reservation::Window;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{blind_windows, checkins, duties, nodes, refusals};
use crate::{DatabaseKind, Store, StoreError};

/// The duty of the nodes that take check-ins.
pub(crate) const DUTY: Duty = Duty::Ingest;
/// The roles that have it.
const ROLES: [&str; 2] = ["ingest", "standalone"];
/// A span that is longer than this is a blind window.
const BLIND: TimeDelta = TimeDelta::seconds(5);
/// Where each heartbeat is stored, a node that has sent none for this long may be gone.
const SILENT: TimeDelta = TimeDelta::seconds(3);

/// What is known at a time of the spans in which check-ins could not be written.
#[derive(Debug, Clone, Default)]
pub struct Blindness {
    /// The windows. Where no node can take check-ins, the last one goes on.
    pub windows: Vec<Window>,
    /// Whether the window that goes on may turn out to be none: then the jobs that it excuses must
    /// be judged again soon.
    pub doubtful: bool,
    /// Where nodes are well: the span of which it is not known yet whether all its check-ins have
    /// been written.
    pub unknown: Option<Window>,
}

impl Blindness {
    /// What is known at `now`.
    pub(crate) fn at(connection: &mut AnyConnection, now: Time) -> Result<Self, StoreError> {
        let mut windows = load(connection, now)?;
        let Some(until) = written_until(connection, now)? else {
            return Ok(Self { windows, ..Self::default() });
        };
        let rest = Window { from: until, until: now.max(until) };
        let takers = takers(connection, now)?;
        if takers.iter().any(|taker| taker.able) {
            let unknown = (rest.until > rest.from).then_some(rest);
            return Ok(Self { windows, doubtful: false, unknown });
        }
        windows.push(rest);
        Ok(Self { windows, doubtful: now - until <= BLIND + unstored(connection), unknown: None })
    }

    /// Whether a window goes on at `now`.
    pub fn goes_on(&self, now: Time) -> bool {
        self.windows.last().is_some_and(|window| window.until >= now)
    }
}

/// A node that takes check-ins, and has sent a heartbeat lately.
#[derive(Debug, Clone)]
pub(crate) struct Taker {
    pub id: String,
    pub started_at: Time,
    pub beat_at: Time,
    /// Up to when it has written every check-in that came to it.
    pub written_until: Time,
    /// When its latest successful write began.
    pub proved_at: Option<Time>,
    /// Whether it can write.
    pub able: bool,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = nodes)]
struct TakerRow {
    id: String,
    started_at: i64,
    beat_at: i64,
    written_until_at: Option<i64>,
    proved_at: Option<i64>,
    unable: String,
}

/// The nodes that take check-ins, and have sent a heartbeat lately.
pub(crate) fn takers(connection: &mut AnyConnection, now: Time) -> Result<Vec<Taker>, StoreError> {
    let since = now - SILENT - unstored(connection);
    let rows: Vec<TakerRow> = nodes::table
        .filter(nodes::role.eq_any(ROLES))
        .filter(nodes::goodbye_at.is_null())
        .filter(nodes::beat_at.gt(ms(since)))
        .select(TakerRow::as_select())
        .load(connection)?;
    let taker = |row: TakerRow| Taker {
        started_at: time(row.started_at),
        beat_at: time(row.beat_at),
        written_until: time(row.written_until_at.unwrap_or(row.beat_at)),
        proved_at: row.proved_at.map(time),
        able: !row.unable.split(',').any(|duty| duty == DUTY.as_str()),
        id: row.id,
    };
    Ok(rows.into_iter().map(taker).collect())
}

/// Up to when all check-ins that came to any of these nodes have been written. Where one cannot
/// write, the others count only as far as their successful writes prove: a node with nothing to
/// write may not have noticed yet that it cannot.
pub(crate) fn joint<'a>(takers: impl Iterator<Item = &'a Taker> + Clone) -> Option<Time> {
    match takers.clone().all(|taker| taker.able) {
        true => takers.map(|taker| taker.written_until).min(),
        false => takers.filter(|taker| taker.able).filter_map(|taker| taker.proved_at).max(),
    }
}

/// Up to when all check-ins are known to have been written; none where no node has ever taken
/// check-ins.
pub(crate) fn written_until(connection: &mut AnyConnection, now: Time) -> Result<Option<Time>, StoreError> {
    let stored: Option<i64> = duties::table
        .filter(duties::name.eq(DUTY.as_str()))
        .select(duties::beat_at)
        .first(connection)
        .optional()?;
    let Some(stored) = stored.map(time) else { return Ok(None) };
    if let AnyConnection::Postgres(_) = connection {
        return Ok(Some(stored));
    }
    // On SQLite the duty is stored seldom, so the nodes' rows may know more.
    let of_nodes: Option<i64> = nodes::table
        .filter(nodes::role.eq_any(ROLES))
        .select(diesel::dsl::max(nodes::written_until_at))
        .first(connection)?;
    let joint = joint(takers(connection, now)?.iter());
    let of_nodes = of_nodes.map(time).filter(|at| *at <= now);
    Ok(of_nodes.into_iter().chain(joint).chain([stored]).max())
}

/// When the check-in that was written last arrived; always none on Postgres. On SQLite, where
/// heartbeats are stored seldom, it counts as a heartbeat of a process that is gone. For a process
/// that lives it proves nothing: that may have written check-ins that had waited, before others
/// that came earlier.
pub(crate) fn last_written(connection: &mut AnyConnection, now: Time) -> Result<Option<Time>, StoreError> {
    let AnyConnection::Sqlite(_) = connection else { return Ok(None) };
    let latest: Option<(i64, Option<i64>)> = checkins::table
        .order(checkins::id.desc())
        .select((checkins::at, checkins::arrived_at))
        .first(connection)
        .optional()?;
    Ok(latest.map(|(at, arrived_at)| time(arrived_at.unwrap_or(at))).filter(|at| *at <= now))
}

/// By how much more than a second the stored heartbeat of a living node may be old.
pub(crate) fn unstored(connection: &AnyConnection) -> TimeDelta {
    let kind = match connection {
        AnyConnection::Postgres(_) => DatabaseKind::Postgres,
        AnyConnection::Sqlite(_) => DatabaseKind::Sqlite,
    };
    kind.unstored_heartbeats()
}

/// Records the blind window between `before` and `until`, if it is one. All check-ins are now known
/// to be written up to `until`; up to now that was known up to `before`. Where a node `starts` and
/// none of the `others` was there all the time, a shorter span is a blind window, too: while a
/// process restarts, its clients are refused.
pub(crate) fn end(
    connection: &mut AnyConnection,
    before: Time,
    until: Time,
    starts: bool,
    others: &[Taker],
    now: Time,
) -> Result<Option<Window>, StoreError> {
    let window = Window { from: before, until };
    let was_there = |taker: &Taker| taker.able && taker.beat_at > now - SILENT && taker.started_at <= before;
    let is_blind = until - before > BLIND || (starts && until > before && !others.iter().any(was_there));
    if !is_blind {
        return Ok(None);
    }
    diesel::insert_into(blind_windows::table)
        .values((blind_windows::from_at.eq(ms(before)), blind_windows::until_at.eq(ms(until))))
        .execute(connection)?;
    Ok(Some(window))
}

/// Asks the nodes to store a heartbeat, so that [`Blindness::unknown`] is decided soon. On Postgres
/// each is stored anyway.
pub(crate) fn want_heartbeat(connection: &mut AnyConnection, now: Time) -> Result<(), StoreError> {
    if let AnyConnection::Sqlite(_) = connection {
        diesel::update(
            duties::table.filter(duties::name.eq(DUTY.as_str())).filter(duties::wanted_at.is_null()),
        )
        .set(duties::wanted_at.eq(Some(ms(now))))
        .execute(connection)?;
    }
    Ok(())
}

/// The recorded windows, up to `now`. What lies beyond `now` was recorded by a clock that was
/// ahead.
fn load(connection: &mut AnyConnection, now: Time) -> Result<Vec<Window>, StoreError> {
    let rows: Vec<(i64, i64)> = blind_windows::table
        .filter(blind_windows::from_at.le(ms(now)))
        .order(blind_windows::from_at)
        .select((blind_windows::from_at, blind_windows::until_at))
        .load(connection)?;
    Ok(rows
        .into_iter()
        .map(|(from, until)| Window { from: time(from), until: time(until).min(now) })
        .collect())
}

impl Store {
    /// The blind windows that are remembered, and the one that goes on at `now`; the earliest first.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn blind_windows(&self, now: Time) -> Result<Vec<Window>, StoreError> {
        Ok(Blindness::at(&mut *self.get()?, now)?.windows)
    }

    /// Forgets windows that ended before `before`, also those of single jobs. Returns how many of
    /// the former.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_blind_windows(&self, before: Time) -> Result<usize, StoreError> {
        let connection = &mut *self.get()?;
        diesel::delete(refusals::table.filter(refusals::until_at.lt(ms(before)))).execute(connection)?;
        let old = blind_windows::table.filter(blind_windows::until_at.lt(ms(before)));
        Ok(diesel::delete(old).execute(connection)?)
    }
}
