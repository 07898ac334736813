//! The benchmark: what Innkeeper's own programs do on this machine, figure by figure, each against its target.
//!
//! It is no part of the product, and nothing of the product depends on it. `scripts/bench` builds everything and runs it.
//!
//! Where to start: `bin/innkeeper-bench.rs` runs the figures and prints the table; [`figures`] has a file for each;
//! [`world`] is what they measure in (a private Postgres, a million reservations, running programs); [`wrk`] and [`load`]
//! are the two load generators, the first as fast as it can, the second at a given rate; [`table`] is what comes out.

pub mod figures;
pub mod histogram;
pub mod http;
pub mod load;
pub mod table;
pub mod world;
pub mod wrk;
