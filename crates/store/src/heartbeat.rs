//! Heartbeats: what a node reports about itself and its duties.
//!
//! On Postgres each heartbeat is stored. On SQLite one in fifteen seconds is stored at least, and
//! others only when somebody waits for them: a write each second would wear out the memory card of
//! a small machine. Readers allow for that ([`DatabaseKind::unstored_heartbeats`]).

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::duty::{Duty, DutyPart};
use innkeeper_core::reservation::Window;

use crate::blind::{self, Taker};
use crate::connection::AnyConnection;
use crate::nodes::{DutyRow, Node};
use crate::rows::ms;
use crate::schema::{duties, nodes};
use crate::{DatabaseKind, NewDelivery, Store, StoreError, outbox};

/// On SQLite a heartbeat is stored after this span at the latest.
const STORED_EVERY: TimeDelta = TimeDelta::seconds(15);
/// How long a node counts as new: as long as nodes that stopped before its start may seem to live.
/// On SQLite it counts as new until it has stored a heartbeat after that.
const NEW: TimeDelta = TimeDelta::seconds(8);
/// A node's own first time may lie this much before its start, because the two come from different
/// clocks and are rounded.
const ROUNDING: TimeDelta = TimeDelta::milliseconds(100);
/// A node that is this much behind with its check-ins may be held up by something that affects the
/// others, too.
const BEHIND: TimeDelta = TimeDelta::milliseconds(1500);

impl DatabaseKind {
    /// How long a node that lives may go without storing a heartbeat, beyond the second between two of them.
    pub fn unstored_heartbeats(self) -> TimeDelta {
        match self {
            Self::Postgres => TimeDelta::zero(),
            Self::Sqlite => STORED_EVERY - TimeDelta::seconds(1),
        }
    }
}

/// How a node does one of its duties.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// The duty.
    pub duty: Duty,
    /// Up to when it has been done. For `ingest`: every check-in that came before has been written.
    pub done_until: Time,
    /// When the latest piece of work that succeeded began.
    pub proved_at: Option<Time>,
    /// Why the duty cannot be done now; none when it can.
    pub problem: Option<String>,
    /// The part of it that has not been done for a while.
    pub part: Option<DutyPart>,
}

impl Work {
    /// Work that is done at `now`.
    pub fn done(duty: Duty, now: Time) -> Self {
        Self { duty, done_until: now, proved_at: Some(now), problem: None, part: None }
    }
}

/// A heartbeat.
#[derive(Debug, Clone)]
pub struct NodeHeartbeat<'a> {
    /// The node that sends it.
    pub node: &'a Node,
    /// How it does its duties.
    pub work: &'a [Work],
    /// It is the node's first.
    pub first: bool,
    /// Up to when check-ins had been written at the node's previous heartbeat. On SQLite that may
    /// not have been stored.
    pub written_until: Option<Time>,
    /// Since when the node has been stopping: it still writes what has come, but takes no new
    /// check-ins.
    pub stopping_since: Option<Time>,
    /// The time of the heartbeat.
    pub now: Time,
}

impl NodeHeartbeat<'_> {
    /// Whether the node has started lately and check-ins are not yet known to be written up to its
    /// start. Then it takes over from others that may still live or not. A clock that jumps makes
    /// no node new.
    fn continues(&self, written_until: Time, connection: &AnyConnection) -> bool {
        let age = self.now - self.node.started_at;
        let is_new = age >= TimeDelta::zero() && age <= NEW + blind::unstored(connection) * 2;
        is_new && written_until < self.node.started_at - ROUNDING
    }
}

/// What recording a heartbeat has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeartbeatOutcome {
    /// The blind window that this heartbeat has ended.
    pub blind: Option<Window>,
    /// Duties that somebody does again, of which the operator was told that nobody did.
    pub taken_up: Vec<Duty>,
    /// Another node is behind with its check-ins: this one should try whether it can write them.
    pub probe: bool,
}

impl Store {
    /// Records a heartbeat of a `node` that does all these duties. See [`Store::record_heartbeat`].
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn beat(
        &self,
        node: &Node,
        duties: &[Duty],
        first: bool,
        now: Time,
        tell: &dyn Fn(&Window) -> Vec<NewDelivery>,
    ) -> Result<HeartbeatOutcome, StoreError> {
        let work: Vec<Work> = duties.iter().map(|duty| Work::done(*duty, now)).collect();
        self.record_heartbeat(
            &NodeHeartbeat { node, work: &work, first, written_until: None, stopping_since: None, now },
            tell,
        )
    }

