//! The rules, one by one, as a job and a night watch live through them.
//!
//! Unless a test says otherwise a job was made at midnight and has no grace.

mod common;

use chrono_tz::Tz;
use common::{Job, at, reason, run, span, utc};
use innkeeper_core::alert::{Cause, Reason, Unobserved};
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::facts::Event;
use innkeeper_core::reservation::{AlertStatus, Window};
use innkeeper_core::sla::{DueChange, State};

/// Why the change opened an alert.
fn cause(change: &DueChange) -> Cause {
    reason(change).cause()
}

mod anchor_and_deadline {
    use super::*;

    #[test]
    fn a_job_that_never_checks_in_goes_overdue() {
        let mut job = Job::every("5m").grace("1m");
        assert_eq!(job.seen_at(at("00:04")).state, State::New);
        assert_eq!(job.seen_at(at("00:05")).state, State::Late);
        assert_eq!(job.look_at(at("00:05:59.999")), DueChange::None);
        assert_eq!(
            job.look_at(at("00:06")),
            DueChange::Open(Reason::Missed {
                expected_at: at("00:05"),
                deadline: at("00:06"),
                in_a_row: 1,
                unobserved: None
            })
        );
        assert_eq!(job.seen_at(at("00:06")).state, State::Down);
    }

    #[test]
    fn a_success_is_counted_from() {
        let mut job = Job::every("5m").grace("1m");
        job.success_at(at("00:03"));
        let seen = job.seen_at(at("00:04"));
        assert_eq!((seen.expected_at, seen.deadline), (at("00:08"), at("00:09")));
        assert_eq!((seen.state, seen.conclusions.status), (State::Up, AlertStatus::Up));
        assert_eq!(job.look_at(at("00:08:59")), DueChange::None);
        assert_eq!(cause(&job.look_at(at("00:09"))), Cause::Missed);
    }

    #[test]
    fn a_success_within_the_grace_is_in_time() {
        let mut job = Job::every("5m").grace("1m");
        job.success_at(at("00:05:59"));
        assert_eq!(job.look_at(at("00:06")), DueChange::None);
    }

    #[test]
    fn cron_is_counted_on_its_clock() {
        // Made at midnight in UTC; 02:00 in Berlin is 01:00Z.
        let mut job = Job::cron("0 2 * * *", "Europe/Berlin").grace("5m");
        assert_eq!(job.seen_at(at("00:30")).expected_at, at("01:00"));
        job.success_at(at("01:03"));
        assert_eq!(job.look_at(at("01:05")), DueChange::None);
        assert_eq!(job.look_at(utc("2026-01-06 01:04:59")), DueChange::None);
        assert_eq!(cause(&job.look_at(utc("2026-01-06 01:05"))), Cause::Missed);
    }

    #[test]
    fn an_early_cron_check_in_counts_for_its_instant() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.success_at(at("01:59"));
        job.sleep_until(utc("2026-01-06 02:04:59"));
        assert_eq!(job.told, []);

        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.success_at(at("01:58:59"));
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("02:05")], "that was another run");
    }

    #[test]
    fn a_failure_is_heard_and_misses_nothing() {
        // Deliberate: a job that fails each hour has failed each hour, and missed none.
        let mut job = Job::every("1h").grace("1m").alert_after(3);
        job.fail_at(at("00:59"));
        let seen = job.seen_at(at("01:30"));
        assert_eq!((seen.expected_at, seen.overdue), (at("01:59"), false));
        job.look_at(at("00:59"));
        job.fail_at(at("01:59"));
        job.look_at(at("01:59"));
        job.fail_at(at("02:59"));
        assert_eq!(cause(&job.look_at(at("02:59"))), Cause::Failed, "as such, not as missed");
    }

    #[test]
    fn a_start_or_a_log_is_not_heard() {
        let mut job = Job::every("5m");
        job.start_at(at("00:04"));
        job.log_at(at("00:04:30"));
        assert_eq!(job.seen_at(at("00:04:30")).state, State::Running);
        assert_eq!(job.look_at(at("00:04:59")), DueChange::None);
        assert_eq!(cause(&job.look_at(at("00:05"))), Cause::Missed);
    }
}

mod once_and_recovery {
    use super::*;

    #[test]
    fn an_alert_is_told_once() {
        let mut job = Job::every("5m");
        job.sleep_until(utc("2026-02-05 00:00"));
        assert_eq!(job.told.len(), 1, "a month of silence: {:?}", job.told);
    }

    #[test]
    fn an_alert_is_told_again_where_that_is_wished() {
        let mut job = Job::every("5m").remind_every("6h");
        job.sleep_until(at("18:10"));
        let told: Vec<_> =
            job.told.iter().map(|(at, change)| (*at, change == &DueChange::Remind(None))).collect();
        assert_eq!(
            told,
            [(at("00:05"), false), (at("06:05"), true), (at("12:05"), true), (at("18:05"), true)]
        );
    }

    #[test]
    fn a_late_look_reminds_once_and_counts_from_then() {
        let mut job = Job::every("5m").remind_every("1h");
        job.sleep_until(at("00:05"));
        assert_eq!(job.look_at(at("04:30")), DueChange::Remind(None));
        assert_eq!(job.look_at(at("05:29:59")), DueChange::None);
        assert_eq!(job.look_at(at("05:30")), DueChange::Remind(None));
    }

    fn failed(clock: &str, in_a_row: i64) -> DueChange {
        DueChange::Remind(Some(Reason::Failed { at: at(clock), exit_code: Some(3), in_a_row }))
    }

    #[test]
    fn each_failed_run_is_told_where_that_is_wished() {
        let mut job = Job::every("1h").grace("5m").remind_every("each").alert_after(2);
        job.fail_at(at("00:10"));
        assert_eq!(job.look_at(at("00:10")), DueChange::None);
        job.fail_at(at("00:20"));
        assert!(matches!(job.look_at(at("00:20")), DueChange::Open(Reason::Failed { in_a_row: 2, .. })));
        assert_eq!(job.look_at(at("00:21")), DueChange::None, "nothing has come since");
        job.fail_at(at("00:30"));
        assert_eq!(job.reservation.conclusions.wake_at, at("00:30"), "somebody looks at once");
        assert_eq!(job.look_at(at("00:30")), failed("00:30", 3));
        assert_eq!(job.look_at(at("00:30")), DueChange::None);
        // Several between two looks are told together.
        job.fail_at(at("00:40"));
        job.fail_at(at("00:50"));
        assert_eq!(job.look_at(at("00:50")), failed("00:50", 5));
        // A start, a remark and a success are none.
        job.start_at(at("00:55"));
        job.log_at(at("00:56"));
        assert_eq!(job.look_at(at("00:56")), DueChange::None);
        job.success_at(at("00:57"));
        assert_eq!(job.look_at(at("00:57")), DueChange::Recover);
        // A success ends what a failure before it would have told.
        let mut job = Job::every("1h").remind_every("each");
        job.fail_at(at("00:10"));
        job.look_at(at("00:10"));
        job.fail_at(at("00:20"));
        job.success_at(at("00:20:01"));
        assert_eq!(job.look_at(at("00:21")), DueChange::Recover);
    }

    #[test]
    fn each_run_that_is_too_short_is_told_too() {
        let mut job = Job::every("1h").remind_every("each").min_run("10m");
        let short = |job: &mut Job, n: u128, from: &str, to: &str| {
            job.start_of(run(n), at(from));
            job.success_of(run(n), at(to));
            job.look_at(at(to))
        };
        assert!(matches!(short(&mut job, 1, "00:10", "00:11"), DueChange::Open(Reason::TooShort { .. })));
        let change = short(&mut job, 2, "00:20", "00:21");
        assert!(
            matches!(change, DueChange::Remind(Some(Reason::TooShort { took_ms: 60_000, .. }))),
            "{change:?}"
        );
        assert_eq!(short(&mut job, 3, "00:30", "00:50"), DueChange::Recover);
    }

    #[test]
    fn each_further_instant_that_is_missed_is_told() {
        for mut job in [Job::every("1h"), Job::cron("0 * * * *", "UTC")] {
            job = job.grace("5m").remind_every("each");
            job.sleep_until(at("04:30"));
            let told: Vec<_> = job.told.iter().map(|(at, change)| (*at, change.clone())).collect();
            assert_eq!(
                told.iter().map(|(at, _)| *at).collect::<Vec<_>>(),
                ["01:05", "02:05", "03:05", "04:05"].map(at)
            );
            assert!(
                told[1..].iter().all(|(_, change)| *change == DueChange::Remind(None)),
                "as the alert says: {told:?}"
            );
            // Then it fails, is silent again, and is looked at late.
            job.fail_at(at("04:40"));
            assert!(matches!(job.look_at(at("04:40")), DueChange::Remind(Some(Reason::Failed { .. }))));
            let change = job.look_at(at("09:00"));
            assert!(matches!(change, DueChange::Remind(Some(Reason::Missed { .. }))), "{change:?}");
            assert_eq!(job.look_at(at("09:01")), DueChange::None, "one for all of them");
            job.success_at(at("09:02"));
            assert_eq!(job.look_at(at("09:02")), DueChange::Recover);
        }
        // Years later it is found without counting all instants.
        let mut job = Job::every("1s").remind_every("each");
        job.sleep_until(at("00:00:01"));
        let later = utc("2036-01-01 00:00");
        assert_eq!(job.look_at(later), DueChange::Remind(None));
        assert_eq!(job.reservation.conclusions.wake_at, later + span("1s"));
    }

    #[test]
    fn a_job_that_failed_and_then_is_missed_is_told_so() {
        let mut job = Job::every("1h").grace("5m").remind_every("each");
        job.fail_at(at("00:30"));
        job.look_at(at("00:30"));
        job.sleep_until(at("01:40"));
        let missed =
            Reason::Missed { expected_at: at("01:30"), deadline: at("01:35"), in_a_row: 2, unobserved: None };
        assert_eq!(job.told.last().unwrap(), &(at("01:35"), DueChange::Remind(Some(missed))));
    }

