//! Messages to the operator about clocks.

use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::alert::stamp;
use innkeeper_core::discipline::{LONGEST_HOLD, STEPOUT};
use innkeeper_core::{Time, duration};
use innkeeper_store::{StoreError, Ticker};

use crate::heartbeat::OperatorMessage;

/// A smaller difference is not mentioned.
const WORTH_SAYING: TimeDelta = TimeDelta::seconds(1);

/// A message to the operator about clocks.
#[derive(Template)]
pub(super) enum ClockMessage<'a> {
    /// The clock that the nodes follow has jumped.
    #[template(path = "clock_jumped.txt")]
    Jumped { whose: String, by: String },
    /// The clock of a node's machine has jumped, but the nodes follow the database's clock.
    #[template(path = "clock_jumped_aside.txt")]
    JumpedAside { whose: String, by: String },
    /// The clock returned before it was followed.
    #[template(path = "clock_back.txt")]
    Back { whose: String, by: String },
    /// The clock returned before it was followed, but a difference remains.
    #[template(path = "clock_nearly_back.txt")]
    NearlyBack { whose: String, by: String, left: String },
    /// At a start, the clock is behind the newest recorded time.
    #[template(path = "clock_behind.txt")]
    Behind { whose: String, shown: String, newest: String },
    /// The clock that was behind is trusted again.
    #[template(path = "clock_believed.txt")]
    Believed { whose: String },
    /// Times that were recorded ahead of the clock cannot be moved back.
    #[template(path = "ahead_is_stuck.txt")]
    Stuck { host: &'a str, error: &'a StoreError },
    /// These times are being moved back after all.
    #[template(path = "ahead_goes_on.txt")]
    GoesOn { host: &'a str },
}

/// `2 hours ahead`, `1 day back`: rounded to the second, or to the minute from ten minutes on.
pub fn size(by: TimeDelta) -> String {
    let unit = if by.abs() < TimeDelta::minutes(10) { 1000 } else { 60_000 };
    let long = TimeDelta::milliseconds((by.abs().num_milliseconds() + unit / 2) / unit * unit);
    let direction = if by < TimeDelta::zero() { "back" } else { "ahead" };
    format!("{} {direction}", duration::words(long))
}

fn whose(clock: Ticker, host: &str) -> String {
    match clock {
        Ticker::Database => "The database's clock".to_owned(),
        Ticker::Machine => format!("The clock of {host}"),
    }
}

pub(super) fn stepped(clock: Ticker, host: &str, by: TimeDelta) -> OperatorMessage {
    ClockMessage::Jumped { whose: whose(clock, host), by: size(by) }.into()
}

pub(super) fn returned(clock: Ticker, host: &str, by: TimeDelta, left: TimeDelta) -> OperatorMessage {
    let (whose, by) = (whose(clock, host), size(by));
    match left.abs() < WORTH_SAYING {
        true => ClockMessage::Back { whose, by }.into(),
        false => ClockMessage::NearlyBack { whose, by, left: size(left) }.into(),
    }
}

pub(super) fn ignored(host: &str, by: TimeDelta) -> OperatorMessage {
    ClockMessage::JumpedAside { whose: whose(Ticker::Machine, host), by: size(by) }.into()
}

pub(super) fn held(clock: Ticker, host: &str, newest: Time, reference: Time) -> OperatorMessage {
    let [shown, newest] = [reference, newest].map(|at| stamp(at, chrono_tz::UTC));
    ClockMessage::Behind { whose: whose(clock, host), shown, newest }.into()
}

pub(super) fn released(clock: Ticker, host: &str) -> OperatorMessage {
    ClockMessage::Believed { whose: whose(clock, host) }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_back_only_where_it_is() {
        let said = |left: i64| {
            returned(Ticker::Machine, "inn", TimeDelta::seconds(6), TimeDelta::milliseconds(left))
        };
        assert_eq!(said(300).subject, "The clock of inn is back");
        let OperatorMessage { subject, text } = said(4000);
        assert_eq!(subject, "The clock of inn is nearly back");
        assert!(
            text.contains("jumped 6 seconds ahead")
                && text.contains("it is now 4 seconds ahead of the time before"),
            "{text}"
        );
    }

    #[test]
    fn each_message_says_whose_clock_and_what_follows() {
        let at = Time::UNIX_EPOCH;
        let jumped = stepped(Ticker::Database, "inn", TimeDelta::hours(2));
        assert_eq!(jumped.subject, "The database's clock jumped 2 hours ahead");
        let follows =
            format!("After {} s it follows the clock. No job becomes overdue by the jump", STEPOUT.as_secs());
        assert!(jumped.text.contains(&follows), "{}", jumped.text);
        assert_eq!(ignored("inn", TimeDelta::hours(-2)).subject, "The clock of inn jumped 2 hours back");
        let behind = held(Ticker::Machine, "inn", at + TimeDelta::days(1), at);
        assert_eq!(behind.subject, "The clock of inn is behind what was recorded");
        assert_eq!(
            behind.text,
            format!(
                "It shows {}, but the newest record is from {}. Check-ins are accepted and count as of that time. Until the \
                 clock has passed it, or for {} min, silent jobs are not noticed, and nothing is removed or given up. \
                 Set the clock.",
                stamp(at, chrono_tz::UTC),
                stamp(at + TimeDelta::days(1), chrono_tz::UTC),
                LONGEST_HOLD.as_secs() / 60
            )
        );
        assert_eq!(released(Ticker::Machine, "inn").subject, "The clock of inn is trusted again");
        let stuck = ClockMessage::Stuck { host: "inn", error: &StoreError::File("no".to_owned()) };
        let text = OperatorMessage::from(stuck).text;
        assert!(
            text.starts_with("Reported by inn, which has tried for half a minute and keeps trying: "),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\nUntil it succeeds, silent jobs are not noticed, and nothing is removed or given up."
            ),
            "{text}"
        );
        let goes_on = OperatorMessage::from(ClockMessage::GoesOn { host: "inn" });
        assert_eq!(goes_on.text, "Reported by inn. When this is done, jobs are judged again.");
    }

    #[test]
    fn a_step_is_said_as_people_would() {
        let size = |ms: i64| size(TimeDelta::milliseconds(ms));
        assert_eq!(size(86_399_400), "1 day ahead");
        assert_eq!(size(-3_600_900), "1 hour back");
        assert_eq!(size(6_400), "6 seconds ahead");
    }
}
