//! Reservations page by page: their orders, filters and states.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::sla::State;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::{ActingStore, DatabaseKind, Filter, ListCursor, MOST_LOOKED_AT, Page};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    a_list_is_paged_through_without_a_gap_those_that_are_down_first,
    a_filter_takes_what_it_says_and_nothing_else,
    each_order_is_paged_through_without_a_gap,
    a_state_is_what_evaluation_says,
    a_page_of_a_state_stops_looking_and_goes_on_from_there,
    a_walk_comes_by_all,
    a_job_that_changes_its_half_is_in_each_page_once,
);

/// The components on all pages from `cursor` on.
fn through(
    store: &ActingStore,
    filter: &Filter,
    mut cursor: ListCursor,
    limit: i64,
    now: i64,
) -> Vec<String> {
    let mut all = Vec::new();
    loop {
        let page = store.page(filter, &cursor, limit, at(now)).unwrap();
        assert!(page.listed.len() as i64 <= limit);
        all.extend(page.listed.iter().map(|one| one.reservation.spec.component.to_string()));
        match page.next {
            Some(next) => cursor = next,
            None => return all,
        }
    }
}

fn names(store: &ActingStore, filter: &Filter, limit: i64) -> Vec<String> {
    through(store, filter, ListCursor::worst(), limit, 1000)
}

fn a_list_is_paged_through_without_a_gap_those_that_are_down_first(database: &TestDatabase) {
    let store = database.store();
    for n in 0..53 {
        store.book(&format!("job-{n:02}"), &every(if n % 10 == 3 { 60 } else { 100_000 }));
    }
    assert_eq!(names(&store, &Filter::default(), 10).len(), 53);
    while store.pass(at(60)).looked > 0 {}
    for limit in [1, 5, 6, 7, 53, 100] {
        let names = names(&store, &Filter::default(), limit);
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), 53, "limit {limit}");
        assert_eq!(names.len(), 53, "limit {limit}");
        assert_eq!(names[..6], ["job-03", "job-13", "job-23", "job-33", "job-43", "job-00"], "limit {limit}");
        assert!(names[5..].is_sorted(), "limit {limit}");
    }
    let counts = store.open_counts().unwrap();
    assert_eq!((counts.down, counts.waiting), (5, 5));
    let Page { listed, next, .. } =
        store.page(&Filter::default(), &ListCursor::worst(), 5, at(1000)).unwrap();
    assert!(listed.iter().all(|one| one.open_alert.is_some()));
    let next = match next {
        Some(ListCursor::Worst { down, component, .. }) => Some((down, component)),
        _ => None,
    };
    assert_eq!(next, Some((true, "job-43".to_owned())));
    let id = listed[0].reservation.id;
    assert_eq!(store.listed(id, at(1000)).unwrap().as_ref(), Some(&listed[0]));
    assert_eq!(store.listed(-1, at(1000)).unwrap(), None);
}

fn a_filter_takes_what_it_says_and_nothing_else(database: &TestDatabase) {
    let store = database.store();
    let patch = |owner: &str, tags: &[&str]| Patch {
        owner: Some(owner.to_owned()),
        tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
        ..every(60)
    };
    store.book("Backup 100%", &patch("ada", &["db", "night"]));
    store.book("backup_1000", &patch("bob", &["dbx"]));
    store.book("report", &patch("ada", &[]));
    let with = |filter: Filter| names(&store, &filter, 10);
    let text = |text: &str| with(Filter { text: Some(text.to_owned()), ..Filter::default() });
    assert_eq!(text("BACKUP"), ["Backup 100%", "backup_1000"]);
    assert_eq!(text("100%"), ["Backup 100%"], "no wildcard");
    assert_eq!(text("p_1"), ["backup_1000"]);
    assert_eq!(text("\\"), Vec::<String>::new());
    assert_eq!(text("shop").len(), 3, "the app counts too");
    let tag = |tag: &str| with(Filter { tag: Some(tag.to_owned()), ..Filter::default() });
    assert_eq!(tag("db"), ["Backup 100%"], "the whole tag");
    assert_eq!(tag("night"), ["Backup 100%"]);
    let owner = Filter { owner: Some("ada".to_owned()), text: Some("rep".to_owned()), ..Filter::default() };
    assert_eq!(with(owner), ["report"]);
    assert_eq!(with(Filter { app: Some("other".to_owned()), ..Filter::default() }), Vec::<String>::new());
    let apps = |apps: &[&str]| Some(apps.iter().map(|app| (*app).to_owned()).collect());
    assert_eq!(with(Filter { apps: apps(&["zoo", "shop"]), ..Filter::default() }).len(), 3);
    assert_eq!(with(Filter { apps: apps(&["zoo"]), ..Filter::default() }), Vec::<String>::new());
}

