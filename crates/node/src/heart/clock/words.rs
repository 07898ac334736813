//! What the operator hears of clocks.

use chrono::TimeDelta;
use innkeeper_core::alert::stamp;
use innkeeper_core::discipline::{LONGEST_HOLD, STEPOUT};
use innkeeper_core::{Time, duration};
use innkeeper_store::{StoreError, Ticker};

/// A smaller difference needs no word.
const WORTH_SAYING: TimeDelta = TimeDelta::seconds(1);

/// A subject and a text.
pub(super) type Letter = (String, String);

/// `2 hours ahead`, `1 day back`: to the second, or to the minute where it is long.
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

/// The clock that the nodes follow has jumped.
pub(super) fn stepped(clock: Ticker, host: &str, by: TimeDelta) -> Letter {
    (
        format!("{} jumped {}", whose(clock, host), size(by)),
        format!(
            "Innkeeper's time goes on as it was, and judges nothing, until it is known whether the clock stays so. In {} s it is followed; \
             no job is blamed for it, and nothing is removed or given up. Is the time of that machine synchronised?",
            STEPOUT.as_secs()
        ),
    )
}

/// It came back before it was followed.
pub(super) fn returned(clock: Ticker, host: &str, by: TimeDelta, left: TimeDelta) -> Letter {
    let whose = whose(clock, host);
    let by = size(by);
    if left.abs() < WORTH_SAYING {
        let text =
            format!("It had jumped {by}, and returned before it was followed. Nothing was changed by it.");
        return (format!("{whose} is back"), text);
    }
    let text = format!(
        "It had jumped {by}, and returned before that was followed, but not to where it was: it stands {} of that now. Innkeeper's time \
         has gone with it, as with every small correction, and jobs are judged again. Is the time of that machine synchronised?",
        size(left)
    );
    (format!("{whose} is nearly back"), text)
}

/// The clock of a node's machine has jumped, and the nodes follow another.
pub(super) fn ignored(host: &str, by: TimeDelta) -> Letter {
    (
        format!("{} jumped {}", whose(Ticker::Machine, host), size(by)),
        "Innkeeper follows the database's clock, so nothing was changed by it. Is the time of that machine synchronised?".to_owned(),
    )
}

/// A start finds the clock before what was recorded.
pub(super) fn held(clock: Ticker, host: &str, newest: Time, reference: Time) -> Letter {
    (
        format!("{} is behind what was recorded", whose(clock, host)),
        format!(
            "It shows {}, and something was recorded at {}. Check-ins are taken, and counted from then on; until the clock has passed that \
             time, or for {} min, no silence is noticed, and nothing is removed or given up. Set the clock.",
            stamp(reference, chrono_tz::UTC),
            stamp(newest, chrono_tz::UTC),
            LONGEST_HOLD.as_secs() / 60
        ),
    )
}

/// The end of that.
pub(super) fn released(clock: Ticker, host: &str) -> Letter {
    (format!("{} is believed again", whose(clock, host)), "Jobs are watched again by their times.".to_owned())
}

/// What is ahead of the clock cannot be moved back.
pub(super) fn stuck(host: &str, error: &StoreError) -> Letter {
    (
        "What is ahead of the clock cannot be moved back".to_owned(),
        format!(
            "So says {host}, which has tried for half a minute and goes on trying: {error}\nUntil it is done, no silence is noticed, and \
             nothing is removed or given up."
        ),
    )
}

/// The end of that.
pub(super) fn unstuck(host: &str) -> Letter {
    (
        "What is ahead of the clock is moved back again".to_owned(),
        format!("So says {host}. When that is done, jobs are watched by their times."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_back_only_where_it_is() {
        let said = |left: i64| {
            returned(Ticker::Machine, "inn", TimeDelta::seconds(6), TimeDelta::milliseconds(left))
        };
        assert_eq!(said(300).0, "The clock of inn is back");
        let (subject, text) = said(4000);
        assert_eq!(subject, "The clock of inn is nearly back");
        assert!(
            text.contains("jumped 6 seconds ahead") && text.contains("it stands 4 seconds ahead of that"),
            "{text}"
        );
    }

    #[test]
    fn a_step_is_said_as_people_would() {
        let size = |ms: i64| size(TimeDelta::milliseconds(ms));
        assert_eq!(size(86_399_400), "1 day ahead");
        assert_eq!(size(-3_600_900), "1 hour back");
        assert_eq!(size(6_400), "6 seconds ahead");
    }
}
