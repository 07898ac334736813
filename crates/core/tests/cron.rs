//! Cron expressions: what each means, what is refused and how, and 50,000 random ones beside two other readers.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use common::utc;
use innkeeper_core::Time;
use innkeeper_core::schedule::Schedule;

/// The first `n` expected instants after `from`.
fn instants(cron: &str, from: &str, n: usize) -> Vec<Time> {
    let schedule = Schedule::cron(cron, "UTC").unwrap_or_else(|error| panic!("{error}"));
    std::iter::successors(schedule.following(utc(from)), |at| schedule.following(*at)).take(n).collect()
}

/// Each expression comes about first on these days, in UTC, after 31 December 2025; January 2026 begins on a Thursday.
#[test]
fn each_field_means_what_it_says() {
    for (cron, days) in [
        // Sunday is 0 and 7, wherever it stands.
        ("0 2 * * 7L", "2026-01-25 2026-02-22 2026-03-29"),
        ("0 2 * * 5L,7L", "2026-01-25 2026-01-30 2026-02-22 2026-02-27"),
        ("0 2 * * SAT-SUN#L", "2026-01-25 2026-01-31 2026-02-22 2026-02-28"),
        (
            "0 2 * * 1-7#L",
            "2026-01-25 2026-01-26 2026-01-27 2026-01-28 2026-01-29 2026-01-30 2026-01-31 2026-02-22",
        ),
        ("0 2 LW * 7L", "2026-01-25 2026-01-30 2026-02-22 2026-02-27"),
        ("0 2 * * SUN-SUN", "2026-01-04 2026-01-11"),
        ("0 2 * * 7-7", "2026-01-04 2026-01-11"),
        ("0 2 * * FRI-SUN", "2026-01-02 2026-01-03 2026-01-04 2026-01-09"),
        ("0 2 * * SUN-TUE", "2026-01-04 2026-01-05 2026-01-06 2026-01-11"),
        ("0 2 * * 0-7", "2026-01-01 2026-01-02 2026-01-03 2026-01-04"),
        ("0 2 * * fri#l", "2026-01-30 2026-02-27"),
        ("0 2 * * FRIL", "2026-01-30 2026-02-27"),
        ("0 2 * * 7#1", "2026-01-04 2026-02-01"),
        ("0 2 * * MON-FRI/2", "2026-01-02 2026-01-05 2026-01-07 2026-01-09"),
        ("0 2 * * 1-5#2", "2026-01-08 2026-01-09 2026-01-12 2026-01-13 2026-01-14 2026-02-09"),
        // Nothing of a list is dropped.
        ("0 2 5,L * *", "2026-01-05 2026-01-31 2026-02-05 2026-02-28"),
        ("0 2 L,LW * *", "2026-01-30 2026-01-31 2026-02-27 2026-02-28 2026-03-31 2026-04-30"),
        ("0 2 1W,15W * *", "2026-01-01 2026-01-15 2026-02-02 2026-02-16"),
        ("0 2 31W * *", "2026-01-30 2026-03-31 2026-05-29"),
        ("0 2 1 * +THU", "2026-01-01 2026-10-01"),
        // `N/step` goes on from N to the end of the field.
        ("0 2 10/10 * *", "2026-01-10 2026-01-20 2026-01-30 2026-02-10"),
        ("0 2 * * 1/2", "2026-01-02 2026-01-05 2026-01-07 2026-01-09"),
        ("0 2 1 10/1 *", "2026-10-01 2026-11-01 2026-12-01 2027-10-01"),
        // Names, in their own fields.
        ("0 2 1 feb,Apr *", "2026-02-01 2026-04-01 2027-02-01"),
        ("0 2 1 NOV-DEC *", "2026-11-01 2026-12-01 2027-11-01"),
        // Blanks as a crontab takes them.
        ("  0\t2  *\t* 1 ", "2026-01-05 2026-01-12"),
    ] {
        let expected: Vec<Time> = days.split(' ').map(|day| utc(&format!("{day} 02:00"))).collect();
        assert_eq!(instants(cron, "2025-12-31 12:00", expected.len()), expected, "{cron:?}");
    }
    assert_eq!(
        instants("@midnight", "2025-12-31 12:00", 2),
        [utc("2026-01-01 00:00"), utc("2026-01-02 00:00")]
    );
    let quarters: Vec<Time> =
        ["00:05", "00:25", "00:45", "01:05"].map(|at| utc(&format!("2026-01-01 {at}"))).into();
    assert_eq!(instants("5/20 * * * *", "2026-01-01 00:00", 4), quarters);
}

