//! How often a job checks in, as it was written: a count and a unit.

use chrono::TimeDelta;
use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::{Invalid, duration, word};

/// A frequency as GoTel's protocol writes it: a number and a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frequency {
    /// How many units.
    pub count: i64,
    /// The unit.
    pub unit: TimeUnit,
}

/// The units of GoTel's protocol, and days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "lowercase")]
pub enum TimeUnit {
    /// `seconds`
    Seconds,
    /// `minutes`
    Minutes,
    /// `hours`
    Hours,
    /// `days`
    Days,
}

impl TimeUnit {
    /// Reads `seconds`, `minutes`, `hours` or `days`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        word::parse("time_units", text)
    }

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    fn seconds(self) -> i64 {
        match self {
            Self::Seconds => 1,
            Self::Minutes => 60,
            Self::Hours => 3600,
            Self::Days => 86_400,
        }
    }
}

impl Frequency {
    /// Checks a frequency: a count of at least one, and a length of at most ten years. `field`
    /// names the count in an error.
    pub fn parse(field: &'static str, count: i64, unit: TimeUnit) -> Result<Self, Invalid> {
        let wrong = || {
            Invalid::new(field, format!("{count}; give a whole number, from 1 second to 3650 days in all"))
        };
        let seconds = count.checked_mul(unit.seconds()).ok_or_else(wrong)?;
        if !(1..=duration::LONGEST.num_seconds()).contains(&seconds) {
            return Err(wrong());
        }
        Ok(Self { count, unit })
    }

    /// The length of the frequency.
    pub fn span(self) -> TimeDelta {
        TimeDelta::seconds(self.count.saturating_mul(self.unit.seconds()))
    }
}

impl std::fmt::Display for Frequency {
    /// `5minutes`, as GoTel prints it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.count, self.unit.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_are_bounded() {
        for (count, unit) in
            [(0, "seconds"), (-1, "minutes"), (i64::MAX, "hours"), (i64::MIN, "days"), (3651, "days")]
        {
            let unit = TimeUnit::parse(unit).unwrap();
            assert_eq!(Frequency::parse("frequency", count, unit).unwrap_err().field, "frequency", "{count}");
        }
        assert_eq!(TimeUnit::parse("fortnights").unwrap_err().field, "time_units");
        let five = Frequency::parse("frequency", 5, TimeUnit::Minutes).unwrap();
        assert_eq!((five.span(), five.to_string()), (TimeDelta::minutes(5), "5minutes".to_owned()));
    }
}
