//! Telling the operator of a configuration that is refused when it is read again: the first at once, those of the next ten minutes together,
//! and that one is taken again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::Operator;
use crate::config::ConfigError;

/// How long further ones are gathered.
const EVERY: Duration = Duration::from_secs(600);

/// Gathers them. Clones share what they have gathered.
#[derive(Clone)]
pub(super) struct Refusals {
    operator: Operator,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Default)]
struct Gathered {
    /// What was wrong last, and how many were refused, that the operator has not heard of.
    untold: Option<(String, usize)>,
    told_at: Option<Instant>,
    /// Whether the last that the operator heard is that one was refused.
    is_bad: bool,
}

/// A subject and a text.
type Letter = (&'static str, String);

impl Refusals {
    /// Tells through `operator`.
    pub fn new(operator: Operator) -> Self {
        Self { operator, gathered: Arc::default() }
    }

    /// The configuration was read again: it was taken, or this is wrong with it.
    pub fn reloaded(&self, wrong: Option<&ConfigError>, now: Instant) {
        let letter = match wrong {
            Some(error) => self.gathered().refused(error.to_string(), now),
            None => self.gathered().taken(),
        };
        self.tell(letter);
    }

    /// Tells what has been gathered, if it is time to.
    pub fn flush(&self, now: Instant) {
        let letter = self.gathered().due(now);
        self.tell(letter);
    }

    fn tell(&self, letter: Option<Letter>) {
        if let Some((subject, text)) = letter {
            self.operator.tell(subject, &text);
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathered {
    fn refused(&mut self, error: String, now: Instant) -> Option<Letter> {
        let before = self.untold.take().map_or(0, |(_, count)| count);
        self.untold = Some((error, before + 1));
        self.due(now)
    }

    fn taken(&mut self) -> Option<Letter> {
        self.untold = None;
        let text = "The configuration that was read last is in force.".to_owned();
        std::mem::take(&mut self.is_bad).then_some(("The new configuration is taken", text))
    }

    fn due(&mut self, now: Instant) -> Option<Letter> {
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return None;
        }
        let (error, count) = self.untold.take()?;
        self.told_at = Some(now);
        self.is_bad = true;
        let times = match count {
            1 => String::new(),
            _ => format!(" {count} were refused since the last message; this is the latest."),
        };
        let text = format!("The configuration stays as it was.{times} Wrong with the new one:\n{error}");
        Some(("The new configuration is refused", text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_refusals_are_two_messages_and_the_end_is_told() {
        let (mut gathered, begun) = (Gathered::default(), Instant::now());
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let (subject, text) = gathered.refused("f:1: x".to_owned(), begun).unwrap();
        assert_eq!(subject, "The new configuration is refused");
        assert_eq!(text, "The configuration stays as it was. Wrong with the new one:\nf:1: x");
        assert!((1..100).all(|n| gathered.refused(format!("f:{n}: x"), after(n)).is_none()));
        assert_eq!(gathered.due(after(599)), None);
        let (_, text) = gathered.due(after(600)).unwrap();
        assert!(
            text.contains("99 were refused since the last message") && text.ends_with("f:99: x"),
            "{text}"
        );
        assert_eq!(gathered.due(after(1300)), None);
        assert_eq!(gathered.taken().unwrap().0, "The new configuration is taken");
        assert_eq!(gathered.taken(), None);
        // One that is mended before it was told is not told.
        assert!(gathered.refused("f:1: x".to_owned(), after(1300)).is_some());
        assert!(gathered.taken().is_some());
        assert!(gathered.refused("f:2: x".to_owned(), after(1301)).is_none());
        assert_eq!((gathered.taken(), gathered.due(after(3000))), (None, None));
    }
}