fn each_order_is_paged_through_without_a_gap(database: &TestDatabase) {
    let store = database.store();
    for name in ["c", "a", "d", "b", "e", "A"] {
        store.book(name, &every(100_000));
    }
    store.reserve(&app("annex"), &component("z"), &every(100_000), at(0)).unwrap();
    for (name, seconds) in [("d", 50), ("a", 70), ("e", 50), ("c", 60)] {
        store.check_in(name, &[success(at(seconds))]);
    }
    store.check_in("b", &[fail(at(90), 1)]);
    for limit in [1, 2, 3, 7, 8] {
        let order = |cursor| through(&store, &Filter::default(), cursor, limit, 100).join("");
        assert_eq!(order(ListCursor::name()), "zAabcde", "limit {limit}");
        assert_eq!(order(ListCursor::newest()), "zAebdac", "limit {limit}");
        assert_eq!(order(ListCursor::silent()), "bAzdeca", "limit {limit}");
        let shop = Filter { app: Some(SHOP.to_owned()), ..Filter::default() };
        assert_eq!(through(&store, &shop, ListCursor::silent(), limit, 100).join(""), "bAdeca");
    }
}

/// Makes jobs in every state at 1000.
fn in_every_state(store: &ActingStore) {
    let cron = |expression: &str| Patch {
        schedule: Some((Schedule::cron(expression, "UTC").unwrap(), None)),
        grace: Some(TimeDelta::hours(1)),
        ..Patch::default()
    };
    let graceful = |period| Patch { grace: Some(seconds(500)), ..every(period) };
    store.book("down", &every(60));
    store.book("down too", &every(60));
    store.book("new", &every(100_000));
    store.book("new by cron", &cron("0 2 * * *"));
    for (name, patch) in [
        ("up", every(100_000)),
        ("up by cron", cron("0 2 * * *")),
        ("late", graceful(900)),
        ("late by cron", cron("10 0 * * *")),
        ("overdue", Patch { alert_after: Some(3), ..every(600) }),
        ("snoozed", every(100_000)),
        ("running", every(100_000)),
    ] {
        store.book(name, &patch);
        store.check_in(name, &[success(at(1))]);
    }
    store.check_in("running", &[start(at(900))]);
    store.snooze(&app(SHOP), &component("snoozed"), at(5000), SnoozeMode::Quiet, at(10)).unwrap();
    store.book("gateway", &Patch { is_site: Some(true), ..every(100) });
    store.book("held", &every(950));
    for name in ["gateway", "held"] {
        store.check_in(name, &[from("203.0.113.7", success(at(1)))]);
    }
    while store.pass(at(999)).looked > 0 {}
    // The sweeper has not judged this one yet.
    store.book("just down", &every(1000));
}

