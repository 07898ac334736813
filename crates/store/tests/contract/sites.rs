//! Sites: while one is silent, alerts of the jobs behind it are held.

use innkeeper_core::reservation::Patch;
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::{AlertEvent, ChangeOutcome};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    alerts_behind_a_silent_site_are_held_and_given_a_respite,
    a_snoozed_site_holds_as_well,
    a_silence_that_was_withdrawn_is_none,
    a_silence_that_late_reports_answered_is_one,
    only_those_behind_the_same_address_of_the_same_app_are_held,
    the_site_itself_tells_how_many_stand_behind_it,
);

const ADDRESS: &str = "203.0.113.7";

fn site(period: i64) -> Patch {
    Patch { is_site: Some(true), ..every(period) }
}

fn alerts_behind_a_silent_site_are_held_and_given_a_respite(database: &TestDatabase) {
    let store = database.store();
    store.book("gateway", &site(20));
    store.book("backup", &every(60));
    store.check_in("gateway", &[from(ADDRESS, success(at(0)))]);
    store.check_in("backup", &[from(ADDRESS, success(at(0)))]);

    let opened = |now: i64| {
        store.pass(at(now));
        database.texts("SELECT component FROM alerts WHERE closed_at IS NULL ORDER BY 1").join(",")
    };
    assert_eq!(opened(20), "gateway");
    assert_eq!(opened(60), "gateway", "held");
    assert_eq!(store.next_wake_at().unwrap(), Some(at(90)), "looked at again, in case the site is removed");

    store.check_in("gateway", &[from(ADDRESS, success(at(100)))]);
    assert_eq!(opened(100), "", "the site is back, and the job has time to be heard again");
    store.check_in("gateway", &[from(ADDRESS, success(at(119)))]);
    store.check_in("gateway", &[from(ADDRESS, success(at(138)))]);
    store.check_in("gateway", &[from(ADDRESS, success(at(157)))]);
    assert_eq!(opened(159), "");
    assert_eq!(opened(160), "backup", "a respite of one period");
}

fn a_snoozed_site_holds_as_well(database: &TestDatabase) {
    let store = database.store();
    store.book("gateway", &site(20));
    store.book("backup", &every(60));
    for (begin, mode) in [(0, SnoozeMode::Quiet), (10_000, SnoozeMode::Skip)] {
        let snoozed = store.snooze(&app(SHOP), &component("gateway"), at(begin + 400), mode, at(begin));
        assert!(snoozed.unwrap());
        store.check_in("gateway", &[from(ADDRESS, success(at(begin + 5)))]);
        store.check_in("backup", &[from(ADDRESS, success(at(begin + 5)))]);
        assert_eq!(store.pass(at(begin + 5)).opened, 0);
        for now in [65, 95, 200, 399, 401] {
            assert_eq!(store.pass(at(begin + now)).opened, 0, "{mode:?}, {now}");
        }
        assert_eq!(store.pass(at(begin + 450)).opened, 1, "{mode:?}: the site's own");
        let open = database.texts("SELECT component FROM alerts WHERE closed_at IS NULL");
        assert_eq!(open, ["gateway"], "{mode:?}");
        store.check_in("gateway", &[from(ADDRESS, success(at(begin + 460)))]);
        store.check_in("backup", &[from(ADDRESS, success(at(begin + 461)))]);
        assert_eq!(store.pass(at(begin + 470)).closed, 1, "{mode:?}");
        store.check_in("gateway", &[from(ADDRESS, success(at(begin + 10_000)))]);
        store.check_in("backup", &[from(ADDRESS, success(at(begin + 10_000)))]);
    }
}

fn a_silence_that_was_withdrawn_is_none(database: &TestDatabase) {
    let store = database.store();
    let id = store.book("gateway", &site(20));
    store.book("backup", &every(60));
    store.check_in("gateway", &[from(ADDRESS, success(at(0)))]);
    store.check_in("backup", &[from(ADDRESS, success(at(0)))]);
    assert_eq!(store.pass(at(20)).opened, 1, "of the gateway");
    let longer = every(100_000);
    assert_eq!(store.change(id, &longer, &|_| true, at(50)).unwrap(), ChangeOutcome::Done);
    assert_eq!(store.pass(at(50)).closed, 1);
    assert_eq!(store.pass(at(59)).opened, 0);
    assert_eq!(store.pass(at(60)).opened, 1, "without a respite");
}

fn a_silence_that_late_reports_answered_is_one(database: &TestDatabase) {
    let store = database.store();
    store.book("gateway", &site(20));
    store.book("backup", &every(60));
    store.check_in("gateway", &[from(ADDRESS, success(at(0)))]);
    store.check_in("backup", &[from(ADDRESS, success(at(0)))]);
    assert_eq!(store.pass(at(20)).opened, 1, "of the gateway");
    assert_eq!(store.pass(at(60)).opened, 0, "held");
    // The line is mended: the gateway kept what it had to say, and the job has nobody who keeps it.
    let late: Vec<_> = (1..10).map(|run| from(ADDRESS, reported(success(at(run * 10)), at(95)))).collect();
    store.check_in("gateway", &late);
    store.check_in("gateway", &[from(ADDRESS, success(at(95)))]);
    let pass = store.pass(at(95));
    assert_eq!((pass.opened, pass.closed), (0, 1));
    let ending = database.text("SELECT ending FROM alerts").unwrap();
    assert!(ending.starts_with("it had run"), "{ending}");
    for second in [114, 133, 152] {
        store.check_in("gateway", &[from(ADDRESS, success(at(second)))]);
    }
    assert_eq!(store.pass(at(154)).opened, 0);
    assert_eq!(store.pass(at(155)).opened, 1, "a respite of one period");
}

fn only_those_behind_the_same_address_of_the_same_app_are_held(database: &TestDatabase) {
    let store = database.store();
    store.book("gateway", &site(20));
    store.check_in("gateway", &[from(ADDRESS, success(at(0)))]);
    store.book("elsewhere", &every(60));
    store.check_in("elsewhere", &[from("198.51.100.1", success(at(0)))]);
    store.book("never seen", &every(60));
    store.reserve(&app("bank"), &component("tenant"), &every(60), at(0)).unwrap();
    let tenant = innkeeper_store::Target::Names(app("bank"), component("tenant"));
    store.record(&[innkeeper_store::Arrival {
        target: tenant,
        ..arrival("x", from(ADDRESS, success(at(0))))
    }]);
    store.pass(at(20));
    assert_eq!(store.pass(at(60)).opened, 3);
}

fn the_site_itself_tells_how_many_stand_behind_it(database: &TestDatabase) {
    let store = database.store();
    store.book("gateway", &site(20));
    store.check_in("gateway", &[from(ADDRESS, success(at(0)))]);
    for n in 0..3 {
        let name = format!("job {n}");
        store.book(&name, &every(60));
        store.check_in(&name, &[from(ADDRESS, success(at(0)))]);
    }
    store.book("elsewhere", &every(60));
    let tell = |told: &AlertEvent<'_>| {
        assert_eq!(told.behind, 3);
        tell_log(told)
    };
    assert_eq!(store.sweep(at(20), 10, &Rules(&tell)).unwrap().opened, 1);
}