    #[test]
    fn a_snooze_silences_each_failure_until_its_end() {
        let mut job = Job::every("12h").remind_every("each");
        job.fail_at(at("00:10"));
        job.look_at(at("00:10"));
        job.quiet("00:15", "01:00");
        for clock in ["00:20", "00:30"] {
            job.fail_at(at(clock));
            assert_eq!(job.look_at(at(clock)), DueChange::None);
        }
        job.sleep_until(at("02:00"));
        assert_eq!(job.told[1..], [(at("01:00"), failed("00:30", 3))], "still true at its end, once");
        // What is over by then is told to nobody.
        job.quiet("02:00", "03:00");
        job.fail_at(at("02:20"));
        job.look_at(at("02:20"));
        job.success_at(at("02:30"));
        assert_eq!(job.look_at(at("02:30")), DueChange::Recover);
        job.sleep_until(at("04:00"));
        assert_eq!(job.told.len(), 3);
        // What is missed within a skip is not expected.
        let mut job = Job::every("10m").remind_every("each");
        job.sleep_until(at("00:10"));
        job.skip("00:15", "01:00");
        job.sleep_until(at("01:15"));
        assert_eq!(job.told.iter().map(|(at, _)| *at).collect::<Vec<_>>(), ["00:10", "01:10"].map(at));
    }

    #[test]
    fn a_failure_that_is_no_news_reminds_nobody() {
        let mut job = Job::every("12h").remind_every("each");
        job.success_at(at("00:30"));
        job.fail_at(at("00:40"));
        job.look_at(at("00:40"));
        job.report(CheckInKind::Fail, at("00:20"), at("01:00"));
        assert_eq!(job.look_at(at("01:00")), DueChange::None, "a success has followed it");
        job.report(CheckInKind::Fail, at("00:35"), at("01:10"));
        assert_eq!(job.look_at(at("01:10")), failed("00:40", 2), "none has followed this one");
    }

    #[test]
    fn a_silent_site_holds_what_is_missed_but_no_failure() {
        let mut job = Job::every("1h").remind_every("each");
        job.sleep_until(at("01:00"));
        job.behind_silent_site = true;
        job.sleep_until(at("03:30"));
        assert_eq!(job.told.len(), 1);
        job.fail_at(at("03:40"));
        assert!(matches!(job.look_at(at("03:40")), DueChange::Remind(Some(Reason::Failed { .. }))));
        job.sleep_until(at("05:00"));
        assert_eq!(job.told.len(), 2);
        job.behind_silent_site = false;
        job.sleep_until(at("05:01"));
        assert_eq!(job.told.len(), 3, "the site is back, and the job is not");
        // Also where one miss alone would open nothing.
        let mut job = Job::every("1h").max_run("10m").alert_after(3).remind_every("each");
        job.start_at(at("00:10"));
        job.sleep_until(at("00:30"));
        job.behind_silent_site = true;
        job.sleep_until(at("01:30"));
        assert_eq!(job.openings(), [at("00:20")]);
        assert_eq!(job.told.len(), 1);
        job.behind_silent_site = false;
        job.sleep_until(at("01:31"));
        assert!(
            matches!(job.told[1..], [(_, DueChange::Remind(Some(Reason::Missed { .. })))]),
            "{:?}",
            job.told
        );
    }

    #[test]
    fn a_hanging_run_is_told_again_when_another_fails() {
        let mut job = Job::every("12h").max_run("10m").remind_every("each");
        job.start_of(run(1), at("00:10"));
        job.sleep_until(at("00:20"));
        job.fail_at(at("00:30"));
        assert!(matches!(job.look_at(at("00:30")), DueChange::Remind(Some(Reason::Failed { .. }))));
    }

    #[test]
    fn the_next_success_is_recovery() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:10"));
        job.success_at(at("00:12"));
        assert_eq!(job.look_at(at("00:12")), DueChange::Recover);
        assert_eq!(job.reservation.conclusions.status, AlertStatus::Up);
        assert_eq!(job.look_at(at("00:12")), DueChange::None);
        assert_eq!(cause(&job.look_at(at("00:17"))), Cause::Missed, "a new silence is a new incident");
    }

    #[test]
    fn a_success_that_is_recorded_late_is_recovery_as_well() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.success_at(at("00:04:59"));
        assert_eq!(job.look_at(at("00:05:01")), DueChange::Recover);
    }

    #[test]
    fn neither_start_nor_log_nor_failure_is_recovery() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.start_at(at("00:06"));
        job.log_at(at("00:07"));
        assert_eq!(job.look_at(at("00:07")), DueChange::None);
        job.fail_at(at("00:08"));
        assert_eq!(job.look_at(at("00:08")), DueChange::None, "one incident");
        assert!(job.alert.is_some());
        job.success_at(at("00:09"));
        assert_eq!(job.look_at(at("00:09")), DueChange::Recover);
    }

    #[test]
    fn a_failure_after_the_success_keeps_the_alert_open() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.success_at(at("00:06"));
        job.fail_at(at("00:07"));
        assert_eq!(job.look_at(at("00:07")), DueChange::None);
        assert!(job.alert.is_some());
    }

    #[test]
    fn a_respite_that_is_learnt_of_later_does_not_close() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.blind(at("00:04"), at("00:19"));
        assert_eq!(job.look_at(at("00:20")), DueChange::None);
        assert!(job.alert.is_some());
    }
}

mod failures {
    use super::*;

    #[test]
    fn a_failure_opens_with_its_exit_status() {
        let mut job = Job::every("1h");
        job.fail_at(at("00:10"));
        assert_eq!(
            job.look_at(at("00:10")),
            DueChange::Open(Reason::Failed { at: at("00:10"), exit_code: Some(3), in_a_row: 1 })
        );
    }

    #[test]
    fn a_failure_that_is_over_when_somebody_looks_is_told_in_one_message() {
        let mut job = Job::every("1h");
        job.fail_at(at("00:10"));
        job.success_at(at("00:11"));
        assert_eq!(
            job.look_at(at("00:12")),
            DueChange::OpenAndRecover(Reason::Failed { at: at("00:10"), exit_code: Some(3), in_a_row: 1 })
        );
        assert_eq!(
            (job.look_at(at("00:12")), job.reservation.conclusions.status),
            (DueChange::None, AlertStatus::Up)
        );
    }

    #[test]
    fn what_the_history_lost_the_count_remembers() {
        let mut job = Job::every("1h");
        job.fail_at(at("00:10"));
        job.success_at(at("00:11"));
        for kept in [&job.unseen[2..], &job.unseen[1..]] {
            let mut job = Job { unseen: kept.to_vec(), ..job.clone() };
            let change = job.look_at(at("00:12"));
            assert!(matches!(change, DueChange::OpenAndRecover(_)), "{kept:?}: {change:?}");
            assert_eq!(cause(&change), Cause::Failed);
            assert_eq!(job.look_at(at("00:12")), DueChange::None);
        }
    }

    #[test]
    fn a_threshold_reached_by_lost_failures_is_reached() {
        let mut job = Job::every("1h").alert_after(3);
        for minute in ["00:10", "00:11", "00:12"] {
            job.fail_at(at(minute));
        }
        job.unseen.drain(..2);
        assert!(matches!(job.look_at(at("00:12")), DueChange::Open(Reason::Failed { in_a_row: 3, .. })));
    }

    #[test]
    fn a_success_too_soon_after_its_start_is_a_failure() {
        let mut job = Job::every("1h").min_run("10s");
        job.start_at(at("00:10"));
        job.success_at(at("00:10:09"));
        assert_eq!(
            job.look_at(at("00:10:09")),
            DueChange::Open(Reason::TooShort { at: at("00:10:09"), took_ms: 9000, min_run_ms: 10_000 })
        );
        job.start_at(at("00:20"));
        job.success_at(at("00:20:10"));
        assert_eq!(job.look_at(at("00:20:10")), DueChange::Recover, "ten seconds are honest");
    }

    #[test]
    fn the_run_is_measured_by_its_own_start() {
        let mut job = Job::every("1h").min_run("10s");
        job.start_of(run(1), at("00:10"));
        job.start_of(run(2), at("00:10:55"));
        job.success_of(run(1), at("00:11"));
        assert_eq!(job.look_at(at("00:11")), DueChange::None, "a minute");
        job.success_of(run(2), at("00:11:01"));
        assert_eq!(cause(&job.look_at(at("00:11:01"))), Cause::Failed, "six seconds");
    }

    #[test]
    fn a_success_without_a_start_has_no_length() {
        let mut job = Job::every("1h").min_run("10s");
        job.success_at(at("00:10"));
        assert_eq!(job.look_at(at("00:10")), DueChange::None);
    }

    #[test]
    fn a_short_run_stays_a_failure_however_often_one_looks() {
        let mut job = Job::every("1h").min_run("10s");
        job.start_at(at("00:10"));
        job.success_at(at("00:10:01"));
        job.look_at(at("00:10:01"));
        for minute in ["00:11", "00:12", "00:13"] {
            assert_eq!(job.look_at(at(minute)), DueChange::None);
        }
        assert!(job.alert.is_some());
    }
}

mod threshold {
    use super::*;

