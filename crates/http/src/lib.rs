//! HTTP as all roles serve it: listening and stopping, routing, who calls and what they may, errors, and the routes that say
//! how a process is.
//!
//! It knows no protocol and no page: ingest and web bring the handlers.
//!
//! - [`Listener`]: what a process serves: the routes that its roles bring, and its own;
//! - [`HttpService`]: one listener with its bounds, its own actix system, and a prompt, graceful stop;
//! - [`Routes`]: registers handlers, and so knows what to answer to a wrong method or path;
//! - [`Authenticator`]: who calls, and whether they may; [`Caller`]: what handlers know of them;
//! - [`Mount`]: the path below which all of it is reached, where `public_url` has one;
//! - [`ApiError`]: the one place where an error becomes a status and a body;
//! - [`Spools`]: answers of any length, kept on disk while they are sent;
//! - [`Body`]: a request's body within its bounds; [`decoded`]: a part of its query; [`client_address`]: who really calls;
//! - [`description`]: what a route is, by which it is registered, and what is said of it;
//! - [`with_warning`]: says in a header that what was asked for leads nowhere;
//! - [`health`]: `/healthcheck` and `/version`; [`nodes`]: `/nodes` and `/is-coordinator`;
//!   [`peer`]: `/peer`; [`metrics`]: `/metrics`, `/healthz`, `/readyz`;
//! - [`keys`]: what people and browsers log in with; [`curl`]: the command line by which jobs check in.

mod authenticator;
mod blocking;
mod body;
mod caller;
mod choices;
mod client;
mod connection;
pub mod curl;
pub mod description;
mod device;
mod error;
pub mod health;
mod host_names;
pub mod keys;
mod listener;
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

use description::Description;

pub use authenticator::{Authenticator, unconfirmed};
pub use blocking::blocking;
pub use body::{Body, BodyUpTo, LARGEST_BODY, LARGEST_LOG, LARGEST_REPORTS, LargeBody, Log, LogEnd};
pub use caller::{Caller, Who};
pub use choices::Theme;
pub use client::client_address;
pub use error::ApiError;
pub use innkeeper_node::Mount;
pub use listener::Listener;
pub use query::{decoded, parameters};
pub use routes::{ErrorPage, Routes};
pub use service::{HttpError, HttpService};
pub use spool::{Spool, Spooled, Spools};
pub use warning::{with_warning, with_warning_of, with_warnings};

/// The routes that every process has and that say how it is.
pub fn status_routes() -> Vec<Description> {
    [&health::ROUTES[..], &metrics::ROUTES, &nodes::ROUTES, &peer::ROUTES].concat()
}
