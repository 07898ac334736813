//! The check-ins of a reservation as rows and as bars.

use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::alert::stamp;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::{Time, duration};
use innkeeper_store::Checkin;

use super::view::When;

/// The most check-ins that the bars show.
const BARS: usize = 30;
/// The height of the drawing.
const HIGH: i64 = 40;

/// A check-in.
pub struct CheckinRow {
    pub at: When,
    pub what: String,
    pub took: String,
    pub source: String,
    pub notes: String,
}

impl CheckinRow {
    pub fn of(checkin: &Checkin, zone: Tz, now: Time) -> Self {
        let what = match (checkin.kind, checkin.exit_code) {
            (CheckInKind::Fail, Some(code)) => format!("fail, exit code {code}"),
            (kind, _) => kind.as_str().to_owned(),
        };
        Self {
            at: When::new(checkin.at, zone, now),
            what,
            took: checkin.duration.map(duration::words).unwrap_or_default(),
            source: checkin.source.clone(),
            notes: checkin.notes.clone(),
        }
    }
}

/// One check-in of the drawing: as high as its run was long, where that is known.
pub struct Bar {
    pub kind: &'static str,
    pub x: usize,
    pub y: i64,
    pub height: i64,
    pub title: String,
}

/// The latest check-ins as bars, oldest first, and what their height says.
pub fn bars(checkins: &[Checkin], max_run: Option<TimeDelta>, zone: Tz) -> (Vec<Bar>, &'static str) {
    let latest: Vec<&Checkin> = checkins.iter().take(BARS).collect();
    let longest = latest.iter().filter_map(|checkin| checkin.duration).chain(max_run).max();
    let height = |checkin: &Checkin| match (checkin.duration, longest) {
        (Some(took), Some(longest)) if longest > TimeDelta::zero() => {
            (took.num_milliseconds() * HIGH / longest.num_milliseconds()).clamp(3, HIGH)
        }
        _ => HIGH / 2,
    };
    let bars = latest.iter().rev().enumerate().map(|(place, checkin)| {
        let high = height(checkin);
        let took =
            checkin.duration.map(|took| format!(", took {}", duration::words(took))).unwrap_or_default();
        Bar {
            kind: checkin.kind.as_str(),
            x: place * 10 + 1,
            y: HIGH - high,
            height: high,
            title: format!("{} at {}{took}", checkin.kind.as_str(), stamp(checkin.at, zone)),
        }
    });
    let words = match (longest, max_run) {
        (Some(_), Some(_)) => "as high as the run was long, the whole height being the longest or its limit.",
        (Some(_), None) => "as high as the run was long.",
        (None, _) => "green for a success, red for a failure.",
    };
    (bars.collect(), words)
}
