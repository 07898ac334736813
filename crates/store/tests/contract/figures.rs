//! Figures: which are kept, when a success is unexpected, and what a person accepts.

use innkeeper_core::alert::Reason;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::expect::{ClauseVerdict, Expect};
use innkeeper_core::figures::Figures;
use innkeeper_core::reservation::Patch;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::{Accepted, ActingStore, Recent, Undone, Walk};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    figures_are_kept_with_the_history_and_apart_from_it,
    so_many_values_are_kept_and_what_counts_does_not_make_way,
    of_names_the_last_are_kept,
    a_success_that_breaks_a_clause_is_told_at_once,
    a_figure_that_is_missing_breaks_its_clause,
    successes_of_one_batch_are_judged_in_their_order,
    what_was_broken_is_no_part_of_the_median_until_it_is_accepted,
    what_breaks_a_fixed_clause_is_not_accepted,
    other_clauses_judge_the_latest_success_anew,
    clauses_do_not_judge_what_came_before_them,
    a_start_that_comes_late_leaves_its_run_time,
    a_check_out_that_is_taken_back_keeps_them,
    the_latest_of_each_is_found_by_app,
    a_report_that_comes_late_is_judged_too,
    values_are_kept_when_the_history_was_pruned_away,
    what_was_accepted_is_kept_by_a_check_out_that_is_taken_back,
    a_change_of_what_is_expected_passes_over_nothing,
    values_are_trimmed_whatever_the_rhythm_of_the_job,
    a_good_success_of_the_same_instant_ends_it,
    what_lies_far_back_is_accepted_and_judged_anew,
    a_late_success_that_did_nothing_answers_no_alert,
    one_that_was_reported_late_and_is_over_is_in_the_summary,
    a_success_that_was_too_short_counts_for_no_median,
    at_the_end_of_a_snooze_its_figures_are_told,
    a_clause_is_judged_by_no_success_of_before,
    clauses_stand_by_the_latest_success_whatever_came_after_it,
);

fn with(list: &[(&str, f64)], checkin: CheckIn) -> CheckIn {
    let figures: Figures = list.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    CheckIn { figures, ..checkin }
}

fn rows(value: f64, second: i64) -> CheckIn {
    with(&[("rows", value)], success(at(second)))
}

fn expecting(clauses: &[&str]) -> Patch {
    Patch { expect: Some(Expect::parse(clauses).unwrap()), ..every(100_000) }
}

fn values(recent: &Recent, name: &str) -> Vec<(f64, bool)> {
    recent.figures.get(name).into_iter().flatten().map(|one| (one.value, one.counts)).collect()
}

/// Why the alert on `job` is open.
fn why(store: &ActingStore) -> Option<String> {
    match store.alert("job")?.reason {
        Reason::Unexpected { figures, .. } => Some(figures),
        other => panic!("{other:?}"),
    }
}

/// Checks in with the figure `rows` and makes a pass; returns why an alert is open afterwards.
fn told(store: &ActingStore, value: f64, second: i64) -> Option<String> {
    store.check_in("job", &[rows(value, second)]);
    store.pass(at(second));
    why(store)
}

fn figures_are_kept_with_the_history_and_apart_from_it(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &every(60));
    store.check_in("job", &[with(&[("rows", 1200.0), ("share", 0.25)], success(at(1)))]);
    store.check_in("job", &[start(at(2)), with(&[("rows", 7.0)], fail(at(5), 1)), log(at(6))]);
    let history = store.checkins_of(id, 10).unwrap();
    let of = |place: usize| history[place].figures.json().to_string();
    assert_eq!([of(0), of(1), of(3)], ["{}", "{\"rows\":7}", "{\"rows\":1200,\"share\":0.25}"]);
    for second in 10..80 {
        store.check_in("job", &[success(at(second))]);
    }
    assert!(store.prune(51, at(9), &mut Walk::default(), &|| true).unwrap().checkins > 0);
    assert!(store.checkins_of(id, 100).unwrap().iter().all(|row| row.figures.is_empty()));
    let recent = store.recent(id).unwrap();
    assert_eq!(values(&recent, "rows"), [(1200.0, true), (7.0, false)], "a failure's counts for no median");
    assert_eq!(values(&recent, "share"), [(0.25, true)]);
    assert_eq!(recent.run_times.iter().map(|one| one.value).collect::<Vec<_>>(), [3000.0]);
}

