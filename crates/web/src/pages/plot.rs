//! How long runs took, as a bar chart: `plot.svg` draws it.

use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::{Time, duration};

/// Free space at the edges, and the room that the texts at the left and below take.
const MARGIN: u32 = 8;
const LEFT: u32 = 66;
const BELOW: u32 = 52;
/// Steps of the scale at most.
const STEPS: f64 = 5.0;

/// A run that has ended.
pub struct Ended {
    pub at: Time,
    pub took: TimeDelta,
    pub well: bool,
}

/// A chart for a size of window.
#[derive(Clone, Copy)]
pub struct Size {
    pub class: &'static str,
    pub width: u32,
    pub height: u32,
    /// Times written below, at most.
    times: usize,
}

/// For desks and for telephones.
pub const SIZES: [Size; 2] = [
    Size { class: "wide", width: 1000, height: 220, times: 8 },
    Size { class: "narrow", width: 360, height: 220, times: 3 },
];

/// A chart. Places are in the units of [`Size`], from the top left corner.
pub struct Plot {
    pub size: Size,
    pub left: u32,
    pub right: u32,
    pub bottom: u32,
    pub bars: Vec<Bar>,
    /// The scale at the left.
    pub amounts: Vec<Tick>,
    /// The times below.
    pub times: Vec<Tick>,
    /// The height of `max_run`.
    pub limit: Option<f64>,
    pub unit: &'static str,
    pub zone: Tz,
}

/// A run.
pub struct Bar {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
    pub is_success: bool,
}

/// A place at an edge, and what is written there.
pub struct Tick {
    pub at: f64,
    pub label: String,
}

impl Plot {
    /// The runs, oldest first; none where there are none.
    pub fn of(runs: &[Ended], max_run: Option<TimeDelta>, zone: Tz, size: Size) -> Option<Self> {
        let (oldest, newest) = (runs.first()?, runs.last()?);
        let longest = runs.iter().map(|run| run.took).chain(max_run).max()?;
        let (unit, unit_ms) = unit(longest);
        let in_unit = |span: TimeDelta| span.num_milliseconds() as f64 / unit_ms;
        let top = (in_unit(longest) * 1.12).max(1.0);
        let (left, right, bottom) = (LEFT, size.width - MARGIN, size.height - BELOW);
        let y = |amount: f64| tenth(f64::from(bottom) - amount / top * f64::from(bottom - MARGIN));
        let slot = f64::from(right - left) / runs.len() as f64;
        let bar = |(place, run): (usize, &Ended)| {
            // A run that took no time is seen, too.
            let above = y(in_unit(run.took).max(top / 100.0));
            Bar {
                x: tenth(f64::from(left) + (place as f64 + 0.1) * slot),
                y: above,
                width: tenth(slot * 0.8),
                height: tenth(f64::from(bottom) - above),
                is_success: run.well,
            }
        };
        let form = if newest.at - oldest.at > TimeDelta::days(1) { "%-d %b %H:%M" } else { "%H:%M:%S" };
        // The same distance between all, and the first one where there is room for half of its text.
        let each = runs.len().div_ceil(size.times);
        let times = runs.iter().enumerate().skip(each / 2).step_by(each).map(|(place, run)| Tick {
            at: tenth(f64::from(left) + (place as f64 + 0.5) * slot),
            label: run.at.with_timezone(&zone).format(form).to_string(),
        });
        let step = step(top);
        let amounts = (0..).map(|n| f64::from(n) * step).take_while(|amount| *amount <= top);
        let label = |amount: f64| if step < 1.0 { format!("{amount:.1}") } else { format!("{amount:.0}") };
        Some(Self {
            size,
            left,
            right,
            bottom,
            bars: runs.iter().enumerate().map(bar).collect(),
            amounts: amounts.map(|amount| Tick { at: y(amount), label: label(amount) }).collect(),
            times: times.collect(),
            limit: max_run.map(|limit| y(in_unit(limit))),
            unit,
            zone,
        })
    }
}

/// A tenth of a unit is as fine as a screen shows it.
fn tenth(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}

/// The distance of the marks of a scale that goes up to `top`: 1, 2 or 5 times a power of ten, at least 0.1.
fn step(top: f64) -> f64 {
    let least = (top / STEPS).max(0.1);
    let power = 10_f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0]
        .map(|times| times * power)
        .into_iter()
        .find(|step| *step >= least * 0.999)
        .unwrap_or(10.0 * power)
}

