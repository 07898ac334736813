//! What a reservation is, and when it is overdue.
//!
//! Everything here is pure: no input or output, no clock of its own, no database, no network. Times are arguments;
//! conclusions are returned as values with their reasons.
//!
//! Where to start:
//! - [`reservation`]: what is promised (`Spec`), and everything known of it (`Reservation`);
//! - [`checkin`] and [`facts`]: the reports of jobs, and the facts that they leave;
//! - [`figures`], [`expect`] and [`baseline`]: the numbers in check-ins, the conditions on them, and their earlier
//!   values;
//! - [`sla`]: the one function that turns a spec, facts and a time into a conclusion; [`sites`]: gateways whose
//!   silence holds the alerts of jobs behind them; [`assessed`]: a reservation with its conclusion, as it is shown;
//! - [`notice`]: the content of messages, before any alerter formats it;
//! - [`pacing`]: how a storm of messages becomes a few digests;
//! - [`summary`]: the weekly table; [`uptime`]: how well a reservation has done;
//! - [`word`]: enums whose values are single words;
//! - [`ways`]: the recipients of a reservation's `notify` and `alerters`, and which of them lead nowhere;
//! - [`terminal`]: the output of programs, made readable;
//! - [`access`]: permissions; [`password`]: which passwords are accepted; [`second_factor`]: who must have one;
//!   [`guesses`]: how often a password or code may be wrong; [`browser`]: a session's browser in words;
//!   [`claims`]: a person's name and role by an OpenID provider's claims;
//! - [`open_past`]: changes made while the instance was open, which have to be confirmed;
//! - [`discipline`], [`rewind`], [`lived`]: the consequences of a clock that jumps;
//! - [`backoff`]: pauses between attempts; [`fnv`]: a hash; [`process_stat`]: what Linux says of a process.
//!
//! ```
//! use innkeeper_core::schedule::Schedule;
//! let every = Schedule::every(chrono::TimeDelta::minutes(5)).unwrap();
//! assert_eq!(every.to_string(), "every 5 minutes");
//! ```

pub mod access;
pub mod action;
pub mod alert;
pub mod assessed;
pub mod backoff;
pub mod baseline;
pub mod brought;
pub mod browser;
pub mod checkin;
pub mod claims;
pub mod clock;
pub mod discipline;
pub mod duration;
pub mod duty;
pub mod excerpt;
pub mod expect;
pub mod facts;
pub mod figures;
pub mod fnv;
pub mod guesses;
pub mod invalid;
pub mod lived;
pub mod names;
pub mod near;
pub mod notice;
pub mod open_past;
pub mod pacing;
pub mod password;
pub mod peer;
pub mod process_stat;
pub mod recipient;
pub mod reminders;
pub mod reservation;
pub mod retry_after;
pub mod rewind;
pub mod schedule;
pub mod second_factor;
pub mod secret;
pub mod sites;
pub mod sla;
pub mod slug;
pub mod snooze;
pub mod summary;
pub mod template;
pub mod terminal;
pub mod uptime;
pub mod ways;
pub mod word;
pub mod wording;

pub use clock::{Clock, ManualClock, SystemClock, Time};
pub use invalid::Invalid;
