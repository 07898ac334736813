//! Schedules in words.

use super::Schedule;
use super::calendar::{self, CalendarSchedule};
use super::cron::CronSchedule;
use crate::duration;

/// The most times of a day that are listed one by one.
const MOST_TIMES: usize = 4;
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

impl Schedule {
    /// The schedule in words: "every 5 minutes"; "at 02:30 on Mondays, Europe/Berlin". An
    /// expression without short words is given as it was written.
    pub fn in_words(&self) -> String {
        match self {
            Self::Every(period) => {
                let words = duration::words(*period);
                // "every hour", but "every 1 hour 30 minutes".
                let one = words.strip_prefix("1 ").filter(|unit| !unit.contains(' '));
                format!("every {}", one.unwrap_or(&words))
            }
            Self::Cron(cron) => cron.in_words(),
            Self::Calendar(calendar) => calendar.in_words(),
        }
    }
}

impl CalendarSchedule {
    fn in_words(&self) -> String {
        let simple: Option<Vec<String>> = self.text().split("; ").map(Self::simple).collect();
        let words = simple.map_or_else(|| format!("calendar {}", self.text()), |simple| listed(&simple));
        format!("{words}, {}", self.zone())
    }

    /// One expression in words: the time and the days. `None` if there are no short words for it.
    fn simple(text: &str) -> Option<String> {
        let words: Vec<&str> = calendar::written_out(text).unwrap_or(text).split(' ').collect();
        let (week, rest) = match words.split_first()? {
            (first, rest) if first.starts_with(|start: char| start.is_ascii_alphabetic()) => {
                (Some(*first), rest)
            }
            _ => (None, words.as_slice()),
        };
        let (date, time) = match *rest {
            [] => ("*-*-*", "00:00"),
            [time] if time.contains(':') => ("*-*-*", time),
            [date] => (date, "00:00"),
            [date, time] => (date, time),
            _ => return None,
        };
        let days = match (week, date.strip_prefix("*-")?.split_once('-')?) {
            (None, (month, day)) => days(day, month, "*")?,
            (Some(week), ("*", "*")) => {
                let short = |days: &str| {
                    days.split("..")
                        .map(|day| day.get(..3))
                        .collect::<Option<Vec<_>>>()
                        .map(|days| days.join("-"))
                };
                let week: Option<Vec<_>> = week.split(',').map(short).collect();
                week_days(&week?.join(","))?
            }
            _ => return None,
        };
        let (hour, minute) =
            time.strip_suffix(":00").filter(|time| time.contains(':')).unwrap_or(time).split_once(':')?;
        if hour == "*" {
            let each =
                minute.strip_prefix("0/").or(minute.strip_prefix("00/")).map(|each| format!("*/{each}"));
            return match step(each.as_deref().unwrap_or(minute), 60) {
                Some(each) => days.is_empty().then(|| format!("every {}", each_of(each, "minute"))),
                None => Some(format!("hourly at minute {}{days}", number(minute, 0, 59)?)),
            };
        }
        let (hours, minute) = (numbers(hour, 0, 23)?, number(minute, 0, 59)?);
        let times: Vec<String> = hours.iter().map(|hour| format!("{hour:02}:{minute:02}")).collect();
        (times.len() <= MOST_TIMES).then(|| format!("at {}{days}", listed(&times)))
    }
}

impl CronSchedule {
    fn in_words(&self) -> String {
        self.simple(self.written()).unwrap_or_else(|| format!("cron {}, {}", self.expression(), self.zone()))
    }

    fn simple(&self, written: &str) -> Option<String> {
        let fields: Vec<&str> = written.split_whitespace().collect();
        let (second, rest) = match fields.len() {
            5 => ("0", &fields[..]),
            6 => (fields[0], &fields[1..]),
            _ => return None,
        };
        let &[minute, hour, ..] = rest else { return None };
        let days = days(rest.get(2)?, rest.get(3)?, rest.get(4)?)?;
        if second != "0" {
            let each = step(second, 60)?;
            let plain = minute == "*" && hour == "*" && days.is_empty();
            return plain.then(|| format!("every {} (cron {})", each_of(each, "second"), self.expression()));
        }
        if hour == "*" {
            if let Some(each) = step(minute, 60) {
                let plain = days.is_empty();
                return plain
                    .then(|| format!("every {} (cron {})", each_of(each, "minute"), self.expression()));
            }
            let minute = number(minute, 0, 59)?;
            return Some(format!("hourly at minute {minute}{days}{}", self.where_it_matters()));
        }
        let minute = number(minute, 0, 59)?;
        if let Some(each) = step(hour, 24) {
            let each = each_of(each, "hour");
            return Some(format!("every {each} from 00:{minute:02}{days}, {}", self.zone()));
        }
        let hours = numbers(hour, 0, 23)?;
        let times: Vec<String> = hours.iter().map(|hour| format!("{hour:02}:{minute:02}")).collect();
        (times.len() <= MOST_TIMES).then(|| format!("at {}{days}, {}", listed(&times), self.zone()))
    }

