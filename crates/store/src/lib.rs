//! The only crate that knows SQL: one [`Store`] over SQLite and Postgres.
//!
//! It keeps facts, conclusions, alerts and the outbox, and never decides anything: what a check-in means is
//! [`innkeeper_core::sla`]'s, how a message is sent is the alerters'.
//!
//! Where to start:
//! - [`Store`] (`store.rs`; `connection.rs`: connections and transactions, `manager.rs`: how one is opened), [`StoreError`] (`error.rs`), and the bound on every wait for Postgres (`guard.rs`);
//! - `database_file/`: whether an SQLite file is still the one that was opened; `backup/`: copies of it, and putting one back;
//! - `checkins.rs`: how a batch of check-ins is written, the hot path; `reservations.rs`: making and changing them; `apply.rs`: a declared set of them;
//! - `sweep/`: claiming what is due, handing it to who decides, and writing what they decide; `unjudged.rs`, `readable.rs`, `walk.rs`, `mend.rs`: what cannot be judged or read; `outbox/`: claiming and recording deliveries;
//! - `reads.rs`, `listing.rs`, `snapshot.rs`, `pages.rs`, `history.rs`: what is shown, some or all of it, and pruning;
//! - `nodes.rs`, `heartbeat.rs`, `duties.rs`, `blind.rs`, `leases.rs`, `checks.rs`: the processes themselves, when none could take check-ins, and what only one may do.
//! - `clock_steps.rs`, `rewind/`: clocks that jumped, and what they had stamped;
//! - `ways.rs`: which alerters there are, and where everybody's messages would go;
//! - `users.rs`, `sessions.rs`, `passkeys.rs`, `tokens.rs`, `audit.rs`: who may come in, and what they changed;
//!
//! What both databases can say is said once, through [`diesel`]'s query language or SQL that both take. Where they must differ
//! (batch writes, `FOR UPDATE SKIP LOCKED`) there is a visible `match` on the connection.

mod accounts;
mod acting;
mod alert_event;
mod apply;
mod audit;
mod backup;
mod blind;
mod bulk;
mod checkins;
mod checkouts;
mod checks;
mod clock_steps;
mod connection;
mod counts;
mod database_file;
mod database_url;
mod duties;
mod error;
mod gone;
mod guard;
mod guesses;
mod heartbeat;
mod history;
mod language;
mod leases;
mod listing;
mod lookup_keys;
mod manager;
mod mend;
mod migrate;
mod nodes;
mod open_past;
mod outbox;
mod pages;
mod past_addresses;
mod pooler;
mod prepared;
mod readable;
mod reads;
mod recent;
mod reservation_rows;
mod reservations;
mod reserve;
mod reserve_many;
mod rewind;
mod rows;
mod runs;
mod said;
mod schema;
mod shares;
mod sites;
mod slugs;
mod snapshot;
mod store;
mod sweep;
mod terms;
mod tokens;
mod unjudged;
mod walk;
mod ways;

use innkeeper_logging::Seldom;

pub use accounts::{
    AppAdded, Arrived, CeremonyKind, Factors, KnownSession, MOST_PASSKEYS, NewPasskey, NewSession, Newcomer,
    PENDING_FOR, Passkey, PasskeyAdded, Removed, Session, TokensLeft, User,
};
pub use acting::{ActingStore, Actor};
pub use alert_event::AlertEvent;
pub use apply::{Applied, ChangedDeclaration, IdentifiedReservation};
pub use audit::AuditEntry;
pub use backup::{Backup, Copying, Restored, back_up, restore};
pub use blind::Blindness;
pub use checkins::{Arrival, BatchOutcome, CheckInWriter, Definition, FastPath, Recorded, Target};
pub use checkouts::{Checkout, UNDO_WITHIN, Undone};
pub use checks::SelfCheck;
pub use clock_steps::{ClockStep, StepOutcome, Ticker};
pub use connection::DatabaseKind;
pub use database_file::FileLook;
pub use database_url::{DatabaseUrl, PostgresUrl};
pub use error::StoreError;
pub use gone::GoneNodes;
pub use heartbeat::{HeartbeatOutcome, NodeHeartbeat, Work};
pub use history::{Checkin, Pruned, Walk};
pub use listing::{Filter, ListCursor, MOST_LOOKED_AT, Page, Walked};
pub use mend::MendExtent;
pub use nodes::{KnownDuty, KnownNode, Node, NodeChanges, NodeState};
pub use open_past::{TokenConfirmed, Unconfirmed};
pub use outbox::{
    Delivery, FinishedDeliveries, GivingUp, GoneAlerter, NewDelivery, Outage, OutageNews, Place, Reached,
    Retried, SendOutcome, Sending, TOO_LONG, Undelivered, WaitingCounts,
};
pub use pages::{BadGuest, Counts, PastAlert, SentDelivery, Topic};
pub use readable::{LeftOut, Unreadable};
pub use recent::{Accepted, LatestFigure, Recent, RecentValue};
pub use reservations::ChangeOutcome;
pub use rewind::Rewinding;
pub use shares::Share;
pub use snapshot::Snapshot;
pub use store::{EndedWaits, PoolUse, Store, StoreConfig};
pub use sweep::{
    AlertChange, Decider, Decision, DueBatch, DueReservation, Ending, HistoryRow, KnownAlert, NewCheckins,
    PastAlerts, SweepOutcome, Unjudged,
};
pub use terms::Reserved;
pub use tokens::{NewToken, Token, TokenAdded};
pub use ways::{ReservationRoutes, SameRoute};