    #[test]
    fn misses_in_a_row() {
        let mut job = Job::every("1h").grace("5m").alert_after(3);
        assert_eq!(job.seen_at(at("01:05")).state, State::Overdue, "shown before it is told");
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("03:05")]);
        let (_, change) = &job.told[0];
        assert!(matches!(reason(change), Reason::Missed { in_a_row: 3, .. }), "{change:?}");
    }

    #[test]
    fn misses_of_a_cron_job_in_a_row() {
        let mut job = Job::cron("0 2,14 * * *", "UTC").grace("5m").alert_after(2);
        job.sleep_until(utc("2026-01-07 00:00"));
        assert_eq!(job.openings(), [at("14:05")]);
    }

    #[test]
    fn a_success_between_begins_a_new_row_of_misses() {
        let mut job = Job::every("1h").alert_after(2);
        job.sleep_until(at("01:30"));
        job.success_at(at("01:30"));
        job.sleep_until(at("03:29:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("03:30"));
        assert_eq!(job.openings(), [at("03:30")]);
    }

    #[test]
    fn failures_in_a_row() {
        let mut job = Job::every("1h").alert_after(3);
        for (minute, opens) in [("00:10", false), ("00:20", false), ("00:30", true)] {
            job.fail_at(at(minute));
            assert_eq!(matches!(job.look_at(at(minute)), DueChange::Open(_)), opens, "{minute}");
        }
    }

    #[test]
    fn failures_in_a_row_between_two_looks() {
        let mut job = Job::every("1h").alert_after(3);
        for minute in ["00:10", "00:11", "00:12", "00:13"] {
            job.fail_at(at(minute));
        }
        assert_eq!(
            job.look_at(at("00:14")),
            DueChange::Open(Reason::Failed { at: at("00:12"), exit_code: Some(3), in_a_row: 3 })
        );
    }

    #[test]
    fn a_success_between_begins_a_new_row_of_failures() {
        let mut job = Job::every("1h").alert_after(2);
        job.fail_at(at("00:10"));
        job.look_at(at("00:10"));
        // Nobody looks at the success of an up reservation before the next failure.
        job.success_at(at("00:20"));
        job.fail_at(at("00:30"));
        assert_eq!(job.look_at(at("00:30")), DueChange::None);
        job.fail_at(at("00:40"));
        assert_eq!(cause(&job.look_at(at("00:40"))), Cause::Failed);
    }

    #[test]
    fn a_success_recorded_late_does_not_end_the_row_that_followed_it() {
        let mut job = Job::every("1h").alert_after(2);
        job.fail_at(at("00:10"));
        job.look_at(at("00:10"));
        job.success_at(at("00:09"));
        job.look_at(at("00:11"));
        job.fail_at(at("00:20"));
        assert_eq!(cause(&job.look_at(at("00:20"))), Cause::Failed);
    }

    #[test]
    fn failures_and_then_silence() {
        let mut job = Job::every("1h").grace("5m").alert_after(3);
        job.fail_at(at("00:10"));
        job.sleep_until(at("00:20"));
        job.fail_at(at("00:20"));
        job.sleep_until(at("01:24:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("01:25"));
        assert_eq!(cause(&job.told[0].1), Cause::Missed, "two failures and one miss are three");
    }

    #[test]
    fn a_short_run_counts_as_one() {
        let mut job = Job::every("1h").min_run("10s").alert_after(2);
        job.fail_at(at("00:10"));
        job.look_at(at("00:10"));
        job.start_at(at("00:20"));
        job.success_at(at("00:20:01"));
        assert!(matches!(job.look_at(at("00:20:01")), DueChange::Open(Reason::TooShort { .. })));
    }
}

mod threshold_of_both {
    use super::*;
    use innkeeper_core::snooze::SnoozeMode;

    #[test]
    fn misses_before_a_failure_count() {
        let mut job = Job::cron("0 * * * *", "UTC").grace("5m").alert_after(3);
        job.sleep_until(at("02:10"));
        assert_eq!(job.seen_at(at("02:10")).in_a_row, 2, "01:00 and 02:00");
        let mut early = job.clone();
        job.fail_at(at("02:30"));
        assert_eq!(job.look_at(at("02:30")), DueChange::None, "it answers 02:00, which was missed");
        // This one counts for 03:00.
        early.fail_at(at("02:59:30"));
        assert!(matches!(early.look_at(at("02:59:30")), DueChange::Open(Reason::Failed { in_a_row: 3, .. })));
    }

    #[test]
    fn a_late_failure_answers_the_instant_that_was_missed() {
        // Deliberate: each night one bad run, and it reports after its grace.
        let mut job = Job::cron("0 * * * *", "UTC").grace("5m").alert_after(3);
        job.sleep_until(at("01:20"));
        job.fail_at(at("01:20"));
        job.sleep_until(at("01:20"));
        assert_eq!(job.seen_at(at("01:20")).in_a_row, 1);
        job.sleep_until(at("02:20"));
        job.fail_at(at("02:20"));
        job.sleep_until(at("02:20"));
        assert_eq!((job.seen_at(at("02:20")).in_a_row, job.told.len()), (2, 0));
        job.fail_at(at("02:30"));
        assert!(
            matches!(job.look_at(at("02:30")), DueChange::Open(Reason::Failed { in_a_row: 3, .. })),
            "a further one"
        );
    }

    #[test]
    fn looked_at_or_not_it_is_the_same_row() {
        for looks in [false, true] {
            let mut job = Job::every("1h").grace("5m").alert_after(4);
            for clock in ["01:30", "02:10", "04:40"] {
                if looks {
                    job.sleep_until(at(clock));
                }
                job.fail_at(at(clock));
                if looks {
                    job.look_at(at(clock));
                }
            }
            // 01:00 is missed and answered late; 02:10 comes early; 03:10 is missed; 04:10 is missed and answered late.
            let told = if looks { job.openings() } else { vec![] };
            let seen = job.seen_at(at("04:40"));
            match looks {
                true => assert_eq!(told, [at("04:15")]),
                false => assert!(
                    matches!(seen.change, DueChange::Open(Reason::Failed { in_a_row: 4, .. })),
                    "{seen:?}"
                ),
            }
        }
    }

    #[test]
    fn only_a_success_ends_the_row() {
        let mut job = Job::every("1h").grace("5m").alert_after(2);
        job.sleep_until(at("01:30"));
        job.start_at(at("01:30"));
        job.log_at(at("01:31"));
        assert_eq!(job.seen_at(at("01:31")).in_a_row, 1);
        job.success_at(at("01:40"));
        assert_eq!(job.seen_at(at("01:40")).in_a_row, 0);
        job.sleep_until(at("03:44:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("03:45"));
        assert_eq!(job.openings(), [at("03:45")]);
    }

    #[test]
    fn an_instant_that_a_blind_window_touches_does_not_count() {
        for (from, until, opens) in [
            ("02:10", "02:50", "03:05"),
            ("02:01", "02:02", "04:05"),
            ("01:58", "01:59:30", "04:05"),
            ("01:58", "01:58:59", "03:05"),
            ("02:05", "02:06", "04:05"),
        ] {
            let mut job = Job::cron("0 * * * *", "UTC").grace("5m").alert_after(3);
            job.blind(at(from), at(until));
            job.sleep_until(at("12:00"));
            assert_eq!(job.openings(), [at(opens)], "blind from {from} to {until}");
        }
    }

    #[test]
    fn a_failure_after_a_quiet_snooze_does_not_wipe_out_what_was_missed_in_it() {
        let life = |failures: &[&str]| {
            let mut job = Job::cron("0 2 * * *", "UTC").grace("5m").alert_after(2);
            job.success_at(utc("2026-01-09 02:00"));
            job.snooze(SnoozeMode::Quiet, utc("2026-01-09 18:00"), utc("2026-01-12 08:00"));
            for failure in failures {
                job.sleep_until(utc(failure));
                job.fail_at(utc(failure));
            }
            job.sleep_until(utc("2026-01-14 00:00"));
            job.openings()
        };
        assert_eq!(life(&[]), [utc("2026-01-12 09:05")], "Saturday, Sunday, Monday");
        assert_eq!(life(&["2026-01-12 08:30"]), [utc("2026-01-12 08:30")], "the failure answers Monday's");
        assert_eq!(life(&["2026-01-11 02:00"]), [utc("2026-01-12 08:00")], "Saturday's, and it");
    }

    #[test]
    fn a_blind_window_after_a_quiet_snooze_leaves_alone_what_it_does_not_touch() {
        let mut job = Job::cron("0 * * * *", "UTC").grace("5m").alert_after(3);
        job.success_at(at("01:00"));
        job.quiet("01:30", "03:30");
        job.blind(at("04:20:00"), at("04:20:06"));
        assert_eq!(job.seen_at(at("05:05")).in_a_row, 2);
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("06:05")], "those of 4, 5 and 6 o'clock");
    }

    #[test]
    fn a_run_limit_opens_at_once() {
        let mut job = Job::every("12h").max_run("10m").alert_after(5);
        job.start_at(at("01:00"));
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("01:10")]);
    }
}

mod lost_ends {
    use super::*;

    #[test]
    fn one_reboot_in_mid_run_does_not_leave_a_job_down_for_ever() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("12h").max_run("30m");
        job.start_of(run(1), at("02:00"));
        job.sleep_until(at("02:40"));
        assert_eq!(job.openings(), [at("02:30")]);
        job.start_of(run(2), at("03:00"));
        assert_eq!(job.look_at(at("03:00")), DueChange::None);
        job.success_of(run(2), at("03:10"));
        assert_eq!(job.look_at(at("03:10")), DueChange::Recover);
        job.sleep_until(utc("2026-01-06 01:00"));
        assert_eq!(job.told.len(), 2, "its limit is told once");
        assert_eq!(job.seen_at(at("04:00")).state, State::Up, "and it is shown no more");
    }

    #[test]
    fn a_success_that_names_no_run_recovers_it() {
        let mut job = Job::every("12h").max_run("30m");
        job.start_of(run(1), at("02:00"));
        job.sleep_until(at("02:40"));
        job.success_at(at("02:50"));
        assert_eq!(job.look_at(at("02:50")), DueChange::Recover);
    }

    #[test]
    fn a_run_that_began_before_does_not_recover_it() {
        let mut job = Job::every("12h").max_run("1h");
        job.start_of(run(1), at("01:50"));
        job.start_of(run(2), at("02:00"));
        job.success_of(run(3), at("02:10"));
        job.sleep_until(at("03:00"));
        assert_eq!(job.openings(), [at("02:50")]);
        job.start_of(run(4), at("03:01"));
        job.success_of(run(2), at("03:02"));
        assert_eq!(job.look_at(at("03:02")), DueChange::Recover, "run 2 began later than run 1");
        let mut job = Job::every("12h").max_run("1h");
        job.start_of(run(2), at("01:00"));
        job.start_of(run(1), at("01:10"));
        job.sleep_until(at("02:00"));
        assert_eq!(job.openings(), [at("02:00")], "of run 2");
        job.success_of(run(2), at("02:05"));
        assert_eq!(job.look_at(at("02:05")), DueChange::Recover);
        job.sleep_until(at("02:10"));
        assert_eq!(job.openings().len(), 2, "run 1 has a limit of its own");
        job.success_of(run(2), at("02:20"));
        assert_eq!(job.look_at(at("02:20")), DueChange::None, "it began earlier");
    }

    #[test]
    fn a_run_that_was_to_be_over_before_a_later_one_that_succeeded_is_over_without_a_word() {
        let mut job = Job::every("12h").max_run("30m");
        job.start_of(run(1), at("01:00"));
        job.quiet("01:10", "06:00");
        job.start_of(run(2), at("03:00"));
        job.success_of(run(2), at("03:20"));
        job.sleep_until(at("12:00"));
        assert_eq!(job.told, []);

        let mut job = Job::every("12h").max_run("30m");
        job.start_of(run(1), at("01:00"));
        job.quiet("01:10", "06:00");
        job.start_of(run(2), at("01:20"));
        job.success_of(run(2), at("01:40"));
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("06:00")], "they overlapped: it may still go");
    }

    #[test]
    fn a_start_for_a_run_that_has_ended_is_ignored() {
        let mut job = Job::every("12h").max_run("30m");
        job.start_of(run(1), at("01:00"));
        job.success_of(run(1), at("01:10"));
        job.start_of(run(1), at("01:11"));
        assert_ne!(job.seen_at(at("01:12")).state, State::Running);
        job.sleep_until(at("12:00"));
        assert_eq!(job.told, []);
    }

    #[test]
    fn a_later_start_takes_its_place_in_what_is_shown() {
        let mut job = Job::every("12h");
        job.start_of(run(1), at("01:00"));
        assert_eq!(job.seen_at(at("01:10")).state, State::Running);
        job.start_of(run(2), at("02:00"));
        job.success_of(run(2), at("02:10"));
        assert_eq!(job.seen_at(at("02:20")).state, State::Up);
    }

    #[test]
    fn what_passed_its_limit_while_an_alert_was_open_and_is_over_is_not_told() {
        let mut job = Job::every("1h").max_run("30m");
        job.sleep_until(at("01:00"));
        job.start_of(run(1), at("01:10"));
        job.sleep_until(at("02:00"));
        job.start_of(run(2), at("02:10"));
        job.success_of(run(2), at("02:20"));
        assert_eq!(job.look_at(at("02:20")), DueChange::Recover);
        job.sleep_until(at("03:19"));
        assert_eq!(job.openings(), [at("01:00")]);
    }

    #[test]
    fn what_passes_its_limit_while_another_alert_is_open_is_told_after_it() {
        for snoozed in [false, true] {
            let mut job = Job::every("12h").max_run("30m");
            job.fail_at(at("08:00"));
            job.look_at(at("08:00"));
            if snoozed {
                job.quiet("08:10", "12:00");
            }
            job.start_of(run(1), at("08:30"));
            job.sleep_until(at("08:45"));
            job.start_of(run(2), at("08:50"));
            job.sleep_until(at("09:10"));
            assert_eq!(job.openings(), [at("08:00")]);
            job.success_of(run(2), at("09:20"));
            let mut ended = job.clone();
            assert_eq!(job.look_at(at("09:20")), DueChange::Recover);
            assert_eq!(job.seen_at(at("09:20")).change, DueChange::None, "told by the next look");
            job.sleep_until(at("13:00"));
            let told_at = if snoozed { at("12:00") } else { at("09:20:00.001") };
            assert_eq!(job.openings(), [at("08:00"), told_at], "they overlapped: it may still go");
            assert!(
                matches!(reason(&job.told[2].1), Reason::Overran { started_at, .. } if *started_at == at("08:30"))
            );
            // Once.
            job.start_of(run(3), at("14:00"));
            job.success_of(run(3), at("14:10"));
            assert_eq!(job.look_at(at("14:10")), DueChange::Recover);
            job.sleep_until(at("20:00"));
            assert_eq!(job.told.len(), 4, "{:?}", job.told);
            // One that ends meanwhile is not.
            ended.look_at(at("09:20"));
            ended.success_of(run(1), at("09:20"));
            ended.sleep_until(at("20:00"));
            assert_eq!(ended.told.len(), 2, "{:?}", ended.told);
        }
    }

    #[test]
    fn one_that_passes_its_limit_while_another_is_told_is_told_after_that_whenever_one_looks() {
        for looks in [&[][..], &["04:00", "04:00:29"]] {
            let mut job = Job::every("12h").max_run("1h");
            job.start_of(run(1), at("02:00"));
            job.sleep_until(at("03:00"));
            job.start_of(run(2), at("03:00"));
            job.start_of(run(3), at("03:50"));
            for look in looks {
                assert_eq!(job.look_at(at(look)), DueChange::None);
            }
            job.success_of(run(3), at("04:00:30"));
            assert_eq!(job.look_at(at("04:00:30")), DueChange::Recover);
            job.sleep_until(at("05:00"));
            assert_eq!(job.openings(), [at("03:00"), at("04:00:30.001")], "{looks:?}");
            assert_eq!(reason(&job.told[2].1).run(), Some(at("03:00")));
        }
    }

    #[test]
    fn what_was_over_without_a_word_is_not_told_by_a_longer_limit() {
        for (failed, snoozed) in [(false, true), (true, false), (true, true)] {
            let mut job = Job::every("12h").max_run("30m");
            if failed {
                job.fail_at(at("00:50"));
                job.look_at(at("00:50"));
            }
            job.start_of(run(1), at("01:00"));
            if snoozed {
                job.quiet("01:10", "03:30");
            }
            job.sleep_until(at("03:00"));
            job.start_of(run(2), at("03:00"));
            job.success_of(run(2), at("03:20"));
            job.sleep_until(at("03:40"));
            job.change_at(at("03:45"), |spec| spec.max_run = Some(span("3h")));
            job.sleep_until(at("12:00"));
            assert_eq!(job.openings().len(), usize::from(failed), "{failed} {snoozed}: {:?}", job.told);
        }
    }
}

