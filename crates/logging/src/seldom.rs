//! Saying seldom what happens often: at once, then once a minute with a count of the like ones in between.

use std::fmt::Display;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How often the log says it.
const EVERY: Duration = Duration::from_secs(60);

/// One kind of thing that may happen thousands of times a second.
#[derive(Debug, Default)]
pub struct Seldom(Mutex<Said>);

#[derive(Debug, Default)]
struct Said {
    at: Option<Instant>,
    unsaid: u64,
}

impl Seldom {
    /// A kind that has not happened yet.
    pub const fn new() -> Self {
        Self(Mutex::new(Said { at: None, unsaid: 0 }))
    }

    /// Logs `text` as an error, unless the like was said within the last minute: then it is counted.
    pub fn error(&self, text: impl Display) {
        if let Some(unsaid) = self.happens(Instant::now()) {
            log::error!("{text}{}", like_it(unsaid));
        }
    }

    /// The same as a warning.
    pub fn warn(&self, text: impl Display) {
        if let Some(unsaid) = self.happens(Instant::now()) {
            log::warn!("{text}{}", like_it(unsaid));
        }
    }

    /// It has happened: how many were not said since the last one that was, if this one is to be said.
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