    /// The zone, unless it is UTC: the minutes of an hour are the same in nearly all zones.
    fn where_it_matters(&self) -> String {
        if self.zone() == chrono_tz::UTC { String::new() } else { format!(", {}", self.zone()) }
    }
}

/// The days in words; empty for every day. `None` if there are no short words for them.
fn days(of_month: &str, month: &str, of_week: &str) -> Option<String> {
    let any = |field: &str| field == "*" || field == "?";
    match (any(of_month), any(month), any(of_week)) {
        (true, true, true) => Some(String::new()),
        (true, true, false) => week_days(of_week),
        (false, true, true) => {
            let days = numbers(of_month, 1, 31)?;
            let days: Vec<String> = days.iter().map(ToString::to_string).collect();
            let noun = if days.len() == 1 { "day" } else { "days" };
            (days.len() <= MOST_TIMES).then(|| format!(" on {noun} {} of the month", listed(&days)))
        }
        (false, false, true) => {
            let month = MONTHS[number(month, 1, 12)? as usize - 1];
            Some(format!(" on {} {month}", number(of_month, 1, 31)?))
        }
        _ => None,
    }
}

fn week_days(field: &str) -> Option<String> {
    let day = |text: &str| {
        let named = DAYS.iter().position(|name| name[..3].eq_ignore_ascii_case(text));
        // Sunday is both 0 and 7.
        named.or_else(|| number(text, 0, 7).map(|n| n as usize % 7))
    };
    if let Some((first, last)) = field.split_once('-') {
        // `0-7` means every day, although it begins and ends with Sunday.
        let whole = (first, last) == ("0", "7");
        let (first, last) = (day(first)?, day(last)?);
        if first == last {
            return Some(if whole { String::new() } else { format!(" on {}s", DAYS[first]) });
        }
        return Some(format!(" from {} to {}", DAYS[first], DAYS[last]));
    }
    let days: Vec<String> =
        field.split(',').map(|text| Some(format!("{}s", DAYS[day(text)?]))).collect::<Option<_>>()?;
    Some(format!(" on {}", listed(&days)))
}

/// The step, if the field is `*` (a step of 1) or a step that divides `whole` evenly.
fn step(field: &str, whole: u32) -> Option<u32> {
    if field == "*" {
        return Some(1);
    }
    let each = number(field.strip_prefix("*/")?, 1, whole)?;
    whole.is_multiple_of(each).then_some(each)
}

fn number(text: &str, least: u32, most: u32) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| digits)?;
    (least..=most).contains(&number).then_some(number)
}

fn numbers(field: &str, least: u32, most: u32) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> =
        field.split(',').map(|text| number(text, least, most)).collect::<Option<_>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    Some(numbers)
}

fn each_of(each: u32, noun: &str) -> String {
    if each == 1 { noun.to_owned() } else { format!("{each} {noun}s") }
}

