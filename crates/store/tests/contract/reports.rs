//! Reports of agents: facts with their own times, recorded once by their keys, and how the sweep
//! judges late ones.

use innkeeper_core::alert::Reason;
use innkeeper_core::checkin::CheckIn;
use innkeeper_core::reservation::{AlertStatus, Patch};
use innkeeper_core::schedule::Schedule;
use innkeeper_store::{ActingStore, Recorded, Walk};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    a_key_is_recorded_once,
    a_key_of_what_is_unknown_is_free,
    two_nodes_that_get_the_same_keys_record_them_once,
    keys_are_forgotten_when_a_report_would_be_too_old,
    a_late_report_is_a_fact_with_its_own_time,
    what_an_agent_says_of_a_run_is_kept,
    a_run_that_says_itself_that_it_was_too_short_is_looked_at_at_once,
    facts_never_go_back,
    a_late_success_answers_the_alert_and_counts_as_no_trouble,
    a_long_spool_in_several_batches_answers_the_alert,
    a_failure_that_is_over_is_no_news,
    what_shows_too_late_that_a_closed_alert_was_wrong_takes_it_back,
    a_late_success_shortens_the_row,
    a_late_success_within_the_row_answers_its_alert,
    a_late_start_reopens_nothing_and_its_end_has_a_minute,
    late_rows_are_pruned_by_their_arrival,
);

const HOUR: i64 = 3600;

fn count(store: &ActingStore, batch: &[(&str, CheckIn)]) -> Vec<&'static str> {
    let batch: Vec<_> = batch.iter().map(|(name, checkin)| arrival(name, checkin.clone())).collect();
    let written = store.record(&batch);
    written
        .recorded
        .iter()
        .map(|one| match one {
            Recorded::Done { .. } => "done",
            Recorded::Known => "known",
            Recorded::Unknown => "unknown",
            Recorded::Refused(_) => "refused",
        })
        .collect()
}

fn a_key_is_recorded_once(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    let one = || keyed(1, success(at(1)), at(2));
    let batch = [("backup", one()), ("backup", keyed(2, fail(at(1), 1), at(2))), ("backup", one())];
    assert_eq!(count(&store, &batch), ["done", "done", "known"]);
    assert_eq!(count(&store, &batch), ["known"; 3]);
    assert_eq!(
        count(&store, &[("backup", keyed(3, success(at(3)), at(3))), ("backup", one())]),
        ["done", "known"]
    );
    let facts = store.look("backup").facts;
    assert_eq!((facts.checkins, facts.fails), (3, 1));
    assert_eq!(database.count("checkins"), 3);
}

fn a_key_of_what_is_unknown_is_free(database: &TestDatabase) {
    let store = database.store();
    let batch = [("backup", keyed(1, success(at(1)), at(2)))];
    assert_eq!(count(&store, &batch), ["unknown"]);
    // A second report with the same key in the same batch must not count as known either.
    let twice = [batch[0].clone(), batch[0].clone(), ("other", keyed(2, success(at(1)), at(2)))];
    assert_eq!(count(&store, &twice), ["unknown"; 3]);
    assert_eq!(database.count("report_keys"), 0);
    store.book("backup", &every(60));
    assert_eq!(count(&store, &batch), ["done"]);
    assert_eq!(count(&store, &batch), ["known"]);
}

fn two_nodes_that_get_the_same_keys_record_them_once(database: &TestDatabase) {
    let store = database.store();
    let names: Vec<String> = (0..6).map(|n| format!("job {n}")).collect();
    names.iter().for_each(|name| {
        store.book(name, &every(60));
    });
    const ROUNDS: u128 = 20;
    let done = std::sync::atomic::AtomicUsize::new(0);
    together(4, |writer| {
        let mut own = store.writer();
        for round in 0..ROUNDS {
            let key = |n: usize| 1 + round * 100 + (n as u128 * 7) % 11;
            let of = |(n, name): (usize, &String)| arrival(name, keyed(key(n), success(at(1)), at(2)));
            let mut batch: Vec<_> = names.iter().enumerate().map(of).collect();
            if writer % 2 == 1 {
                batch.reverse();
            }
            let written = own.record(&batch).unwrap_or_else(|error| panic!("round {round}: {error}"));
            let count = written.recorded.iter().filter(|one| matches!(one, Recorded::Done { .. })).count();
            done.fetch_add(count, std::sync::atomic::Ordering::SeqCst);
        }
    });
    let expected = names.len() * ROUNDS as usize;
    assert_eq!((done.into_inner(), database.count("checkins")), (expected, expected as i64));
    for name in &names {
        assert_eq!(store.look(name).facts.checkins, ROUNDS as i64);
    }
}