    /// Records a heartbeat. If it ends a blind window, it also records that window, and puts the
    /// messages that `tell` makes of it into the outbox.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn record_heartbeat(
        &self,
        heartbeat: &NodeHeartbeat<'_>,
        tell: &dyn Fn(&Window) -> Vec<NewDelivery>,
    ) -> Result<HeartbeatOutcome, StoreError> {
        let NodeHeartbeat { node, work, now, .. } = *heartbeat;
        self.write(|connection| {
            let mut outcome = HeartbeatOutcome::default();
            let mut written_until = None;
            for work in work {
                let known = lock_duty(connection, work.duty)?;
                let is_able = work.problem.is_none();
                let is_told = known.as_ref().is_some_and(|known| known.told_at.is_some());
                if is_told && is_able {
                    outcome.taken_up.push(work.duty);
                }
                let mut done_until = work.done_until;
                if work.duty == blind::DUTY {
                    let own;
                    (done_until, own) =
                        end_blindness(connection, heartbeat, work, known.is_some(), &mut outcome)?;
                    written_until = Some(match connection {
                        // On SQLite the latest time of any node counts as the joint one; that of a
                        // new node must not.
                        AnyConnection::Sqlite(_) if heartbeat.continues(done_until, connection) => done_until,
                        _ => own,
                    });
                }
                let is_news = heartbeat.first
                    || !is_able
                    || outcome.blind.is_some()
                    || known.as_ref().is_none_or(|known| known.told_at.is_some() || known.wanted_at.is_some());
                if is_news || matches!(connection, AnyConnection::Postgres(_)) {
                    let told_at = if is_able { "NULL" } else { "duties.told_at" };
                    sql_query(format!(
                        "INSERT INTO duties (name, beat_at) VALUES ($1, $2)
                         ON CONFLICT (name) DO UPDATE
                         SET told_at = {told_at}, wanted_at = NULL,
                             beat_at = CASE WHEN duties.beat_at > excluded.beat_at THEN duties.beat_at ELSE excluded.beat_at END",
                    ))
                    .bind::<Text, _>(work.duty.as_str())
                    .bind::<BigInt, _>(ms(done_until))
                    .execute(connection)?;
                }
            }
            record_node(connection, node, work, written_until, now)?;
            for delivery in outcome.blind.iter().flat_map(tell) {
                let NewDelivery { alerter, recipient, notice } = &delivery;
                outbox::put(connection, None, alerter, recipient, notice, now)?;
            }
            Ok(outcome)
        })
    }

    /// Whether the next heartbeat of the node `id` should be stored because somebody waits for it.
    /// On Postgres each is stored, so this is always true. `able` are the duties that the node can
    /// do.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn wants_heartbeat(&self, id: &str, able: &[Duty]) -> Result<bool, StoreError> {
        if self.backend() == DatabaseKind::Postgres {
            return Ok(true);
        }
        let connection = &mut *self.get()?;
        let rows: Vec<DutyRow> = duties::table.select(DutyRow::as_select()).load(connection)?;
        let waits = |row: &DutyRow| {
            row.wanted_at.is_some() && row.name == blind::DUTY.as_str()
                || row.told_at.is_some() && able.iter().any(|duty| duty.as_str() == row.name)
        };
        let told_at: Option<Option<i64>> =
            nodes::table.filter(nodes::id.eq(id)).select(nodes::told_at).first(connection).optional()?;
        Ok(told_at != Some(None) || rows.iter().any(waits))
    }
}

