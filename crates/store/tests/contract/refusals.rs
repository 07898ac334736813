//! Jobs whose check-ins the database refuses while it accepts those of others.

use innkeeper_core::Time;
use innkeeper_core::alert::{Cause, Reason};
use innkeeper_core::reservation::{Patch, Window};
use innkeeper_store::ActingStore;
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

#[test]
fn what_is_refused_since_a_job_was_heard_of_is_a_blind_window_of_its_own() {
    for database in TestDatabase::both() {
        let store = database.store();
        store.book("backup", &every(60));
        store.book("other", &every(60));
        let [mut writer, mut second] = [(); 2].map(|()| store.writer());
        let refuse = |writer: &mut innkeeper_store::CheckInWriter, from, seconds| {
            let window = Window { from: at(from), until: at(seconds) };
            writer.note_refusal(&arrival("backup", success(at(seconds))), window).unwrap();
        };
        let refused = |component: &str, seconds| refused(&store, component, at(seconds));
        let blind = |component: &str| refused(component, 500).map(|(from, _, next)| (from, next));
        let window = |from, until| Some((at(from), at(until)));
        writer.record(&[arrival("backup", success(at(1))), arrival("other", success(at(1)))]).unwrap();
        assert_eq!(blind("backup"), None);
        refuse(&mut writer, 60, 61);
        refuse(&mut second, 120, 121);
        refuse(&mut writer, 60, 90);
        assert_eq!(blind("backup"), window(60, 181), "of all nodes, until the next would be expected");
        assert_eq!(blind("other"), None);
        assert_eq!(refused("backup", 130), Some((at(60), at(121), at(130))), "no further than now");
        let nobodys = Window { from: at(5), until: at(5) };
        writer.note_refusal(&arrival("nobody", success(at(5))), nobodys).unwrap();
        writer.record(&[arrival("backup", success(at(180)))]).unwrap();
        refuse(&mut writer, 240, 240);
        assert_eq!(blind("backup"), window(240, 300), "it was heard of meanwhile");
        store.forget_blind_windows(at(241)).unwrap();
        assert_eq!(blind("backup"), None);
    }
}

/// When the first and the last check-in were refused, and when the next one would be expected.
fn refused(store: &ActingStore, component: &str, now: Time) -> Option<(Time, Time, Time)> {
    let refused = store.listed(store.look(component).id, now).unwrap().unwrap().refused?;
    Some((refused.window.from, refused.window.until, refused.next))
}

/// Expected every day, with a grace of a thousand seconds and a time limit of an hour for a run.
fn daily() -> Patch {
    Patch { grace: Some(seconds(1000)), max_run: Some(seconds(3600)), ..every(86_400) }
}

#[test]
fn a_run_whose_start_was_written_after_the_refusals_has_its_limit() {
    for database in TestDatabase::both() {
        let store = database.store();
        store.book("backup", &daily());
        store.check_in("backup", &[success(at(0))]);
        let refused = arrival("backup", success(at(86_403)));
        store.writer().note_refusal(&refused, Window { from: at(86_400), until: at(86_403) }).unwrap();
        store.check_in("backup", &[of_run(1, start(at(86_407))), of_run(2, start(at(86_600)))]);
        store.pass(at(86_407 + 3599));
        assert_eq!(store.alert("backup"), None);
        store.pass(at(86_407 + 3600));
        assert_eq!(store.alert("backup").unwrap().reason.cause(), Cause::Overran);
    }
}

#[test]
fn a_start_excuses_no_silence_and_accuses_nobody_of_what_was_refused() {
    for database in TestDatabase::both() {
        let store = database.store();
        store.book("backup", &daily());
        store.check_in("backup", &[success(at(0))]);
        let refused = arrival("backup", success(at(86_400)));
        store.writer().note_refusal(&refused, Window { from: at(86_400), until: at(86_400) }).unwrap();
        // The next day's run begins in time, so only the refused check-in of the day before is
        // missing.
        store.pass(at(2 * 86_400 - 1));
        store.check_in("backup", &[start(at(2 * 86_400 + 7))]);
        store.pass(at(2 * 86_400 + 8));
        assert_eq!(store.alert("backup"), None);
        store.pass(at(2 * 86_400 + 7 + 3600));
        assert_eq!(store.alert("backup").unwrap().reason.cause(), Cause::Overran);
    }
}

#[test]
fn the_silence_of_a_job_that_was_heard_after_the_refusals_is_told_in_time() {
    for database in TestDatabase::both() {
        let store = database.store();
        for (name, heard) in [("well", success(at(7262))), ("badly", fail(at(7262), 1))] {
            store.book(name, &every(7200));
            store.check_in(name, &[success(at(0))]);
            let refused = arrival(name, success(at(7261)));
            store.writer().note_refusal(&refused, Window { from: at(7200), until: at(7261) }).unwrap();
            store.check_in(name, &[heard]);
        }
        store.pass(at(7262));
        store.pass(at(7262 + 7199));
        assert_eq!(store.alert("well"), None);
        store.pass(at(7262 + 7200));
        let reason = store.alert("well").unwrap().reason;
        assert!(matches!(reason, Reason::Missed { unobserved: None, .. }), "{reason:?}");
        // New refusals count from the beginning for both, also after a failure.
        for name in ["well", "badly"] {
            let refused = arrival(name, success(at(15_000)));
            store.writer().note_refusal(&refused, Window { from: at(15_000), until: at(15_000) }).unwrap();
            assert_eq!(
                self::refused(&store, name, at(16_000)),
                Some((at(15_000), at(15_000), at(16_000))),
                "{name}"
            );
        }
    }
}
