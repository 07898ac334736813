//! Credentials of people and browsers. Random secrets and their hashes are in the crate `node`.
//!
//! [`password`]: passwords; [`device`]: recognising a browser in which a user has logged in before; [`totp`] and
//! [`recovery`]: the codes of the second factor.

pub mod device;
pub mod password;
pub mod recovery;
pub mod totp;

pub use innkeeper_node::keys::{draw, hash};
