//! One pass over the due reservations: which it judges, what it concludes, and what it puts into
//! the outbox.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};

use innkeeper_core::alert::Reason;
use innkeeper_core::checkin::CheckIn;
use innkeeper_core::notice::EventKind;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::{AlertStatus, Patch};
use innkeeper_store::{AlertEvent, DatabaseKind, StoreError, SweepOutcome, Walk};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    only_what_is_due_is_looked_at_the_longest_overdue_first,
    an_alert_opens_once_is_told_again_and_closes,
    each_failure_is_told_where_that_is_wished,
    trouble_that_came_and_went_is_told_in_one_message,
    an_alert_is_told_with_the_latest_notes_and_its_number,
    every_alerter_gets_its_own_words,
    failures_in_a_row_are_counted_over_passes,
    runs_that_are_too_short_are_found_in_the_unseen_history,
    failures_whose_history_is_pruned_still_count,
    a_panic_while_telling_leaves_nothing,
    trouble_that_ends_while_rows_are_looked_at_one_by_one_is_no_fault_of_the_first,
    a_delivery_that_cannot_be_written_leaves_nothing,
    a_row_that_cannot_be_read_is_put_off_and_hinders_nobody,
    an_alert_that_cannot_be_read_is_put_off_and_hinders_nobody,
    many_at_once_are_told_each,
);

/// A count of this many messages, all of them to the alerter `log`.
fn to_log(count: usize) -> BTreeMap<String, usize> {
    BTreeMap::from([("log".to_owned(), count)])
}

fn only_what_is_due_is_looked_at_the_longest_overdue_first(database: &TestDatabase) {
    let store = database.store();
    for (name, period) in [("c", 30), ("a", 10), ("b", 20), ("d", 40)] {
        store.book(name, &every(period));
    }
    let opened = |now, limit| {
        let swept = store.sweep(at(now), limit, &Rules(tell_log)).unwrap();
        assert_eq!((swept.looked, swept.opened), (swept.opened, swept.deliveries.values().sum()));
        database.texts("SELECT component FROM alerts ORDER BY id").join("")
    };
    assert_eq!(opened(9, 10), "");
    assert_eq!(opened(35, 2), "ab");
    assert_eq!(opened(35, 2), "abc");
    assert_eq!(opened(35, 2), "abc");
    assert_eq!(store.next_wake_at().unwrap(), Some(at(40)));
}

fn an_alert_opens_once_is_told_again_and_closes(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { remind_every: Some(Reminders::Every(seconds(100))), ..every(60) });
    store.check_in("backup", &[success(at(0))]);
    let nothing = SweepOutcome { looked: 1, ..SweepOutcome::default() };

    assert_eq!(store.pass(at(60)), SweepOutcome { opened: 1, deliveries: to_log(1), ..nothing.clone() });
    let alert = store.alert("backup").unwrap();
    let missed = Reason::Missed { expected_at: at(60), deadline: at(60), in_a_row: 1, unobserved: None };
    assert_eq!((alert.reason, alert.opened_at, alert.told_at), (missed, at(60), at(60)));
    assert_eq!(alert.success_before, Some(at(0)));
    assert_eq!(store.look("backup").conclusions.status, AlertStatus::Down);

    assert_eq!(store.pass(at(159)), SweepOutcome::default());
    assert_eq!(store.pass(at(160)), SweepOutcome { reminded: 1, deliveries: to_log(1), ..nothing.clone() });
    assert_eq!(store.alert("backup").unwrap().told_at, at(160));

    store.check_in("backup", &[success(at(170))]);
    assert_eq!(store.pass(at(170)), SweepOutcome { closed: 1, deliveries: to_log(1), ..nothing });
    assert_eq!(store.alert("backup"), None);
    assert_eq!(store.look("backup").conclusions.status, AlertStatus::Up);
    assert_eq!(store.next_wake_at().unwrap(), Some(at(230)));
    let told =
        database.texts("SELECT event FROM deliveries WHERE alert_id IN (SELECT id FROM alerts) ORDER BY id");
    assert_eq!(told, ["opened", "reminder", "recovered"]);
    let incidents = store.incidents_since(at(0)).unwrap();
    assert_eq!((incidents.len(), incidents[0].closed_at), (1, Some(at(170))));
}