fn keys_are_forgotten_when_a_report_would_be_too_old(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    let early = [("backup", keyed(1, success(at(1)), at(HOUR)))];
    let late = [("backup", keyed(2, success(at(1)), at(2 * HOUR)))];
    assert_eq!((count(&store, &early), count(&store, &late)), (vec!["done"], vec!["done"]));
    assert_eq!(store.forget_report_keys(at(HOUR), &|| true).unwrap(), 0);
    assert_eq!(store.forget_report_keys(at(2 * HOUR), &|| false).unwrap(), 0);
    assert_eq!(store.forget_report_keys(at(2 * HOUR), &|| true).unwrap(), 1);
    assert_eq!((count(&store, &late), database.count("report_keys")), (vec!["known"], 1));
    // Keys have another limit than the history.
    store.prune(0, at(10 * HOUR), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(
        (database.count("checkins"), count(&store, &late)),
        (1, vec!["known"]),
        "the latest of all stays"
    );
}

fn a_late_report_is_a_fact_with_its_own_time(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let just_now = reported(success(at(55)), at(60));
    let late = reported(fail(at(50), 3), at(61));
    assert_eq!(count(&store, &[("backup", just_now), ("backup", late)]), ["done", "done"]);
    let facts = store.look("backup").facts;
    assert_eq!((facts.last_checkin_at, facts.last_fail_at), (Some(at(55)), Some(at(50))));
    let history = store.checkins_of(id, 10).unwrap();
    let times: Vec<_> = history.iter().map(|row| (row.at, row.arrived_at)).collect();
    assert_eq!(times, [(at(55), None), (at(50), Some(at(61)))], "five seconds are not late");
}

fn what_an_agent_says_of_a_run_is_kept(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    let mut killed = reported(CheckIn { notes: "killed".to_owned(), ..fail(at(50), 143) }, at(50));
    let report = killed.report.as_mut().unwrap();
    report.took = Some(seconds(7));
    report.signal = Some("SIGTERM".to_owned());
    report.peak_memory_bytes = Some(1 << 40);
    let mut begun = reported(start(at(40)), at(40));
    begun.report.as_mut().unwrap().took = Some(seconds(1));
    count(&store, &[("backup", begun), ("backup", killed)]);
    let history = store.checkins_of(id, 10).unwrap();
    let said: Vec<_> =
        history.iter().map(|row| (row.duration, row.signal.as_deref(), row.peak_memory_bytes)).collect();
    assert_eq!(said, [(Some(seconds(7)), Some("SIGTERM"), Some(1 << 40)), (None, None, None)]);
}

fn a_run_that_says_itself_that_it_was_too_short_is_looked_at_at_once(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { min_run: Some(seconds(5)), ..every(86_400) });
    let mut quick = reported(success(at(50)), at(50));
    quick.report.as_mut().unwrap().took = Some(seconds(1));
    count(&store, &[("backup", quick)]);
    assert_eq!(store.look("backup").conclusions.wake_at, at(50));
}

fn facts_never_go_back(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &every(60));
    store.check_in("backup", &[start(at(100)), success(at(110)), fail(at(120), 9)]);
    let before = store.look("backup").facts;
    for checkin in [start(at(10)), success(at(11)), fail(at(12), 1), log(at(13))] {
        count(&store, &[("backup", reported(from("10.0.0.9", checkin), at(130)))]);
    }
    let after = store.look("backup").facts;
    assert_eq!((after.last_start_at, after.last_checkin_at), (before.last_start_at, before.last_checkin_at));
    assert_eq!((after.last_fail_at, after.last_exit_code), (before.last_fail_at, Some(9)));
    assert_eq!((after.last_seen_at, after.last_source), (before.last_seen_at, before.last_source));
    assert_eq!(after.runs_over_at, before.runs_over_at);
}

/// A reservation that is expected each hour with ten minutes of grace; it succeeds in the first
/// hour.
fn hourly(store: &ActingStore) -> i64 {
    let schedule = Schedule::cron("0 * * * *", "Europe/Berlin").unwrap();
    let patch = Patch { schedule: Some((schedule, None)), grace: Some(seconds(600)), ..Patch::default() };
    let id = store.book("backup", &patch);
    store.check_in("backup", &[success(at(HOUR))]);
    store.pass(at(HOUR + 600));
    id
}

