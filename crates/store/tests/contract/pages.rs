//! What pages show beside reservations.

use innkeeper_core::assessed::Assessed;
use innkeeper_core::notice::DeliveryState;
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_store::{
    Arrival, ChangeOutcome, Filter, ListCursor, SendOutcome, SentDelivery, StoreError, Target, Topic,
};
use innkeeper_testing::database::TestDatabase;

use crate::outbox::{finish, singles};
use crate::world::*;

on_both!(
    an_alert_shows_what_became_of_its_messages,
    bad_guests_are_those_with_the_most_alerts,
    troubles_are_the_alerts_that_were_open_since_then,
    what_was_withdrawn_was_no_trouble,
    a_page_knows_of_its_rows_what_the_whole_list_knows,
);

fn a_page_knows_of_its_rows_what_the_whole_list_knows(database: &TestDatabase) {
    let store = database.store();
    let site = Patch { is_site: Some(true), ..every(60) };
    let long = Patch { max_run: Some(seconds(500_000)), ..every(100_000) };
    let names = |of: &str, name: &str| Target::Names(app(of), component(name));
    for (n, of) in ["bank", "inn", "shop", "zoo"].into_iter().enumerate() {
        store.reserve(&app(of), &component("gateway"), &site, at(0)).unwrap();
        store.reserve(&app(of), &component("job"), &long, at(0)).unwrap();
        let address = format!("203.0.113.{n}");
        let arrivals = [("gateway", success(at(0))), ("job", start(at(1)))].map(|(name, checkin)| Arrival {
            target: names(of, name),
            ..arrival("x", from(&address, checkin))
        });
        store.record(&arrivals);
    }
    store.pass(at(60));
    let whole = store.list(None, at(100)).unwrap();
    assert!(whole.iter().all(|one| one.ping_key.is_some()));
    assert_eq!(whole.iter().filter(|one| one.behind_silent_site && !one.runs.is_empty()).count(), 4);
    let of_whole =
        |one: &Assessed| whole.iter().find(|other| other.reservation.id == one.reservation.id).cloned();
    for limit in [1, 3, 8] {
        let page = store.page(&Filter::default(), &ListCursor::worst(), limit, at(100)).unwrap().listed;
        assert_eq!(page.len() as i64, limit);
        page.iter().for_each(|one| assert_eq!(Some(one), of_whole(one).as_ref()));
    }
    for one in &whole {
        assert_eq!(store.listed(one.reservation.id, at(100)).unwrap().as_ref(), Some(one));
    }
}

fn an_alert_shows_what_became_of_its_messages(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.sweep(at(60), 10, &Rules(|_| vec![delivery("mail", "ops@example.com", remark("down"))])).unwrap();
    let alerts = store.alerts(Some(id), Some(true), None, 10).unwrap();
    assert_eq!((alerts.len(), alerts[0].component.as_str(), alerts[0].closed_at), (1, "backup", None));
    let of = |app: &str| store.alerts_of_apps(&[app.to_owned()], None, None, 10).unwrap();
    assert_eq!((of(SHOP), of("zoo")), (alerts.clone(), vec![]));
    assert_eq!(store.deliveries(DeliveryState::Waiting, None, 10).unwrap().len(), 1);
    let claimed = singles(&store, 61, "t");
    finish(&store, "t", &claimed, SendOutcome::Dead { problem: "no such user".to_owned() }, 62);
    let of = store.deliveries_of(&[alerts[0].id]).unwrap();
    assert_eq!((of[0].state, of[0].problem.as_deref()), (DeliveryState::Dead, Some("no such user")));
    assert_eq!(store.deliveries(DeliveryState::Dead, None, 10).unwrap(), of);
    assert_eq!(store.deliveries(DeliveryState::Dead, Some(of[0].id), 10).unwrap(), []);
    let job = |one: &SentDelivery| match &one.topic {
        Topic::Job { reservation_id, app, component } => {
            Some((*reservation_id, format!("{app}/{component}")))
        }
        Topic::Subject(_) => None,
    };
    let names = format!("{}/backup", alerts[0].app);
    assert_eq!(job(&of[0]), Some((id, names)));
    let notice = delivery("mail", "ops@example.com", remark("of the instance"));
    store.put_notices(std::slice::from_ref(&notice), at(63)).unwrap();
    let waiting = store.deliveries(DeliveryState::Waiting, None, 10).unwrap();
    assert_eq!(waiting[0].topic, Topic::Subject(notice.notice.subject));
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

fn troubles_are_the_alerts_that_were_open_since_then(database: &TestDatabase) {
    let store = database.store();
    let flaky = store.book("flaky", &every(100_000));
    let dead = store.book("dead", &every(60));
    store.book("fine", &every(100_000));
    for n in 0..3 {
        store.check_in("flaky", &[fail(at(10 + n * 10), 1)]);
        store.pass(at(11 + n * 10));
        store.check_in("flaky", &[success(at(15 + n * 10))]);
        store.pass(at(16 + n * 10));
    }
    store.pass(at(60));
    let spans = |since: &[(i64, i64)]| {
        let since: Vec<_> = since.iter().map(|(id, since)| (*id, at(*since))).collect();
        let mut found: Vec<_> = store
            .troubles(&since)
            .unwrap()
            .into_iter()
            .flat_map(|(id, spans)| spans.into_iter().map(move |span| (id, span.from, span.until)))
            .collect();
        found.sort_unstable();
        found
    };
    let closed = |from: i64, until: i64| (flaky, at(from), Some(at(until)));
    assert_eq!(spans(&[(flaky, 0)]), [closed(11, 16), closed(21, 26), closed(31, 36)]);
    assert_eq!(spans(&[(flaky, 26)]), [closed(21, 26), closed(31, 36)]);
    assert_eq!(
        spans(&[(flaky, 30), (dead, 1000)]),
        [closed(31, 36), (dead, at(60), None)],
        "each since its own"
    );
    assert_eq!(spans(&[(-1, 0)]), []);
    assert_eq!(spans(&[]), []);
}

fn what_was_withdrawn_was_no_trouble(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &every(60));
    assert_eq!(store.pass(at(60)).opened, 1);
    let longer = Patch { schedule: Some((Schedule::every(seconds(600)).unwrap(), None)), ..Patch::default() };
    assert_eq!(store.change(id, &longer, &|_| true, at(90)).unwrap(), ChangeOutcome::Done);
    assert_eq!(store.troubles(&[(id, at(0))]).unwrap()[&id].len(), 1, "open yet");
    assert_eq!(store.pass(at(90)).closed, 1);
    let figures = |until: i64| {
        let mut incidents = 0;
        let counted = store.snapshot(at(until), |snapshot| {
            snapshot.incidents(at(0), |_| {
                incidents += 1;
                Ok::<_, StoreError>(())
            })
        });
        counted.unwrap();
        let troubles = store.troubles(&[(id, at(0))]).unwrap().remove(&id).map_or(0, |all| all.len());
        (troubles, store.bad_guests(at(0), 10).unwrap().len(), incidents)
    };
    assert_eq!(figures(100), (0, 0, 0));
    assert_eq!(store.alerts(Some(id), None, None, 10).unwrap().len(), 1, "it is listed, with its ending");
    // The trouble of a job that was checked out still counts.
    assert_eq!(store.pass(at(600)).opened, 1);
    store.check_out(&app(SHOP), &component("job"), at(700)).unwrap();
    assert_eq!(figures(800), (1, 1, 1));
}