fn each_failure_is_told_where_that_is_wished(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { remind_every: Some(Reminders::Each), alert_after: Some(2), ..every(60) });
    assert_eq!(store.look("backup").spec.remind_every, Reminders::Each);
    let told = std::sync::Mutex::new(Vec::new());
    let pass = |second| {
        let tell = |told_of: &AlertEvent<'_>| {
            assert_eq!(told_of.since, at(20), "the trouble is as old as the alert, whatever is news");
            told.lock().unwrap().push((told_of.kind, told_of.reason.clone(), told_of.notes.to_owned()));
            tell_log(told_of)
        };
        let swept = store.sweep(at(second), 1000, &Rules(&tell)).unwrap();
        assert_eq!(swept.looked, 1, "it is looked at once, at {second}");
        (swept.opened, swept.reminded, std::mem::take(&mut *told.lock().unwrap()))
    };
    let failed = |second, in_a_row| Reason::Failed { at: at(second), exit_code: Some(3), in_a_row };
    let noted = |second: i64| CheckIn { notes: format!("at {second}"), ..fail(at(second), 3) };
    store.check_in("backup", &[noted(10), noted(20)]);
    assert_eq!(pass(20), (1, 0, vec![(EventKind::Opened, failed(20, 2), "at 20".to_owned())]));
    for (second, in_a_row) in [(30, 3), (40, 4)] {
        store.check_in("backup", &[noted(second)]);
        let reminder = (EventKind::Reminder, failed(second, in_a_row), format!("at {second}"));
        assert_eq!(pass(second), (0, 1, vec![reminder]));
        assert_eq!(store.alert("backup").unwrap().told_at, at(second));
    }
    // Several failures at once, one of them reported late, lead to one reminder.
    store.check_in("backup", &[reported(fail(at(35), 3), at(50)), noted(45), noted(50)]);
    assert_eq!(pass(50), (0, 1, vec![(EventKind::Reminder, failed(50, 7), "at 50".to_owned())]));
    // The job is silent for a minute, and for another minute.
    for second in [110, 170] {
        assert_eq!(store.next_wake_at().unwrap(), Some(at(second)));
        let (_, reminded, told) = pass(second);
        assert!(
            matches!(told[..], [(_, Reason::Missed { deadline, .. }, _)] if deadline == at(second)),
            "{told:?}"
        );
        assert_eq!(reminded, 1);
    }
    // The alert is still about what opened it.
    assert_eq!(store.alert("backup").unwrap().reason, failed(20, 2));
    store.check_in("backup", &[success(at(180))]);
    assert_eq!(store.pass(at(180)).closed, 1);
}

fn trouble_that_came_and_went_is_told_in_one_message(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.check_in("backup", &[fail(at(10), 3), success(at(11))]);
    let swept = store.pass(at(11));
    assert_eq!((swept.opened, swept.closed, swept.deliveries), (1, 1, to_log(1)));
    assert_eq!(database.texts("SELECT event FROM deliveries"), ["opened_and_recovered"]);
    assert_eq!(store.alert("backup"), None);
    assert_eq!(store.pass(at(12)).opened, 0);
}

fn an_alert_is_told_with_the_latest_notes_and_its_number(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let noted = |notes: &str, checkin| CheckIn { notes: notes.to_owned(), ..checkin };
    store.check_in("backup", &[noted("fine", success(at(1))), noted("disk full", fail(at(2), 1))]);
    store.book("other", &every(60));
    store.check_in("other", &[noted("not this", fail(at(2), 1))]);
    let told = |told: &innkeeper_store::AlertEvent<'_>| {
        if told.reservation.id == id {
            let number =
                database.number(&format!("SELECT COUNT(*) FROM alerts WHERE id = {}", told.alert_id));
            // The alert is not committed yet, so only its number is known.
            assert_eq!(number, Some(0));
            assert_eq!((told.notes, told.kind, told.behind), ("disk full", EventKind::Opened, 0));
            assert_eq!((told.opened_at, told.now), (at(2), at(2)));
        }
        tell_log(told)
    };
    store.sweep(at(2), 10, &Rules(&told)).unwrap();
    let sent = store.claim_singles("log", at(2), seconds(9), "t", 10).unwrap();
    let alerts = sent.iter().map(|one| one.deliveries[0].notice.alert.clone().unwrap());
    for alert in alerts {
        let key =
            database.text(&format!("SELECT dedup_key FROM alerts WHERE component = '{}'", alert.component));
        let open = store.alert(&alert.component).unwrap();
        assert_eq!((alert.id, Some(alert.dedup_key)), (open.id, key));
    }
}