fn so_many_values_are_kept_and_what_counts_does_not_make_way(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &every(60));
    for n in 0..120 {
        store.check_in("job", &[start(at(2 * n)), rows(n as f64, 2 * n + 1)]);
    }
    for n in 120..240 {
        let failed = CheckIn { figures: rows(n as f64, 0).figures, ..fail(at(2 * n + 1), 1) };
        store.check_in("job", &[start(at(2 * n)), failed]);
    }
    let recent = store.recent(id).unwrap();
    assert_eq!(recent.run_times.len(), 200);
    let all = values(&recent, "rows");
    assert_eq!((all.len(), all[49]), (50, (239.0, false)));
    // As many expected values are kept as well, though they are not shown.
    store.check_in("job", &[rows(119.0, 900)]);
    store.pass(at(900));
    let expect = Patch { expect: Some(Expect::parse(&["rows > median(50)"]).unwrap()), ..Patch::default() };
    store.book("job", &expect);
    store.check_in("job", &[rows(0.0, 1000)]);
    store.pass(at(1000));
    let figures = why(&store).unwrap();
    assert_eq!(figures, "rows was 0; expected: rows > median(50), which is 95.5");
}

fn of_names_the_last_are_kept(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &every(60));
    for n in 0..100 {
        store.check_in("job", &[with(&[(&format!("n{n}"), 1.0), ("rows", 1.0)], success(at(n)))]);
    }
    let recent = store.recent(id).unwrap();
    assert_eq!(recent.figures.len(), 20);
    assert!(recent.figures.contains_key("rows") && recent.figures.contains_key("n99"));
}

fn a_success_that_breaks_a_clause_is_told_at_once(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0", "bytes < 10"]));
    store.pass(at(0));
    let both = |rows, bytes, second| with(&[("rows", rows), ("bytes", bytes)], success(at(second)));
    assert!(store.check_in("job", &[both(5.0, 1.0, 10)]).wake, "a success is looked at at once");
    assert_eq!(store.pass(at(10)).opened, 0);
    store.check_in("job", &[both(0.0, 12.0, 20)]);
    assert_eq!(store.next_wake_at().unwrap(), Some(at(20)));
    assert_eq!(store.pass(at(20)).opened, 1);
    let words = "rows was 0; expected: rows > 0. Also, bytes was 12; expected: bytes < 10";
    assert_eq!(why(&store).as_deref(), Some(words));
    store.check_in("job", &[both(0.0, 1.0, 30)]);
    assert_eq!(store.pass(at(30)).closed, 0, "another one that is other than expected is no recovery");
    store.check_in("job", &[both(1.0, 1.0, 40)]);
    assert_eq!(store.pass(at(40)).closed, 1);
}

fn a_figure_that_is_missing_breaks_its_clause(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows >= 0 "]));
    store.pass(at(0));
    store.check_in("job", &[with(&[("row", 1.0)], success(at(10)))]);
    assert_eq!(store.pass(at(10)).opened, 1);
    assert_eq!(why(&store).as_deref(), Some("rows is missing; expected: rows >= 0"));
    // A failure is reported by itself; a start and a log entry need no figures.
    store.check_in("job", &[rows(1.0, 20)]);
    assert_eq!(store.pass(at(20)).closed, 1);
    store.check_in("job", &[start(at(21)), log(at(22))]);
    assert_eq!(store.pass(at(22)).opened, 0);
}

fn successes_of_one_batch_are_judged_in_their_order(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows >= 0.5 * median(10)"]));
    store.pass(at(0));
    let batch: Vec<CheckIn> = [100.0, 100.0, 1.0, 100.0, 40.0, 30.0]
        .into_iter()
        .zip(1..)
        .map(|(value, second)| rows(value, second))
        .collect();
    store.check_in("job", &batch);
    assert_eq!(store.pass(at(10)).opened, 1);
    // The third passed, because there were only two values before; with it the median is 100. The
    // fifth and sixth are too small.
    assert_eq!(why(&store).as_deref(), Some("rows was 40; expected: rows >= 0.5 * median(10), which is 50"));
    let counted: Vec<bool> =
        values(&store.recent(store.look("job").id).unwrap(), "rows").into_iter().map(|one| one.1).collect();
    assert_eq!(counted, [true, true, true, true, false, false]);
}

