//! The command line by which jobs check in, as it is shown wherever one is: it gets through a restart of Innkeeper.

/// What stands before the address. A check-in that is refused, lost or answered 503 is tried again five times in half a minute, a minute at
/// most in all. Nothing is printed: with `-S` curl tells of each attempt that failed, also when the next one succeeds, and cron would send a
/// mail. Any curl since 7.52 (2016) knows these options.
pub const CHECK_IN: &str = "curl -fs -m 15 --retry 5 --retry-connrefused --retry-max-time 60 -o /dev/null";

/// The same for what a person wants to read the answer of, errors too.
pub const ASK: &str = "curl -sS -m 60 --retry 5 --retry-connrefused";

/// What shows the token, where one is asked for: it stands in the variable `INNKEEPER_TOKEN`.
pub const TOKEN: &str = "-H \"Authorization: Bearer $INNKEEPER_TOKEN\"";
