//! The caller of a request, and their rights.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use chrono_tz::Tz;
use innkeeper_core::access::{MissingPermission, Permission, Rights, UserRole};
use innkeeper_core::names::AppName;
use innkeeper_core::open_past::ANYBODY;
use innkeeper_store::{Actor, User};

use super::ApiError;
use super::choices::Theme;

/// The sender of a request, as identified by the authenticator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The caller's identity.
    pub who: Who,
    /// The caller's rights.
    pub rights: Rights,
    /// The client's address.
    pub source: String,
    /// The CSRF token that every form must return; empty where there are no forms.
    pub csrf: String,
    /// Whether the caller must set up a second factor before anything else.
    pub lacks_second_factor: bool,
    /// The chosen colours; `None` for those of the system.
    pub theme: Option<Theme>,
    /// The chosen time zone; `None` for the zone of the displayed item.
    pub zone: Option<Tz>,
}

/// A kind of caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    /// Unidentified, because `auth` is `open` or the route is for everybody.
    Anybody,
    /// A person.
    User(User),
    /// A program with the token of this name.
    Token(String),
}

impl Caller {
    /// An unidentified caller, at a route for everybody or where `auth` is `open`.
    pub(super) fn anybody(rights: Rights, source: String) -> Self {
        Self::of(Who::Anybody, rights, source)
    }

    /// A caller with these rights, without choices for pages.
    pub(super) fn of(who: Who, rights: Rights, source: String) -> Self {
        let csrf = String::new();
        Self { who, rights, source, csrf, lacks_second_factor: false, theme: None, zone: None }
    }

    /// The time zone that the caller chose, or else this one.
    pub fn zone_or(&self, own: Tz) -> Tz {
        self.zone.unwrap_or(own)
    }

    /// An unidentified caller without rights.
    pub fn nobody() -> Self {
        Self::anybody(Rights::none(), String::new())
    }

    /// Checks that the caller's rights extend to this app.
    ///
    /// # Errors
    /// 403, which says why not.
    pub fn covers(&self, app: &AppName) -> Result<(), ApiError> {
        self.covers_named(app.as_str())
    }

    /// Like [`Caller::covers`], for a name from the database.
    ///
    /// # Errors
    /// See [`Caller::covers`].
    pub fn covers_named(&self, app: &str) -> Result<(), ApiError> {
        self.rights.cover(app).map_err(ApiError::from)
    }

    /// Whether the caller has this permission; decides what a page shows.
    pub fn may(&self, permission: Permission) -> bool {
        self.rights.suffice_for(permission).is_ok()
    }

    /// The apps that the caller is limited to; none for all apps.
    pub fn apps(&self) -> Option<Vec<String>> {
        self.rights.apps().map(|apps| apps.iter().map(ToString::to_string).collect())
    }

    /// The caller's name in the audit log.
    pub fn actor(&self) -> Actor {
        let who = match &self.who {
            Who::Anybody => ANYBODY.to_owned(),
            Who::User(user) => format!("user {}", user.name),
            Who::Token(name) => format!("token {name}"),
        };
        Actor { who, source: self.source.clone() }
    }

    /// The user, if the caller is one.
    pub fn user(&self) -> Option<&User> {
        match &self.who {
            Who::User(user) => Some(user),
            Who::Anybody | Who::Token(_) => None,
        }
    }

    /// Whether the caller is a user with this role.
    pub fn is(&self, role: UserRole) -> bool {
        self.user().is_some_and(|user| user.role == role)
    }
}

impl From<MissingPermission> for ApiError {
    fn from(missing: MissingPermission) -> Self {
        Self::Forbidden(format!("you may not do this: {missing}"))
    }
}

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let known = request.extensions().get::<Self>().cloned();
        // A request that the authenticator did not check, because its route is for everybody, has
        // no caller.
        ready(Ok(known.unwrap_or_else(Self::nobody)))
    }
}
