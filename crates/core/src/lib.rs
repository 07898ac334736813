//! What a reservation is, and when it is overdue.
//!
//! Everything here is pure: no input or output, no clock of its own, no database, no network. Times come
//! in as arguments, conclusions go out as values with their reasons.
//!
//! Where to start:
//! - [`reservation`]: the promise (`Spec`), and what is known of it (`Reservation`);
//! - [`checkin`] and [`facts`]: what jobs report, and what remains of it;
//! - [`figures`], [`expect`] and [`baseline`]: the numbers that check-ins bring, what must hold of them, and the values before them;
//! - [`sla`]: the one function that turns a spec, facts and a time into a conclusion; [`sites`]: gateways that hold what is behind them;
//!   [`assessed`]: a reservation with that conclusion, as it is shown;
//! - [`notice`]: what people are told, before any alerter gives it a shape;
//! - [`pacing`]: how a storm of messages becomes a few;
//! - [`summary`]: the weekly table; [`uptime`]: how well a reservation has done;
//! - [`ways`]: whom a reservation's `notify` and `alerters` reach, and what in them leads nowhere;
//! - [`terminal`]: output of programs as a person reads it;
//! - [`access`]: who may do what; [`password`]: which passwords are taken; [`second_factor`]: who must have one;
//!   [`guesses`]: how often one may be wrong; [`browser`]: a session's browser in words;
//!   [`claims`]: who somebody is by what an OpenID provider says;
//! - [`open_past`]: what is to be confirmed of what was done while everybody could;
//! - [`discipline`], [`rewind`], [`lived`]: what a clock that jumps does, and does not do;
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
pub mod wording;

pub use clock::{Clock, ManualClock, SystemClock, Time};
pub use invalid::Invalid;