fn what_was_broken_is_no_part_of_the_median_until_it_is_accepted(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &expecting(&["rows >= 0.5 * median(10)"]));
    store.pass(at(0));
    assert_eq!(store.accept_figures(id, at(0)).unwrap(), Accepted::Nothing);
    for second in 1..=5 {
        assert_eq!(told(&store, 100.0, second), None);
    }
    for second in 10..30 {
        let words = "rows was 40; expected: rows >= 0.5 * median(10), which is 50";
        assert_eq!(told(&store, 40.0, second).as_deref(), Some(words), "however often it comes");
    }
    let alert = store.alert("job").unwrap().id;
    assert!(
        matches!(store.accept_figures(id, at(30)).unwrap(), Accepted::Done(words) if words.starts_with("rows was 40"))
    );
    assert_eq!(store.pass(at(30)).closed, 1);
    let past = store.alerts(Some(id), None, None, 1).unwrap().remove(0);
    assert_eq!(
        (past.id, past.ending.as_deref()),
        (alert, Some("its figures were accepted as right from now on"))
    );
    assert_eq!(store.accept_figures(id, at(31)).unwrap(), Accepted::Nothing, "once");
    assert_eq!(told(&store, 40.0, 40), None, "it is right from now on");
    assert_eq!(told(&store, 21.0, 41), None, "more than half of 40");
    let words = "rows was 19; expected: rows >= 0.5 * median(10), which is 20";
    assert_eq!(told(&store, 19.0, 42).as_deref(), Some(words), "what was before counts no more");
    assert_eq!(store.accept_figures(i64::MAX, at(43)).unwrap(), Accepted::Unknown);
}

fn what_breaks_a_fixed_clause_is_not_accepted(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &expecting(&["rows >= 0.5 * median(10)", "rows > 10"]));
    store.pass(at(0));
    for second in 1..=5 {
        assert_eq!(told(&store, 100.0, second), None);
    }
    assert!(told(&store, 9.0, 6).is_some());
    let refused = store.accept_figures(id, at(7)).unwrap();
    assert_eq!(refused, Accepted::Fixed("rows was 9; expected: rows > 10".to_owned()));
    assert_eq!(store.pass(at(7)).closed, 0);
    let verdicts = store.verdicts(&store.look("job")).unwrap();
    assert!(verdicts.iter().all(|verdict| matches!(verdict, Some(ClauseVerdict::Broken(_)))), "{verdicts:?}");
}

fn other_clauses_judge_the_latest_success_anew(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 10"]));
    store.pass(at(0));
    assert!(told(&store, 5.0, 1).is_some());
    store.book("job", &expecting(&["rows > 7"]));
    assert_eq!(store.pass(at(2)).closed, 0, "5 is no more than 7 either");
    store.book("job", &expecting(&["rows > 3"]));
    assert_eq!(store.pass(at(3)).closed, 1);
    assert_eq!(values(&store.recent(store.look("job").id).unwrap(), "rows"), [(5.0, true)]);
}

fn clauses_do_not_judge_what_came_before_them(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(100_000));
    store.check_in("job", &[success(at(1))]);
    store.book("job", &expecting(&["rows > 0"]));
    assert_eq!(store.pass(at(2)).opened, 0);
    assert_eq!(told(&store, 0.0, 3).as_deref(), Some("rows was 0; expected: rows > 0"));
}

fn a_start_that_comes_late_leaves_its_run_time(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &every(60));
    store.check_in("job", &[of_run(1, success(at(50)))]);
    assert!(store.recent(id).unwrap().run_times.is_empty());
    store.check_in("job", &[of_run(1, start(at(20)))]);
    let times: Vec<f64> = store.recent(id).unwrap().run_times.iter().map(|one| one.value).collect();
    assert_eq!(times, [30_000.0]);
}

fn a_check_out_that_is_taken_back_keeps_them(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(0));
    told(&store, 5.0, 1);
    assert!(store.check_out(&app(SHOP), &component("job"), at(2)).unwrap());
    assert_eq!(store.undo_checkout(id, at(3)).unwrap(), Undone::Done);
    assert_eq!(values(&store.recent(id).unwrap(), "rows"), [(5.0, true)]);
    assert_eq!(store.look("job").spec.expect.texts(), ["rows > 0"]);
    assert!(store.check_out(&app(SHOP), &component("job"), at(4)).unwrap());
    store.forget_checkouts(at(10)).unwrap();
    assert_eq!(store.recent(id).unwrap(), Recent::default());
}

