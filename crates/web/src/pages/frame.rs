//! What every page shows around its content.

use chrono_tz::Tz;
use innkeeper_core::access::{Permission, UserRole};
use innkeeper_http::{Caller, Theme, Who};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::AppState;

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
    /// Whether the pages of the instance are open to the reader at all: not on the login's page.
    is_inside: bool,
    /// How many of the jobs that the page is about are down, where it is not about all of them.
    pub down_here: Option<i64>,
    /// When the page is made.
    pub now: String,
    /// The colours that the reader chose, `light` or `dark`; empty for those of their system.
    pub theme: &'static str,
    /// The zone that the reader chose; empty for that of whatever a time is about.
    pub zone: &'static str,
    app_state: &'a AppState,
    path: &'static str,
}

impl<'a> Frame<'a> {
    pub fn of(app_state: &'a AppState, caller: &Caller, path: &'static str) -> Self {
        let user = match &caller.who {
            Who::User(user) => user.name.clone(),
            Who::Token(name) => format!("token {name}"),
            Who::Anybody => String::new(),
        };
        Self {
            instance: &app_state.instance,
            public_url: &app_state.public_url,
            base: app_state.authenticator.mount().base(),
            csrf: caller.csrf.clone(),
            can_log_out: caller.user().is_some() && !app_state.signs_on,
            user,
            may_manage: caller.may(Permission::ManageAll),
            may_administer: caller.may(Permission::Administer)
                && (caller.is(UserRole::Admin) || app_state.is_open),
            is_open: app_state.is_open,
            is_inside: caller.may(Permission::ReadAll),
            down_here: None,
            now: app_state.clock.now().to_rfc3339(),
            theme: caller.theme.map_or("", Theme::as_str),
            zone: caller.zone.map_or("", Tz::name),
            app_state,
            path,
        }
    }

    /// How many jobs are down; none where that is nothing for the reader.
    fn down(&self) -> i64 {
        self.down_here.unwrap_or_else(|| if self.is_inside { self.app_state.down() } else { 0 })
    }

    /// What stands before the title while something is down.
    pub fn alarm(&self) -> String {
        match self.down() {
            0 => String::new(),
            down => format!("({down} down) "),
        }
    }

    /// The page's icon: the number of jobs that are down, or Innkeeper's own where none is.
    pub fn icon(&self) -> String {
        let text = match self.down() {
            0 => return format!("{}/assets/favicon.svg", self.base),
            down @ 1..100 => down.to_string(),
            _ => "99+".to_owned(),
        };
        let size = if text.len() > 2 { 15 } else { 20 };
        let drawn = format!(
            "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'><rect width='32' height='32' rx='7' fill='#b3261e'/>\
             <text x='16' y='23' font-family='sans-serif' font-weight='bold' font-size='{size}' text-anchor='middle' fill='white'>{text}\
             </text></svg>"
        );
        format!("data:image/svg+xml,{}", utf8_percent_encode(&drawn, NON_ALPHANUMERIC))
    }

    /// Whether it shows times, of which the zone is said.
    pub fn has_times(&self) -> bool {
        self.is_inside && self.is_live()
    }

    pub fn is_current(&self, path: &str) -> bool {
        path == self.path
    }

    /// Whether the page keeps itself up to date: not where somebody types, or unfolds something.
    pub fn is_live(&self) -> bool {
        let still =
            ["/login", "/setup", "/account", "/account/second-factor", "/settings", "/new", "/api", "/error"];
        !still.contains(&self.path) && self.path != "/checked-out"
    }

    /// Whether the way to what a browser keeps is in the header, where no user's name is.
    pub fn has_display(&self) -> bool {
        self.is_inside && self.user.is_empty()
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
