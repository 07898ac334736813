//! Nodes: the processes of the installation, their duties, and finding out which of them are gone.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use strum::IntoStaticStr;

use crate::connection::{AnyConnection, write_on};
use crate::gone::{self, GoneNodes};
use crate::rows::{ms, time};
use crate::schema::{duties, nodes};
use crate::{DatabaseKind, Store, StoreError};

/// How long the row of a node is kept after its latest heartbeat.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// A process, as it describes itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// A UUID, new at each start.
    pub id: String,
    /// `ingest`, `sweeper`, `web` or `standalone`.
    pub role: String,
    /// The machine's name.
    pub host: String,
    /// Where it listens; empty where it does not.
    pub address: String,
    /// Innkeeper's version.
    pub version: String,
    /// When it started.
    pub started_at: Time,
    /// The offset that it adds to its machine's clock.
    pub offset: TimeDelta,
}

/// A node as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// What it said of itself.
    pub node: Node,
    /// Its latest heartbeat.
    pub beat_at: Time,
    /// When it announced that it stops.
    pub goodbye_at: Option<Time>,
    /// When another node found that it is gone.
    pub found_at: Option<Time>,
    /// The duties that it cannot do now, and parts of them that it has not done for a while.
    pub unable: Vec<String>,
    /// Why it cannot; empty where it can.
    pub problem: String,
}

impl KnownNode {
    /// Whether the node is alive, by its heartbeats and its goodbye.
    pub fn state(&self, gone_after: TimeDelta, now: Time) -> NodeState {
        match self.goodbye_at {
            Some(_) => NodeState::Stopped,
            None if now - self.beat_at > gone_after => NodeState::Silent,
            None => NodeState::Alive,
        }
    }
}

/// Whether a node is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum NodeState {
    /// It sends heartbeats.
    Alive,
    /// Its latest heartbeat is too long ago.
    Silent,
    /// It has announced that it stops.
    Stopped,
}

impl NodeState {
    /// The word for it in JSON, metrics and pages.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// A duty as the database knows it; a newer version may have others than this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownDuty {
    /// `ingest`, `sweeper` or `web`.
    pub name: String,
    /// The latest heartbeat of a node that does it.
    pub beat_at: Time,
}

/// What [`Store::watch`] has found. No other caller gets the same, so the caller has to tell the
/// operator.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeChanges {
    /// Nodes that stopped without saying goodbye, by where they ran.
    pub gone: Vec<GoneNodes>,
    /// Duties that no node does.
    pub missing: Vec<KnownDuty>,
}

