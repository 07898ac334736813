//! Blind windows: spans in which no ingest node could commit a check-in, read from heartbeats.
//!
//! A heartbeat is a commit, so between two heartbeats of all ingest nodes together nobody knows that one could have committed. The
//! heartbeat that ends such a span records it, in its own transaction. One that goes on is seen by whoever draws conclusions, so
//! that a job is not blamed for a door that was shut.

use chrono::TimeDelta;
use diesel::prelude::*;
use innkeeper_core::Time;
use innkeeper_core::reservation::Window;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{blind_windows, duties, nodes};
use crate::{Store, StoreError};

/// The duty of those who take check-ins.
pub(crate) const DUTY: &str = "ingest";
/// The roles that have it.
const ROLES: [&str; 2] = ["ingest", "standalone"];
/// A span without heartbeats that is longer than this is a blind window.
const BLIND: TimeDelta = TimeDelta::seconds(5);
/// A node that has not beaten for this long may be gone: it beats each second.
const SILENT: TimeDelta = TimeDelta::seconds(3);

/// What is known of blindness at a time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Blind {
    /// The windows, the one that goes on included.
    pub windows: Vec<Window>,
    /// Whether the one that goes on may yet turn out to be none: then what it excuses has to be looked at again soon.
    pub doubtful: bool,
}

impl Blind {
    /// What is known at `now`.
    pub fn at(connection: &mut AnyConnection, now: Time) -> Result<Self, StoreError> {
        let mut windows = load(connection, now)?;
        let beat_at: Option<i64> = duties::table
            .filter(duties::name.eq(DUTY))
            .select(duties::beat_at)
            .first(connection)
            .optional()?;
        let Some(beat_at) = beat_at.map(time) else { return Ok(Self { windows, doubtful: false }) };
        if is_open(connection, now)? {
            return Ok(Self { windows, doubtful: false });
        }
        windows.push(Window { from: beat_at, until: now.max(beat_at) });
        Ok(Self { windows, doubtful: now - beat_at <= BLIND })
    }
}

/// Whether a node that takes check-ins is there.
fn is_open(connection: &mut AnyConnection, now: Time) -> Result<bool, StoreError> {
    let alive: Option<String> = nodes::table
        .filter(nodes::role.eq_any(ROLES))
        .filter(nodes::goodbye_at.is_null())
        .filter(nodes::beat_at.gt(ms(now - SILENT)))
        .select(nodes::id)
        .first(connection)
        .optional()?;
    Ok(alive.is_some())
}

/// A heartbeat at `now`, the first since `beat_at`: records the window that it ends, if it ends one. A node's `first` heartbeat also
/// ends a shorter one, where no other node was there: while a process starts anew, what calls it is refused.
pub(crate) fn end(
    connection: &mut AnyConnection,
    beat_at: Time,
    first: bool,
    now: Time,
) -> Result<Option<Window>, StoreError> {
    let window = Window { from: beat_at, until: now };
    let is_blind = now - beat_at > BLIND || (first && now > beat_at && !is_open(connection, now)?);
    if !is_blind {
        return Ok(None);
    }
    diesel::insert_into(blind_windows::table)
        .values((blind_windows::from_at.eq(ms(beat_at)), blind_windows::until_at.eq(ms(now))))
        .execute(connection)?;
    Ok(Some(window))
}

/// The windows as far as they have been: one from beyond `now` was recorded by a clock that was ahead.
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
    pub fn blind_windows(&self, now: Time) -> Result<Vec<Window>, StoreError> {
        Ok(Blind::at(&mut *self.get()?, now)?.windows)
    }

    /// Forgets windows that ended before `before`.
    pub fn forget_blind_windows(&self, before: Time) -> Result<usize, StoreError> {
        let old = blind_windows::table.filter(blind_windows::until_at.lt(ms(before)));
        Ok(diesel::delete(old).execute(&mut *self.get()?)?)
    }
}