fn a_late_success_answers_the_alert_and_counts_as_no_trouble(database: &TestDatabase) {
    let store = database.store();
    let id = hourly(&store);
    let now = 2 * HOUR + 600;
    assert_eq!(store.pass(at(now)).opened, 1);
    let written = store.record(&[arrival("backup", reported(success(at(2 * HOUR + 30)), at(now + 60)))]);
    assert!(written.wake, "a sweeper looks at once");
    assert_eq!(store.next_wake_at().unwrap(), Some(at(now + 60)), "from its arrival on, not before");
    assert_eq!(store.sweep_from(Some(at(now + 59)), at(now + 60), 10, &Rules(tell_log)).unwrap().closed, 1);
    assert_eq!((store.alert("backup"), store.look("backup").conclusions.status), (None, AlertStatus::Up));
    let endings = database.texts("SELECT ending FROM alerts");
    assert_eq!(endings, ["it had run at 03:00 on Mon 5 Jan (Europe/Berlin)"]);
    assert!(!store.look("backup").conclusions.reported_late);
    let troubles = store.troubles(&[(id, at(0))]).unwrap();
    assert_eq!(troubles.len(), 0, "{troubles:?}");
    assert_eq!(store.alerts(Some(id), None, None, 10).unwrap().len(), 1, "it is listed, with its ending");
}

fn a_long_spool_in_several_batches_answers_the_alert(database: &TestDatabase) {
    let store = database.store();
    hourly(&store);
    assert_eq!(store.pass(at(2 * HOUR + 600)).opened, 1);
    let now = 7 * HOUR;
    let hours: Vec<i64> = (2..7).collect();
    for (n, hours) in hours.chunks(2).enumerate() {
        let when = at(now + n as i64);
        for hour in hours {
            count(&store, &[("backup", reported(success(at(hour * HOUR + 5)), when))]);
        }
        let swept = store.pass(when);
        assert_eq!(swept.closed, usize::from(n == 2), "what is missing after these keeps it open");
    }
    let endings = database.texts("SELECT ending FROM alerts");
    assert_eq!(endings.len(), 1);
    assert!(endings[0].starts_with("it had run at "), "{endings:?}");
    // Here a check-in is still missing, so the alert was right and is not withdrawn.
    let id = store.book("other", &every(HOUR));
    store.pass(at(now + 10));
    assert!(store.alert("other").is_some());
    count(&store, &[("other", reported(success(at(now)), at(now + 20)))]);
    assert_eq!(store.pass(at(now + 20)).closed, 1);
    let other = store.alerts(Some(id), None, None, 10).unwrap();
    assert_eq!(other[0].ending, None);
}

fn a_failure_that_is_over_is_no_news(database: &TestDatabase) {
    let store = database.store();
    let id = hourly(&store);
    count(&store, &[("backup", reported(fail(at(1800), 2), at(HOUR + 700)))]);
    let swept = store.pass(at(HOUR + 700));
    assert_eq!((swept.looked, swept.opened), (1, 0));
    assert_eq!(store.look("backup").conclusions.fail_streak, 0);
    assert_eq!(database.count("alerts"), 0);
    assert_eq!(
        database.texts("SELECT CAST(at AS TEXT) FROM late_failures"),
        [at(1800).timestamp_millis().to_string()]
    );
    assert_eq!(store.checkins_of(id, 1).unwrap()[0].exit_code, Some(2), "the history has it");
    // A failure after the latest success counts as usual.
    count(&store, &[("backup", reported(fail(at(HOUR + 60), 2), at(HOUR + 800)))]);
    assert_eq!(store.pass(at(HOUR + 800)).opened, 1);
    assert!(
        matches!(store.alert("backup").unwrap().reason, Reason::Failed { at: failed, .. } if failed == at(HOUR + 60))
    );
    assert_eq!(database.count("late_failures"), 1);
}

fn what_shows_too_late_that_a_closed_alert_was_wrong_takes_it_back(database: &TestDatabase) {
    let store = database.store();
    let id = hourly(&store);
    for hour in [2, 3] {
        assert_eq!(store.pass(at(hour * HOUR + 600)).opened, 1);
        store.check_in("backup", &[success(at(hour * HOUR + 1200))]);
        assert_eq!(store.pass(at(hour * HOUR + 1200)).closed, 1);
    }
    let endings = || {
        let alerts = store.alerts(Some(id), None, None, 10).unwrap();
        alerts.iter().rev().map(|alert| alert.ending.clone().unwrap_or_default()).collect::<Vec<_>>()
    };
    // Nothing was reported about the other hour, so its alert was right.
    count(&store, &[("backup", reported(success(at(2 * HOUR + 1)), at(4 * HOUR)))]);
    assert_eq!(store.pass(at(4 * HOUR)).closed, 0);
    assert_eq!(endings(), ["it had run at 03:00 on Mon 5 Jan (Europe/Berlin)", ""]);
    assert_eq!(store.troubles(&[(id, at(0))]).unwrap()[&id].len(), 1);
    // A success after the deadline does not withdraw an alert.
    count(&store, &[("backup", reported(success(at(3 * HOUR + 601)), at(4 * HOUR + 1)))]);
    store.pass(at(4 * HOUR + 1));
    assert_eq!(endings()[1], "");
    count(&store, &[("backup", reported(success(at(3 * HOUR + 2)), at(4 * HOUR + 2)))]);
    store.pass(at(4 * HOUR + 2));
    assert_eq!(endings()[1], "it had run at 04:00 on Mon 5 Jan (Europe/Berlin)");
}

