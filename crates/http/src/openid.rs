//! The cookie of a browser that has begun to log in at an OpenID provider.

use actix_web::HttpRequest;
use actix_web::cookie::time::Duration;
use actix_web::cookie::{Cookie, SameSite};

use super::Authenticator;

/// How long a login at the provider may take.
const KEPT: Duration = Duration::minutes(10);

impl Authenticator {
    /// The cookie with this secret. It is `SameSite=Lax`, because the provider's page redirects the
    /// browser back.
    pub fn openid_cookie(&self, secret: &str) -> Cookie<'static> {
        let mut cookie = self.cookie(self.openid_cookie_name(), secret.to_owned(), SameSite::Lax);
        cookie.set_max_age(KEPT);
        cookie
    }

    /// The secret in the cookie of a browser that has begun to log in.
    pub fn openid_of(&self, request: &HttpRequest) -> Option<String> {
        request.cookie(&self.openid_cookie_name()).map(|cookie| cookie.value().to_owned())
    }

    fn openid_cookie_name(&self) -> String {
        format!("{}-openid", self.session_cookie_name())
    }
}
