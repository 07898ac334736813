//! The cookies of a browser in which a user has logged in before ([`crate::keys::device`]), or is
//! logging in.

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use innkeeper_store::PENDING_FOR;

use super::Authenticator;
use crate::keys::device;

impl Authenticator {
    /// The cookie that makes the browser known for this user.
    pub fn device_cookie(&self, user: i64, shown: String) -> Cookie<'static> {
        let name = format!("{}-device-{user}", self.session_cookie_name());
        let mut cookie = self.cookie(name, shown, SameSite::Strict);
        cookie.set_max_age(Duration::days(device::KNOWN_FOR.num_days()));
        cookie
    }

    /// The cookie of a login that waits for the second factor. An empty secret removes the cookie.
    pub fn pending_cookie(&self, secret: &str) -> Cookie<'static> {
        let mut cookie = self.cookie(self.pending_cookie_name(), secret.to_owned(), SameSite::Strict);
        match secret {
            "" => cookie.make_removal(),
            _ => cookie.set_max_age(Duration::seconds(PENDING_FOR.num_seconds())),
        }
        cookie
    }

    /// The secret of the login that waits for the second factor, from the cookie of a request.
    pub fn pending_of(&self, request: &HttpRequest) -> Option<String> {
        request.cookie(&self.pending_cookie_name()).map(|cookie| cookie.value().to_owned())
    }

    fn pending_cookie_name(&self) -> String {
        format!("{}-second", self.session_cookie_name())
    }

    /// The cookies of a request that make its browser known, by the numbers of their users.
    pub fn devices_of(&self, request: &HttpRequest) -> HashMap<i64, String> {
        let begins = format!("{}-device-", self.session_cookie_name());
        let cookies = request.cookies().map(|cookies| cookies.to_vec()).unwrap_or_default();
        let shown = |cookie: &Cookie<'_>| {
            Some((cookie.name().strip_prefix(&begins)?.parse().ok()?, cookie.value().to_owned()))
        };
        cookies.iter().filter_map(shown).collect()
    }
}