fn the_latest_of_each_is_found_by_app(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(60));
    store.check_in("job", &[start(at(1)), rows(1.0, 3), rows(2.0, 4)]);
    let found = |apps: &[&str], limit| {
        let app: &[String] = &apps.iter().map(ToString::to_string).collect::<Vec<_>>();
        let latest = store.latest_figures(app, limit).unwrap();
        latest.into_iter().map(|one| (one.component, one.name, one.value)).collect::<Vec<_>>()
    };
    let of_job = |name: &str, value| ("job".to_owned(), name.to_owned(), value);
    assert_eq!(found(&["none", SHOP, SHOP], 10), [of_job("", 2000.0), of_job("rows", 2.0)]);
    assert_eq!(found(&[], 1), [of_job("", 2000.0)]);
    assert_eq!(found(&["other"], 10), []);
}

fn a_report_that_comes_late_is_judged_too(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(0));
    store.check_in("job", &[reported(rows(0.0, 100), at(500))]);
    assert_eq!(store.pass(at(500)).opened, 1);
    assert_eq!(why(&store).as_deref(), Some("rows was 0; expected: rows > 0"));
    // An unexpected success that an expected one has followed opens no alert.
    store.check_in("job", &[rows(1.0, 600)]);
    store.pass(at(600));
    store.check_in("job", &[reported(rows(0.0, 550), at(700))]);
    let swept = store.pass(at(700));
    assert_eq!((swept.opened, why(&store)), (0, None));
    assert_eq!(store.checkins_of(store.look("job").id, 1).unwrap()[0].kind, CheckInKind::Success);
}

fn values_are_kept_when_the_history_was_pruned_away(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows >= 0.5 * median(10)"]));
    store.pass(at(0));
    for second in 1..=3 {
        assert_eq!(told(&store, 100.0, second), None);
    }
    let id = store.look("job").id;
    store.prune(51, at(1_000_000), &mut Walk::default(), &|| true).unwrap();
    let words = "rows was 4; expected: rows >= 0.5 * median(10), which is 50";
    assert_eq!(told(&store, 4.0, 10).as_deref(), Some(words), "new values stand behind those of before");
    assert_eq!(values(&store.recent(id).unwrap(), "rows").len(), 4);
}

fn what_was_accepted_is_kept_by_a_check_out_that_is_taken_back(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &expecting(&["rows >= 0.5 * median(10)"]));
    store.pass(at(0));
    for second in 1..=5 {
        told(&store, 100.0, second);
    }
    assert!(told(&store, 40.0, 6).is_some());
    assert!(matches!(store.accept_figures(id, at(7)).unwrap(), Accepted::Done(_)));
    assert_eq!(told(&store, 40.0, 8), None);
    assert!(store.check_out(&app(SHOP), &component("job"), at(9)).unwrap());
    assert_eq!(store.undo_checkout(id, at(10)).unwrap(), Undone::Done);
    assert_eq!(told(&store, 40.0, 11), None);
}

fn a_change_of_what_is_expected_passes_over_nothing(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(0));
    store.check_in("job", &[rows(0.0, 1)]);
    store.book("job", &expecting(&["rows > 0", "bytes > 0"]));
    assert_eq!(store.pass(at(2)).opened, 1, "it broke the clauses of before and those of now");
    store.check_in("job", &[rows(0.0, 3)]);
    store.book("job", &expecting(&["rows > 0", "bytes > 1"]));
    assert_eq!(store.pass(at(4)).closed, 0, "it is not back");
}

fn values_are_trimmed_whatever_the_rhythm_of_the_job(database: &TestDatabase) {
    for (name, more) in [("of four", 3), ("of five", 4), ("of twenty-five", 24)] {
        let store = database.store();
        let id = store.book(name, &every(100_000));
        for n in 0..300 {
            let mut batch: Vec<CheckIn> = (0..more).map(|_| log(at(n))).collect();
            batch.push(rows(n as f64, n));
            store.check_in(name, &batch);
        }
        let kept = database.count(&format!("recent_values WHERE reservation_id = {id}"));
        assert!((50..250).contains(&kept), "{name}: {kept}");
        assert_eq!(values(&store.recent(id).unwrap(), "rows").len(), 50);
    }
}

fn a_good_success_of_the_same_instant_ends_it(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(0));
    store.check_in("job", &[rows(0.0, 1), rows(5.0, 1)]);
    store.pass(at(1));
    assert_eq!(why(&store), None);
    store.check_in("job", &[rows(5.0, 2), rows(0.0, 2)]);
    store.pass(at(2));
    assert_eq!(why(&store), None, "as with failures, a success outdoes what is bad in the same instant");
}

