//! The figures, each in a file of its own.

mod beside_bare;
mod checkins;
mod sqlite;

use anyhow::Result;

use crate::table::Row;
use crate::world::World;

/// One figure, or a few that are measured together.
pub struct Figure {
    /// What `--only` calls it.
    pub name: &'static str,
    /// What is measured.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(&mut World) -> Result<Vec<Row>>,
}

/// All of them, in the order of the table.
pub const FIGURES: &[Figure] = &[
    Figure {
        name: "checkins-128",
        about: "check-ins over Postgres, 128 connections",
        measure: checkins::over_128_connections,
    },
    Figure {
        name: "checkins-32",
        about: "check-ins over Postgres, 32 connections",
        measure: checkins::over_32_connections,
    },
    Figure { name: "pings", about: "pings over Postgres", measure: checkins::pings },
    Figure { name: "sqlite", about: "check-ins over SQLite", measure: sqlite::checkins_over_sqlite },
];
