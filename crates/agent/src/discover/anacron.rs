//! Parses anacron's table: `PERIOD DELAY NAME COMMAND`. Anacron compares only dates, not times.

use std::collections::BTreeMap;
use std::ops::Range;

use super::crontab::lines;

/// A job of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnacronJob {
    /// Line number, from 1.
    pub line: usize,
    /// Byte range of the command.
    pub command: Range<usize>,
    /// Whether the command continues in the next line.
    pub is_continued: bool,
    /// Days between two runs.
    pub days: i64,
    /// Delay before the start, in minutes.
    pub delay: i64,
    /// The name of the job.
    pub name: String,
    /// The variables that the lines above have set.
    pub environment: BTreeMap<String, String>,
}

impl AnacronJob {
    /// How many minutes later than a whole number of days the job may start, because of its delay and the hours in
    /// which anacron starts jobs.
    pub fn spread_minutes(&self) -> i64 {
        let number =
            |text: &str| text.trim().parse::<i64>().ok().filter(|number| (0..=10_000).contains(number));
        let value = |name: &str| self.environment.get(name);
        let random = value("RANDOM_DELAY").and_then(|text| number(text)).unwrap_or(0);
        let hours = value("START_HOURS_RANGE").and_then(|text| {
            let (from, to) = text.split_once('-')?;
            Some(number(to)? - number(from)?)
        });
        // Without a range of hours, the job starts when the machine does.
        let hours = hours.filter(|hours| (0..=24).contains(hours)).unwrap_or(24);
        self.delay + random + hours * 60
    }
}

/// Parses the table. Returns its jobs, and for each line that anacron does not accept its number (from 1) and the
/// reason.
pub fn read(bytes: &[u8]) -> (Vec<AnacronJob>, Vec<(usize, String)>) {
    let mut jobs = Vec::new();
    let mut problems = Vec::new();
    let mut environment = BTreeMap::new();
    let mut before: Option<(usize, usize)> = None;
    for (number, start, line, _) in lines(bytes) {
        let end = start + line.len();
        let (number, start, is_continued) = match before.take() {
            Some((number, start)) => (number, start, true),
            None => (number, start, false),
        };
        if line.ends_with(b"\\") {
            before = Some((number, start));
            continue;
        }
        let text = String::from_utf8_lossy(&bytes[start..end]).into_owned();
        let trimmed = text.trim_matches([' ', '\t']);
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        match job(trimmed) {
            Some(Ok((days, delay, name))) => {
                let command = command_at(&bytes[start..end]);
                let environment = BTreeMap::clone(&environment);
                let command = start + command..end;
                jobs.push(AnacronJob { line: number, command, is_continued, days, delay, name, environment });
            }
            Some(Err(problem)) => problems.push((number, problem)),
            None => match trimmed.split_once('=') {
                Some((name, value)) if !name.trim().contains([' ', '\t']) => {
                    environment.insert(name.trim().to_owned(), value.trim().to_owned());
                }
                _ => problems
                    .push((number, "it is neither PERIOD DELAY NAME COMMAND nor a variable".to_owned())),
            },
        }
    }
    (jobs, problems)
}

fn job(text: &str) -> Option<Result<(i64, i64, String), String>> {
    let words: Vec<&str> = text.split([' ', '\t']).filter(|word| !word.is_empty()).collect();
    let &[period, delay, name, _, ..] = words.as_slice() else { return None };
    let days = match period {
        "@daily" => 1,
        "@weekly" => 7,
        // The longest interval between two runs.
        "@monthly" => 31,
        "@yearly" | "@annually" => 366,
        _ if period.starts_with('@') => {
            return Some(Err(format!("{period:?} is no period that anacron knows")));
        }
        _ => period.parse().ok().filter(|days| (1..=3650).contains(days))?,
    };
    let delay = delay.parse().ok().filter(|delay| (0..=100_000).contains(delay))?;
    if name.contains('/') {
        return Some(Err(format!("the name {name:?} has a /")));
    }
    Some(Ok((days, delay, name.to_owned())))
}

/// Offset of the fourth word.
fn command_at(line: &[u8]) -> usize {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let mut at = 0;
    for _ in 0..3 {
        at += line[at..].iter().take_while(|byte| is_blank(byte)).count();
        at += line[at..].iter().take_while(|byte| !is_blank(byte)).count();
    }
    at + line[at..].iter().take_while(|byte| is_blank(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_variables_and_continued_lines() {
        let text = "# comment\nSHELL=/bin/sh\nRANDOM_DELAY=45\nSTART_HOURS_RANGE=3-22\n\n\
                    1\t5\tcron.daily\t\tnice run-parts /etc/cron.daily\n\
                    7 25 cron.weekly a \\\n  b\n@monthly 45 m  c d\n@noon 1 x y\n1 2\n0 1 a b\n";
        let (jobs, problems) = read(text.as_bytes());
        let command = |job: &AnacronJob| &text[job.command.clone()];
        assert_eq!(
            jobs.iter().map(command).collect::<Vec<_>>(),
            ["nice run-parts /etc/cron.daily", "a \\\n  b", "c d"]
        );
        let told: Vec<_> = jobs
            .iter()
            .map(|job| (job.line, job.days, job.delay, job.name.as_str(), job.is_continued))
            .collect();
        let expected =
            [(6, 1, 5, "cron.daily", false), (7, 7, 25, "cron.weekly", true), (9, 31, 45, "m", false)];
        assert_eq!(told, expected);
        assert_eq!(jobs[0].spread_minutes(), 5 + 45 + 19 * 60);
        assert_eq!(problems.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [10, 11, 12]);
    }
}
