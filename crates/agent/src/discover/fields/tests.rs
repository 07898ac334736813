use chrono::{DateTime, Datelike as _, TimeDelta, Timelike as _, Utc};
use innkeeper_core::schedule::Schedule;
use proptest::prelude::*;

use super::*;

fn read(text: &str, cron: Cron) -> Result<Times, String> {
    let mut cursor = FieldCursor::new(text.as_bytes(), 0);
    Times::read(&mut cursor, cron)
}

fn expression(text: &str, cron: Cron) -> Result<String, String> {
    read(text, cron)?.expression().map(|expression| expression.text)
}

#[test]
fn what_both_read_alike_stays_as_it_is() {
    for text in [
        "* * * * *",
        "*/35 */23 * * *",
        "0 2 1,15 jan-mar,Dec Mon-Fri",
        "0 0 */2 * 1",
        "5-59/20 8-18/2 * * 0,7",
        "0 3 1 * MON",
        "0 3 * */3 2-7",
        "07 02 * * sun",
    ] {
        assert_eq!(expression(text, Cron::Debian).as_deref(), Ok(text));
        assert_eq!(expression(text, Cron::Cronie).as_deref(), Ok(text));
    }
}

#[test]
fn what_cron_reads_in_its_own_way_is_written_out() {
    for (text, written) in [
        ("5? * * * *", "5 * * * *"),
        ("*x *,3 * * *", "* *,3 * * *"),
        ("0 0 */15,9! * 1", "0 0 */15,9 * 1"),
        ("1-5~ * * * *", "1-5 * * * *"),
        ("*x,2 * * * *", "* * * * *"),
    ] {
        assert_eq!(expression(text, Cron::Debian).as_deref(), Ok(written), "{text}");
    }
    assert_eq!(expression("0 0 5-3,7 * *", Cron::Debian).as_deref(), Ok("0 0 7 * *"));
    assert_eq!(expression("0 0 */9,5-3 * *", Cron::Debian).as_deref(), Ok("0 0 */100,1,10,19,28 * *"));
    assert_eq!(expression("5-64/30 * * * *", Cron::Cronie).as_deref(), Ok("5,35 * * * *"));
    for backwards in ["0 22-2 * * *", "0 0 * * fri-sun", "0 0 * * 5-0"] {
        for cron in [Cron::Debian, Cron::Cronie] {
            let problem = expression(backwards, cron).unwrap_err();
            assert!(problem.contains("matches no time"), "{problem}");
        }
    }
}

#[test]
fn what_cron_refuses() {
    for text in [
        "",
        "* * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * 32 * *",
        "* * * 13 *",
        "* * * * 8",
        "5/20 * * * *",
        "*/0 * * * *",
        "*/x * * * *",
        ", * * * *",
        "1,, * * * *",
        "mon * * * *",
        "0 0 * * monday",
        "0 0 L * *",
        "0 0 15W * *",
        "0 0 ? * *",
        "@ * * * *",
        "99999999999 * * * *",
    ] {
        expression(text, Cron::Debian).unwrap_err();
        expression(text, Cron::Cronie).unwrap_err();
    }
    expression("5-64/30 * * * *", Cron::Debian).unwrap_err();
    expression("5? * * * *", Cron::Cronie).unwrap_err();
    expression("*x * * * *", Cron::Cronie).unwrap_err();
    expression("0~59 * * * *", Cron::Cronie).unwrap();
    assert_eq!(expression("0~59 * * * *", Cron::Debian).as_deref(), Ok("0 * * * *"), "passed over");
}

#[test]
fn a_random_time_is_expected_from_its_first() {
    for (text, written, spread) in [
        ("0~30 2 * * *", "0 2 * * *", 30),
        ("~ * * * *", "0 * * * *", 59),
        ("15~ 2~4 * * *", "15 2 * * *", 44 + 120),
        ("~7 3 * * *", "0 3 * * *", 7),
    ] {
        let found = read(text, Cron::Cronie).unwrap().expression().unwrap();
        assert_eq!((found.text.as_str(), found.spread_minutes), (written, spread), "{text}");
        assert!(found.note.is_some());
    }
    for wrong in ["30~0 2 * * *", "0~99 2 * * *", "0~9/2 * * * *"] {
        read(wrong, Cron::Cronie).unwrap_err();
    }
    for unsaid in ["1,0~9 2 * * *", "0 0 1~28 * *", "0 0 * * mon~fri"] {
        assert!(read(unsaid, Cron::Cronie).unwrap().expression().unwrap_err().contains("random"));
    }
}

fn item(low: u32, high: u32) -> impl Strategy<Value = String> {
    let range = (low..=high, low..=high).prop_map(|(one, other)| (one.min(other), one.max(other)));
    prop_oneof![
        2 => Just("*".to_owned()),
        1 => (1..=high + 3).prop_map(|step| format!("*/{step}")),
        2 => (low..=high).prop_map(|number| number.to_string()),
        1 => range.clone().prop_map(|(first, last)| format!("{first}-{last}")),
        1 => (range, 1..=high).prop_map(|((first, last), step)| format!("{first}-{last}/{step}")),
    ]
}

fn field(low: u32, high: u32) -> impl Strategy<Value = String> {
    prop::collection::vec(item(low, high), 1..=3).prop_map(|items| items.join(","))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// `core` expects exactly the minutes in which cron would run the line.
    #[test]
    fn the_core_expects_what_cron_runs(
        text in (field(0, 59), field(0, 23), field(1, 31), field(1, 12), field(0, 7))
            .prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}")),
        garbage in prop::bool::weighted(0.2),
        from in 1_700_000_000i64..1_900_000_000,
    ) {
        let text = if garbage { text.replace(' ', "! ") } else { text };
        let times = read(&text, Cron::Debian).unwrap();
        let runs = |at: DateTime<Utc>| {
            times.matches(at.minute(), at.hour(), at.day(), at.month(), at.weekday().num_days_from_sunday())
        };
        let written = times.expression().unwrap().text;
        // Only impossible dates such as the 30th of February have no schedule.
        let Ok(schedule) = Schedule::cron(&written, "UTC") else { return Ok(()) };
        let mut at = DateTime::from_timestamp(from - from % 60, 0).unwrap();
        let mut expected = schedule.following(at).unwrap();
        for _ in 0..3000 {
            at += TimeDelta::minutes(1);
            prop_assert_eq!(runs(at), at == expected, "{} as {} at {}", text, written, at);
            if at == expected {
                expected = schedule.following(at).unwrap();
            }
        }
        // The next expected instant must be right as well, however far away it is.
        prop_assert!(runs(expected));
    }
}
