//! Accounts: users, their logins, and their sessions.
//!
//! `users.rs` has users and the links by which they choose a password, `identities.rs` logins at an
//! OpenID provider, `factors.rs` and `passkeys.rs` second factors, `pending_logins.rs` logins that
//! wait for a second factor, and `sessions.rs` sessions. All of them use `rows.rs` (the rows of
//! users and factors) and `ending.rs` (which ends sessions, pending logins and factors).

pub(crate) mod ending;
mod factors;
mod identities;
mod passkeys;
mod pending_logins;
pub(crate) mod rows;
mod sessions;
mod users;

pub use factors::AppAdded;
pub use identities::{Arrived, Newcomer};
pub use passkeys::{CeremonyKind, MOST_PASSKEYS, NewPasskey, Passkey, PasskeyAdded};
pub use pending_logins::PENDING_FOR;
pub use rows::{Factors, User};
pub use sessions::{KnownSession, NewSession, Session};
pub use users::{Removed, TokensLeft};
