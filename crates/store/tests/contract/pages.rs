//! What pages ask for.

use std::collections::BTreeSet;

use innkeeper_core::reservation::Wishes;
use innkeeper_store::{Cursor, Filter, Outcome, Store};
use innkeeper_testing::database::TestDatabase;

use crate::outbox::{finish, singles};
use crate::world::*;

on_both!(
    a_list_is_paged_through_without_a_gap_those_that_are_down_first,
    a_filter_takes_what_it_says_and_nothing_else,
    an_alert_shows_what_became_of_its_messages,
    bad_guests_are_those_with_the_most_alerts,
);

fn names(store: &Store, filter: &Filter, limit: i64) -> Vec<String> {
    let (mut all, mut cursor) = (Vec::new(), Cursor::begin());
    loop {
        let (listed, next) = store.page(filter, &cursor, limit, at(1000)).unwrap();
        assert!(listed.len() as i64 <= limit);
        all.extend(listed.iter().map(|one| one.reservation.terms.component.to_string()));
        match next {
            Some(next) => cursor = next,
            None => return all,
        }
    }
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
    let counts = store.counts().unwrap();
    assert_eq!((counts.reservations, counts.down, counts.waiting), (53, 5, 5));
    let (listed, next) = store.page(&Filter::default(), &Cursor::begin(), 5, at(1000)).unwrap();
    assert!(listed.iter().all(|one| one.open_alert.is_some()));
    assert_eq!(next.map(|next| (next.down, next.component)), Some((true, "job-43".to_owned())));
    let id = listed[0].reservation.id;
    assert_eq!(store.listed(id, at(1000)).unwrap().as_ref(), Some(&listed[0]));
    assert_eq!(store.listed(-1, at(1000)).unwrap(), None);
}

fn a_filter_takes_what_it_says_and_nothing_else(database: &TestDatabase) {
    let store = database.store();
    let wishes = |owner: &str, tags: &[&str]| Wishes {
        owner: Some(owner.to_owned()),
        tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()),
        ..every(60)
    };
    store.book("Backup 100%", &wishes("ada", &["db", "night"]));
    store.book("backup_1000", &wishes("bob", &["dbx"]));
    store.book("report", &wishes("ada", &[]));
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

fn an_alert_shows_what_became_of_its_messages(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.sweep(at(60), 10, &|_| vec![delivery("mail", "ops@example.com", remark("down"))]).unwrap();
    let alerts = store.alerts(Some(id), Some(true), None, 10).unwrap();
    assert_eq!((alerts.len(), alerts[0].component.as_str(), alerts[0].closed_at), (1, "backup", None));
    let of = |app: &str| store.alerts_of_apps(&[app.to_owned()], None, None, 10).unwrap();
    assert_eq!((of(SHOP), of("zoo")), (alerts.clone(), vec![]));
    assert_eq!(store.deliveries("waiting", None, 10).unwrap().len(), 1);
    let claimed = singles(&store, 61, "t");
    finish(&store, "t", &claimed, Outcome::Dead { problem: "no such user".to_owned() }, 62);
    let of = store.deliveries_of(&[alerts[0].id]).unwrap();
    assert_eq!((of[0].state.as_str(), of[0].problem.as_deref()), ("dead", Some("no such user")));
    assert_eq!(store.deliveries("dead", None, 10).unwrap(), of);
    assert_eq!(store.deliveries("dead", Some(of[0].id), 10).unwrap(), []);
    store.check_in("backup", &[success(at(70))]);
    store.pass(at(70));
    assert_eq!(store.alerts(None, Some(true), None, 10).unwrap(), []);
    let past = store.alerts(None, Some(false), None, 10).unwrap();
    assert_eq!(past[0].closed_at, Some(at(70)));
    assert_eq!(store.alerts(None, None, Some(past[0].id), 10).unwrap(), []);
}

fn bad_guests_are_those_with_the_most_alerts(database: &TestDatabase) {
    let store = database.store();
    for (name, failures) in [("once", 1), ("often", 3)] {
        store.book(name, &every(100_000));
        for n in 0..failures {
            store.check_in(name, &[fail(at(10 + n * 10), 1), success(at(15 + n * 10))]);
            store.pass(at(16 + n * 10));
        }
    }
    let guests = store.bad_guests(at(0), 10).unwrap();
    let known: Vec<(&str, i64)> =
        guests.iter().map(|guest| (guest.component.as_str(), guest.alerts)).collect();
    assert_eq!(known, [("often", 3), ("once", 1)]);
    assert_eq!(guests[0].latest_at, at(36));
    assert_eq!(store.bad_guests(at(30), 10).unwrap()[0].alerts, 1, "only since then");
    assert_eq!(store.bad_guests(at(0), 1).unwrap().len(), 1);
}
