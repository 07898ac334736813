//! systemd's calendar expressions: what each means, what is refused and how, and random ones beside systemd itself.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::process::Command;

use chrono::{NaiveDateTime, TimeDelta};
use common::{Job, utc};
use innkeeper_core::Time;
use innkeeper_core::schedule::Schedule;

fn instants(schedule: &Schedule, from: Time, n: usize) -> Vec<Time> {
    std::iter::successors(schedule.following(from), |at| schedule.following(*at)).take(n).collect()
}

/// Each expression comes about first at these times, in UTC, after 31 December 2025 12:00; January 2026 begins on a Thursday.
#[test]
fn each_part_means_what_it_says() {
    for (text, times) in [
        ("Mon..Fri *-*-* 02:00", "01-01 02:00, 01-02 02:00, 01-05 02:00"),
        ("Mon..Fri 02:00; Sun 04:00", "01-01 02:00, 01-02 02:00, 01-04 04:00, 01-05 02:00"),
        ("Mon..Fri 02:00\n\n  Sun   04:00\n", "01-01 02:00, 01-02 02:00, 01-04 04:00, 01-05 02:00"),
        ("sat,Monday-Wed", "01-03 00:00, 01-05 00:00, 01-06 00:00, 01-07 00:00, 01-10 00:00"),
        ("*-*~3", "01-29 00:00, 02-26 00:00, 03-29 00:00"),
        ("*-*~1..3", "01-29 00:00, 01-30 00:00, 01-31 00:00, 02-26 00:00"),
        ("*-*~7/2", "01-25 00:00, 01-27 00:00, 01-29 00:00, 01-31 00:00, 02-22 00:00"),
        ("Mon *-05~07/1", "05-25 00:00"),
        ("quarterly", "01-01 00:00, 04-01 00:00, 07-01 00:00"),
        ("weekly", "01-05 00:00, 01-12 00:00"),
        ("Daily", "01-01 00:00, 01-02 00:00"),
        ("*:0/15", "12-31 12:15, 12-31 12:30"),
        ("*-*-01..07/2 1,2:30", "01-01 01:30, 01-01 02:30, 01-03 01:30"),
        ("10-15", "10-15 00:00"),
        ("*:*:0/20", "12-31 12:00:20, 12-31 12:00:40"),
        ("26-3-1 5:06", "03-01 05:06"),
        ("*-*~*", "01-01 00:00"),
    ] {
        let expected: Vec<Time> = times
            .split(", ")
            .map(|time| utc(&format!("{}-{time}", if time.starts_with("12-31") { 2025 } else { 2026 })))
            .collect();
        let schedule = Schedule::calendar(text, None).unwrap_or_else(|error| panic!("{error}"));
        let found = instants(&schedule, utc("2025-12-31 12:00"), expected.len());
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn the_zone_stands_in_its_field_or_at_the_end() {
    let berlin = Schedule::calendar("Mon 02:00; Sun 04:00", Some("europe/berlin")).unwrap();
    assert_eq!(Schedule::calendar("Mon 02:00 Europe/Berlin\nSun 04:00", None).unwrap(), berlin);
    assert_eq!(Schedule::calendar("Mon 02:00 Europe/Berlin\nSun 04:00 Europe/Berlin", None).unwrap(), berlin);
    assert_eq!(berlin.zone(), chrono_tz::Europe::Berlin);
    for (text, zone) in
        [("Mon 02:00 Europe/Berlin; Sun 04:00 UTC", None), ("Mon 02:00 UTC", Some("Europe/Berlin"))]
    {
        let error = Schedule::calendar(text, zone).unwrap_err();
        assert!(error.problem.contains("names another time zone than the rest"), "{error}");
    }
}

#[test]
fn an_error_names_the_part_what_was_found_and_what_is_allowed() {
    for (text, says) in [
        ("", "is empty; write one like Mon..Fri *-*-* 02:00"),
        (" ; ", "is empty"),
        ("24:00", "hour: 24 is not 0 to 23"),
        ("*:60", "minute: 60 is not 0 to 59"),
        ("*-13-1", "month: 13 is not 1 to 12"),
        ("*-*-32", "day: 32 is not 1 to 31"),
        ("*-*~29", "day from the month's end: 29 is not 1 to 28"),
        ("1969-1-1", "year: 1969 is not 1970 to 2199"),
        ("*:0/60", "minute: 0/60: the step 60 is not 1 to 59, so nothing is repeated"),
        ("*:0/0", "minute: 0/0: the step 0 is not 1 to 59"),
        ("*/2:00", "hour: \"*\" is not 0 to 23"),
        ("5..3:00", "hour: 5..3 runs backwards"),
        ("Fri..Mon 3:00", "weekdays: Fri..Mon runs backwards; a week begins with Mon"),
        ("Frd 3:00", "weekdays: \"Frd\" is not Mon to Sun, nor one of minutely, hourly, daily"),
        ("12", "\"12\" is neither a date (year-month-day or month-day) nor a time (hour:minute)"),
        ("*", "\"*\" is neither a date"),
        ("1:2:3:4", "is not a time (hour:minute or hour:minute:second)"),
        ("*-*-* 00:00:00.5", "second: \"00.5\" has fractions; write whole seconds"),
        ("2:00 *-*-*", "is neither a date"),
        ("Mon Tue 1:00", "is neither a date"),
        ("*-*-* 1:00 2:00", "write [weekdays] [year-month-day] [hour:minute[:second]] [zone]"),
        ("*~5-1", "~ stands between month and day"),
        ("*-*-5/18", "day: 5/18 has no end: in December systemd counts on into January"),
        ("*-*~26/16", "leaves out its first days; write 26,10, in the timer as well"),
        ("*-*-1/7", "write 1..31/7, in the timer as well"),
        ("*-02-30", "\"*-02-30\" never comes about"),
        ("Mon 2:00; *-02-30", "\"*-02-30\" never comes about"),
        ("*-*-* 2:00 Europe/Berln", "did you mean Europe/Berlin?"),
        ("@1700000000", "is neither a date"),
    ] {
        let error = Schedule::calendar(text, None).expect_err(text);
        assert_eq!(error.field, "calendar", "{text}");
        assert!(error.problem.contains(says), "{text}: {error}");
    }
    assert!(Schedule::calendar(&"*:00;".repeat(200), None).unwrap_err().problem.contains("at most 500"));
}

#[test]
fn what_is_taken_can_be_read_again_however_long_it_is() {
    // Between two expressions that are written without a blank comes one.
    let list = |n: usize| (0..n).map(|minute| format!("02:{minute:02}")).collect::<Vec<_>>();
    for n in 55..=60 {
        for between in [";", "\n", " ; ", "; "] {
            for more in ["", ";*:0/15", ";Mon *:0/15;daily;*-*~3"] {
                let text =
                    [list(n).join(between), ";".to_owned(), list(12).join(between), more.to_owned()].concat();
                match Schedule::calendar(&text, Some("America/Argentina/ComodRivadavia")) {
                    Ok(schedule) => assert_eq!(Schedule::parse(&schedule.notation()).as_ref(), Ok(&schedule)),
                    Err(error) => assert!(error.problem.contains("at most 500"), "{error}"),
                }
            }
        }
    }
    assert!(Schedule::calendar(&list(60).join(";"), None).is_ok());
}

#[test]
fn what_lies_wholly_in_the_past_is_not_ahead() {
    let now = utc("2026-03-01 12:00");
    let check = |text| Schedule::calendar(text, Some("UTC")).unwrap().check_ahead(now);
    for past in ["2024-*-* 02:00", "2026-03-01 12:00", "2025-01-01; Mon 2019-*-*"] {
        let problem = check(past).unwrap_err().to_string();
        assert!(problem.contains("wholly in the past") && problem.contains(past), "{problem}");
    }
    for ahead in ["daily", "2026-03-01 12:00:01", "2024-*-* 02:00; 2030-01-01", "*-02-29"] {
        assert_eq!(check(ahead), Ok(()), "{ahead}");
    }
    assert_eq!(Schedule::cron("0 2 29 2 *", "UTC").unwrap().check_ahead(now), Ok(()));
}

#[test]
fn a_schedule_is_read_back_from_its_notation() {
    for notation in [
        "every 5m",
        "every 1d12h",
        "cron 0 2 * * * Europe/Berlin",
        "cron @daily UTC",
        "calendar Mon..Fri 02:00; Sun 04:00 UTC",
        "calendar *-*~3 America/New_York",
    ] {
        assert_eq!(Schedule::parse(notation).unwrap().notation(), notation);
    }
    for (notation, says) in [
        ("", "is not a schedule; write every, cron or calendar"),
        ("every", "is not a schedule"),
        ("sometimes 5m", "is not a schedule"),
        ("cron 0 2 * * *", "time zone"),
        ("calendar daily", "is not a schedule"),
    ] {
        let error = Schedule::parse(notation).unwrap_err();
        assert!(error.to_string().contains(says), "{notation}: {error}");
    }
}

#[test]
fn around_clock_changes_it_follows_systemd() {
    // On 29 March 2026 Berlin has no 02:30; on 25 October it has two, at 00:30Z and 01:30Z.
    let nightly = Schedule::calendar("02:30", Some("Europe/Berlin")).unwrap();
    let spring = [utc("2026-03-28 01:30"), utc("2026-03-30 00:30")];
    assert_eq!(instants(&nightly, utc("2026-03-27 12:00"), 2), spring);
    let autumn = [utc("2026-10-25 00:30"), utc("2026-10-26 01:30")];
    assert_eq!(instants(&nightly, utc("2026-10-24 12:00"), 2), autumn);
    assert_eq!(nightly.leeway(autumn[0]), TimeDelta::hours(1), "a timer may run the second time");
    assert_eq!(nightly.leeway(autumn[1]), TimeDelta::zero());

    let mut job = Job::with_schedule(nightly).grace("5m").made_at(utc("2026-10-24 12:00"));
    job.sleep_until(utc("2026-10-25 01:34:59"));
    assert_eq!(job.told, [], "the second 02:30 and its grace are waited for");
}

/// Random expressions about clock changes, beside `systemd-analyze calendar`.
#[test]
fn random_expressions_are_read_as_systemd_reads_them() {
    const EXPRESSIONS: usize = 1500;
    const EACH: usize = 6;
    let mut random = Random(20_261_129);
    let mut failed = 0;
    for number in 0..EXPRESSIONS {
        let (zone, from) = random.of(&[
            ("UTC", "2026-02-26 12:00"),
            ("Europe/Berlin", "2026-03-27 12:00"),
            ("Europe/Berlin", "2026-10-23 12:00"),
            ("America/New_York", "2026-03-06 12:00"),
            ("America/New_York", "2026-10-30 12:00"),
            ("Australia/Lord_Howe", "2026-10-01 12:00"),
            ("Asia/Kolkata", "2027-12-30 12:00"),
        ]);
        let text = random.expression();
        // "Resource deadlock avoided": it finds no end to some that name days of months that it steps over.
        let Some(theirs) = by_systemd(&format!("{text} {zone}"), from, EACH) else {
            failed += 1;
            continue;
        };
        let ours = match Schedule::calendar(&text, Some(zone)) {
            Ok(schedule) => instants(&schedule, utc(from), EACH),
            Err(error) => {
                assert!(error.problem.contains("never comes about"), "{error}");
                Vec::new()
            }
        };
        assert_eq!(ours, theirs, "number {number}: {text} {zone} after {from}");
    }
    assert!(failed < EXPRESSIONS / 50, "systemd fails at {failed}");
}

/// The instants as systemd computes them; none where it gives up.
fn by_systemd(text: &str, from: &str, n: usize) -> Option<Vec<Time>> {
    let output = Command::new("systemd-analyze")
        .args(["calendar", "--iterations", &n.to_string(), "--base-time", &format!("{from} UTC"), "--", text])
        .env("TZ", "UTC")
        .output()
        .expect("systemd-analyze: install systemd");
    let errors = String::from_utf8_lossy(&output.stderr);
    if errors.contains("Resource deadlock avoided") {
        return None;
    }
    assert!(output.status.success(), "{text}: {errors}");
    let read = |line: &str| {
        let (_, time) = line.split_once("elapse: ").or_else(|| line.split_once(": "))?;
        let time = time.strip_suffix(" UTC")?;
        NaiveDateTime::parse_from_str(time, "%a %Y-%m-%d %H:%M:%S").ok().map(|time| time.and_utc())
    };
    let wanted = |line: &&str| line.contains("Next elapse:") || line.contains("Iter. #");
    Some(String::from_utf8_lossy(&output.stdout).lines().filter(wanted).filter_map(read).collect())
}

/// Random numbers (SplitMix64), the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u32) -> u32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % u64::from(bound)) as u32
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len() as u32) as usize]
    }

    fn expression(&mut self) -> String {
        if self.below(12) == 0 {
            let words =
                ["minutely", "hourly", "daily", "weekly", "monthly", "quarterly", "semiannually", "yearly"];
            return self.of(&words).to_owned();
        }
        let mut parts = Vec::new();
        if self.below(3) == 0 {
            parts.push(self.weekdays());
        }
        if self.below(2) == 0 {
            let year = self.of(&["*", "*", "*", "2026..2028", "2024/2", "27,28"]);
            let month = self.numbers(1, 12, 60);
            let from_end = self.below(3) == 0;
            let day = if from_end { self.counted_back() } else { self.numbers(1, 31, 30) };
            parts.push(format!("{year}-{month}{}{day}", if from_end { '~' } else { '-' }));
        }
        if parts.is_empty() || self.below(3) > 0 {
            let hour = if self.below(2) == 0 {
                self.of(&["1", "2", "3"]).to_owned()
            } else {
                self.numbers(0, 23, 30)
            };
            let minute = self.numbers(0, 59, 20);
            let second =
                if self.below(4) == 0 { format!(":{}", self.numbers(0, 59, 10)) } else { String::new() };
            parts.push(format!("{hour}:{minute}{second}"));
        }
        parts.join(" ")
    }

    fn weekdays(&mut self) -> String {
        const DAYS: [&str; 7] = ["Mon", "Tue", "wed", "Thursday", "FRI", "Sat", "Sun"];
        let places = 1 + self.below(2);
        let place = |random: &mut Self| {
            let first = random.below(7) as usize;
            let last = first + random.below(7 - first as u32) as usize;
            let dots = random.of(&["..", "-"]);
            if last > first { format!("{}{dots}{}", DAYS[first], DAYS[last]) } else { DAYS[first].to_owned() }
        };
        (0..places).map(|_| place(self)).collect::<Vec<_>>().join(",")
    }

    /// `*` in so many of a hundred.
    fn numbers(&mut self, least: u32, most: u32, all: u32) -> String {
        if self.below(100) < all {
            return "*".to_owned();
        }
        let places = 1 + self.below(3);
        (0..places).map(|_| self.place(least, most)).collect::<Vec<_>>().join(",")
    }

    fn place(&mut self, least: u32, most: u32) -> String {
        let first = least + self.below(most - least + 1);
        let last = first + self.below(most - first + 1);
        match self.below(4) {
            0 if last > first => format!("{first}..{last}"),
            1 if last > first => format!("{first}..{last}/{}", 1 + self.below(last - first)),
            // Days that are repeated without an end are refused where systemd loses some.
            2 if most > first && most != 31 => format!("{first}/{}", 1 + self.below(most - first)),
            _ => format!("{first:02}"),
        }
    }

    fn counted_back(&mut self) -> String {
        let first = 1 + self.below(28);
        match self.below(3) {
            0 if first > 1 => format!("1..{first}/{}", 1 + self.below(first - 1)),
            1 => format!("{first}..{}", first + self.below(29 - first)),
            _ => first.to_string(),
        }
    }
}