#[test]
fn an_error_names_the_field_what_was_found_and_what_is_allowed() {
    for (cron, says) in [
        ("0 2 * * 8", "day of week: 8 is not 0 to 7"),
        ("0 2 * MON *", "month: MON is a day of week; allowed is 1 to 12 (or JAN to DEC)"),
        ("0 2 MON * *", "day of month: MON is a day of week; allowed is 1 to 31"),
        ("0 2 * * JAN", "day of week: JAN is a month; allowed is 0 to 7 (or SUN to SAT)"),
        ("0 2 1 1FEB *", "month: \"1FEB\" is not 1 to 12 (or JAN to DEC)"),
        ("0 2 * 13 *", "month: 13 is not 1 to 12"),
        ("0 2 0 * *", "day of month: 0 is not 1 to 31"),
        ("60 2 * * *", "minute: 60 is not 0 to 59"),
        ("0 24 * * *", "hour: 24 is not 0 to 23"),
        ("61 0 2 * * *", "second: 61 is not 0 to 59"),
        ("0 2 * * MONDAY", "day of week: MONDAY is not 0 to 7 (or SUN to SAT); write MON"),
        ("0 2 15W3 * *", "day of month: \"15W3\" is not 1 to 31"),
        ("0 2 W * *", "day of month: \"W\" is not a day and W, as in 15W, or LW"),
        ("0 2 1 * L", "day of week: L: of which day? Write 5L for the last Friday of the month"),
        ("0 2 * * 1-5L", "day of week: 1-5L: L stands behind one day, as in 5L; write 1-5#L"),
        ("0 2 * * 5#6", "day of week: 5#6: \"6\" after # is not 1 to 5, or L for the last"),
        ("0 2 * * 5#", "day of week: 5#: \"\" after # is not 1 to 5"),
        ("0 2 L-3 * *", "day of month: L-3: days counted back from the month's end are not known to cron"),
        ("0 22-2 * * *", "hour: 22-2 runs backwards; write 22-23,0-2"),
        ("0 2 * * FRI-MON", "day of week: FRI-MON runs backwards; write 5-6,0-1"),
        ("0 2 * * 7-2", "day of week: 7-2 runs backwards; write 0-2"),
        ("0 2 * NOV-JAN *", "month: NOV-JAN runs backwards; write 11-12,1"),
        ("H 2 * * *", "minute: H: H is known to Jenkins alone"),
        ("H/15 * * * *", "minute: H/15: H is known to Jenkins alone"),
        ("0~30 2 * * *", "minute: 0~30: a random time cannot be waited for"),
        ("*/0 * * * *", "minute: */0: the step \"0\" is not a whole number from 1 on"),
        ("/10 * * * *", "minute: /10: nothing stands before the /; write */10"),
        ("? 2 * * *", "minute: ? stands for a day alone; write *"),
        ("1,,2 * * * *", "minute: a list has an empty place"),
        ("1.5 * * * *", "minute: \"1.5\" is not 0 to 59"),
        ("-5 * * * *", "minute: \"\" is not 0 to 59"),
        ("1-2-3 * * * *", "minute: \"2-3\" is not 0 to 59"),
        ("*-5 * * * *", "minute: \"*\" is not 0 to 59"),
        ("0 2 * *", "it has 4 fields; write five (minute, hour, day of month, month, day of week)"),
        ("0 0 2 * * * 2026", "it has 7 fields; a year is not known here"),
        (
            "0 2 * * * /usr/bin/backup",
            "\"/usr/bin/backup\" is no field; write the times alone: \"0 2 * * *\"",
        ),
        (
            "0 2 * * * root /usr/bin/backup --all",
            "\"root\" is no field; write the times alone: \"0 2 * * *\"",
        ),
        // With the second first, the sixth is the day of the week.
        ("0 0 2 * * MONDAY", "day of week: MONDAY is not 0 to 7 (or SUN to SAT); write MON"),
        ("0 0 2 * * FRI-MON", "day of week: FRI-MON runs backwards; write 5-6,0-1"),
        ("0 0 2 * * 1L,8L", "day of week: 8 is not 0 to 7"),
        ("0 2 * * * monthly-report", "write the times alone: \"0 2 * * *\""),
        ("CRON_TZ=Europe/Berlin 0 2 * * *", "cron = \"0 2 * * *\", time_zone = \"Europe/Berlin\""),
        ("TZ=UTC 0 2 * * *", "cron = \"0 2 * * *\", time_zone = \"UTC\""),
        ("@reboot", "@reboot is no time at which a job is expected"),
        ("@every 5m", "@every counts from the last run: write frequency and time_units"),
        (
            "@fortnightly",
            "@fortnightly is not one of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly",
        ),
        ("0 2 30 FEB *", "never comes about"),
    ] {
        let error = Schedule::cron(cron, "UTC").expect_err(cron);
        assert_eq!(error.field, "cron");
        assert!(error.problem.contains(says), "{cron}: {error}");
    }
}