fn a_state_is_what_evaluation_says(database: &TestDatabase) {
    let store = database.store();
    in_every_state(&store);
    let listed = store.page(&Filter::default(), &ListCursor::name(), 100, at(1000)).unwrap().listed;
    let mut met = BTreeSet::new();
    for &state in State::ALL {
        let named = |one: &Assessed| one.reservation.spec.component.to_string();
        let is = |one: &&Assessed| one.evaluation.state == state;
        let by_name: Vec<String> = listed.iter().filter(is).map(named).collect();
        if !by_name.is_empty() {
            met.insert(state.as_str());
        }
        let filter = Filter { state: Some(state), ..Filter::default() };
        for limit in [1, 2, 100] {
            for cursor in
                [ListCursor::name(), ListCursor::worst(), ListCursor::newest(), ListCursor::silent()]
            {
                let mut found = through(&store, &filter, cursor, limit, 1000);
                found.sort_unstable();
                assert_eq!(found, by_name, "{state:?} by {limit}");
            }
        }
    }
    let all = ["down", "held", "late", "new", "overdue", "running", "snoozed", "up"];
    assert_eq!(met.into_iter().collect::<Vec<_>>(), all);
    let down = Filter { state: Some(State::Down), ..Filter::default() };
    let found = through(&store, &down, ListCursor::name(), 10, 1000);
    assert_eq!(found, ["down", "down too", "gateway", "just down"]);
}

fn a_page_of_a_state_stops_looking_and_goes_on_from_there(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(100_000));
    store.check_in("job", &[success(at(1))]);
    // Copies of this reservation, which only the pages read.
    let count = MOST_LOOKED_AT + 500;
    database.execute(&copies(database, count));
    let last = format!("job-{:05}", count);
    database.execute(&format!(
        "UPDATE states SET last_checkin_at = NULL, last_start_at = 0, checkins = 1, wake_at = 9000000000000
         WHERE reservation_id <> (SELECT id FROM reservations WHERE component = '{last}')"
    ));
    database.execute(&format!(
        "UPDATE reservations SET schedule = 'every 500s', grace_ms = 900000 WHERE component = '{last}'"
    ));
    let late = Filter { state: Some(State::Late), ..Filter::default() };
    let page = store.page(&late, &ListCursor::name(), 50, at(1000)).unwrap();
    assert_eq!((page.listed.len(), page.looked_at), (0, Some(MOST_LOOKED_AT)));
    let page = store.page(&late, &page.next.unwrap(), 50, at(1000)).unwrap();
    assert_eq!((page.listed.len(), page.looked_at, page.next), (1, None, None));
    let up = Filter { state: Some(State::Up), ..Filter::default() };
    let page = store.page(&up, &ListCursor::name(), 50, at(1000)).unwrap();
    assert_eq!((page.listed.len(), page.looked_at, page.next.is_some()), (50, None, true));
    assert_eq!(through(&store, &up, ListCursor::name(), 4000, 1000).len() as i64, count);
}

/// SQL that makes `count` copies of the reservation `job`, with their states.
fn copies(database: &TestDatabase, count: i64) -> String {
    let columns =
        "app, owner, description, tags, notify, alerters, alert_msg, schedule, grace_ms, alert_after,
        notify_recovery, is_site, created_at, updated_at";
    let (numbers, padded) = match database.kind() {
        DatabaseKind::Postgres => {
            (format!("SELECT n FROM generate_series(1, {count}) n"), "lpad(n::text, 5, '0')")
        }
        DatabaseKind::Sqlite => (
            format!(
                "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < {count}) SELECT n FROM s"
            ),
            "printf('%05d', n)",
        ),
    };
    format!(
        "INSERT INTO reservations (key, component, slug, {columns})
         SELECT '00000000-0000-4000-8000-0000000' || {padded}, 'job-' || {padded}, 'job-' || {padded}, {columns}
         FROM ({numbers}) numbers, reservations WHERE component = 'job';
         INSERT INTO states (reservation_id, last_checkin_at, checkins, status, wake_at, eager, names_key, ping_key)
         SELECT id, last_checkin_at, checkins, status, wake_at, eager, names_key, ping_key
         FROM reservations, states WHERE component <> 'job';"
    )
}