fn a_late_success_shortens_the_row(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { alert_after: Some(3), ..every(HOUR) });
    store.check_in("backup", &[success(at(10))]);
    for second in [20, 30] {
        store.check_in("backup", &[fail(at(second), 1)]);
        store.pass(at(second));
    }
    count(&store, &[("backup", reported(success(at(25)), at(40)))]);
    store.pass(at(40));
    assert_eq!(store.look("backup").conclusions.fail_streak, 1);
    store.check_in("backup", &[fail(at(50), 1)]);
    assert_eq!(store.pass(at(50)).opened, 0);
    count(&store, &[("backup", reported(fail(at(28), 1), at(60)))]);
    assert_eq!(store.pass(at(60)).opened, 1);
}

fn a_late_success_within_the_row_answers_its_alert(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &Patch { alert_after: Some(2), ..every(10 * HOUR) });
    store.check_in("backup", &[success(at(10))]);
    store.pass(at(10));
    let late = |checkin| ("backup", reported(checkin, at(3 * HOUR)));
    count(&store, &[late(fail(at(HOUR), 1)), late(fail(at(2 * HOUR), 1))]);
    assert_eq!(store.pass(at(3 * HOUR)).opened, 1);
    let between = reported(success(at(HOUR + 1800)), at(3 * HOUR + 60));
    count(&store, &[("backup", between)]);
    let swept = store.pass(at(3 * HOUR + 60));
    assert_eq!((swept.closed, swept.deliveries.values().sum::<usize>()), (1, 1), "and it is told");
    assert_eq!(database.texts("SELECT ending FROM alerts"), ["it had run at 01:30 on Mon 5 Jan (UTC)"]);
    assert_eq!(store.troubles(&[(id, at(0))]).unwrap().len(), 0, "it was no trouble");
    let conclusions = store.look("backup").conclusions;
    assert_eq!((conclusions.status, conclusions.fail_streak), (AlertStatus::Up, 1));
    store.check_in("backup", &[fail(at(4 * HOUR), 1)]);
    assert_eq!(store.pass(at(4 * HOUR)).opened, 1, "the second in a row");
}

fn a_late_start_reopens_nothing_and_its_end_has_a_minute(database: &TestDatabase) {
    let store = database.store();
    store.book("backup", &Patch { max_run: Some(seconds(60)), ..every(10 * HOUR) });
    store.check_in("backup", &[of_run(1, success(at(100)))]);
    count(&store, &[("backup", reported(of_run(1, start(at(50))), at(1000)))]);
    count(&store, &[("backup", reported(of_run(2, start(at(200))), at(1000)))]);
    assert_eq!(store.pass(at(1000)).opened, 0);
    count(&store, &[("backup", reported(of_run(2, success(at(240))), at(1010)))]);
    for second in [1010, 1060, 1061, 5000] {
        assert_eq!(store.pass(at(second)).opened, 0, "{second}");
    }
    count(&store, &[("backup", reported(of_run(3, start(at(2000))), at(6000)))]);
    assert_eq!((store.pass(at(6000)).opened, store.pass(at(6059)).opened), (0, 0));
    assert_eq!(store.pass(at(6060)).opened, 1);
    count(&store, &[("backup", reported(of_run(3, success(at(2060))), at(6100)))]);
    assert_eq!(store.pass(at(6100)).closed, 1);
    let endings = database.texts("SELECT ending FROM alerts");
    assert_eq!(endings, ["its run had ended at 00:34 on Mon 5 Jan (UTC)"]);
}

fn late_rows_are_pruned_by_their_arrival(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("backup", &every(60));
    store.check_in("backup", &[success(at(5000))]);
    count(&store, &[("backup", reported(success(at(100)), at(6000)))]);
    // The latest check-in of all stays, whatever its age.
    store.book("other", &every(60));
    store.check_in("other", &[log(at(6000))]);
    store.prune(100, at(4000), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(store.checkins_of(id, 10).unwrap().len(), 2);
    store.prune(100, at(5500), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(store.checkins_of(id, 10).unwrap().len(), 1);
    store.prune(100, at(6001), &mut Walk::default(), &|| true).unwrap();
    assert_eq!(store.checkins_of(id, 10).unwrap().len(), 0);
}
