//! Whether the rate, the sizes of the tables and the memory stay stable under sustained load.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use anyhow::{Result, ensure};

use crate::http::Ask;
use crate::load::{self, LoadOutcome, LoadPlan};
use crate::table::{Row, commas};
use crate::world::World;
use crate::world::database::Database;
use crate::world::roles::Roles;

/// Share of the highest rate.
const SHARE: f64 = 0.8;

/// Ten minutes of check-ins at 0.8 of the best rate, with the sweeper at work.
pub fn ten_minutes_of_checkins(world: &mut World) -> Result<Vec<Row>> {
    // A shorter run is divided into ten parts as well, which count as minutes.
    let minute = world.conditions.pick(60, 6, 1);
    let seconds = world.conditions.run_seconds();
    let database = world.many()?;
    database.begin(0)?;
    let roles = Roles::start(database, "")?;
    let ingest = &roles.ingest;
    let plan = |rate, lasts| -> Result<LoadPlan> {
        let jobs = 0..database.reservations();
        Ok(LoadPlan {
            address: ingest.address()?,
            connections: 128,
            rate,
            most: None,
            lasts: Some(lasts),
            jobs,
            ask: Ask::CheckIn,
        })
    };
    let run = |rate, seconds| -> Result<LoadOutcome> {
        load::run(&plan(rate, Duration::from_secs(seconds))?, &AtomicBool::new(false))
    };
    load::warm_up(ingest.address()?, Ask::CheckIn, database.reservations())?;
    let best = run(None, seconds)?.rate();
    let before = Sizes::of(database)?;
    let outcome = run(Some(best * SHARE), minute * 10)?;
    outcome.all_acknowledged()?;
    let after = Sizes::of(database)?;
    let usage = ingest.usage()?;
    let of_minute = |number: usize| -> u64 {
        outcome.per_second.chunks(minute as usize).nth(number).map_or(0, |seconds| seconds.iter().sum())
    };
    ensure!(of_minute(9) > 0, "the load ended early");
    let (first, last) = (of_minute(0) as f64 / minute as f64, of_minute(9) as f64 / minute as f64);
    let share = last / first;
    let how = format!(
        "{} s at 0.8 of {}/s (the best of the same client), 128 connections, round robin, the sweeper at work; p99 {:.1} ms, longest {:.0} ms",
        minute * 10,
        commas(best),
        outcome.latency.quantile_ms(0.99),
        outcome.latency.most_ms()
    );
    Ok(vec![
        Row::new(
            "sustained: check-ins/s of the last minute, of the first",
            format!("{share:.2} ({} of {}/s)", commas(last), commas(first)),
        )
        .at_least(share, 0.95, "")
        .under(how)
        .with("best_per_second", best)
        .with("p99_ms", outcome.latency.quantile_ms(0.99)),
        after.row_since(&before, outcome.acknowledged),
        Row::new("ingest RSS under that load, its peak", format!("{:.0} MB", usage.peak_rss_mb))
            .at_most(usage.peak_rss_mb, 40.0, " MB")
            .under(format!("{:.0} MB at its end", usage.rss_mb)),
    ])
}

/// Sizes of tables and indexes in MB, and counts of updated rows.
struct Sizes {
    states: f64,
    states_indexes: f64,
    checkins: f64,
    checkins_indexes: f64,
    updated: f64,
    hot: f64,
}

impl Sizes {
    fn of(database: &Database) -> Result<Self> {
        // Postgres publishes its counts of updates within a second after the end of a transaction.
        std::thread::sleep(Duration::from_secs(2));
        let number = |sql: &str| database.number(sql);
        // The size of a table includes its partitions.
        let size = |function: &str, table: &str| {
            number(&format!(
                "SELECT COALESCE(SUM({function}(relid)), 0) / 1048576.0
                 FROM (SELECT '{table}'::regclass AS relid UNION SELECT relid FROM pg_partition_tree('{table}')) parts"
            ))
        };
        let updates = |column: &str| {
            number(&format!("SELECT {column} FROM pg_stat_user_tables WHERE relname = 'states'"))
        };
        Ok(Self {
            states: size("pg_table_size", "states")?,
            states_indexes: size("pg_indexes_size", "states")?,
            checkins: size("pg_table_size", "checkins")?,
            checkins_indexes: size("pg_indexes_size", "checkins")?,
            updated: updates("n_tup_upd")?,
            hot: updates("n_tup_hot_upd")?,
        })
    }

    /// The growth since `before`, for this number of check-ins.
    fn row_since(&self, before: &Self, checkins: u64) -> Row {
        let hot = (self.hot - before.hot) / (self.updated - before.updated).max(1.0);
        let history = self.checkins + self.checkins_indexes - before.checkins - before.checkins_indexes;
        let per_million = history / (checkins as f64 / 1e6);
        let words = format!(
            "states {:.0} → {:.0} MB, its indexes {:.0} → {:.0} MB; history {:.0} MB per million check-ins; {:.1} % of updates HOT",
            before.states,
            self.states,
            before.states_indexes,
            self.states_indexes,
            per_million,
            hot * 100.0
        );
        Row::new("sizes over that load", words)
            .under(format!("{} check-ins; autovacuum as Postgres sets it", commas(checkins as f64)))
            .with("states_mb", vec![before.states, self.states])
            .with("states_indexes_mb", vec![before.states_indexes, self.states_indexes])
            .with("checkins_mb", vec![before.checkins, self.checkins])
            .with("checkins_indexes_mb", vec![before.checkins_indexes, self.checkins_indexes])
            .with("history_mb_per_million", per_million)
            .with("hot_share", hot)
    }
}
