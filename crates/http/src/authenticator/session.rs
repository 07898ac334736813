//! Sessions in the authenticator: whether a request counts as a use of one, and whether its user
//! must set up a second factor first.

use actix_web::HttpRequest;
use innkeeper_store::{Session, StoreError, User};

use super::Authenticator;

/// The header that a page's script sends with its automatic requests, which do not count as a use
/// of the session.
const BY_ITSELF: (&str, &[u8]) = ("x-requested-by", b"live");
impl Authenticator {
    /// The session with this hash, and whether its user has to set up a second factor before anything else.
    pub(super) fn session(&self, hash: &str, uses: bool) -> Result<Option<(Session, bool)>, StoreError> {
        let (store, web) = (&self.0.store, &self.0.live.get().web);
        let Some(session) = store.session(hash, uses, web.session, self.0.clock.now())? else {
            return Ok(None);
        };
        let is_required = session.method.is_by_password() && self.requires_second_factor(&session.user);
        let lacks = is_required && !store.factors(session.user.id)?.any();
        Ok(Some((session, lacks)))
    }

    /// Whether this user must have a second factor to log in with a password.
    pub fn requires_second_factor(&self, user: &User) -> bool {
        user.second_factor_required || self.0.live.get().web.second_factor.includes(user.role)
    }
}

/// Whether a page's script sent this automatically, without an action of the user.
pub(super) fn is_by_itself(request: &HttpRequest) -> bool {
    let (name, value) = BY_ITSELF;
    request.headers().get(name).is_some_and(|given| given.as_bytes() == value)
}
