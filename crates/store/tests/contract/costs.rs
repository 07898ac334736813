//! The cost of repeated work depends on what there is to do, not on how much is stored.

use std::cell::RefCell;
use std::time::Instant;

use innkeeper_core::reservation::Patch;
use innkeeper_store::{DatabaseKind, Filter, FinishedDeliveries, ListCursor, SendOutcome};
use innkeeper_testing::database::TestDatabase;

use crate::asked::{asked, listen, plans};
use crate::outbox::put;
use crate::world::*;

on_both!(
    in_a_storm_what_is_down_is_counted_once_a_second,
    a_claim_that_finds_nothing_does_not_wait_for_the_lock,
);

fn counts(statements: &[String]) -> usize {
    statements.iter().filter(|statement| statement.to_uppercase().contains("COUNT(*)")).count()
}

#[test]
fn a_pass_that_changes_nothing_counts_nothing() {
    listen();
    let database = TestDatabase::sqlite();
    let store = database.store();
    store.book("healthy", &every(60));
    store.check_in("healthy", &[success(at(50))]);
    let quiet = asked(|| assert_eq!(store.pass(at(60)).looked, 1));
    assert_eq!(counts(&quiet), 0, "{quiet:?}");
    let silent = asked(|| assert_eq!(store.pass(at(110)).opened, 1));
    assert!(counts(&silent) > 0, "{silent:?}");
}

fn in_a_storm_what_is_down_is_counted_once_a_second(database: &TestDatabase) {
    listen();
    let store = database.store();
    for n in 0..250 {
        store.book(&format!("job-{n}"), &every(10));
    }
    store.book("late", &every(20));
    let others = RefCell::new(Vec::new());
    let pass = |second, limit| {
        let rules = Rules(|told| {
            others.borrow_mut().push((told.others_down, told.jobs));
            tell_log(told)
        });
        store.sweep(at(second), limit, &rules).unwrap()
    };
    pass(10, 200);
    let begun = Instant::now();
    let storm = asked(|| (0..5).for_each(|_| assert_eq!(pass(10, 10).opened, 10)));
    // Two counts at a time: of the jobs, and of the jobs that are down.
    if database.kind() == DatabaseKind::Sqlite {
        let most = 2 * begun.elapsed().as_secs() as usize + 2;
        assert!(!storm.is_empty() && counts(&storm) <= most, "{} counts, at most {most}", counts(&storm));
    }
    let expected: Vec<i64> = [vec![199; 200], (0..5).flat_map(|n| vec![209 + 10 * n; 10]).collect()].concat();
    assert_eq!(others.take(), expected.into_iter().map(|down| (down, 251)).collect::<Vec<_>>());
    // Jobs that come back count at once.
    (0..10).for_each(|n| drop(store.check_in(&format!("job-{n}"), &[success(at(12))])));
    assert_eq!(pass(12, 100).closed, 10);
    others.take();
    assert_eq!(pass(20, 100).opened, 1);
    assert_eq!(others.take(), [(240, 251)]);
}

fn a_claim_that_finds_nothing_does_not_wait_for_the_lock(database: &TestDatabase) {
    let store = database.store();
    put(&store, 0, &["one", "two"]);
    let claim = |token| store.claim_digest("mail", at(0), seconds(10), token, 1, true).unwrap();
    assert!(claim("t").is_some());
    let _held = database.hold("deliveries");
    assert_eq!(claim("u"), None, "the other one gathers");
}

#[test]
fn who_gathers_is_found_by_an_index_when_singles_fail() {
    listen();
    let database = TestDatabase::sqlite();
    let store = database.store();
    put(&store, 0, &["one", "two"]);
    let sendings = store.claim_singles("mail", at(0), seconds(10), "t", 10).unwrap();
    let retried = |n: usize| FinishedDeliveries {
        ids: vec![sendings[n].deliveries[0].id],
        outcome: SendOutcome::Retry { at: at(5 + n as i64), maybe_sent: false, problem: "busy".to_owned() },
    };
    let failed = asked(|| store.finish("t", &[retried(0), retried(1)], at(1)).unwrap());
    let plans = plans(&database, &failed, "pacing");
    assert!(plans.iter().all(|step| !step.starts_with("SCAN pacing")), "{plans:?}");
}