fn every_alerter_gets_its_own_words(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    let tell = |told: &innkeeper_store::AlertEvent<'_>| {
        let mut one = tell_three(told);
        one.iter_mut().for_each(|new| new.notice.text = format!("for {} {}", new.alerter, new.recipient));
        one
    };
    store.sweep(at(60), 10, &Rules(&tell)).unwrap();
    for (alerter, count) in [("mail", 2), ("pager", 1)] {
        let sent = store.claim_singles(alerter, at(60), seconds(9), "t", 10).unwrap();
        assert_eq!(sent.len(), count);
        for sending in sent {
            assert_eq!(sending.deliveries[0].notice.text, format!("for {alerter} {}", sending.recipient));
        }
    }
}

fn failures_in_a_row_are_counted_over_passes(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { alert_after: Some(3), ..every(3600) });
    for (second, opened) in [(1, 0), (2, 0)] {
        store.check_in("backup", &[fail(at(second), 1)]);
        assert_eq!(store.pass(at(second)).opened, opened);
    }
    store.check_in("backup", &[success(at(3)), fail(at(4), 1), fail(at(5), 2)]);
    assert_eq!(store.pass(at(5)).opened, 0, "the success began a new row");
    store.check_in("backup", &[fail(at(6), 9)]);
    assert_eq!(store.pass(at(6)).opened, 1);
    let reason = Reason::Failed { at: at(6), exit_code: Some(9), in_a_row: 3 };
    assert_eq!(store.alert("backup").unwrap().reason, reason);
}

fn runs_that_are_too_short_are_found_in_the_unseen_history(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { min_run: Some(seconds(30)), ..every(3600) });
    store.check_in("backup", &[start(at(0)), success(at(40))]);
    assert_eq!(store.pass(at(40)).opened, 0);
    store.check_in("backup", &[start(at(50)), success(at(55))]);
    assert_eq!(store.pass(at(55)).opened, 1);
    let reason = Reason::TooShort { at: at(55), took_ms: 5000, min_run_ms: 30_000 };
    assert_eq!(store.alert("backup").unwrap().reason, reason);
    store.check_in("backup", &[start(at(60)), success(at(95))]);
    assert_eq!(store.pass(at(95)).closed, 1);
}

fn failures_whose_history_is_pruned_still_count(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { alert_after: Some(3), ..every(3600) });
    store.check_in("backup", &[fail(at(1), 1), fail(at(2), 2), fail(at(3), 3)]);
    store.prune(1, at(0), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(database.count("checkins"), 1);
    assert_eq!(store.pass(at(3)).opened, 1);
}

fn a_panic_while_telling_leaves_nothing(database: &TestDatabase) {
    let store = database.store();
    store.book("a", &every(60));
    store.book("b", &every(61));
    let panics = |told: &innkeeper_store::AlertEvent<'_>| match told.reservation.spec.component.as_str() {
        "b" => panic!("no words"),
        _ => tell_log(told),
    };
    let swept = catch_unwind(AssertUnwindSafe(|| store.sweep(at(70), 10, &Rules(&panics))));
    assert!(swept.is_err());
    assert_eq!((database.count("alerts"), database.count("deliveries")), (0, 0));
    assert_eq!(database.count("states WHERE status = 'new'"), 2);
    // Neither a lock nor an open transaction is left behind.
    assert_eq!(store.pass(at(70)).opened, 2);
    assert_eq!(database.count("deliveries"), 2);
}

fn trouble_that_ends_while_rows_are_looked_at_one_by_one_is_no_fault_of_the_first(database: &TestDatabase) {
    let store = database.store();
    for name in ["a", "b", "c"] {
        store.book(name, &every(10));
    }
    // Tried together, then as the first half, then one by one. The failure ends after the second
    // attempt, or never ends for one of them.
    let sweep = |second, attempts: usize, always: &str| {
        let tried = AtomicUsize::new(0);
        let tell = |told: &AlertEvent<'_>| {
            let name = told.reservation.spec.component.as_str();
            assert!(name != always, "{name}, not today");
            assert!(tried.fetch_add(1, Ordering::SeqCst) >= attempts, "not yet");
            tell_log(told)
        };
        store
            .sweep_halves(None, at(second), 10, &Rules(&tell), StoreError::Sweep("it failed".to_owned()))
            .unwrap()
    };
    let swept = sweep(10, 2, "");
    assert_eq!((swept.unjudged.len(), swept.looked, swept.opened), (0, 3, 3), "{:?}", swept.unjudged);

    for name in ["a", "b", "c"] {
        store.check_in(name, &[success(at(11))]);
    }
    store.pass(at(12));
    let swept = sweep(30, 2, "b");
    let failed: Vec<&str> = swept.unjudged.iter().map(|(_, problem)| problem.as_str()).collect();
    assert_eq!((swept.looked, swept.opened), (3, 2), "{failed:?}");
    assert!(failed.len() == 1 && failed[0].contains("b, not today"), "{failed:?}");
}

