//! The cookie of a browser in which somebody has logged in before ([`crate::keys::device`]).

use std::collections::HashMap;

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use super::Gate;
use crate::keys::device;

impl Gate {
    /// The cookie by which the browser of this user is known from now on.
    pub fn device_cookie(&self, user: i64, shown: String) -> Cookie<'static> {
        let name = format!("{}-device-{user}", self.session_cookie_name());
        let mut cookie = self.cookie(name, shown, SameSite::Strict);
        cookie.set_max_age(Duration::days(device::KNOWN_FOR.num_days()));
        cookie
    }

    /// What a request has to show for being from known browsers of users, by their numbers.
    pub fn devices_of(&self, request: &HttpRequest) -> HashMap<i64, String> {
        let begins = format!("{}-device-", self.session_cookie_name());
        let cookies = request.cookies().map(|cookies| cookies.to_vec()).unwrap_or_default();
        let shown = |cookie: &Cookie<'_>| {
            Some((cookie.name().strip_prefix(&begins)?.parse().ok()?, cookie.value().to_owned()))
        };
        cookies.iter().filter_map(shown).collect()
    }
}
