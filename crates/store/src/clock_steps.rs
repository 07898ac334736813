//! Steps of clocks, kept for people to see: what was seen, and what came of it.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use innkeeper_core::Time;
use innkeeper_core::discipline::STEP;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::connection::AnyConnection;
use crate::readable::readable;
use crate::rows::{ms, time, word};
use crate::schema::clock_steps;
use crate::{Store, StoreError};

/// Two nodes that see the same step see it within this span.
const SAME: TimeDelta = TimeDelta::seconds(60);
/// The advisory lock under which steps are noted: any number that no other program uses here.
const LOCK: i64 = 0x1221_6b65_636c_6f63;

/// Outcomes after which another node's report of the same step is no news.
const CLOSED: [StepOutcome; 2] = [StepOutcome::Followed, StepOutcome::Ignored];

/// Whose clock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum Ticker {
    /// The database's, which all nodes follow.
    Database,
    /// That of a node's own machine. On SQLite the nodes follow this one.
    Machine,
}

impl Ticker {
    /// The word for it: `database` or `machine`.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// What came of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum StepOutcome {
    /// The nodes wait to see whether it lasts.
    Waiting,
    /// The nodes are following it.
    Following,
    /// They have followed it.
    Followed,
    /// The clock came back before it was followed.
    Returned,
    /// A node started at a time before the latest recorded one: nothing is judged until the clock
    /// has passed that.
    Held,
    /// The clock has passed what was recorded.
    Released,
    /// The nodes do not follow this clock.
    Ignored,
}

impl StepOutcome {
    /// The word for it in SQL and JSON.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Whether this outcome is the last one.
    fn is_final(self) -> bool {
        match self {
            Self::Waiting | Self::Following | Self::Held => false,
            Self::Followed | Self::Returned | Self::Released | Self::Ignored => true,
        }
    }
}

/// A step of a clock, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClockStep {
    /// Its number.
    pub id: i64,
    /// When it was seen, by the clock as it was before the step.
    pub at: Time,
    /// Whose clock it was.
    pub clock: Ticker,
    /// The machine whose node saw it.
    pub host: String,
    /// The size of the step; negative where the clock went back.
    pub by: TimeDelta,
    /// What came of it.
    pub outcome: StepOutcome,
    /// When the step came to its final outcome.
    pub ended_at: Option<Time>,
}

impl Store {
    /// Records a step that a node on `host` has seen at `now`. Returns true when no other node has
    /// reported it before; then the caller has to tell people.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn note_clock_step(
        &self,
        clock: Ticker,
        host: &str,
        by: TimeDelta,
        outcome: StepOutcome,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            if let AnyConnection::Postgres(connection) = connection {
                sql_query(format!("SELECT pg_advisory_xact_lock({LOCK})")).execute(connection)?;
            }
            let mut same = clock_steps::table
                .filter(clock_steps::clock.eq(clock.as_str()))
                .filter(clock_steps::at.between(ms(now - SAME), ms(now + SAME)))
                .filter(
                    clock_steps::by_ms
                        .between((by - STEP).num_milliseconds(), (by + STEP).num_milliseconds()),
                )
                .select(clock_steps::id)
                .into_boxed();
            if clock == Ticker::Machine {
                same = same.filter(clock_steps::host.eq(host));
            }
            // After a step that returned, the same step again is a new one.
            let same: Option<i64> = same
                .filter(
                    clock_steps::ended_at
                        .is_null()
                        .or(clock_steps::outcome.eq_any(CLOSED.map(StepOutcome::as_str))),
                )
                .first(connection)
                .optional()?;
            if same.is_some() {
                return Ok(false);
            }
            let ended_at = (outcome == StepOutcome::Ignored).then(|| ms(now));
            diesel::insert_into(clock_steps::table)
                .values((
                    clock_steps::at.eq(ms(now)),
                    clock_steps::clock.eq(clock.as_str()),
                    clock_steps::host.eq(host),
                    clock_steps::by_ms.eq(by.num_milliseconds()),
                    clock_steps::outcome.eq(outcome.as_str()),
                    clock_steps::ended_at.eq(ended_at),
                ))
                .execute(connection)?;
            Ok(true)
        })
    }

    /// Records the outcome of the steps of this clock that are not over yet; for a machine's clock,
    /// of the steps on `host`. Returns whether there was one.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn turn_clock_steps(
        &self,
        clock: Ticker,
        host: &str,
        outcome: StepOutcome,
        now: Time,
    ) -> Result<bool, StoreError> {
        self.write(|connection| {
            let going = clock_steps::table
                .filter(clock_steps::clock.eq(clock.as_str()))
                .filter(clock_steps::ended_at.is_null());
            let ended_at = outcome.is_final().then(|| ms(now));
            let set = (clock_steps::outcome.eq(outcome.as_str()), clock_steps::ended_at.eq(ended_at));
            let changed = match clock {
                Ticker::Database => diesel::update(going).set(set).execute(connection)?,
                Ticker::Machine => {
                    diesel::update(going.filter(clock_steps::host.eq(host))).set(set).execute(connection)?
                }
            };
            Ok(changed > 0)
        })
    }

    /// The latest steps, latest first. Rows that cannot be read are logged and left out.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn clock_steps(&self, limit: i64) -> Result<Vec<ClockStep>, StoreError> {
        let rows: Vec<Row> = clock_steps::table
            .order(clock_steps::id.desc())
            .limit(limit)
            .select(Row::as_select())
            .load(&mut *self.get()?)?;
        Ok(readable(rows, Row::step))
    }

    /// Forgets steps that were seen before `before`.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn forget_clock_steps(&self, before: Time) -> Result<usize, StoreError> {
        let old = clock_steps::table.filter(clock_steps::at.lt(ms(before)));
        Ok(diesel::delete(old).execute(&mut *self.get()?)?)
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = clock_steps)]
struct Row {
    id: i64,
    at: i64,
    clock: String,
    host: String,
    by_ms: i64,
    outcome: String,
    ended_at: Option<i64>,
}

impl Row {
    fn step(self) -> Result<ClockStep, StoreError> {
        Ok(ClockStep {
            id: self.id,
            at: time(self.at),
            clock: word("clock_steps", self.id, "clock", &self.clock)?,
            host: self.host,
            by: TimeDelta::milliseconds(self.by_ms),
            outcome: word("clock_steps", self.id, "outcome", &self.outcome)?,
            ended_at: self.ended_at.map(time),
        })
    }
}
