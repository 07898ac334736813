//! The common clock of all nodes, which follows no jump of a machine's or the database's clock at once.
//!
//! `follower.rs` samples the reference at each heartbeat, the database's clock over Postgres and the machine's over SQLite, and moves the
//! anchor of the node's clock ([`crate::clock`]) as [`innkeeper_core::discipline`] decides. `words.rs` words what it tells the operator.

mod follower;
mod words;

pub(super) use follower::Follower;
pub use words::size;
