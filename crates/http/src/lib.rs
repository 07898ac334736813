//! The HTTP parts of all roles: listening and stopping, routing, authentication and permissions, errors, and the
//! routes that report the state of a process.
//!
//! It contains no protocol and no page: ingest and web provide the handlers.
//!
//! - [`Listener`]: everything that a process serves: the routes of its roles, and its own;
//! - [`HttpService`]: one listener with its limits, its own actix system, and a prompt, graceful stop;
//! - [`Routes`]: registers handlers, and so knows how to answer a wrong method or path;
//! - [`Authenticator`]: identifies callers and checks permissions; [`Caller`]: the result for handlers;
//! - [`PathPrefix`]: the path prefix of all routes, if `public_url` has one;
//! - [`ApiError`]: the one place where an error becomes a status and a body;
//! - [`Spools`]: responses of any length, kept on disk while they are sent;
//! - [`Body`]: a request's body within limits; [`decoded`]: a part of its query; [`client_address`]: its real source;
//! - [`description`]: the description of a route, by which it is registered and documented;
//! - [`with_warning`]: warns in a header that messages will reach nobody;
//! - [`health`]: `/healthcheck` and `/version`; [`nodes`]: `/nodes` and `/is-coordinator`;
//!   [`peer`]: `/peer`; [`metrics`]: `/metrics`, `/healthz`, `/readyz`;
//! - [`keys`]: credentials of people and browsers; [`curl`]: the curl command for check-ins.

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
pub use innkeeper_node::PathPrefix;
pub use listener::Listener;
pub use query::{decoded, parameters};
pub use routes::{ErrorPage, Routes};
pub use service::{HttpError, HttpService};
pub use spool::{ListSpool, Spooled, Spools};
pub use warning::{with_warning, with_warning_of, with_warnings};

/// The routes of every process, which report its state.
pub fn status_routes() -> Vec<Description> {
    [&health::ROUTES[..], &metrics::ROUTES, &nodes::ROUTES, &peer::ROUTES].concat()
}
