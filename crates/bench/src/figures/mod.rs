//! The figures, each in a file of its own.

mod beside_bare;
mod checkins;
mod cold_start;
mod deadlines;
mod growth;
mod kinds;
mod lists;
mod mails;
mod pages;
mod pgbench;
mod probing;
mod scan;
mod spike;
mod sqlite;
mod storms;
mod sustained;
mod watching;
mod wrapped;

use anyhow::Result;

use crate::table::Row;
use crate::world::World;

/// One figure, or several that are measured together.
pub struct Figure {
    /// The name for `--only`.
    pub name: &'static str,
    /// A description of the measurement.
    pub about: &'static str,
    /// Runs the measurement.
    pub measure: fn(&mut World) -> Result<Vec<Row>>,
}

const fn figure(
    name: &'static str,
    about: &'static str,
    measure: fn(&mut World) -> Result<Vec<Row>>,
) -> Figure {
    Figure { name, about, measure }
}

/// All figures, in the order of the table.
pub const FIGURES: &[Figure] = &[
    figure("checkins-128", "check-ins over Postgres, 128 connections", checkins::over_128_connections),
    figure("checkins-32", "check-ins over Postgres, 32 connections", checkins::over_32_connections),
    figure("pings", "pings over Postgres, 128 connections", checkins::pings),
    figure("starts", "a start and a success over Postgres", kinds::starts),
    figure("exits", "an exit status with output over Postgres", kinds::exits),
    figure("runs", "runs with ids over Postgres", kinds::runs),
    figure("figures", "figures over Postgres", kinds::figures),
    figure("mix", "all kinds by their shares over Postgres", kinds::mix),
    figure("gocron", "gocron's check-ins over Postgres", kinds::gocron),
    figure("new", "reservations that check-ins make", kinds::new),
    figure("pgbench", "check-ins beside one row per commit", pgbench::checkins_beside_one_row_per_commit),
    figure("sqlite", "check-ins over SQLite, 128 connections", sqlite::checkins_over_sqlite),
    figure("growth", "many reservations beside few", growth::checkins_with_many_and_with_few_reservations),
    figure("sustained", "ten minutes at 0.8 of the best rate", sustained::ten_minutes_of_checkins),
    figure("watching", "the sweeper while nothing is overdue", watching::sweeper_with_nothing_overdue),
    figure("scan", "one look with nothing due", scan::one_look_with_nothing_due),
    figure("deadlines", "from deadline to webhook", deadlines::from_deadline_to_webhook),
    figure("storm-1000", "1,000 overdue at one instant", storms::a_thousand_at_one_instant),
    figure("storm-50000", "50,000 overdue at one instant", storms::fifty_thousand_at_one_instant),
    figure("mails-30", "30 overdue within a second, two mailboxes", mails::thirty_within_a_second),
    figure("mails", "50,000 overdue, one mailbox", mails::fifty_thousand_to_one_mailbox),
    figure("spike", "the top of the hour", spike::the_top_of_the_hour),
    figure("pages", "pages of many reservations over Postgres", pages::over_postgres),
    figure("pages-sqlite", "pages of many reservations over SQLite", pages::over_sqlite),
    figure("lists", "lists of many reservations over Postgres", lists::over_postgres),
    figure("lists-sqlite", "lists of many reservations over SQLite", lists::over_sqlite),
    figure("agent", "a job that the agent wraps", wrapped::a_job_that_is_wrapped),
    figure("probes", "1,000 TCP probes a minute", probing::a_thousand_probes),
    figure("cold-start", "from start to first check-in", cold_start::from_start_to_first_checkin),
];
