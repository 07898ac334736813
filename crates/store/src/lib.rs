//! The only crate that knows SQL: one [`Store`] over SQLite and Postgres.
//!
//! It keeps facts, conclusions, alerts and the outbox, and decides nothing: [`innkeeper_core::sla`]
//! says what a check-in means, and the alerters know how to send a message.
//!
//! Where to start:
//! - [`Store`] (`store.rs`; `connection.rs`: connections and transactions; `manager.rs`: how a
//!   connection is opened), [`StoreError`] (`error.rs`), and the bound on every wait for Postgres
//!   (`guard.rs`);
//! - `database_file/`: whether an SQLite file is still the one that was opened; `backup/`: copying
//!   and restoring it;
//! - `checkins/`: writing a batch of check-ins, the hot path; `reservations.rs`: making and
//!   changing reservations; `apply.rs`: a declared set of them;
//! - `sweep/`: claims what is due, hands it to the decider, and writes what that decides;
//!   `unjudged.rs`, `readable.rs`, `walk.rs`, `mend.rs`: rows that cannot be judged or read;
//!   `outbox/`: claiming and recording deliveries;
//! - `reads.rs`, `listing.rs`, `snapshot.rs`, `pages.rs`, `history.rs`: reading for pages and the
//!   API, and pruning;
//! - `nodes.rs`, `heartbeat.rs`, `duties.rs`, `blind.rs`, `leases.rs`, `checks.rs`: Innkeeper's own
//!   processes, the spans in which none could take check-ins, and what only one may do at a time;
//! - `clock_steps.rs`, `rewind/`: clocks that jumped, and repairing the times that they stamped;
//! - `ways.rs`: which alerters there are, and where each reservation's messages go;
//! - `accounts/`, `tokens.rs`, `audit.rs`: users, sessions, passkeys and tokens, and what was
//!   changed by whom.
//!
//! A query that both databases understand is written once, through [`diesel`]'s query language or
//! common SQL. Where they must differ (batch writes, `FOR UPDATE SKIP LOCKED`) there is a visible
//! `match` on the connection.

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
mod search_index;
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
