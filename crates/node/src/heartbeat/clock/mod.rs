//! The common clock of all nodes. It does not follow a jump of a machine's or the database's clock
//! at once.
//!
//! `follower.rs` samples the reference at each heartbeat: the database's clock over Postgres, the
//! machine's clock over SQLite. It moves the anchor of the node's clock ([`crate::clock`]) as
//! [`innkeeper_core::discipline`] decides. `words.rs` words the messages to the operator.

mod follower;
mod words;

pub(super) use follower::Follower;
pub use words::size;
