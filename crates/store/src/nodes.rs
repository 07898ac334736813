//! Nodes: the processes of the installation, what they have to do, and who noticed that one is gone.

use chrono::TimeDelta;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable, Text};
use innkeeper_core::Time;
use innkeeper_core::reservation::Window;

use crate::connection::AnyConnection;
use crate::rows::{ms, time};
use crate::schema::{duties, nodes};
use crate::{NewDelivery, Store, StoreError, blind, outbox};

/// How long the rows of the dead are kept.
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
    /// What it adds to its machine's clock.
    pub offset: TimeDelta,
}

/// A node as the others know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownNode {
    /// What it said of itself.
    pub node: Node,
    /// Its latest heartbeat.
    pub beat_at: Time,
    /// When it said that it stops.
    pub goodbye_at: Option<Time>,
}

impl KnownNode {
    /// `alive`, `silent` when it has not beaten for longer than `gone_after`, or `stopped`.
    pub fn state(&self, gone_after: TimeDelta, now: Time) -> &'static str {
        match self.goodbye_at {
            Some(_) => "stopped",
            None if now - self.beat_at > gone_after => "silent",
            None => "alive",
        }
    }
}

/// What somebody has to do at any time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duty {
    /// `ingest`, `sweeper` or `web`.
    pub name: String,
    /// The latest heartbeat of anybody who does it.
    pub beat_at: Time,
}

/// What a heartbeat has found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Beaten {
    /// The blind window that this heartbeat has ended.
    pub blind: Option<Window>,
    /// Duties that somebody does again, of which the operator was told that nobody did.
    pub taken_up: Vec<String>,
}

/// What a look at the others has found, which nobody has told yet; it is the caller's to tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watched {
    /// Nodes that stopped without saying goodbye.
    pub gone: Vec<KnownNode>,
    /// Duties that nobody does.
    pub missing: Vec<Duty>,
}

impl Store {
    /// Records a heartbeat of `node`, which has these duties. One that ends a blind window records that too, and puts what `tell`
    /// makes of it into the outbox; `first`: it is the node's first.
    pub fn beat(
        &self,
        node: &Node,
        duties: &[&str],
        first: bool,
        now: Time,
        tell: &dyn Fn(&Window) -> Vec<NewDelivery>,
    ) -> Result<Beaten, StoreError> {
        self.write(|connection| {
            let mut beaten = Beaten::default();
            for duty in duties {
                let known = lock_duty(connection, duty)?;
                if *duty == blind::DUTY
                    && let Some(known) = &known
                {
                    beaten.blind = blind::end(connection, time(known.beat_at), first, now)?;
                }
                if known.is_some_and(|known| known.told_at.is_some()) {
                    beaten.taken_up.push((*duty).to_owned());
                }
                sql_query(
                    "INSERT INTO duties (name, beat_at) VALUES ($1, $2)
                     ON CONFLICT (name) DO UPDATE
                     SET told_at = NULL,
                         beat_at = CASE WHEN duties.beat_at > excluded.beat_at THEN duties.beat_at ELSE excluded.beat_at END",
                )
                .bind::<Text, _>(*duty)
                .bind::<BigInt, _>(ms(now))
                .execute(connection)?;
            }
            sql_query(
                "INSERT INTO nodes (id, role, host, address, version, started_at, beat_at, offset_ms)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
                 ON CONFLICT (id) DO UPDATE
                 SET address = excluded.address, beat_at = excluded.beat_at, offset_ms = excluded.offset_ms,
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
            .execute(connection)?;
            for delivery in beaten.blind.iter().flat_map(tell) {
                let NewDelivery { alerter, recipient, notice } = &delivery;
                outbox::put(connection, None, alerter, recipient, notice, now)?;
            }
            Ok(beaten)
        })
    }

    /// Records that the node stops as it was asked to.
    pub fn say_goodbye(&self, id: &str, now: Time) -> Result<(), StoreError> {
        diesel::update(nodes::table.filter(nodes::id.eq(id)))
            .set(nodes::goodbye_at.eq(Some(ms(now))))
            .execute(&mut *self.get()?)?;
        Ok(())
    }

    /// Looks for nodes and duties whose last heartbeat is longer ago than these spans. Each is found once, by one caller alone,
    /// until it beats again. Rows of nodes that are long dead are removed.
    pub fn watch(
        &self,
        gone_after: TimeDelta,
        missing_after: TimeDelta,
        now: Time,
    ) -> Result<Watched, StoreError> {
        self.write(|connection| {
            // Duties first, as in a heartbeat: two who lock rows of both must not wait for each other.
            let missing: Vec<DutyRow> = sql_query(
                "UPDATE duties SET told_at = $1 WHERE told_at IS NULL AND beat_at < $2 RETURNING name, beat_at, told_at",
            )
            .bind::<BigInt, _>(ms(now))
            .bind::<BigInt, _>(ms(now - missing_after))
            .load(connection)?;
            let gone: Vec<NodeRow> = sql_query(
                "UPDATE nodes SET told_at = $1 WHERE told_at IS NULL AND goodbye_at IS NULL AND beat_at < $2
                 RETURNING id, role, host, address, version, started_at, beat_at, offset_ms, goodbye_at",
            )
            .bind::<BigInt, _>(ms(now))
            .bind::<BigInt, _>(ms(now - gone_after))
            .load(connection)?;
            diesel::delete(nodes::table.filter(nodes::beat_at.lt(ms(now - REMEMBERED))))
                .execute(connection)?;
            Ok(Watched {
                gone: gone.into_iter().map(NodeRow::known).collect(),
                missing: missing
                    .into_iter()
                    .map(|row| Duty { name: row.name, beat_at: time(row.beat_at) })
                    .collect(),
            })
        })
    }

    /// The nodes, by role and start; those of the last day.
    pub fn nodes(&self) -> Result<Vec<KnownNode>, StoreError> {
        let rows: Vec<NodeRow> = nodes::table
            .order((nodes::role, nodes::started_at, nodes::id))
            .select(NodeRow::as_select())
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(NodeRow::known).collect())
    }

    /// The duties that anybody has had.
    pub fn duties(&self) -> Result<Vec<Duty>, StoreError> {
        let rows: Vec<DutyRow> =
            duties::table.order(duties::name).select(DutyRow::as_select()).load(&mut *self.get()?)?;
        Ok(rows.into_iter().map(|row| Duty { name: row.name, beat_at: time(row.beat_at) }).collect())
    }

    /// What the database's clock shows; none for SQLite, whose clock is the machine's.
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

/// The row of a duty, locked; none when nobody has had it yet.
fn lock_duty(connection: &mut AnyConnection, name: &str) -> Result<Option<DutyRow>, StoreError> {
    let lock = match connection {
        AnyConnection::Postgres(_) => "FOR UPDATE",
        AnyConnection::Sqlite(_) => "",
    };
    Ok(sql_query(format!("SELECT name, beat_at, told_at FROM duties WHERE name = $1 {lock}"))
        .bind::<Text, _>(name)
        .get_result(connection)
        .optional()?)
}

#[derive(QueryableByName)]
struct OneTime {
    #[diesel(sql_type = BigInt)]
    at: i64,
}

#[derive(QueryableByName, Queryable, Selectable)]
#[diesel(table_name = duties)]
struct DutyRow {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    beat_at: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    told_at: Option<i64>,
}

#[derive(QueryableByName, Queryable, Selectable)]
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
        }
    }
}
