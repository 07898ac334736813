//! The contract of the store, on both databases: each test runs on an SQLite file and on a Postgres
//! database of its own.
//!
//! All tests are one program, so that it is linked once. Start reading with `world.rs`, which has
//! the common helpers.

#![allow(clippy::unwrap_used)]

/// Makes two tests of each function: `on_sqlite::…` and `on_postgres::…`.
macro_rules! on_both {
    ($($test:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[test] fn $test() { super::$test(&innkeeper_testing::database::TestDatabase::sqlite()) })+
        }
        mod on_postgres {
            $(#[test] fn $test() { super::$test(&innkeeper_testing::database::TestDatabase::postgres()) })+
        }
    };
}

mod access;
mod apply;
mod asked;
mod checkins;
mod checkins_together;
mod checkout;
mod clock;
mod costs;
mod database_file;
mod factors;
mod facts;
mod figures;
mod history;
mod identities;
mod listing;
mod mend;
mod migrate;
mod nodes;
mod outbox;
mod outbox_again;
mod outbox_order;
mod pacing;
mod pages;
mod passkeys;
mod refusals;
mod reports;
mod reserve;
mod rules;
mod runs;
mod sites;
mod slugs;
mod snapshot;
mod sweep;
mod sweep_together;
mod unavailable;
mod wake;
mod world;