#[test]
fn a_part_of_a_name_is_found_without_a_look_at_all_names() {
    let database = TestDatabase::postgres();
    let store = database.store();
    store.book("one", &every(60));
    database.execute(
        "INSERT INTO reservations (key, app, component, slug, owner, description, tags, notify, alerters, alert_msg, schedule,
             grace_ms, alert_after, notify_recovery, is_site, created_at, updated_at)
         SELECT gen_random_uuid()::text, app, 'job ' || n || ' ' || md5(n::text), 'job-' || n, owner, description, tags, notify,
             alerters, alert_msg, schedule, grace_ms, alert_after, notify_recovery, is_site, created_at, updated_at
         FROM reservations, generate_series(1, 20000) AS n;
         INSERT INTO states (reservation_id, names_key, ping_key, wake_at, eager)
         SELECT id, gen_random_uuid(), gen_random_uuid(), 0, false FROM reservations WHERE component <> 'one'",
    );
    // As autovacuum does after a while.
    database.execute("VACUUM ANALYZE reservations");
    database.execute("VACUUM ANALYZE states");
    let found = |text: &str| {
        let filter = Filter { text: Some(text.to_owned()), ..Filter::default() };
        store.page(&filter, &ListCursor::name(), 10, at(0)).unwrap().listed.len()
    };
    assert_eq!((found("JOB 4711 "), found("no such name")), (1, 0));
    database.execute(
        "CREATE FUNCTION plan_of(query text) RETURNS SETOF text LANGUAGE plpgsql
         AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN ' || query; END $$",
    );
    let search = "SELECT id FROM reservations
        WHERE lower(app) LIKE ''%no such name%'' OR lower(component) LIKE ''%no such name%''";
    let plan = database.texts(&format!("SELECT plan_of('{search}')")).join("\n");
    for index in ["reservations_by_part_of_app", "reservations_by_part_of_component"] {
        assert!(plan.contains(index), "{plan}");
    }
}

#[test]
fn a_start_goes_on_where_the_index_of_parts_of_names_cannot_be_made() {
    let database = TestDatabase::postgres();
    database.store();
    database.execute("DROP INDEX reservations_by_part_of_app; DROP EXTENSION pg_trgm CASCADE");
    // A function of the name that the extension brings is in its way.
    database.execute("CREATE FUNCTION similarity(text, text) RETURNS real LANGUAGE sql AS 'SELECT 0::real'");
    let store = database.connect();
    store.migrate().unwrap();
    assert_eq!(database.count("pg_extension WHERE extname = 'pg_trgm'"), 0);
    store.book("backup", &every(60));
    database.execute("DROP FUNCTION similarity(text, text)");
    store.migrate().unwrap();
    assert_eq!(database.count("pg_indexes WHERE indexname LIKE 'reservations_by_part_of_%'"), 2);
}

#[test]
fn the_sites_of_an_app_are_found_without_a_look_at_its_other_jobs() {
    listen();
    let database = TestDatabase::sqlite();
    let store = database.store();
    store.book("job", &every(60));
    store.book("gateway", &Patch { is_site: Some(true), ..every(600) });
    let pass = asked(|| assert_eq!(store.pass(at(60)).looked, 1));
    let plans = plans(&database, &pass, "WHERE is_site");
    assert!(plans.iter().any(|step| step.contains("INDEX reservations_that_are_sites")), "{plans:?}");
}

#[test]
fn a_checkout_that_never_was_is_not_looked_for_in_the_whole_audit_log() {
    listen();
    let database = TestDatabase::sqlite();
    let store = database.store();
    let page = asked(|| assert_eq!(store.past_checkout(7).unwrap(), None));
    let plans = plans(&database, &page, "audit");
    assert!(plans.iter().any(|step| step.contains("INDEX audit_check_outs (detail=?)")), "{plans:?}");
}