fn a_delivery_that_cannot_be_written_leaves_nothing(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.sweep(at(60), 10, &Rules(|_| Vec::new())).unwrap();
    store.check_in("backup", &[success(at(61))]);
    let refuse = match database.kind() {
        DatabaseKind::Postgres => "ALTER TABLE deliveries ADD CONSTRAINT no CHECK (alerter <> 'log')",
        DatabaseKind::Sqlite => {
            "CREATE TRIGGER no BEFORE INSERT ON deliveries BEGIN SELECT RAISE(ABORT, 'no'); END"
        }
    };
    database.execute(refuse);
    assert!(store.sweep(at(61), 10, &Rules(tell_log)).is_err());
    assert_eq!(
        database.count("alerts WHERE closed_at IS NULL"),
        1,
        "the alert did not close without its message"
    );
    assert_eq!(store.look("backup").conclusions.status, AlertStatus::Down);
    database.execute(match database.kind() {
        DatabaseKind::Postgres => "ALTER TABLE deliveries DROP CONSTRAINT no",
        DatabaseKind::Sqlite => "DROP TRIGGER no",
    });
    assert_eq!(store.pass(at(62)).closed, 1);
}

fn a_row_that_cannot_be_read_is_put_off_and_hinders_nobody(database: &TestDatabase) {
    let store = database.store();
    let cron = Patch {
        schedule: Some((innkeeper_core::schedule::Schedule::cron("* * * * *", "UTC").unwrap(), None)),
        ..Patch::default()
    };
    store.book("bad", &cron);
    // Also a site of the same app, because judging every other reservation of the app reads it.
    store.book("site", &Patch { is_site: Some(true), ..cron });
    store.book("good", &every(60));
    database.execute(
        "UPDATE reservations SET schedule = 'cron at full moon UTC' WHERE component IN ('bad', 'site')",
    );
    database.execute("UPDATE states SET wake_at = 0 WHERE reservation_id IN (SELECT id FROM reservations WHERE schedule LIKE 'cron %')");
    // Even when only one reservation fits into a pass, the good one gets its turn.
    let opened: usize = (0..3).map(|_| store.sweep(at(60), 1, &Rules(tell_log)).unwrap().opened).sum();
    assert_eq!(opened, 1);
    assert_eq!(store.pass(at(61)).looked, 0);
    assert_eq!(store.pass(at(60 + 300)).looked, 2, "after a while they are tried again");
    assert!(
        store.reservation(&app(SHOP), &component("bad")).unwrap_err().to_string().contains("at full moon")
    );
    let listed: Vec<_> = store.list(None, at(0)).unwrap();
    assert_eq!(
        listed.iter().map(|one| one.reservation.spec.component.as_str()).collect::<Vec<_>>(),
        ["good"]
    );
}

fn an_alert_that_cannot_be_read_is_put_off_and_hinders_nobody(database: &TestDatabase) {
    let store = database.store();
    store.book("bad", &every(50));
    store.pass(at(50));
    store.book("good", &every(60));
    database.execute("UPDATE alerts SET reason = '{\"reason\":\"boredom\"}'");
    store.check_in("bad", &[success(at(55))]);
    let swept = store.pass(at(60));
    assert_eq!((swept.looked, swept.opened, swept.closed), (2, 1, 0));
    assert_eq!(store.pass(at(61)).looked, 0);
    let listed = store.list(None, at(0)).unwrap();
    assert!(listed.iter().any(|one| one.reservation.spec.component.as_str() == "good"), "{listed:?}");
}

fn many_at_once_are_told_each(database: &TestDatabase) {
    let store = database.store();
    for n in 0..300 {
        store.book(&format!("job {n}"), &every(60));
    }
    let swept = store.sweep(at(60), 1000, &Rules(tell_three)).unwrap();
    assert_eq!((swept.looked, swept.opened), (300, 300));
    assert_eq!(swept.deliveries, BTreeMap::from([("mail".to_owned(), 600), ("pager".to_owned(), 300)]));
    assert_eq!(database.count("alerts a JOIN deliveries d ON d.alert_id = a.id"), 900);
    // Each message is about the job whose alert it belongs to.
    let sent = store.claim_singles("pager", at(60), seconds(9), "t", 1000).unwrap();
    assert_eq!(sent.len(), 300);
    for sending in sent {
        let notice = &sending.deliveries[0].notice;
        let alert = notice.alert.as_ref().unwrap();
        assert_eq!(notice.subject, format!("{SHOP}/{}", alert.component));
    }
}