mod changed_terms {
    use super::*;
    use innkeeper_core::schedule::Schedule;

    #[test]
    fn a_cron_corrected_from_the_wrong_zone_closes_its_false_alert() {
        let mut job = Job::cron("0 2 * * *", "Europe/Berlin").grace("5m").remind_every("1h");
        job.reservation.created_at = utc("2026-01-04 20:00");
        job.success_at(utc("2026-01-04 20:30"));
        job.sleep_until(at("01:10"));
        assert_eq!(job.openings(), [at("01:05")]);
        job.change_at(at("01:30"), |spec| spec.schedule = Schedule::cron("0 2 * * *", "UTC").unwrap());
        assert_eq!(
            job.look_at(at("01:30")),
            DueChange::Withdraw("schedule changed: not overdue by it".to_owned())
        );
        job.sleep_until(at("02:04:59"));
        assert_eq!(job.told.len(), 2, "its reminders stop: {:?}", job.told);
        job.sleep_until(at("02:05"));
        assert_eq!(job.openings(), [at("01:05"), at("02:05")], "by its own schedule it is");
    }

    #[test]
    fn an_alert_that_the_new_terms_bear_out_stays() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.change_at(at("00:20"), |spec| spec.grace = span("10m"));
        assert_eq!(job.look_at(at("00:20")), DueChange::None);
        assert!(job.alert.is_some());
        job.change_at(at("00:21"), |spec| spec.grace = span("1h"));
        assert_eq!(
            job.look_at(at("00:21")),
            DueChange::Withdraw("grace changed: not overdue by it".to_owned())
        );
    }

    #[test]
    fn another_change_closes_nothing() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.blind(at("00:04"), at("00:19"));
        job.change_at(at("00:20"), |spec| spec.owner = "ops".to_owned());
        assert_eq!(job.look_at(at("00:20")), DueChange::None);
    }

    #[test]
    fn failures_runs_and_short_runs_are_judged_anew_too() {
        let mut job = Job::every("12h");
        job.fail_at(at("01:00"));
        job.look_at(at("01:00"));
        job.change_at(at("01:01"), |spec| spec.alert_after = 2);
        assert_eq!(
            job.look_at(at("01:01")),
            DueChange::Withdraw("alert_after changed: no alert is due by it".to_owned())
        );
        job.change_at(at("01:02"), |spec| spec.alert_after = 1);
        assert_eq!(cause(&job.look_at(at("01:02"))), Cause::Failed, "and it is true again");

        let mut job = Job::every("12h").max_run("10m");
        job.start_at(at("01:00"));
        job.sleep_until(at("01:10"));
        job.change_at(at("01:11"), |spec| spec.max_run = Some(span("1h")));
        assert!(matches!(job.look_at(at("01:11")), DueChange::Withdraw(_)));
        job.sleep_until(at("02:00"));
        assert_eq!(job.openings(), [at("01:10"), at("02:00")], "its new limit is told as well");

        let mut job = Job::every("12h").min_run("10m");
        job.start_at(at("01:00"));
        job.success_at(at("01:01"));
        job.look_at(at("01:01"));
        job.change_at(at("01:02"), |spec| spec.min_run = None);
        assert!(matches!(job.look_at(at("01:02")), DueChange::Withdraw(_)));
    }

    #[test]
    fn a_change_of_what_an_alert_is_not_about_leaves_it_open() {
        let mut job = Job::every("1h").grace("3h").max_run("30m");
        job.start_at(at("01:00"));
        job.sleep_until(at("01:30"));
        job.start_at(at("02:00"));
        job.change_at(at("02:05"), |spec| spec.grace = span("4h"));
        assert_eq!(job.look_at(at("02:05")), DueChange::None, "nothing succeeded");
        job.change_at(at("02:06"), |spec| spec.max_run = Some(span("40m")));
        assert_eq!(job.look_at(at("02:06")), DueChange::None, "by 40 minutes it is over its limit as well");
        job.sleep_until(at("02:50"));
        assert_eq!(job.openings(), [at("01:30")]);
        job.change_at(at("02:51"), |spec| spec.max_run = Some(span("4h")));
        let withdrawn = DueChange::Withdraw("max_run changed: no run is over its limit by it".to_owned());
        assert_eq!(job.look_at(at("02:51")), withdrawn);

        let mut job = Job::every("12h").alert_after(3).max_run("30m");
        job.start_at(at("01:00"));
        job.sleep_until(at("01:30"));
        job.fail_at(at("01:50"));
        job.look_at(at("01:50"));
        job.change_at(at("02:00"), |spec| spec.grace = span("1m"));
        assert_eq!(job.look_at(at("02:00")), DueChange::None, "its last word is a failure");
        job.change_at(at("02:01"), |spec| spec.max_run = Some(span("50m")));
        assert_eq!(job.look_at(at("02:01")), DueChange::None, "it went on for 50 minutes");
        job.change_at(at("02:02"), |spec| spec.max_run = Some(span("51m")));
        assert!(matches!(job.look_at(at("02:02")), DueChange::Withdraw(_)));
    }

    #[test]
    fn a_blind_window_that_is_learnt_of_later_closes_nothing() {
        let mut job = Job::every("1h");
        job.success_at(at("01:00"));
        job.sleep_until(at("02:00"));
        job.blind(at("01:00"), at("02:20"));
        job.change_at(at("02:30"), |spec| spec.grace = span("1m"));
        assert_eq!(job.look_at(at("02:30")), DueChange::None);
        job.change_at(at("02:31"), |spec| spec.grace = span("1h"));
        assert!(matches!(job.look_at(at("02:31")), DueChange::Withdraw(_)));
    }

    #[test]
    fn a_run_that_was_let_go_stays_so_by_a_longer_limit() {
        let mut job = Job::every("1h").grace("2h").max_run("30m");
        job.start_of(run(1), at("01:00"));
        job.sleep_until(at("01:30"));
        job.start_of(run(2), at("02:00"));
        job.success_of(run(2), at("02:10"));
        assert_eq!(job.look_at(at("02:10")), DueChange::Recover);
        job.change_at(at("02:20"), |spec| spec.max_run = Some(span("3h")));
        for (id, hour) in [(3, 3), (4, 4), (5, 5)] {
            let start = at("00:00") + span("1h") * hour;
            job.sleep_until(start);
            job.start_of(run(id), start);
            job.sleep_until(start + span("10m"));
            job.success_of(run(id), start + span("10m"));
        }
        job.sleep_until(at("05:30"));
        assert_eq!(job.openings(), [at("01:30")], "{:?}", job.told);
    }

    #[test]
    fn a_limit_that_was_set_back_is_told_again() {
        let changes: [(Option<&str>, &str); 3] = [(Some("1h"), "10m"), (Some("1h"), "5m"), (None, "10m")];
        for (longer, back) in changes {
            let mut job = Job::every("12h").max_run("10m");
            job.start_of(run(1), at("01:00"));
            job.sleep_until(at("01:10"));
            job.change_at(at("01:11"), |spec| spec.max_run = longer.map(span));
            assert!(matches!(job.look_at(at("01:11")), DueChange::Withdraw(_)));
            job.change_at(at("01:20"), |spec| spec.max_run = Some(span(back)));
            job.sleep_until(at("01:30"));
            assert_eq!(job.openings(), [at("01:10"), at("01:20")], "{longer:?}, then {back}");
        }
    }

    #[test]
    fn a_row_that_is_longer_than_was_asked_for_bears_out_a_longer_one() {
        for (first, raised) in [(1, 3), (1, 5), (3, 5)] {
            let mut job = Job::cron("0 * * * *", "UTC").grace("5m").alert_after(first);
            job.success_at(at("00:10"));
            job.sleep_until(at("04:09"));
            job.fail_at(at("04:10"));
            job.sleep_until(at("04:15"));
            job.change_at(at("04:20"), |spec| spec.alert_after = raised);
            let look = job.look_at(at("04:20"));
            // Missed at 1, 2, 3 and 4 o'clock; the failure answers the last.
            if raised <= 4 {
                assert_eq!(look, DueChange::None, "{first}, then {raised}");
            } else {
                assert!(matches!(look, DueChange::Withdraw(_)), "{first}, then {raised}");
                assert_eq!(job.seen_at(at("04:21")).in_a_row, 4, "{first}, then {raised}");
                job.sleep_until(at("05:30"));
                assert_eq!(*job.openings().last().unwrap(), at("05:05"));
            }
        }
    }

    #[test]
    fn a_snooze_that_seems_to_have_begun_before_the_alert_closes_nothing() {
        let mut job = Job::every("1h").grace("5m");
        job.success_at(at("01:00"));
        job.sleep_until(at("02:05"));
        // Of one that an older version began only the end is known: it is taken to reach back to the last success.
        job.skip("01:00", "08:00");
        job.change_at(at("03:10"), |spec| spec.grace = span("10m"));
        assert_eq!(job.look_at(at("03:10")), DueChange::None);
        job.change_at(at("03:11"), |spec| spec.grace = span("3h"));
        assert!(matches!(job.look_at(at("03:11")), DueChange::Withdraw(_)));
    }

    #[test]
    fn within_a_snooze_an_alert_closes_as_well() {
        let mut job = Job::every("5m");
        job.sleep_until(at("00:05"));
        job.quiet("00:06", "03:00");
        job.change_at(at("00:10"), |spec| spec.grace = span("1h"));
        assert!(matches!(job.look_at(at("00:10")), DueChange::Withdraw(_)));
    }
}