/// 50,000 random expressions near the clock changes of eleven zones.
mod beside_other_readers {
    use std::collections::BTreeSet;

    use chrono::{Datelike, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Timelike, Weekday};
    use chrono_tz::Tz;
    use croner::Cron;
    use croner::parser::{CronParser, Seconds, Year};

    use super::*;

    const EXPRESSIONS: usize = 50_000;
    const MINUTE: TimeDelta = TimeDelta::minutes(1);

    /// Zones and their clock changes, forward and back.
    const CHANGES: [(&str, [&str; 2]); 11] = [
        ("Europe/Berlin", ["2026-03-29 01:00", "2026-10-25 01:00"]),
        ("Europe/London", ["2026-03-29 01:00", "2026-10-25 01:00"]),
        ("America/New_York", ["2026-03-08 07:00", "2026-11-01 06:00"]),
        ("America/St_Johns", ["2026-03-08 05:30", "2026-11-01 04:30"]),
        ("America/Santiago", ["2026-09-06 04:00", "2026-04-05 03:00"]),
        ("America/Nuuk", ["2026-03-29 01:00", "2026-10-25 01:00"]),
        ("Africa/Cairo", ["2026-04-23 22:00", "2026-10-29 21:00"]),
        ("Asia/Beirut", ["2026-03-28 22:00", "2026-10-24 21:00"]),
        ("Australia/Lord_Howe", ["2026-10-03 15:30", "2026-04-04 15:00"]),
        ("Pacific/Chatham", ["2026-09-26 14:00", "2026-04-04 14:00"]),
        ("UTC", ["2026-02-28 12:00", "2028-02-28 12:00"]),
    ];

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