/// The unit in which spans up to `longest` are read best: its name and its length.
fn unit(longest: TimeDelta) -> (&'static str, f64) {
    match longest {
        _ if longest < TimeDelta::seconds(2) => ("milliseconds", 1.0),
        _ if longest < TimeDelta::minutes(2) => ("seconds", 1e3),
        _ if longest < TimeDelta::hours(2) => ("minutes", 60e3),
        _ if longest < TimeDelta::days(2) => ("hours", 3600e3),
        _ => ("days", 86_400e3),
    }
}

/// What the drawing shows, in words.
pub fn words(runs: &[Ended], max_run: Option<TimeDelta>) -> String {
    let spans = || runs.iter().map(|run| run.took);
    let (Some(least), Some(most)) = (spans().min(), spans().max()) else { return String::new() };
    let mut text = format!(
        "The latest {}, oldest first: from {} to {}",
        duration::counted(runs.len() as i64, "timed run"),
        duration::words(least),
        duration::words(most)
    );
    let failed = runs.iter().filter(|run| !run.well).count();
    if failed > 0 {
        text.push_str(&format!(", {failed} failed"));
    }
    if let Some(limit) = max_run {
        text.push_str(&format!("; the line is the limit of {}", duration::words(limit)));
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(count: i64, each_ms: i64) -> Vec<Ended> {
        let run = |n| Ended {
            at: Time::UNIX_EPOCH + TimeDelta::hours(n),
            took: TimeDelta::milliseconds(each_ms * (n + 1)),
            well: n % 7 != 3,
        };
        (0..count).map(run).collect()
    }

    #[test]
    fn all_of_it_lies_within_its_size() {
        for (each_ms, unit) in [
            (0, "milliseconds"),
            (900, "seconds"),
            (60_000, "minutes"),
            (3_600_000, "hours"),
            (90_000_000, "days"),
        ] {
            for (size, count) in
                SIZES.into_iter().flat_map(|size| [1, 2, 7, 10, 100].map(|count| (size, count)))
            {
                let limit = Some(TimeDelta::milliseconds(each_ms * (count + 2) + 1));
                let plot = Plot::of(&runs(count, each_ms), limit, chrono_tz::Europe::Berlin, size).unwrap();
                if count == 10 {
                    assert_eq!(plot.unit, unit);
                }
                let (left, right) = (f64::from(plot.left), f64::from(plot.right));
                let heights = f64::from(MARGIN)..=f64::from(plot.bottom);
                assert_eq!(plot.bars.len(), count as usize);
                for bar in &plot.bars {
                    assert!(bar.x >= left && bar.x + bar.width <= right + 0.2 && bar.height > 0.0, "{count}");
                    assert!(
                        heights.contains(&bar.y) && bar.y + bar.height <= *heights.end() + 0.1,
                        "{count}"
                    );
                }
                assert!((2..=6).contains(&plot.amounts.len()), "{}", plot.amounts.len());
                assert!(plot.amounts.iter().all(|tick| heights.contains(&tick.at)));
                assert_eq!(plot.amounts[0].label.trim_end_matches(".0"), "0");
                assert!((1..=size.times).contains(&plot.times.len()), "{count}");
                assert!(plot.times.iter().all(|tick| left < tick.at && tick.at < right));
                assert!(plot.limit.is_some_and(|limit| plot.bars.iter().all(|bar| limit <= bar.y)));
            }
        }
    }

    #[test]
    fn failures_and_times_are_told() {
        let plot = Plot::of(&runs(5, 1000), None, chrono_tz::Europe::Berlin, SIZES[1]).unwrap();
        let well: Vec<bool> = plot.bars.iter().map(|bar| bar.is_success).collect();
        assert_eq!((well, plot.limit), (vec![true, true, true, false, true], None));
        // Half past one in Berlin is no time of a run: each has its own.
        let labels: Vec<&str> = plot.times.iter().map(|tick| tick.label.as_str()).collect();
        assert_eq!(labels, ["02:00:00", "04:00:00"]);
        assert!(Plot::of(&[], Some(TimeDelta::hours(1)), chrono_tz::UTC, SIZES[0]).is_none());
    }

    #[test]
    fn a_scale_goes_by_round_numbers() {
        for (top, expected) in
            [(1.0, 0.2), (1.12, 0.5), (5.0, 1.0), (6.0, 2.0), (11.2, 5.0), (100.0, 20.0), (2016.0, 500.0)]
        {
            assert!((step(top) - expected).abs() < 1e-9, "{top}: {}", step(top));
        }
    }

    #[test]
    fn it_is_said_in_words() {
        let limit = Some(TimeDelta::minutes(1));
        assert_eq!(
            words(&runs(5, 1000), limit),
            "The latest 5 timed runs, oldest first: from 1 second to 5 seconds, 1 failed; the line is the limit of 1 minute."
        );
        assert_eq!(words(&[], limit), "");
    }
}