fn a_walk_comes_by_all(database: &TestDatabase) {
    let store = database.store();
    for n in 0..5 {
        store.book(&format!("job-{n}"), &every(100));
    }
    let (mut seen, mut after) = (0, Some(0));
    while let Some(from) = after {
        let walked = store.walk(from, 2, at(10)).unwrap();
        seen += walked.listed.len();
        after = walked.next;
    }
    assert_eq!(seen, 5);
    assert!(store.walk(0, 5, at(10)).unwrap().next.is_some(), "there may be more");
}

fn a_job_that_changes_its_half_is_in_each_page_once(database: &TestDatabase) {
    let store = database.store();
    for name in ["a", "job", "z"] {
        store.book(name, &every(100_000));
    }
    let is_over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for second in 1..150 {
                let checkin = if second % 2 == 1 { fail(at(second), 1) } else { success(at(second)) };
                store.check_in("job", &[checkin]);
                store.pass(at(second));
            }
            is_over.store(true, std::sync::atomic::Ordering::SeqCst);
        });
        while !is_over.load(std::sync::atomic::Ordering::SeqCst) {
            let page = store.page(&Filter::default(), &ListCursor::worst(), 10, at(200)).unwrap();
            let mut names: Vec<String> =
                page.listed.iter().map(|one| one.reservation.spec.component.to_string()).collect();
            names.sort();
            assert_eq!(names, ["a", "job", "z"]);
        }
    });
}

/// A row of which the names cannot be read has every page made from the index of names.
#[test]
fn a_row_that_cannot_be_read_keeps_no_filter_and_no_order_from_the_others() {
    let database = TestDatabase::sqlite();
    let store = database.store();
    for n in 0..12 {
        let owned = Patch {
            owner: Some(if n % 2 == 0 { "even" } else { "odd" }.to_owned()),
            tags: Some(vec![format!("three-{}", n % 3)]),
            ..every(60)
        };
        store.book(&format!("job-{n:02}"), &owned);
    }
    let damaged = store.book("damaged", &every(60));
    database.execute(
        "PRAGMA writable_schema = ON;
         UPDATE sqlite_master SET sql = REPLACE(sql, 'NOT NULL', '') WHERE name = 'reservations'",
    );
    drop(store);
    let store = database.connect();
    database.execute(&format!("UPDATE reservations SET component = NULL WHERE id = {damaged}"));

    let all: Vec<String> = (0..12).map(|n| format!("job-{n:02}")).collect();
    let newest: Vec<String> = all.iter().rev().cloned().collect();
    let through = |filter: &Filter, cursor| through(&store, filter, cursor, 5, 1000);
    for (cursor, expected) in [
        (ListCursor::name(), &all),
        (ListCursor::worst(), &all),
        (ListCursor::newest(), &newest),
        (ListCursor::silent(), &all),
    ] {
        assert_eq!(through(&Filter::default(), cursor.clone()), *expected, "{cursor:?}");
    }
    let none = Filter::default();
    for (filter, expected) in [
        (Filter { text: Some("JOB-0".to_owned()), ..none.clone() }, &all[..10]),
        (Filter { app: Some(SHOP.to_owned()), ..none.clone() }, &all[..]),
        (Filter { apps: Some(vec!["bank".to_owned()]), ..none.clone() }, &[]),
    ] {
        assert_eq!(through(&filter, ListCursor::name()), expected, "{filter:?}");
    }
    let owned = Filter { owner: Some("even".to_owned()), ..none.clone() };
    assert_eq!(through(&owned, ListCursor::name()).len(), 6);
    let tagged = Filter { tag: Some("three-0".to_owned()), ..none };
    assert_eq!(through(&tagged, ListCursor::newest()), ["job-09", "job-06", "job-03", "job-00"]);
}