/// "a", "a and b", "a, b and c".
fn listed(all: &[String]) -> String {
    match all {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => all.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::TimeDelta;

    fn cron(expression: &str, zone: &str) -> String {
        Schedule::cron(expression, zone).unwrap().in_words()
    }

    #[test]
    fn a_simple_calendar_is_said_in_words() {
        for (text, words) in [
            ("daily", "at 00:00"),
            ("Weekly", "at 00:00 on Mondays"),
            ("monthly", "at 00:00 on day 1 of the month"),
            ("yearly", "at 00:00 on 1 January"),
            ("hourly", "hourly at minute 0"),
            ("*:0/15", "every 15 minutes"),
            ("minutely", "every minute"),
            ("Mon..Fri 2:00", "at 02:00 from Monday to Friday"),
            ("Monday,Thu *-*-* 02:00:00", "at 02:00 on Mondays and Thursdays"),
            ("*-*-01,15 06,18:30", "at 06:30 and 18:30 on days 1 and 15 of the month"),
            ("Sun", "at 00:00 on Sundays"),
            ("Mon..Fri 02:00; Sun 04:00", "at 02:00 from Monday to Friday and at 04:00 on Sundays"),
            ("quarterly", "calendar quarterly"),
            ("*-*~3", "calendar *-*~3"),
            ("Mon *-*-1..7 02:00", "calendar Mon *-*-1..7 02:00"),
            ("*:0/7", "calendar *:0/7"),
            ("Tue..Thu,Sat 02:00", "calendar Tue..Thu,Sat 02:00"),
            ("2030-*-* 02:00", "calendar 2030-*-* 02:00"),
            ("9..17:00", "calendar 9..17:00"),
            ("02:00:30", "calendar 02:00:30"),
            ("daily; *-*~1", "calendar daily; *-*~1"),
        ] {
            let schedule = Schedule::calendar(text, Some("Asia/Tokyo")).unwrap();
            assert_eq!(schedule.in_words(), format!("{words}, Asia/Tokyo"), "{text}");
        }
    }

    #[test]
    fn what_is_simple_is_said_in_words() {
        assert_eq!(Schedule::every(TimeDelta::minutes(5)).unwrap().in_words(), "every 5 minutes");
        assert_eq!(Schedule::every(TimeDelta::hours(1)).unwrap().in_words(), "every hour");
        assert_eq!(Schedule::every(TimeDelta::minutes(90)).unwrap().in_words(), "every 1 hour 30 minutes");
        for (expression, words) in [
            ("0 2 * * *", "at 02:00, Europe/Berlin"),
            ("0 0 2 * * *", "at 02:00, Europe/Berlin"),
            ("30 2,14 * * *", "at 02:30 and 14:30, Europe/Berlin"),
            ("30 2 * * 1", "at 02:30 on Mondays, Europe/Berlin"),
            ("30 2 * * MON", "at 02:30 on Mondays, Europe/Berlin"),
            ("0 9 * * 1-5", "at 09:00 from Monday to Friday, Europe/Berlin"),
            ("0 9 * * 6,0", "at 09:00 on Saturdays and Sundays, Europe/Berlin"),
            ("0 9 * * 7", "at 09:00 on Sundays, Europe/Berlin"),
            ("0 9 * * SUN-SUN", "at 09:00 on Sundays, Europe/Berlin"),
            ("0 9 * * 0-7", "at 09:00, Europe/Berlin"),
            ("0 9 * * FRI-SUN", "at 09:00 from Friday to Sunday, Europe/Berlin"),
            ("@midnight", "at 00:00, Europe/Berlin"),
            ("5 4 1 * *", "at 04:05 on day 1 of the month, Europe/Berlin"),
            ("5 4 1,15 * *", "at 04:05 on days 1 and 15 of the month, Europe/Berlin"),
            ("0 0 24 12 *", "at 00:00 on 24 December, Europe/Berlin"),
            ("15 */6 * * *", "every 6 hours from 00:15, Europe/Berlin"),
            ("5 * * * *", "hourly at minute 5, Europe/Berlin"),
            ("*/5 * * * *", "every 5 minutes (cron */5 * * * *)"),
            ("* * * * *", "every minute (cron * * * * *)"),
            ("*/10 * * * * *", "every 10 seconds (cron */10 * * * * *)"),
            ("@daily", "at 00:00, Europe/Berlin"),
        ] {
            assert_eq!(cron(expression, "Europe/Berlin"), words, "{expression}");
        }
        assert_eq!(cron("5 * * * *", "UTC"), "hourly at minute 5");
        assert_eq!(cron("@hourly", "UTC"), "hourly at minute 0");
        assert_eq!(cron("0 2 * * *", "UTC"), "at 02:00, UTC");
    }

    #[test]
    fn what_is_not_is_given_as_it_was_written() {
        for expression in [
            "*/7 * * * *",
            "0 2 1 * 1",
            "0 2 L * *",
            "0 2 * * 1#2",
            "0 8-18 * * *",
            "0,30 2 * * *",
            "0 1,2,3,4,5 * * *",
            "*/5 2 * * *",
            "*/5 * * * 1",
            "7 0 2 * * *",
            "0 2 */2 * *",
        ] {
            assert_eq!(cron(expression, "UTC"), format!("cron {expression}, UTC"));
        }
    }
}