mod newcomers {
    use super::*;

    #[test]
    fn a_remark_leaves_a_job_new() {
        let mut job = Job::every("1h");
        job.log_at(at("00:10"));
        let seen = job.seen_at(at("00:11"));
        assert_eq!((seen.state, seen.conclusions.status), (State::New, AlertStatus::New));
        job.sleep_until(at("01:00"));
        assert_eq!(job.openings(), [at("01:00")], "and due from when it was made");
    }
}

mod run_limit {
    use super::*;

    #[test]
    fn the_nightly_job_whose_20_minutes_became_5_hours() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("1h").max_run("30m");
        job.start_at(at("02:00:05"));
        job.sleep_until(at("02:30"));
        assert_eq!(job.told, []);
        assert_eq!(job.seen_at(at("02:30")).state, State::Running);
        job.sleep_until(at("02:31"));
        assert_eq!(job.openings(), [at("02:30:05")]);
        assert_eq!(
            reason(&job.told[0].1),
            &Reason::Overran { started_at: at("02:00:05"), max_run_ms: 30 * 60 * 1000, unobserved: None }
        );
        job.success_at(at("07:00"));
        assert_eq!(job.look_at(at("07:00")), DueChange::Recover);
    }

    #[test]
    fn a_run_that_ends_in_time_is_well() {
        for failed in [false, true] {
            let mut job = Job::every("1h").max_run("10m").alert_after(5);
            job.start_at(at("00:10"));
            if failed {
                job.fail_at(at("00:15"));
            } else {
                job.success_at(at("00:15"));
            }
            job.sleep_until(at("00:59"));
            assert_eq!(job.told, []);
        }
    }

    #[test]
    fn a_success_of_another_run_does_not_clear_a_stuck_one() {
        let mut job = Job::every("1h").max_run("10m");
        job.start_of(run(1), at("00:10"));
        job.start_of(run(2), at("00:12"));
        job.success_of(run(2), at("00:14"));
        job.sleep_until(at("00:20"));
        assert_eq!(job.openings(), [at("00:20")]);
        job.success_of(run(3), at("00:30"));
        assert_eq!(job.look_at(at("00:30")), DueChange::None, "run 1 is still stuck");
        job.success_of(run(1), at("00:40"));
        assert_eq!(job.look_at(at("00:40")), DueChange::Recover);
    }

    #[test]
    fn a_success_that_names_no_run_ends_them_all() {
        let mut job = Job::every("1h").max_run("10m");
        job.start_of(run(1), at("00:10"));
        job.success_at(at("00:15"));
        job.sleep_until(at("01:00"));
        assert_eq!(job.told, []);
    }

    #[test]
    fn a_second_start_without_an_id_begins_anew() {
        let mut job = Job::every("1h").max_run("10m");
        job.start_at(at("00:10"));
        job.start_at(at("00:18"));
        job.sleep_until(at("00:27:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("00:28"));
        assert_eq!(job.openings(), [at("00:28")]);
    }

    #[test]
    fn the_earliest_of_several_stuck_runs_is_named() {
        let mut job = Job::every("1h").max_run("10m");
        job.start_of(run(2), at("00:12"));
        job.start_of(run(1), at("00:10"));
        assert!(matches!(job.look_at(at("00:30")), DueChange::Open(Reason::Overran { started_at, .. })
            if started_at == at("00:10")));
    }

    #[test]
    fn a_start_that_is_recorded_after_its_end_is_no_stuck_run() {
        let mut job = Job::every("1h").max_run("10m");
        job.success_of(run(1), at("00:12"));
        job.start_of(run(1), at("00:10"));
        job.sleep_until(at("01:00"));
        assert_eq!(job.told, []);
    }
}

mod snooze {
    use super::*;

    #[test]
    fn of_both_modes_nothing_opens_before_the_end() {
        for skip in [false, true] {
            let mut job = Job::every("1h").grace("5m");
            if skip {
                job.skip("00:30", "03:00")
            } else {
                job.quiet("00:30", "03:00")
            }
            assert_eq!(job.seen_at(at("02:00")).state, State::Snoozed);
            job.sleep_until(at("04:04:59"));
            assert_eq!(job.told, [], "skip {skip}");
            job.sleep_until(at("04:05"));
            assert_eq!(cause(&job.told[0].1), Cause::Missed);
        }
    }

    #[test]
    fn quiet_tells_a_due_instant_inside_that_is_not_heard_within_an_hour_of_the_end() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.quiet("01:00", "06:00");
        let mut healthy = job.clone();
        job.sleep_until(at("07:04:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("07:05"));
        assert!(matches!(reason(&job.told[0].1), Reason::Missed { expected_at, deadline, .. }
            if (*expected_at, *deadline) == (at("02:00"), at("07:05"))));
        healthy.success_at(at("06:50"));
        healthy.sleep_until(at("23:00"));
        assert_eq!(healthy.told, []);
    }

    #[test]
    fn skip_does_not_expect_a_due_instant_inside() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.skip("01:00", "06:00");
        assert_eq!(job.seen_at(at("03:00")).expected_at, utc("2026-01-06 02:00"));
        job.sleep_until(utc("2026-01-06 02:05"));
        assert_eq!(job.openings(), [utc("2026-01-06 02:05")]);
    }

    #[test]
    fn a_due_instant_outside_is_never_moved() {
        for skip in [false, true] {
            let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
            if skip {
                job.skip("00:30", "01:59:59")
            } else {
                job.quiet("00:30", "01:59:59")
            }
            job.sleep_until(at("12:00"));
            assert_eq!(job.openings(), [at("02:05")], "skip {skip}");

            // Its end is the first instant outside.
            let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
            if skip {
                job.skip("00:30", "02:00")
            } else {
                job.quiet("00:30", "02:00")
            }
            job.sleep_until(at("12:00"));
            assert_eq!(job.openings(), [at("02:05")], "skip {skip}");

            let mut job = Job::every("6h").grace("5m");
            if skip {
                job.skip("00:30", "05:30")
            } else {
                job.quiet("00:30", "05:30")
            }
            job.sleep_until(at("12:00"));
            assert_eq!(job.openings(), [at("06:05")], "no period is given past the end, skip {skip}");
        }
    }

    #[test]
    fn one_due_before_it_is_judged_at_once_at_its_end() {
        for skip in [false, true] {
            let mut job = Job::every("1h").grace("10m");
            if skip {
                job.skip("01:05", "03:00")
            } else {
                job.quiet("01:05", "03:00")
            }
            job.sleep_until(at("02:59:59"));
            assert_eq!(job.told, []);
            job.sleep_until(at("03:00"));
            assert!(
                matches!(reason(&job.told[0].1), Reason::Missed { deadline, .. } if *deadline == at("01:10"))
            );
        }
    }

    #[test]
    fn a_long_grace_outlasts_it() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("6h");
        job.quiet("01:00", "03:00");
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("10:00")], "its end, an hour and the grace are later than 08:00");
        let mut job = Job::cron("0 2 * * *", "UTC").grace("6h");
        job.quiet("01:00", "02:30");
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("09:30")]);
    }

    #[test]
    fn the_next_instant_outside_is_told_though_one_inside_has_more_time() {
        let mut job = Job::cron("0 * * * *", "UTC").grace("5m");
        job.quiet("00:30", "01:30");
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("02:05")], "01:00 has until 02:35");
    }

    #[test]
    fn a_success_of_before_an_interval_job_counts_on() {
        let mut job = Job::every("1h").grace("5m");
        job.success_at(at("00:50"));
        job.skip("01:00", "03:00");
        job.success_at(at("02:10"));
        job.sleep_until(at("03:14:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("03:15"));
        assert_eq!(job.openings(), [at("03:15")], "an hour after it, 03:10, lies outside");
    }

    #[test]
    fn an_interval_begins_anew_at_the_end_of_skip_only_where_its_instant_lay_inside() {
        let mut job = Job::every("2h").grace("5m");
        job.skip("01:30", "02:30");
        job.sleep_until(at("04:34:59"));
        assert_eq!(job.told, []);
        job.sleep_until(at("04:35"));
        assert_eq!(job.openings(), [at("04:35")]);
        let mut job = Job::every("2h").grace("5m");
        job.skip("01:30", "01:50");
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("02:05")]);
    }

    #[test]
    fn what_one_has_skipped_no_later_one_brings_back() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.skip("01:00", "03:00");
        job.sleep_until(at("04:00"));
        job.quiet("05:00", "06:00");
        job.sleep_until(at("23:00"));
        assert_eq!(job.told, []);
    }

    #[test]
    fn nor_do_many_later_ones() {
        // A script snoozes it for an hour each day; what is due each 30 days, or once a month, lies in one of these.
        for mut job in [Job::every("720h"), Job::cron("30 0 5 * *", "UTC")] {
            job.success_at(at("00:45"));
            let begin = at("00:00");
            let due = if job.reservation.spec.schedule.notation().starts_with("every") { 30 } else { 31 };
            for day in 1..=due + 27 {
                let from = begin + span("24h") * day;
                job.sleep_until(from);
                job.snooze(innkeeper_core::snooze::SnoozeMode::Skip, from, from + span("1h"));
            }
            assert_eq!(job.told, [], "{}", job.reservation.spec.schedule.notation());
            job.sleep_until(begin + span("24h") * 70);
            assert_eq!(job.openings().len(), 1, "the next is expected");
        }
    }

    #[test]
    fn each_of_many_in_which_it_was_due_is_kept() {
        for mut job in [Job::every("23h"), Job::cron("30 0 * * *", "UTC")] {
            job.success_at(at("02:00"));
            for day in 1..=40 {
                let from = at("00:00") + span("24h") * day;
                job.sleep_until(from);
                job.snooze(innkeeper_core::snooze::SnoozeMode::Skip, from, from + span("2h"));
            }
            assert_eq!(job.told, [], "{}", job.reservation.spec.schedule.notation());
        }
    }

    #[test]
    fn a_failure_in_it_that_no_success_follows_is_told_at_the_end() {
        for (skip, looked) in [(false, false), (false, true), (true, false), (true, true)] {
            let mut job = Job::every("12h");
            if skip {
                job.skip("01:00", "03:00")
            } else {
                job.quiet("01:00", "03:00")
            }
            job.fail_at(at("02:00"));
            if looked {
                assert_eq!(job.look_at(at("02:00")), DueChange::None);
            }
            let mut well = job.clone();
            assert_eq!(job.look_at(at("02:59:59")), DueChange::None);
            let change = job.look_at(at("03:00"));
            assert_eq!(
                change,
                DueChange::Open(Reason::Failed { at: at("02:00"), exit_code: Some(3), in_a_row: 1 }),
                "skip {skip}, looked {looked}"
            );

            well.success_at(at("02:30"));
            for clock in ["02:31", "03:00", "10:00"] {
                assert_eq!(well.look_at(at(clock)), DueChange::None, "skip {skip}, looked {looked}");
            }
        }
    }

    #[test]
    fn one_that_was_still_true_at_the_end_is_told_however_late_one_looks() {
        for looked in [false, true] {
            let mut job = Job::every("12h");
            job.quiet("01:00", "03:00");
            job.fail_at(at("02:00"));
            if looked {
                job.look_at(at("02:00"));
            }
            job.success_at(at("03:01"));
            assert!(matches!(job.look_at(at("03:02")), DueChange::OpenAndRecover(_)), "looked {looked}");
            assert_eq!(job.look_at(at("03:03")), DueChange::None);
        }
    }

    #[test]
    fn a_run_that_was_too_short_in_it_is_told_as_such() {
        let mut job = Job::every("12h").min_run("10s");
        job.quiet("01:00", "03:00");
        job.start_at(at("02:00"));
        job.success_at(at("02:00:04"));
        job.look_at(at("02:00:04"));
        let change = job.look_at(at("03:00"));
        assert_eq!(
            reason(&change),
            &Reason::TooShort { at: at("02:00:04"), took_ms: 4000, min_run_ms: 10_000 }
        );
    }

    #[test]
    fn the_row_goes_on_in_quiet_and_leaves_out_what_skip_does_not_expect() {
        let hourly = || Job::cron("0 * * * *", "UTC").grace("5m").alert_after(4);
        let mut job = hourly();
        job.quiet("01:30", "03:30");
        job.sleep_until(at("12:00"));
        // 01:00, 04:00, and 02:00 and 03:00, which have until 04:35.
        assert_eq!(job.openings(), [at("04:35")]);
        let mut job = hourly();
        job.skip("01:30", "03:30");
        job.sleep_until(at("12:00"));
        assert_eq!(job.openings(), [at("06:05")], "01:00, 04:00, 05:00, 06:00");
    }

    #[test]
    fn a_row_of_failures_goes_on_through_it() {
        for skip in [false, true] {
            let mut job = Job::every("12h").alert_after(3);
            job.fail_at(at("00:30"));
            job.look_at(at("00:30"));
            if skip {
                job.skip("01:00", "03:00")
            } else {
                job.quiet("01:00", "03:00")
            }
            job.fail_at(at("02:00"));
            job.look_at(at("02:00"));
            assert_eq!(job.look_at(at("03:00")), DueChange::None);
            job.fail_at(at("04:00"));
            assert!(matches!(job.look_at(at("04:00")), DueChange::Open(Reason::Failed { in_a_row: 3, .. })));
        }
    }

    #[test]
    fn an_early_check_in_shortly_before_its_end_counts_for_the_instant_after_it() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.quiet("01:00", "01:59:50");
        job.success_at(at("01:59:40"));
        job.sleep_until(utc("2026-01-06 02:04:59"));
        assert_eq!(job.told, []);
        job.sleep_until(utc("2026-01-06 02:05"));
        assert_eq!(job.told.len(), 1);
    }

    #[test]
    fn it_is_forgotten_when_the_job_is_heard_after_it() {
        let mut job = Job::every("1h");
        job.quiet("00:30", "03:00");
        job.success_at(at("03:30"));
        job.sleep_until(at("04:29:59"));
        assert!(job.told.is_empty() && job.reservation.conclusions.snoozes.is_empty());
        job.sleep_until(at("04:30"));
        assert_eq!(job.openings(), [at("04:30")]);
    }

    #[test]
    fn an_open_alert_lives_through_it_in_silence() {
        let mut job = Job::every("1h").remind_every("30m");
        job.sleep_until(at("01:00"));
        job.quiet("01:10", "03:00");
        assert_eq!(job.look_at(at("01:40")), DueChange::None, "no reminder");
        assert_eq!(job.look_at(at("02:59")), DueChange::None);
        assert_eq!(job.reservation.conclusions.wake_at, at("03:00"));
        assert_eq!(
            job.look_at(at("03:00")),
            DueChange::Remind(None),
            "not closed by its end, but told again"
        );
        assert!(job.alert.is_some());
    }

    #[test]
    fn an_open_alert_is_not_closed_by_its_end() {
        let mut job = Job::every("1h");
        job.sleep_until(at("01:00"));
        job.skip("01:10", "03:00");
        job.sleep_until(at("09:00"));
        assert_eq!((job.told.len(), job.alert.is_some()), (1, true));
    }

    #[test]
    fn a_success_during_it_closes_an_open_alert() {
        for skip in [false, true] {
            let mut job = Job::every("1h");
            job.sleep_until(at("01:00"));
            if skip {
                job.skip("01:10", "03:00")
            } else {
                job.quiet("01:10", "03:00")
            }
            job.success_at(at("02:00"));
            assert_eq!(job.look_at(at("02:00")), DueChange::Recover);
        }
    }

    #[test]
    fn a_run_that_is_still_over_its_limit_is_told_at_the_end() {
        for skip in [false, true] {
            let mut job = Job::every("12h").max_run("30m");
            job.start_at(at("00:50"));
            if skip {
                job.skip("01:00", "03:00")
            } else {
                job.quiet("01:00", "03:00")
            }
            let mut ended = job.clone();
            job.sleep_until(at("02:59"));
            assert_eq!(job.told, []);
            job.sleep_until(at("03:00"));
            assert_eq!(cause(&job.told[0].1), Cause::Overran);
            ended.success_at(at("02:30"));
            ended.sleep_until(at("10:00"));
            assert_eq!(ended.told, []);
        }
    }

    #[test]
    fn overlapping_runs_that_ended_in_it_are_not_still_running() {
        let mut job = Job::every("12h").max_run("30m");
        job.start_of(run(1), at("00:50"));
        job.quiet("01:00", "03:00");
        job.start_of(run(2), at("01:10"));
        job.success_of(run(1), at("01:30"));
        job.start_of(run(3), at("02:50"));
        job.success_of(run(2), at("02:55"));
        job.success_of(run(3), at("03:05"));
        job.sleep_until(at("11:00"));
        assert_eq!(job.told, []);
    }
}

