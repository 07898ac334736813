//! An event that happens a thousand times makes one log line a minute, with a count.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::*;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::{HttpSink, SinkResponse};
use innkeeper_testing::process::{PATIENCE, Server};

/// Lines of the log that have all of these words.
fn lines(server: &Server, words: &[&str]) -> usize {
    server.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
}

#[test]
fn a_storm_that_does_not_get_through_is_one_line_for_each_alerter() {
    const MANY: usize = 200;
    for database in TestDatabase::both() {
        let (away, refusing) = (HttpSink::start(), HttpSink::start());
        away.otherwise(SinkResponse::status(503));
        refusing.otherwise(SinkResponse::status(400));
        overdue(&database, "shop", MANY, "away, refusing, gone");
        let alerters = format!("{}{}", webhook("away", &away, ""), webhook("refusing", &refusing, ""));
        let instance = Instance::open(database, &alerters);
        away.wait_for(MANY, PATIENCE);
        refusing.wait_for(MANY, PATIENCE);
        wait_until("all of it is recorded", || {
            let recorded = "deliveries WHERE alerter IN ('away', 'refusing') AND problem IS NOT NULL";
            instance.database.count(recorded) == 2 * MANY as i64
        });
        // The first of each kind is said at once; a minute that ends meanwhile may bring one more, with the count.
        for words in [
            ["a message through away", "is tried again"],
            ["a message through refusing", "cannot be delivered"],
            ["a message does not go out", "gone"],
        ] {
            let said = lines(&instance.sweeper, &words);
            assert!((1..=2).contains(&said), "{words:?} stands {said} times in the log of {MANY}");
        }
    }
}

#[test]
fn a_sweep_that_fails_each_second_is_one_line() {
    for database in TestDatabase::both() {
        overdue(&database, "shop", 1, "log");
        database.execute("ALTER TABLE states RENAME COLUMN wake_at TO wake_was");
        let sweeper = Server::start("sweeper", &config(&database, ""), &[]);
        sweeper.wait_for_log("ERROR");
        wait_until("the operator hears of sweeps that fail", || lines(&sweeper, &["Sweeps fail"]) > 0);
        let said = lines(&sweeper, &["ERROR", "sweep: "]);
        assert_eq!(said, 1, "{}", sweeper.log());
    }
}