        fn one_in(&mut self, n: u32) -> bool {
            self.below(n) == 0
        }
    }

    /// What one place of a day field means, besides numbers.
    #[derive(Debug, Clone, Copy)]
    enum Day {
        Last,
        LastWorkday,
        Nearest(u32),
        LastOfWeek(u32),
        Nth(u32, u32),
    }

    #[derive(Debug, Default)]
    struct Field {
        text: String,
        numbers: BTreeSet<u32>,
        days: Vec<Day>,
        /// croner reads it otherwise; each such form is one of `each_field_means_what_it_says`.
        misread: bool,
    }

    impl Field {
        /// A list of numbers, ranges and steps, with names where the field has them.
        fn random(random: &mut Random, least: u32, most: u32, names: &[&str]) -> Self {
            let mut field = Self::default();
            // All values, the more often the longer one would wait for few.
            if random.below(100) < if most > 12 { 30 } else { 55 } {
                let step = 1 + if random.one_in(3) { random.below(most) } else { 0 };
                field.text = if step == 1 { "*".to_owned() } else { format!("*/{step}") };
                field.numbers = (least..=most).step_by(step as usize).collect();
                return field;
            }
            for place in 0..1 + random.below(3) {
                if place > 0 {
                    field.text.push(',');
                }
                field.place(random, least, most, names);
            }
            field
        }

        fn place(&mut self, random: &mut Random, least: u32, most: u32, names: &[&str]) {
            let first = least + random.below(most - least + 1);
            let word = |random: &mut Random, number: u32| match names.get((number - least) as usize) {
                Some(name) if random.one_in(2) && random.one_in(2) => name.to_lowercase(),
                Some(name) if random.one_in(2) => (*name).to_owned(),
                _ if random.one_in(5) => format!("{number:02}"),
                _ => number.to_string(),
            };
            let step = 1 + random.below(most) / 2;
            match random.below(5) {
                0 | 1 => {
                    self.text += &word(random, first);
                    self.numbers.insert(first);
                }
                2 => {
                    let last = first + random.below(most - first + 1);
                    self.text += &format!("{}-{}", word(random, first), word(random, last));
                    self.numbers.extend(first..=last);
                    // Both ends may be Sunday.
                    self.misread |= self.text.to_uppercase().contains("-SUN");
                }
                3 => {
                    let last = first + random.below(most - first + 1);
                    self.text += &format!("{}-{}/{step}", word(random, first), word(random, last));
                    self.numbers.extend((first..=last).step_by(step as usize));
                    self.misread |= self.text.to_uppercase().contains("-SUN");
                }
                _ => {
                    self.text += &format!("{}/{step}", word(random, first));
                    self.numbers.extend((first..=most).step_by(step as usize));
                    // For croner a week has an eighth day.
                    self.misread |= most == 6;
                }
            }
        }

        fn day_of_month(random: &mut Random) -> Self {
            let mut field = Self::random(random, 1, 31, &[]);
            if random.one_in(4) && !field.text.starts_with('*') {
                let near = 1 + random.below(31);
                let (text, day) = match random.below(3) {
                    0 => ("L".to_owned(), Day::Last),
                    1 => ("LW".to_owned(), Day::LastWorkday),
                    _ => (format!("{near}W"), Day::Nearest(near)),
                };
                if random.one_in(2) {
                    field = Self { text, ..Self::default() };
                } else {
                    field.text += &format!(",{text}");
                    // croner has one flag for all places.
                    field.misread = true;
                }
                field.days.push(day);
            }
            field
        }

        fn day_of_week(random: &mut Random) -> Self {
            let names = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];
            let mut field = Self::random(random, 0, 6, &names);
            if random.one_in(4) && !field.text.starts_with('*') {
                let day = random.below(7);
                let written = if day == 0 && random.one_in(2) { 7 } else { day };
                let nth = 1 + random.below(5);
                let (text, day) = match random.below(3) {
                    0 => (format!("{written}L"), Day::LastOfWeek(day)),
                    1 => (format!("{}#L", names[day as usize]), Day::LastOfWeek(day)),
                    _ => (format!("{written}#{nth}"), Day::Nth(day, nth)),
                };
                field.misread |= written == 7;
                if random.one_in(2) {
                    field = Self { text, misread: field.misread, ..Self::default() };
                } else {
                    field.text += &format!(",{text}");
                }
                field.days.push(day);
            }
            field
        }

        /// Whether the field fits a day, whose number in it is `number`.
        fn fits(&self, number: u32, date: NaiveDate) -> bool {
            let weekday = date.weekday().num_days_from_sunday();
            let month: Vec<NaiveDate> =
                (1..=31).filter_map(|day| NaiveDate::from_ymd_opt(date.year(), date.month(), day)).collect();
            let workday = |date: &&NaiveDate| !matches!(date.weekday(), Weekday::Sat | Weekday::Sun);
            let like_this: Vec<&NaiveDate> =
                month.iter().filter(|day| day.weekday() == date.weekday()).collect();
            self.numbers.contains(&number)
                || self.days.iter().any(|day| match *day {
                    Day::Last => month.last() == Some(&date),
                    Day::LastWorkday => month.iter().rfind(workday) == Some(&date),
                    Day::Nearest(near) => {
                        let distance = |day: &&NaiveDate| day.day().abs_diff(near);
                        let there_is = month.len() >= near as usize;
                        there_is && month.iter().filter(workday).min_by_key(distance) == Some(&date)
                    }
                    Day::LastOfWeek(day) => weekday == day && like_this.last() == Some(&&date),
                    Day::Nth(day, nth) => weekday == day && like_this.get(nth as usize - 1) == Some(&&date),
                })
        }
    }

    #[derive(Debug)]
    struct Expression {
        text: String,
        minute: Field,
        hour: Field,
        day_of_month: Field,
        month: Field,
        day_of_week: Field,
    }

    impl Expression {
        fn random(random: &mut Random, change: u32) -> Self {
            let names = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
            let mut minute = Field::random(random, 0, 59, &[]);
            let mut hour = Field::random(random, 0, 23, &[]);
            // Often about the hour of the change.
            if random.one_in(2) {
                let about = (change + 23 + random.below(4)) % 24;
                hour = Field { text: about.to_string(), numbers: [about].into(), ..Field::default() };
                if random.one_in(2) {
                    minute = Field { text: "30".to_owned(), numbers: [30].into(), ..Field::default() };
                }
            }
            let (day_of_month, month, day_of_week) = (
                Field::day_of_month(random),
                Field::random(random, 1, 12, &names),
                Field::day_of_week(random),
            );
            let text = [&minute, &hour, &day_of_month, &month, &day_of_week].map(|field| field.text.as_str());
            Self { text: text.join(" "), minute, hour, day_of_month, month, day_of_week }
        }

        fn starred(&self, field: &Field) -> bool {
            field.text.starts_with('*')
        }

        fn both_days(&self) -> bool {
            self.starred(&self.day_of_month) || self.starred(&self.day_of_week)
        }

        fn follows_clock(&self) -> bool {
            self.starred(&self.minute) || self.starred(&self.hour)
        }

        fn on(&self, date: NaiveDate) -> bool {
            let by_month = self.day_of_month.fits(date.day(), date);
            let by_week = self.day_of_week.fits(date.weekday().num_days_from_sunday(), date);
            let day = if self.both_days() { by_month && by_week } else { by_month || by_week };
            day && self.month.fits(date.month(), date)
        }
    }

    /// A minute of a wall clock.
    #[derive(Debug, Clone, Copy)]
    struct Wall {
        /// Its place in the days of a [`Clock`].
        day: usize,
        hour: u32,
        minute: u32,
    }

    /// The minutes of some days, as the clock of a zone shows them for the first time.
    struct Clock {
        zone: Tz,
        ends: (Time, Time),
        days: Vec<NaiveDate>,
        /// Each with what the clock shows, after what it jumped over.
        minutes: Vec<(Time, Wall)>,
        jumped_over: Vec<(Time, Wall)>,
    }

    impl Clock {
        /// From a day before the change to three days after it.
        fn about(zone: &str, change: &str) -> Self {
            let zone: Tz = zone.parse().unwrap();
            let first = utc(change) - TimeDelta::days(1);
            let wall_at = |at: Time| at.with_timezone(&zone).naive_local();
            let mut clock = Self {
                zone,
                ends: (first, first + TimeDelta::days(4)),
                days: Vec::new(),
                minutes: Vec::new(),
                jumped_over: Vec::new(),
            };
            let mut furthest = wall_at(first);
            let mut at = first + MINUTE;
            while at <= clock.ends.1 {
                let shown = wall_at(at);
                while furthest < shown {
                    furthest += MINUTE;
                    let wall = clock.wall(furthest);
                    if furthest == shown { &mut clock.minutes } else { &mut clock.jumped_over }
                        .push((at, wall));
                }
                at += MINUTE;
            }
            clock
        }

        fn wall(&mut self, shown: NaiveDateTime) -> Wall {
            if self.days.last() != Some(&shown.date()) {
                self.days.push(shown.date());
            }
            Wall { day: self.days.len() - 1, hour: shown.hour(), minute: shown.minute() }
        }

        /// The expected instants, by a walk over all minutes: a wall-clock time is expected when the clock first shows it, and a fixed one
        /// that the clock jumps over, at the jump.
        fn walked(&self, expression: &Expression) -> BTreeSet<Time> {
            let days: Vec<bool> = self.days.iter().map(|day| expression.on(*day)).collect();
            let (hours, minutes) = (bits(&expression.hour.numbers), bits(&expression.minute.numbers));
            let fits = |wall: &Wall| days[wall.day] && hours >> wall.hour & minutes >> wall.minute & 1 == 1;
            let shown = self.minutes.iter().filter(|(_, wall)| fits(wall));
            let jumped_over =
                self.jumped_over.iter().filter(|(_, wall)| !expression.follows_clock() && fits(wall));
            shown.chain(jumped_over).map(|(at, _)| *at).collect()
        }

        /// The same by croner, which walks the wall clock, where it reads the expression alike.
        fn by_croner(&self, expression: &Expression) -> Option<BTreeSet<Time>> {
            let fields = [&expression.day_of_month, &expression.month, &expression.day_of_week];
            if fields.iter().any(|field| field.misread) {
                return None;
            }
            let cron: Cron = CronParser::builder()
                .seconds(Seconds::Disallowed)
                .year(Year::Disallowed)
                .sloppy_ranges(true)
                .dom_and_dow(expression.both_days())
                .build()
                .parse(&expression.text)
                .unwrap_or_else(|error| panic!("{}: {error}", expression.text));
            let (first, last) = self.ends;
            let mut wall = first.with_timezone(&self.zone).naive_local();
            let mut found = BTreeSet::new();
            let last_wall = last.with_timezone(&self.zone).naive_local();
            while let Ok(next) = cron.find_next_occurrence(&wall, false) {
                wall = next;
                if wall > last_wall {
                    break;
                }
                let mut shown = wall;
                let at = loop {
                    match self.zone.from_local_datetime(&shown) {
                        LocalResult::Single(at) | LocalResult::Ambiguous(at, _) => break Some(at.to_utc()),
                        LocalResult::None if expression.follows_clock() => break None,
                        LocalResult::None => shown += MINUTE,
                    }
                };
                found.extend(at.filter(|at| first < *at));
            }
            Some(found)
        }
    }

    fn bits(numbers: &BTreeSet<u32>) -> u64 {
        numbers.iter().fold(0, |all, number| all | 1 << number)
    }

    #[test]
    fn fifty_thousand_random_expressions_are_read_alike() {
        let clocks: Vec<Clock> = CHANGES
            .iter()
            .flat_map(|(zone, changes)| changes.map(|change| Clock::about(zone, change)))
            .collect();
        let mut random = Random(20_261_129);
        let (mut instants, mut by_croner, mut never) = (0, 0, 0);
        for number in 0..EXPRESSIONS {
            let clock = &clocks[number % clocks.len()];
            let (first, last) = clock.ends;
            let expression = Expression::random(&mut random, clock.minutes[24 * 60].1.hour);
            let what = || format!("{} in {}", expression.text, clock.zone);
            let schedule = match Schedule::cron(&expression.text, clock.zone.name()) {
                Ok(schedule) => schedule,
                Err(error) => {
                    assert!(error.problem.contains("never comes about"), "{}: {error}", what());
                    never += 1;
                    continue;
                }
            };
            let ours: BTreeSet<Time> =
                std::iter::successors(schedule.following(first), |at| schedule.following(*at))
                    .take_while(|at| *at <= last)
                    .collect();
            assert_eq!(ours, clock.walked(&expression), "{}, by a walk", what());
            instants += ours.len();
            // croner takes its time for every minute of four days.
            if ours.len() < 300
                && let Some(theirs) = clock.by_croner(&expression)
            {
                assert_eq!(ours, theirs, "{}, by croner", what());
                by_croner += 1;
            }
        }
        assert!(by_croner > EXPRESSIONS / 3, "croner read {by_croner}");
        assert!(instants > EXPRESSIONS, "{instants} instants");
        assert!(never < EXPRESSIONS / 50, "{never} never come about");
    }
}
