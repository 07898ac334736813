//! What every page shows around its content.

use innkeeper_core::access::{Need, UserRole};
use innkeeper_node::http::{Caller, Who};

use crate::Desk;

/// The header of a page, and what its reader may do.
pub struct Frame<'a> {
    pub instance: &'a str,
    pub public_url: &'a str,
    /// What stands before the path of every link: nothing, unless `public_url` has a path.
    pub base: &'a str,
    /// What every form brings back.
    pub csrf: String,
    /// Who is logged in; empty where nobody is.
    pub user: String,
    /// Whether there is a session that can be ended.
    pub can_log_out: bool,
    /// Whether reservations may be changed.
    pub may_manage: bool,
    /// Whether users may be changed.
    pub may_administer: bool,
    /// Whether programs need no token.
    pub is_open: bool,
    /// Whether the pages of the house are open to the reader at all: not on the login's page.
    is_inside: bool,
    path: &'static str,
}

impl<'a> Frame<'a> {
    pub fn of(desk: &'a Desk, caller: &Caller, path: &'static str) -> Self {
        let user = match &caller.who {
            Who::User(user) => user.name.clone(),
            Who::Token(name) => format!("token {name}"),
            Who::Anybody => String::new(),
        };
        Self {
            instance: &desk.instance,
            public_url: &desk.public_url,
            base: desk.gate.mount().base(),
            csrf: caller.csrf.clone(),
            can_log_out: caller.user().is_some() && !desk.signs_on,
            user,
            may_manage: caller.may(Need::ManageAll),
            may_administer: caller.may(Need::Administer) && (caller.is(UserRole::Admin) || desk.is_open),
            is_open: desk.is_open,
            is_inside: caller.may(Need::ReadAll),
            path,
        }
    }

    pub fn is_current(&self, path: &str) -> bool {
        path == self.path
    }

    /// Whether the page keeps itself up to date: not where somebody types, or unfolds something.
    pub fn is_live(&self) -> bool {
        !matches!(self.path, "/login" | "/setup" | "/settings" | "/new" | "/api" | "/error")
    }

    /// The way to the other pages.
    pub fn pages(&self) -> Vec<(&'static str, &'static str)> {
        if !self.is_inside {
            return Vec::new();
        }
        vec![
            ("/status", "Reservations"),
            ("/alerts", "Alerts"),
            ("/deliveries", "Deliveries"),
            ("/badguests", "Bad guests"),
            ("/nodes", "Nodes"),
            ("/settings", "Settings"),
        ]
    }
}