fn what_lies_far_back_is_accepted_and_judged_anew(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &expecting(&["rows >= 0.5 * median(10)"]));
    store.pass(at(0));
    for second in 1..=5 {
        told(&store, 100.0, second);
    }
    assert!(told(&store, 40.0, 6).is_some());
    store.check_in("job", &vec![log(at(7)); 150]);
    store.book("job", &expecting(&["rows >= 0.6 * median(10)"]));
    assert_eq!(store.pass(at(8)).closed, 0);
    assert_eq!(
        store.look("job").conclusions.unexpected.unwrap().figures,
        "rows was 40; expected: rows >= 0.6 * median(10), which is 60"
    );
    store.prune(51, at(1_000_000), &mut Walk::default(), &|| true).unwrap();
    assert!(matches!(store.accept_figures(id, at(9)).unwrap(), Accepted::Done(_)));
    assert_eq!(store.pass(at(9)).closed, 1);
}

fn a_late_success_that_did_nothing_answers_no_alert(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &Patch { expect: expecting(&["rows > 0"]).expect, ..every(100) });
    store.check_in("job", &[rows(1.0, 10)]);
    store.pass(at(10));
    assert_eq!(store.pass(at(110)).opened, 1);
    store.check_in("job", &[rows(1.0, 150)]);
    assert_eq!(store.pass(at(150)).closed, 1);
    store.check_in("job", &[reported(rows(0.0, 100), at(160))]);
    store.pass(at(160));
    let past = store.alerts(Some(id), None, None, 1).unwrap().remove(0);
    assert_eq!(past.ending, None, "it had not run well");
}

fn one_that_was_reported_late_and_is_over_is_in_the_summary(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0"]));
    store.check_in("job", &[rows(1.0, 600)]);
    store.pass(at(600));
    store.check_in("job", &[reported(rows(0.0, 550), at(700))]);
    assert_eq!(store.pass(at(700)).opened, 0);
    assert_eq!(database.count("late_failures"), 1);
}

fn a_success_that_was_too_short_counts_for_no_median(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("job", &Patch { min_run: Some(seconds(5)), ..expecting(&["rows >= median(3)"]) });
    store.pass(at(0));
    store.check_in("job", &[start(at(1)), rows(1.0, 2)]);
    store.pass(at(2));
    assert_eq!(values(&store.recent(id).unwrap(), "rows"), [(1.0, false)]);
}

fn at_the_end_of_a_snooze_its_figures_are_told(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(0));
    assert!(store.snooze(&app(SHOP), &component("job"), at(100), SnoozeMode::Quiet, at(0)).unwrap());
    assert_eq!(told(&store, 0.0, 10), None);
    store.check_in("job", &[rows(5.0, 110)]);
    assert_eq!(store.pass(at(120)).opened, 1);
    let id = store.look("job").id;
    let sentence = store.alerts(Some(id), None, None, 1).unwrap().remove(0).sentence;
    assert!(sentence.contains("rows was 0; expected: rows > 0"), "{sentence}");
}

fn a_clause_is_judged_by_no_success_of_before(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &every(100_000));
    store.check_in("job", &[rows(0.0, 1)]);
    store.pass(at(1));
    store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(2));
    assert_eq!(store.verdicts(&store.look("job")).unwrap(), [None]);
    told(&store, 0.0, 3);
    assert!(matches!(&store.verdicts(&store.look("job")).unwrap()[..], [Some(ClauseVerdict::Broken(_))]));
}

fn clauses_stand_by_the_latest_success_whatever_came_after_it(database: &TestDatabase) {
    let store = database.store();
    store.book("job", &expecting(&["rows > 0"]));
    store.pass(at(0));
    assert!(told(&store, 0.0, 100).is_some());
    let is_broken =
        || matches!(&store.verdicts(&store.look("job")).unwrap()[..], [Some(ClauseVerdict::Broken(_))]);
    assert!(is_broken());
    store.check_in("job", &[reported(rows(5.0, 50), at(110))]);
    store.pass(at(110));
    assert!(is_broken(), "an older one that came late is not the latest");
    store.check_in("job", &[fail(at(120), 1)]);
    store.pass(at(120));
    assert!(is_broken(), "a failure says nothing of figures");
    told(&store, 0.0, 130);
    store.check_in("job", &vec![log(at(140)); 120]);
    store.pass(at(140));
    assert!(is_broken(), "nor do remarks, however many");
}
