//! The progress of a database, by which an older copy is recognized.

use diesel::{RunQueryDsl as _, SqliteConnection, sql_query, sql_types};

/// The progress of a database. An older copy of the same database is behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, diesel::QueryableByName)]
pub(super) struct Progress {
    #[diesel(sql_type = sql_types::BigInt)]
    checkin: i64,
    #[diesel(sql_type = sql_types::BigInt)]
    beat_at: i64,
}

impl Progress {
    /// The progress of this database. `None` if it cannot be read.
    pub fn of(connection: &mut SqliteConnection) -> Option<Self> {
        let sql = "SELECT COALESCE((SELECT MAX(id) FROM checkins), 0) AS checkin,
                       COALESCE((SELECT MAX(beat_at) FROM duties), 0) AS beat_at";
        match sql_query(sql).get_result(connection) {
            Ok(progress) => Some(progress),
            Err(error) => {
                log::debug!("how far the database has come: {error}");
                None
            }
        }
    }

    pub fn is_behind(self, other: Self) -> bool {
        self.checkin < other.checkin || self.beat_at < other.beat_at
    }
}
