//! What people and browsers log in with. Secrets that are drawn at random, and their hashes, are the node's.
//!
//! What a person chooses is a [`password`]. A browser in which somebody has logged in is known again by [`device`]. Of the second
//! factor are the codes of [`totp`] and [`recovery`].

pub mod device;
pub mod password;
pub mod recovery;
pub mod totp;

pub use innkeeper_node::keys::{draw, hash};