/// Ends a blind window, if there was one. Returns up to when all check-ins have been written, and
/// up to when this node has written its own ones.
fn end_blindness(
    connection: &mut AnyConnection,
    heartbeat: &NodeHeartbeat<'_>,
    work: &Work,
    known: bool,
    outcome: &mut HeartbeatOutcome,
) -> Result<(Time, Time), StoreError> {
    let NodeHeartbeat { node, first, now, .. } = *heartbeat;
    let mut others = blind::takers(connection, now)?;
    others.retain(|taker| taker.id != node.id);
    if let AnyConnection::Sqlite(_) = connection
        && node.role == "standalone"
    {
        // A standalone node has its file to itself, so nodes from before its start are gone.
        others.retain(|taker| taker.beat_at >= node.started_at);
    }
    // While this node stops and no other can take check-ins, new check-ins are refused.
    let refuses = heartbeat.stopping_since.filter(|_| !others.iter().any(|other| other.able));
    let taken = |until: Time| refuses.map_or(until, |since| until.min(since));
    outcome.probe = others.iter().any(|taker| !taker.able || taker.written_until < now - BEHIND);
    let own = Taker {
        id: node.id.clone(),
        started_at: node.started_at,
        beat_at: now,
        written_until: taken(work.done_until),
        proved_at: work.proved_at.map(taken),
        able: work.problem.is_none(),
    };
    let until = blind::joint(others.iter().chain([&own]));
    let before = if known { blind::written_until(connection, now)? } else { None };
    let Some(before) = before else {
        return Ok((until.unwrap_or(work.done_until), own.written_until));
    };
    let starts = first || heartbeat.continues(before, connection);
    let known = match connection {
        // On Postgres each heartbeat is stored, and what this node has written says nothing of the
        // others.
        AnyConnection::Postgres(_) => None,
        AnyConnection::Sqlite(_) if first => blind::last_written(connection, now)?,
        AnyConnection::Sqlite(_) if starts => None,
        AnyConnection::Sqlite(_) => heartbeat.written_until.map(taken).filter(|at| *at <= now),
    };
    let before = before.max(known.unwrap_or(before));
    if let Some(until) = until {
        outcome.blind = blind::end(connection, before, until, starts, &others, now)?;
    }
    Ok((until.unwrap_or(before).max(before), own.written_until))
}

fn record_node(
    connection: &mut AnyConnection,
    node: &Node,
    work: &[Work],
    written_until: Option<Time>,
    now: Time,
) -> Result<(), StoreError> {
    let takes = work.iter().find(|work| work.duty == blind::DUTY);
    let failing = || work.iter().filter_map(|work| Some((work.duty.as_str(), work.problem.as_deref()?)));
    let parts = work.iter().filter_map(|work| work.part.map(DutyPart::as_str));
    let unable: Vec<&str> = failing().map(|(duty, _)| duty).chain(parts).collect();
    let problems: Vec<&str> = failing().map(|(_, problem)| problem).collect();
    sql_query(
        "INSERT INTO nodes (id, role, host, address, version, started_at, beat_at, offset_ms, written_until_at, proved_at,
             unable, problem)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
         ON CONFLICT (id) DO UPDATE
         SET address = excluded.address, beat_at = excluded.beat_at, offset_ms = excluded.offset_ms,
             written_until_at = excluded.written_until_at, proved_at = excluded.proved_at,
             unable = excluded.unable, problem = excluded.problem,
             goodbye_at = NULL, told_at = NULL",
    )
    .bind::<Text, _>(&node.id)
    .bind::<Text, _>(&node.role)
    .bind::<Text, _>(&node.host)
    .bind::<Text, _>(&node.address)
    .bind::<Text, _>(&node.version)
    .bind::<BigInt, _>(ms(node.started_at))
    .bind::<BigInt, _>(ms(now))
    .bind::<BigInt, _>(node.offset.num_milliseconds())
    .bind::<Nullable<BigInt>, _>(written_until.map(ms))
    .bind::<Nullable<BigInt>, _>(takes.and_then(|work| work.proved_at).map(ms))
    .bind::<Text, _>(unable.join(","))
    .bind::<Text, _>(problems.join("; "))
    .execute(connection)?;
    Ok(())
}

/// The row of a duty, locked; none when nobody has had it yet.
fn lock_duty(connection: &mut AnyConnection, duty: Duty) -> Result<Option<DutyRow>, StoreError> {
    let lock = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE",
        AnyConnection::Sqlite(_) => "",
    };
    Ok(sql_query(format!("SELECT name, beat_at, told_at, wanted_at FROM duties WHERE name = $1 {lock}"))
        .bind::<Text, _>(duty.as_str())
        .get_result(connection)
        .optional()?)
}
