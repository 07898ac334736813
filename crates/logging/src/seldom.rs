//! Limits how often a frequent event is logged: at once, then once a minute with the number of similar events in
//! between.

use std::fmt::Display;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Shortest interval between two lines.
const EVERY: Duration = Duration::from_secs(60);

/// One kind of event that may happen thousands of times a second.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// A kind of event that has not happened yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Said { at: None, unsaid: 0 }))
    }

    /// Logs `text` as an error. If such an event was logged within the last minute, it is only counted.
    pub fn error(&self, text: impl Display) {
        if let Some(unsaid) = self.happens(Instant::now()) {
            log::error!("{text}{}", like_it(unsaid));
        }
    }

    /// Like [`Self::error`], as a warning.
    pub fn warn(&self, text: impl Display) {
        if let Some(unsaid) = self.happens(Instant::now()) {
            log::warn!("{text}{}", like_it(unsaid));
        }
    }

    /// Records an event. If it should be logged, returns the number of events that were only counted since the last
    /// line.
    fn happens(&self, now: Instant) -> Option<u64> {
        let mut said = self.0.lock();
        if said.at.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            said.unsaid += 1;
            return None;
        }
        said.at = Some(now);
        Some(std::mem::take(&mut said.unsaid))
    }
}

fn like_it(unsaid: u64) -> String {
    match unsaid {
        0 => String::new(),
        1 => " (and one like it since this was last said)".to_owned(),
        n => format!(" (and {n} like it since this was last said)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thousand_are_one_line_a_minute_and_a_count() {
        let (seldom, begun) = (Seldom::new(), Instant::now());
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        assert_eq!(seldom.happens(begun), Some(0));
        assert!((0..1000).all(|n| seldom.happens(after(n % 60)).is_none()));
        assert_eq!(seldom.happens(after(60)), Some(1000));
        assert_eq!(seldom.happens(after(61)), None);
        assert_eq!(seldom.happens(after(200)), Some(1));
        assert_eq!(like_it(1000), " (and 1000 like it since this was last said)");
    }
}