impl Store {
    /// Records that the node stops on request.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn say_goodbye(&self, id: &str, now: Time) -> Result<(), StoreError> {
        diesel::update(nodes::table.filter(nodes::id.eq(id)))
            .set(nodes::goodbye_at.eq(Some(ms(now))))
            .execute(&mut *self.get()?)?;
        Ok(())
    }

    /// Looks for nodes and duties whose latest heartbeat is longer ago than these spans. Only one
    /// caller finds each, once until its next heartbeat. A snoozed duty is found after the snooze
    /// has ended. Rows of nodes without a heartbeat for a day are removed.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn watch(
        &self,
        gone_after: TimeDelta,
        missing_after: TimeDelta,
        now: Time,
    ) -> Result<NodeChanges, StoreError> {
        let (duties, nodes) = (self.duties()?, self.nodes()?);
        let lives = |known: &KnownNode| known.goodbye_at.is_none() && now - known.beat_at <= gone_after;
        // A live node that cannot do its work reports that itself.
        let is_missing = |duty: &&KnownDuty| {
            let has_it =
                |known: &KnownNode| [duty.name.as_str(), "standalone"].contains(&known.node.role.as_str());
            duty.beat_at < now - missing_after && !nodes.iter().any(|known| lives(known) && has_it(known))
        };
        let connection = &mut *self.get()?;
        // A snoozed duty is reported when the snooze ends, so nobody claims it before.
        let untold: Vec<String> = duties::table
            .filter(duties::told_at.is_null())
            .filter(duties::snoozed_until.is_null().or(duties::snoozed_until.le(ms(now))))
            .select(duties::name)
            .load(connection)?;
        let silent: Vec<String> = nodes::table
            .filter(nodes::told_at.is_null())
            .filter(nodes::goodbye_at.is_null())
            .filter(nodes::beat_at.lt(ms(now - gone_after)))
            .select(nodes::id)
            .load(connection)?;
        let missing: Vec<&KnownDuty> =
            duties.iter().filter(is_missing).filter(|duty| untold.contains(&duty.name)).collect();
        let has_old = nodes.iter().any(|known| known.beat_at < now - REMEMBERED);
        if missing.is_empty() && silent.is_empty() && !has_old {
            return Ok(NodeChanges::default());
        }
        write_on(self.file(), connection, |connection| {
            let (mut watched, mut found) = (NodeChanges::default(), Vec::new());
            // Duties first, as in a heartbeat, so that two transactions that lock rows of both
            // tables do not deadlock.
            for duty in missing {
                let claimed = sql_query(
                    "UPDATE duties SET told_at = $1
                     WHERE name = $2 AND told_at IS NULL AND beat_at < $3
                       AND (snoozed_until IS NULL OR snoozed_until <= $1)",
                )
                .bind::<BigInt, _>(ms(now))
                .bind::<Text, _>(&duty.name)
                .bind::<BigInt, _>(ms(now - missing_after))
                .execute(connection)?;
                watched.missing.extend((claimed > 0).then(|| duty.clone()));
            }
            for known in nodes.iter().filter(|known| silent.contains(&known.node.id)) {
                let claimed = sql_query(
                    "UPDATE nodes SET told_at = $1
                     WHERE id = $2 AND told_at IS NULL AND goodbye_at IS NULL AND beat_at < $3",
                )
                .bind::<BigInt, _>(ms(now))
                .bind::<Text, _>(&known.node.id)
                .bind::<BigInt, _>(ms(now - gone_after))
                .execute(connection)?;
                found.extend((claimed > 0).then(|| known.clone()));
            }
            watched.gone = gone::group(found, &nodes, gone_after, now);
            diesel::delete(nodes::table.filter(nodes::beat_at.lt(ms(now - REMEMBERED))))
                .execute(connection)?;
            Ok(watched)
        })
    }

    /// The nodes of the last day, by role and start.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn nodes(&self) -> Result<Vec<KnownNode>, StoreError> {
        let rows: Vec<NodeRow> = nodes::table
            .order((nodes::role, nodes::started_at, nodes::id))
            .select(NodeRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(NodeRow::known).collect())
    }

    /// The duties that any node has ever had.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn duties(&self) -> Result<Vec<KnownDuty>, StoreError> {
        let rows: Vec<DutyRow> =
            duties::table.order(duties::name).select(DutyRow::as_select()).load(&mut *self.get()?)?;
        let nodes = match self.backend() {
            DatabaseKind::Postgres => Vec::new(),
            DatabaseKind::Sqlite => self.nodes()?,
        };
        let duty = |row: DutyRow| KnownDuty { beat_at: duty_beat(&row, &nodes), name: row.name };
        Ok(rows.into_iter().map(duty).collect())
    }

    /// What the database's clock shows; none for SQLite, whose clock is the machine's.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn database_time(&self) -> Result<Option<Time>, StoreError> {
        match &mut *self.get()? {
            AnyConnection::Sqlite(_) => Ok(None),
            AnyConnection::Postgres(connection) => {
                let row: OneTime =
                    sql_query("SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT AS at")
                        .get_result(connection)?;
                Ok(Some(time(row.at)))
            }
        }
    }
}

/// The latest heartbeat of a duty. On SQLite, where duties are stored seldom, a heartbeat of one of
/// its nodes may be later.
fn duty_beat(row: &DutyRow, nodes: &[KnownNode]) -> Time {
    let doers = nodes.iter().filter(|known| {
        [row.name.as_str(), "standalone"].contains(&known.node.role.as_str())
            && !known.unable.contains(&row.name)
    });
    doers.map(|known| known.beat_at).chain([time(row.beat_at)]).max().unwrap_or(time(row.beat_at))
}

#[derive(QueryableByName)]
struct OneTime {
    #[diesel(sql_type = BigInt)]
    at: i64,
}

#[derive(QueryableByName, Queryable, Selectable)]
#[diesel(table_name = duties)]
pub(crate) struct DutyRow {
    #[diesel(sql_type = Text)]
    pub name: String,
    #[diesel(sql_type = BigInt)]
    pub beat_at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub told_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub wanted_at: Option<i64>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = nodes)]
struct NodeRow {
    id: String,
    role: String,
    host: String,
    address: String,
    version: String,
    started_at: i64,
    beat_at: i64,
    offset_ms: i64,
    goodbye_at: Option<i64>,
    unable: String,
    problem: String,
    told_at: Option<i64>,
}

impl NodeRow {
    fn known(self) -> KnownNode {
        KnownNode {
            node: Node {
                id: self.id,
                role: self.role,
                host: self.host,
                address: self.address,
                version: self.version,
                started_at: time(self.started_at),
                offset: TimeDelta::milliseconds(self.offset_ms),
            },
            beat_at: time(self.beat_at),
            goodbye_at: self.goodbye_at.map(time),
            found_at: self.told_at.map(time),
            unable: self.unable.split(',').filter(|duty| !duty.is_empty()).map(str::to_owned).collect(),
            problem: self.problem,
        }
    }
}