mod site {
    use super::*;

    #[test]
    fn silence_behind_a_silent_site_is_held() {
        let mut job = Job::every("1h");
        job.behind_silent_site = true;
        assert_eq!(job.look_at(at("01:00")), DueChange::None);
        assert_eq!(job.seen_at(at("01:00")).state, State::Held);
        assert!(job.reservation.conclusions.wake_at <= at("01:01"), "it is looked at again soon");
        job.behind_silent_site = false;
        assert_eq!(cause(&job.look_at(at("01:00:30"))), Cause::Missed);
    }

    #[test]
    fn a_stuck_run_behind_a_silent_site_is_held() {
        let mut job = Job::every("1h").max_run("10m");
        job.behind_silent_site = true;
        job.start_at(at("00:10"));
        job.sleep_until(at("00:30"));
        assert_eq!((job.told.len(), job.seen_at(at("00:30")).state), (0, State::Held));
    }

    #[test]
    fn a_failure_came_through_so_it_is_told() {
        let mut job = Job::every("1h");
        job.behind_silent_site = true;
        job.fail_at(at("00:10"));
        assert_eq!(cause(&job.look_at(at("00:10"))), Cause::Failed);
    }

    #[test]
    fn the_site_itself_is_not_held() {
        let mut site = Job::every("1h").with(|spec| spec.is_site = true);
        site.behind_silent_site = true;
        assert_eq!(cause(&site.look_at(at("01:00"))), Cause::Missed);
    }

