//! The HTTP plumbing that ingest and web share: listening and stopping, routing, errors, client addresses.
//!
//! - [`HttpService`]: one listener with its bounds, its own actix system, and a prompt, graceful stop;
//! - [`Routes`]: registers handlers, and so knows what to answer to a wrong method or path;
//! - [`Gate`]: who calls, and whether they may; [`Caller`]: what handlers know of them;
//! - [`Mount`]: the path below which all of it is reached, where `public_url` has one;
//! - [`ApiError`]: the one place where an error becomes a status and a body;
//! - [`Spools`]: answers of any length, kept on disk while they are sent;
//! - [`Body`]: a request's body within its bounds; [`decoded`]: a part of its query; [`client_address`]: who really calls;
//! - [`with_warning`]: says in a header that what was asked for leads nowhere;
//! - [`health`]: `/healthcheck` and `/version`; [`nodes`]: `/nodes` and `/is-coordinator`;
//!   [`peer`]: `/peer`; [`metrics`]: `/metrics`, `/healthz`, `/readyz`.

mod body;
mod caller;
mod choices;
mod client;
mod connection;
mod device;
mod error;
mod gate;
pub mod health;
mod host_names;
pub mod metrics;
mod mount;
pub mod nodes;
mod openid;
mod pace;
pub mod peer;
mod query;
mod routes;
mod service;
mod spool;
mod strangers;
mod warning;

pub use body::{Body, LARGEST_BODY, LARGEST_LOG, LargeBody, Log, LogEnd};
pub use caller::{Caller, Who};
pub use choices::Theme;
pub use client::{TrustedProxies, client_address};
pub use error::ApiError;
pub use gate::{Gate, unconfirmed};
pub use mount::Mount;
pub use query::decoded;
pub use routes::{ErrorPage, Routes};
pub use service::{HttpError, HttpService};
pub use spool::{Spool, Spooled, Spools};
pub use warning::{with_warning, with_warning_of, with_warnings};
