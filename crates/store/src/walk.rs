//! Finds due reservations where the index of wake times leads to rows that cannot be read: by their
//! numbers, one span after the other.
//!
//! A damaged page of `states` fails every query that touches one of its rows. So spans of numbers
//! are read one by one, and a span that fails is halved until the row at fault is alone.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::dsl::max;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::BigInt;
use innkeeper_core::Time;

use crate::StoreError;
use crate::connection::{AnyConnection, write_on};
use crate::rows::ms;
use crate::schema::reservations;

/// How long one walk takes at most. The next walk finds the rest, because it leaves out the
/// unreadable rows that this one has found.
const LONGEST: Duration = Duration::from_secs(3);

/// What a walk has found.
#[derive(Debug, Default)]
pub(crate) struct WalkFindings {
    /// The due reservations, the earliest first.
    pub due: Vec<i64>,
    /// The reservations that cannot be read, and why.
    pub unreadable: Vec<(i64, String)>,
}

/// Up to `limit` reservations that are due between `from` and `now`, without those `aside`. None
/// when no span can be read, because then single rows are not at fault.
pub(crate) fn due(
    connection: &mut AnyConnection,
    from: i64,
    now: Time,
    limit: i64,
    aside: &[i64],
) -> Result<Option<WalkFindings>, StoreError> {
    let last: Option<i64> = reservations::table.select(max(reservations::id)).first(connection)?;
    let mut aside = aside.to_vec();
    aside.sort_unstable();
    let mut walk = Walk {
        connection,
        from,
        now: ms(now),
        limit,
        end: Instant::now() + LONGEST,
        due: Vec::new(),
        unreadable: Vec::new(),
        succeeded: false,
    };
    let mut low = 0;
    for high in aside.iter().map(|id| id - 1).chain(last) {
        walk.span(low, high)?;
        low = high + 2;
    }
    let Walk { mut due, unreadable, succeeded, .. } = walk;
    due.sort_unstable();
    due.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(succeeded.then(|| WalkFindings { due: due.into_iter().map(|(_, id)| id).collect(), unreadable }))
}

struct Walk<'a> {
    connection: &'a mut AnyConnection,
    from: i64,
    now: i64,
    limit: i64,
    end: Instant,
    /// When each reservation is due, and its number.
    due: Vec<(i64, i64)>,
    unreadable: Vec<(i64, String)>,
    succeeded: bool,
}

impl Walk<'_> {
    fn span(&mut self, low: i64, high: i64) -> Result<(), StoreError> {
        if low > high || Instant::now() > self.end {
            return Ok(());
        }
        match self.read(low, high) {
            Ok(rows) => {
                self.succeeded = true;
                self.due.extend(rows.into_iter().map(|row| (row.wake_at, row.id)));
                Ok(())
            }
            Err(error) if error.is_unavailable() => Err(error),
            Err(error) if low == high => {
                self.unreadable.push((low, error.to_string()));
                Ok(())
            }
            Err(_) => {
                let middle = low + (high - low) / 2;
                self.span(low, middle)?;
                self.span(middle + 1, high)
            }
        }
    }

    fn read(&mut self, low: i64, high: i64) -> Result<Vec<DueRow>, StoreError> {
        // The plus sign keeps planners from using the index of wake times.
        let query = sql_query(
            "SELECT reservation_id AS id, wake_at FROM states
             WHERE reservation_id >= $1 AND reservation_id <= $2 AND +wake_at >= $3 AND +wake_at <= $4
             ORDER BY +wake_at LIMIT $5",
        )
        .bind::<BigInt, _>(low)
        .bind::<BigInt, _>(high)
        .bind::<BigInt, _>(self.from)
        .bind::<BigInt, _>(self.now)
        .bind::<BigInt, _>(self.limit);
        if let AnyConnection::Sqlite(_) = self.connection {
            return Ok(query.load(self.connection)?);
        }
        // A statement that fails aborts its transaction, so each has its own.
        write_on(None, self.connection, |connection| {
            row_by_row(connection)?;
            Ok(query.load(connection)?)
        })
    }
}

/// Makes the statements of this transaction find rows through indexes only, so that they touch no
/// other rows. SQLite does that anyway.
pub(crate) fn row_by_row(connection: &mut AnyConnection) -> Result<(), StoreError> {
    if let AnyConnection::Postgres(connection) = connection {
        let names = ["hashjoin", "mergejoin", "seqscan"];
        connection.batch_execute(&names.map(|name| format!("SET LOCAL enable_{name} = off")).join("; "))?;
    }
    Ok(())
}

#[derive(QueryableByName)]
struct DueRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    wake_at: i64,
}