    #[test]
    fn a_run_over_its_limit_does_not_hold_the_reminder_of_a_failure() {
        for looks_between in [true, false] {
            let mut job = Job::every("1h").max_run("10m").remind_every("30m");
            job.behind_silent_site = true;
            job.fail_at(at("00:10"));
            assert_eq!(cause(&job.look_at(at("00:10"))), Cause::Failed);
            job.start_at(at("00:20"));
            if looks_between {
                assert_eq!(job.look_at(at("00:31")), DueChange::None);
            }
            assert_eq!(
                job.look_at(at("00:40")),
                DueChange::Remind(None),
                "looked at between: {looks_between}"
            );
        }
    }

    #[test]
    fn an_open_alert_is_not_reminded_while_its_site_is_silent() {
        let mut job = Job::every("1h").remind_every("30m");
        job.sleep_until(at("01:00"));
        job.behind_silent_site = true;
        assert_eq!(job.look_at(at("01:30")), DueChange::None);
        job.behind_silent_site = false;
        assert_eq!(job.look_at(at("01:40")), DueChange::Remind(None));
        job.behind_silent_site = true;
        job.success_at(at("01:50"));
        assert_eq!(job.look_at(at("01:50")), DueChange::Recover);
    }

    #[test]
    fn when_the_site_is_back_its_silence_was_a_blind_window() {
        let mut job = Job::every("5m").grace("1m");
        job.behind_silent_site = true;
        job.look_at(at("00:06"));
        job.behind_silent_site = false;
        job.blind(at("00:04"), at("01:00"));
        assert_eq!(job.look_at(at("01:00:10")), DueChange::None, "it gets a period to be heard again");
        assert_eq!(cause(&job.look_at(at("01:06"))), Cause::Missed);
    }
}

mod blind_window {
    use super::*;

    #[test]
    fn a_deadline_in_it_moves_and_the_reason_says_so() {
        let mut job = Job::every("10m").grace("1m");
        job.blind(at("00:09:30"), at("00:10:30"));
        assert_eq!(job.seen_at(at("00:12")).state, State::Unobserved);
        job.sleep_until(at("00:21:29"));
        assert_eq!(job.told, [], "window's end, a period and the grace: 00:21:30");
        job.sleep_until(at("00:21:30"));
        let (_, change) = &job.told[0];
        assert_eq!(
            reason(change),
            &Reason::Missed {
                expected_at: at("00:10"),
                deadline: at("00:21:30"),
                in_a_row: 1,
                unobserved: Some(Unobserved {
                    from: at("00:09:30"),
                    until: at("00:10:30"),
                    times: 1,
                    total_ms: 60_000
                }),
            }
        );
        let sentence = reason(change).sentence(Tz::UTC);
        assert!(
            sentence.contains("may have been lost from 2026-01-05 00:09:30 UTC to 2026-01-05 00:10:30 UTC")
        );
    }

    #[test]
    fn the_respite_is_an_hour_at_most() {
        let mut job = Job::cron("0 2 * * *", "UTC").grace("5m");
        job.blind(at("02:01"), at("02:02"));
        assert_eq!(job.seen_at(at("02:10")).deadline, at("03:07"));
    }

    #[test]
    fn it_matters_from_a_minute_before_the_instant_to_the_deadline() {
        for (from, until, deadline) in [
            ("00:08:00", "00:08:59.999", "00:11"),
            ("00:08:00", "00:09:00", "00:20"),
            ("00:10:30", "00:10:40", "00:21:40"),
            ("00:11:00", "00:11:10", "00:22:10"),
            ("00:11:00.001", "00:11:10", "00:11"),
        ] {
            let mut job = Job::every("10m").grace("1m");
            job.blind(at(from), at(until));
            assert_eq!(job.seen_at(at("00:05")).deadline, at(deadline), "blind from {from} to {until}");
        }
    }

    #[test]
    fn one_in_the_respite_of_another_moves_it_on() {
        for turned in [false, true] {
            let mut job = Job::every("10m").grace("1m");
            job.blind(at("00:10"), at("00:11"));
            job.blind(at("00:15"), at("00:16"));
            if turned {
                job.blind.reverse();
            }
            assert_eq!(job.seen_at(at("00:12")).deadline, at("00:27"), "turned {turned}");
        }
    }

    #[test]
    fn one_that_ended_before_the_job_was_heard_or_made_has_lost_nothing() {
        let mut job = Job::every("30s");
        job.blind(utc("2026-01-04 23:55"), at("00:00"));
        assert_eq!(job.seen_at(at("00:00:10")).deadline, at("00:00:30"), "made when it was over");
        let mut job = Job::every("10m");
        job.blind(at("00:09"), at("00:09:30"));
        job.success_at(at("00:09:40"));
        assert_eq!(job.seen_at(at("00:10")).deadline, at("00:19:40"), "heard after it");
    }

    #[test]
    fn a_check_in_after_it_is_all_that_is_needed() {
        let mut job = Job::every("10m").grace("1m");
        job.blind(at("00:09:30"), at("00:10:30"));
        job.success_at(at("00:20"));
        assert_eq!(job.look_at(at("00:21:30")), DueChange::None);
        assert_eq!(job.look_at(at("00:30:59")), DueChange::None);
        assert_eq!(cause(&job.look_at(at("00:31"))), Cause::Missed, "then it is as ever");
    }

    #[test]
    fn whoever_asks_for_two_misses_is_not_alerted_sooner_than_who_asks_for_one() {
        // Who asks for one waits for a respite after the window; for who asks for several, 01:00, which it touches, does not count.
        let patient = |alert_after| {
            let mut job = Job::every("1h").grace("5m").alert_after(alert_after);
            job.blind(at("00:59:30"), at("01:30"));
            job.sleep_until(at("12:00"));
            job.openings()
        };
        assert_eq!(patient(1), [at("02:35")]);
        assert_eq!(patient(2), [at("03:05")]);
        assert_eq!(patient(3), [at("04:05")]);
    }

    #[test]
    fn many_instants_in_it_are_not_many_misses() {
        let mut job = Job::every("10s").alert_after(3);
        job.blind(at("00:00:30"), at("00:01:22"));
        job.success_at(at("00:00:25"));
        job.sleep_until(at("00:01:45"));
        assert_eq!(job.told, [], "one miss after it, 00:01:32, is not three");
        job.sleep_until(at("00:03"));
        assert_eq!(job.openings().len(), 1, "and a job that stays silent is told");
    }

    #[test]
    fn successes_of_one_job_that_are_refused_excuse_its_silence_until_the_next_is_expected() {
        let mut job = Job::every("4h").max_run("1h");
        job.success_at(at("00:00"));
        job.refused = Some(Window { from: at("04:00"), until: at("04:10") });
        // The next run begins while the last that was written is long ago.
        job.start_at(at("06:00"));
        let mut hangs = job.clone();
        hangs.sleep_until(at("06:59:59"));
        assert_eq!(hangs.told, [], "nothing but what was refused is missing");
        hangs.sleep_until(at("07:00"));
        assert_eq!(cause(&hangs.told[0].1), Cause::Overran, "no end of it was refused");

        job.fail_at(at("06:50"));
        job.sleep_until(at("06:51"));
        assert_eq!(job.openings().len(), 1);
        job.success_at(at("06:55"));
        job.sleep_until(at("10:54:59"));
        assert_eq!(job.openings().len(), 1);
        job.sleep_until(at("10:55"));
        let (_, change) = &job.told[2];
        assert!(matches!(reason(change), Reason::Missed { unobserved: None, .. }), "{change:?}");
    }

