//! How often reminders of an open alert are sent.

use chrono::TimeDelta;

use crate::{Invalid, duration};

/// How often reminders of an open alert are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reminders {
    /// No reminders: only the opening is notified.
    #[default]
    Never,
    /// At this interval.
    Every(TimeDelta),
    /// At each further failure, and at each further missed instant.
    Each,
}

impl Reminders {
    /// Reads a duration (`6h`; `0s` for never), `each` or `once`; `field` names it in an error.
    pub fn parse(field: &'static str, text: &str) -> Result<Self, Invalid> {
        let word = text.trim();
        if word.eq_ignore_ascii_case("each") {
            return Ok(Self::Each);
        }
        if word.eq_ignore_ascii_case("once") {
            return Ok(Self::Never);
        }
        duration::parse(field, text).map(|span| Self::from(Some(span))).map_err(|invalid| {
            Invalid::new(field, format!("{}; or each, for each failed run; or once", invalid.problem))
        })
    }

    /// The form that [`Self::parse`] reads: `6h`, `0s`, `each`.
    pub fn short(self) -> String {
        match self {
            Self::Never => duration::short(TimeDelta::zero()),
            Self::Every(span) => duration::short(span),
            Self::Each => "each".to_owned(),
        }
    }

    /// In words that follow "told again": "every 6 hours", "at each failed run"; `None` for never.
    pub fn words(self) -> Option<String> {
        match self {
            Self::Never => None,
            Self::Every(span) => Some(format!("every {}", duration::words(span))),
            Self::Each => Some("at each failed run".to_owned()),
        }
    }

    /// The stored form: milliseconds, -1 for each, `None` for never.
    pub fn ms(self) -> Option<i64> {
        match self {
            Self::Never => None,
            Self::Every(span) => Some(span.num_milliseconds()),
            Self::Each => Some(-1),
        }
    }

    /// Reads the form that [`Self::ms`] returns.
    pub fn from_ms(ms: Option<i64>) -> Self {
        match ms {
            Some(-1) => Self::Each,
            Some(ms) => Self::from(TimeDelta::try_milliseconds(ms)),
            None => Self::Never,
        }
    }
}

impl From<Option<TimeDelta>> for Reminders {
    /// This interval; never if it is `None` or zero.
    fn from(span: Option<TimeDelta>) -> Self {
        span.filter(|span| *span > TimeDelta::zero()).map_or(Self::Never, Self::Every)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for reminders in [Reminders::Never, Reminders::Every(TimeDelta::hours(6)), Reminders::Each] {
            assert_eq!(Reminders::parse("remind_every", &reminders.short()), Ok(reminders));
            assert_eq!(Reminders::from_ms(reminders.ms()), reminders);
        }
        assert_eq!(Reminders::parse("remind_every", " Each "), Ok(Reminders::Each));
        assert_eq!(Reminders::parse("remind_every", "once"), Ok(Reminders::Never));
        assert_eq!(Reminders::from_ms(Some(0)), Reminders::Never);
        let wrong = Reminders::parse("remind_every", "often").unwrap_err();
        assert_eq!(wrong.field, "remind_every");
        assert!(wrong.problem.ends_with("; or each, for each failed run; or once"), "{}", wrong.problem);
    }
}
