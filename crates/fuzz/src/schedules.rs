//! Schedules and durations in the notation of reservations.

use chrono::TimeDelta;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Time, duration};

/// Instants with which each schedule is tested: ordinary ones, some around clock changes, and distant ones.
fn instants() -> impl Iterator<Item = Time> {
    let seconds =
        [0, 1_774_745_999, 1_792_889_999, 1_798_761_599, 1_835_395_199, 4_102_444_799, 253_402_300_799];
    let of = |second| Time::from_timestamp(second, 0);
    seconds.into_iter().filter_map(of)
}

/// A cron expression. If there are two lines, the last one is its time zone.
pub(crate) fn cron(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expression, zone) = text.rsplit_once('\n').unwrap_or((text, "UTC"));
    if let Ok(schedule) = Schedule::cron(expression, zone) {
        hold(&schedule);
    }
}

/// Calendar expressions. If there are several lines, the last one is their time zone.
pub(crate) fn calendar(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (expressions, zone) = text.rsplit_once('\n').unzip();
    if let Ok(schedule) = Schedule::calendar(expressions.unwrap_or(text), zone) {
        hold(&schedule);
    }
}

/// The guarantees of every schedule: the next instant is always later, and the notation parses back to the same
/// schedule.
fn hold(schedule: &Schedule) {
    assert_eq!(Schedule::parse(&schedule.notation()).as_ref(), Ok(schedule), "{}", schedule.notation());
    assert!(!schedule.in_words().is_empty() && !schedule.to_string().is_empty());
    for at in instants() {
        drop(schedule.check_ahead(at));
        let Some(next) = schedule.following(at) else { continue };
        assert!(next > at, "{next} follows {at}");
        assert!(schedule.period_at(at) > TimeDelta::zero());
        assert!(schedule.expected_after_checkin(at).is_none_or(|expected| expected >= next));
        assert!(schedule.coming(next, at, 3).is_sorted());
        assert!(schedule.leeway(next) >= TimeDelta::zero());
    }
}

/// A duration.
pub(crate) fn durations(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(span) = duration::parse("grace", text) else { return };
    assert!(span >= TimeDelta::zero() && span <= duration::LONGEST, "{span}");
    assert_eq!(duration::parse("grace", &duration::short(span)), Ok(span), "{}", duration::short(span));
    assert!(!duration::words(span).is_empty() && !duration::ago(span).is_empty());
    if let Ok(schedule) = Schedule::every(span) {
        hold(&schedule);
    }
}