    #[test]
    fn a_run_whose_end_may_be_lost_in_it_is_given_the_same_respite() {
        let mut job = Job::every("12h").grace("5m").max_run("30m");
        job.start_at(at("01:00"));
        job.blind(at("01:20"), at("01:35"));
        let mut heard_again = job.clone();
        job.sleep_until(at("02:39:59"));
        assert_eq!(job.told, [], "its limit was 01:30");
        job.sleep_until(at("02:40"));
        let (_, change) = &job.told[0];
        assert_eq!(cause(change), Cause::Overran);
        let sentence = reason(change).sentence(Tz::UTC);
        assert!(
            sentence.contains("Its end may have been lost from 2026-01-05 01:20:00 UTC to"),
            "{sentence}"
        );

        heard_again.start_of(run(2), at("02:00"));
        heard_again.success_of(run(2), at("02:10"));
        heard_again.sleep_until(at("11:00"));
        assert_eq!(heard_again.told, [], "nobody can say whether the first one still goes");
    }
}

mod many_blind_windows {
    use super::*;

    /// A restart of two seconds at each `every`, for two days.
    fn restarts(job: &mut Job, first: &str, every: &str) {
        let mut from = at(first);
        while from < utc("2026-01-07 00:00") {
            job.blind(from, from + span("2s"));
            from += span(every);
        }
    }

    /// When a job that was never heard is told of, in minutes after midnight, and what is said.
    fn told(mut job: Job) -> (i64, String) {
        job.sleep_until(utc("2026-01-06 23:00"));
        let (at_once, change) = &job.told[0];
        ((*at_once - at("00:00")).num_minutes(), reason(change).sentence(Tz::UTC))
    }

    #[test]
    fn a_silent_job_is_told_of_however_often_innkeeper_restarts() {
        for (period, first, every, bound) in [
            ("5m", "00:01", "1m", 6 + 3 * 6),
            ("5m", "00:04:30", "5m", 6 + 3 * 6),
            ("1h", "00:00:10", "1h", 61 + 3 * 61),
            ("1h", "00:00:59", "10m", 61 + 3 * 61),
            ("10h", "00:00:30", "1h", 601 + 3 * 61),
        ] {
            let mut job = Job::every(period).grace("1m");
            restarts(&mut job, first, every);
            let (minutes, sentence) = told(job);
            // And what the restarts took: two seconds each.
            assert!(minutes <= bound + 2, "{period} and {every}: {minutes}, {sentence}");
            assert!(sentence.contains(" times none could be heard, for "), "{sentence}");
        }
    }

    #[test]
    fn after_three_respites_windows_add_their_own_length() {
        let mut job = Job::every("10m").grace("1m");
        restarts(&mut job, "00:10:30", "30s");
        let windows = job.blind.clone();
        job.blind.clear();
        let mut before = job.seen_at(at("00:00")).deadline;
        let first = before;
        let mut full = 0;
        for window in windows.into_iter().take(200) {
            job.blind(window.from, window.until);
            let deadline = job.seen_at(at("00:00")).deadline;
            assert!(deadline >= before, "none comes nearer by one more");
            full = job.blind.len() as i64;
            assert!(deadline <= first + span("33m") + span("2s") * i32::try_from(full).unwrap());
            before = deadline;
        }
        assert_eq!(full, 200);
        assert!(before >= first + span("33m"), "{before}");
    }

    #[test]
    fn a_row_of_misses_begins_anew_but_not_for_ever() {
        for (schedule, bound) in [
            (Job::every("1h"), 3 * 60 + 5 + 3 * 65),
            (Job::cron("0 * * * *", "UTC"), 3 * 60 + 5 + 3 * 65),
            (Job::every("10h"), 30 * 60 + 5 + 3 * 65),
        ] {
            let mut job = schedule.grace("5m").alert_after(3);
            restarts(&mut job, "00:50", "1h");
            let (minutes, sentence) = told(job);
            assert!(minutes <= bound + 2, "{minutes} of {bound}: {sentence}");
        }
    }

    #[test]
    fn a_run_that_hangs_is_told_of_too() {
        let mut job = Job::every("24h").grace("5m").max_run("2h");
        job.start_at(at("01:00"));
        restarts(&mut job, "00:30", "1h");
        let (minutes, sentence) = told(job);
        assert!(minutes <= 3 * 60 + 3 * 65 + 2, "{minutes}: {sentence}");
        assert!(
            sentence.starts_with("Still running") && sentence.contains("Its end may have been lost"),
            "{sentence}"
        );
    }

    #[test]
    fn a_healthy_job_that_two_windows_running_kept_from_being_heard_is_not_accused() {
        for quick_restarts in [1, 4] {
            for mut job in [Job::every("1h").grace("1m"), Job::cron("0 * * * *", "UTC").grace("1m")] {
                job.success_at(at("01:00"));
                for clock in ["02:00", "03:00"] {
                    // Some at once: whoever restarts it may do so again.
                    for n in 0..quick_restarts {
                        let from = at(clock) - span("10s") + span("8s") * n;
                        job.blind(from, from + span("7s"));
                    }
                }
                job.sleep_until(at("04:00"));
                job.success_at(at("04:00"));
                job.sleep_until(at("04:59"));
                assert_eq!(job.told, [], "{quick_restarts} restarts each");
            }
        }
    }

    #[test]
    fn windows_that_overlap_or_follow_at_once_are_one() {
        let mut job = Job::every("10m").grace("1m");
        job.blind(at("00:10:30"), at("00:11:30"));
        job.blind(at("00:10"), at("00:11"));
        job.blind(at("00:11:30"), at("00:12"));
        job.sleep_until(at("00:23"));
        let Reason::Missed { unobserved: Some(unobserved), .. } = reason(&job.told[0].1) else { panic!() };
        assert_eq!(
            *unobserved,
            Unobserved { from: at("00:10"), until: at("00:12"), times: 1, total_ms: 120_000 }
        );
    }
}

mod words {
    use super::*;

    /// In words, when nothing could be heard in the first span, nor in the others.
    fn words(first: (&str, &str), others: &[(&str, &str)]) -> String {
        let span = |(from, until): &(&str, &str)| Window { from: at(from), until: at(until) };
        others.iter().map(span).fold(Unobserved::from(span(&first)), Unobserved::and).words(Tz::UTC)
    }

    #[test]
    fn a_loss_is_never_from_an_instant_to_the_same() {
        assert_eq!(
            words(("16:12:00", "16:13:00"), &[]),
            "from 2026-01-05 16:12:00 UTC to 2026-01-05 16:13:00 UTC, when none could be heard"
        );
        assert_eq!(
            words(("16:12:17.1", "16:12:17.9"), &[]),
            "at 2026-01-05 16:12:17 UTC, when for less than a second none could be heard"
        );
        assert_eq!(
            words(("16:12:17", "16:12:19"), &[("17:00:00", "17:00:03.5")]),
            "between 2026-01-05 16:12:17 UTC and 2026-01-05 17:00:03 UTC, when 2 times none could be heard, for 5 seconds in all"
        );
        assert_eq!(
            words(("16:12:17.1", "16:12:17.2"), &[("16:12:17.4", "16:12:17.5")]),
            "at 2026-01-05 16:12:17 UTC, when 2 times none could be heard"
        );
    }

    #[test]
    fn rows_of_older_versions_are_read() {
        let old = r#"{"reason":"missed","expected_at":"2026-01-05T00:10:00Z","deadline":"2026-01-05T00:21:30Z","in_a_row":1,
            "unobserved":["2026-01-05T00:09:30Z","2026-01-05T00:10:30Z"]}"#;
        let Reason::Missed { unobserved: Some(unobserved), .. } = serde_json::from_str(old).unwrap() else {
            panic!()
        };
        assert_eq!((unobserved.times, unobserved.total_ms), (1, 60_000));
        let old = r#"{"reason":"overran","started_at":"2026-01-05T00:10:00Z","max_run_ms":1}"#;
        let overran: Reason = serde_json::from_str(old).unwrap();
        assert!(matches!(overran, Reason::Overran { unobserved: None, .. }));
        for reason in [
            overran,
            Reason::Missed {
                expected_at: at("00:10"),
                deadline: at("00:20"),
                in_a_row: 1,
                unobserved: Some(unobserved),
            },
        ] {
            let row = serde_json::to_string(&reason).unwrap();
            assert_eq!(serde_json::from_str::<Reason>(&row).unwrap(), reason, "{row}");
        }
    }
}

mod looking {
    use super::*;

    #[test]
    fn a_success_of_an_up_reservation_is_found_at_the_old_deadline() {
        let mut job = Job::every("5m").grace("1m");
        job.sleep_until(at("00:00"));
        assert_eq!(job.reservation.conclusions.wake_at, at("00:06"));
        job.success_at(at("00:04"));
        assert_eq!(job.reservation.conclusions.wake_at, at("00:06"), "not touched");
        job.sleep_until(at("00:06"));
        assert_eq!((job.reservation.conclusions.wake_at, job.told.len()), (at("00:10"), 0));
    }

    #[test]
    fn nothing_is_left_alone_for_longer_than_a_day() {
        let mut job = Job::every("3650d");
        job.look_at(at("00:00"));
        assert_eq!(job.reservation.conclusions.wake_at, utc("2026-01-06 00:00"));
    }

    #[test]
    fn of_one_instant_the_failure_comes_first() {
        // As in the facts, where the success outdoes it. The order of rows does not matter.
        let mut job = Job::every("1h").alert_after(2);
        job.fail_at(at("00:10"));
        job.look_at(at("00:10"));
        job.success_at(at("00:20"));
        job.fail_at(at("00:20"));
        let mut turned = job.clone();
        turned.unseen.reverse();
        let (change, other) = (job.look_at(at("00:20")), turned.look_at(at("00:20")));
        assert_eq!(change, other);
        assert!(
            matches!(change, DueChange::OpenAndRecover(Reason::Failed { in_a_row: 2, .. })),
            "{change:?}"
        );
    }

    #[test]
    fn events_are_taken_in_the_order_of_their_times() {
        let mut job = Job::every("1h").alert_after(2);
        job.fail_at(at("00:10"));
        job.success_at(at("00:20"));
        job.fail_at(at("00:30"));
        let in_order: Vec<Event> = job.unseen.clone();
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let unseen = order.iter().map(|place| in_order[*place].clone()).collect();
            let mut job = Job { unseen, ..job.clone() };
            assert_eq!(job.look_at(at("00:30")), DueChange::None, "{order:?}");
            assert_eq!(job.reservation.conclusions.fail_streak, 1, "{order:?}");
        }
    }
}
