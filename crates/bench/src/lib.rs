//! The benchmark: measures Innkeeper's own programs on this machine and compares each figure with its target.
//!
//! It is not part of the product, and the product does not depend on it. `scripts/bench` builds and runs everything.
//!
//! Where to start: `bin/innkeeper-bench.rs` runs the figures and prints the table. [`figures`] has a file for each
//! figure. [`world`] is the environment of the measurements (a private Postgres, a million reservations, running
//! programs). [`wrk`] and [`load`] are load generators: the first sends as fast as possible, the second at a given
//! rate. [`table`] formats the results.

pub mod figures;
pub mod histogram;
pub mod http;
pub mod load;
pub mod table;
pub mod world;
pub mod wrk;
