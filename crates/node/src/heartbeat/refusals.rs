//! Messages to the operator about refused configurations. The first refusal is reported at once,
//! and those of the next ten minutes are reported together. After a reported refusal, the next
//! configuration that is accepted is reported too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use askama::Template;
use parking_lot::{Mutex, MutexGuard};

use super::Operator;
use crate::config::ConfigError;

/// How long further refusals are collected.
const EVERY: Duration = Duration::from_secs(600);

/// Collects refusals and reports them. Clones share their state.
#[derive(Clone)]
pub(super) struct Refusals {
    operator: Operator,
    gathered: Arc<Mutex<Gathered>>,
}

#[derive(Default)]
struct Gathered {
    /// The last problem and the number of refusals of which the operator has not been told.
    untold: Option<(String, usize)>,
    told_at: Option<Instant>,
    /// Whether the operator was last told of a refusal.
    is_bad: bool,
}

/// A message to the operator about the configuration.
#[derive(Debug, PartialEq, Eq, Template)]
enum ReloadMessage {
    #[template(path = "configuration_refused.txt")]
    Refused { error: String, count: usize },
    #[template(path = "configuration_taken.txt")]
    Taken,
}

impl Refusals {
    /// A reporter that writes to `operator`.
    pub fn new(operator: Operator) -> Self {
        Self { operator, gathered: Arc::default() }
    }

    /// Takes the result of a reload: the configuration was accepted, or refused because of `wrong`.
    pub fn reloaded(&self, wrong: Option<&ConfigError>, now: Instant) {
        let message = match wrong {
            Some(error) => self.gathered().refused(error.to_string(), now),
            None => self.gathered().taken(),
        };
        self.tell(message);
    }

    /// Reports the collected refusals, if it is time to.
    pub fn flush(&self, now: Instant) {
        let message = self.gathered().due(now);
        self.tell(message);
    }

    fn tell(&self, message: Option<ReloadMessage>) {
        if let Some(message) = message {
            self.operator.tell(message);
        }
    }

    fn gathered(&self) -> MutexGuard<'_, Gathered> {
        self.gathered.lock()
    }
}

impl Gathered {
    fn refused(&mut self, error: String, now: Instant) -> Option<ReloadMessage> {
        let before = self.untold.take().map_or(0, |(_, count)| count);
        self.untold = Some((error, before + 1));
        self.due(now)
    }

    fn taken(&mut self) -> Option<ReloadMessage> {
        self.untold = None;
        std::mem::take(&mut self.is_bad).then_some(ReloadMessage::Taken)
    }

    fn due(&mut self, now: Instant) -> Option<ReloadMessage> {
        if self.told_at.is_some_and(|at| now.saturating_duration_since(at) < EVERY) {
            return None;
        }
        let (error, count) = self.untold.take()?;
        self.told_at = Some(now);
        self.is_bad = true;
        Some(ReloadMessage::Refused { error, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    #[test]
    fn a_hundred_refusals_are_two_messages_and_the_end_is_told() {
        let (mut gathered, begun) = (Gathered::default(), Instant::now());
        let after = |seconds: u64| begun + Duration::from_secs(seconds);
        let said = |message: Option<ReloadMessage>| OperatorMessage::from(message.unwrap());
        let OperatorMessage { subject, text } = said(gathered.refused("f:1: x".to_owned(), begun));
        assert_eq!(subject, "The new configuration is refused");
        assert_eq!(text, "The configuration stays as it was. The problem with the new one:\nf:1: x");
        assert!((1..100).all(|n| gathered.refused(format!("f:{n}: x"), after(n)).is_none()));
        assert_eq!(gathered.due(after(599)), None);
        let text = said(gathered.due(after(600))).text;
        assert!(
            text.contains("99 were refused since the last message") && text.ends_with("f:99: x"),
            "{text}"
        );
        assert_eq!(gathered.due(after(1300)), None);
        assert_eq!(said(gathered.taken()).subject, "The new configuration is taken");
        assert_eq!(gathered.taken(), None);
        // A configuration that is corrected before its refusal was reported is not reported.
        assert!(gathered.refused("f:1: x".to_owned(), after(1300)).is_some());
        assert!(gathered.taken().is_some());
        assert!(gathered.refused("f:2: x".to_owned(), after(1301)).is_none());
        assert_eq!((gathered.taken(), gathered.due(after(3000))), (None, None));
    }
}
