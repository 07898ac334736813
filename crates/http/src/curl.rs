//! The curl command for check-ins, as it is shown to users. It survives a restart of Innkeeper.

/// The command before the address. A check-in that is refused, lost or answered 503 is retried five times in half a
/// minute, a minute at most in all. Nothing is printed: with `-S` curl reports each failed attempt even if the next
/// one succeeds, and cron would send a mail. curl 7.52 (2016) and later knows these options.
pub const CHECK_IN: &str = "curl -fs -m 15 --retry 5 --retry-connrefused --retry-max-time 60 -o /dev/null";

/// The same for requests whose response a person wants to read, including errors.
pub const ASK: &str = "curl -sS -m 60 --retry 5 --retry-connrefused";

/// The option with the token, where one is required; the token is in the variable `INNKEEPER_TOKEN`.
pub const TOKEN: &str = "-H \"Authorization: Bearer $INNKEEPER_TOKEN\"";
