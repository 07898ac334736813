//! The authenticator: identifies the caller before a handler runs, and refuses callers without the
//! needed permission.
//!
//! Where `auth` is `open` everybody may do everything. Otherwise a caller needs a token
//! (`Authorization: Bearer …`, or as the password of `Basic`), a session cookie, or a trusted proxy
//! that names them. Credentials that a browser sends by itself count only for requests from
//! Innkeeper's own pages: a request that another site triggers changes nothing.

mod session;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::cookie::{Cookie, SameSite};
use actix_web::http::{Method, header};
use actix_web::{HttpMessage as _, HttpRequest, web};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use innkeeper_core::Clock;
use innkeeper_core::access::{Permission, Rights, UserRole, account_name};
use innkeeper_node::TrustedProxies;
use innkeeper_node::config::{Auth, Config, Live};
use innkeeper_node::heartbeat::Operator;
use innkeeper_store::{Actor, Store, Token};
use parking_lot::Mutex;

use super::caller::{Caller, Who};
use super::host_names::HostNames;
use super::pace::Pace;
use super::strangers::Strangers;
use super::{ApiError, PathPrefix, choices, client_address, keys};

/// How long a token is cached; a removed token stops working after this at the latest.
const TOKENS_HOLD: Duration = Duration::from_secs(5);
/// How long a token is cached while the database is unreachable: check-ins must still reach the
/// queue and wait there.
const TOKENS_HOLD_ALONE: Duration = Duration::from_secs(600);
/// The most tokens in the cache.
const MOST_TOKENS: usize = 10_000;

/// The authenticator of one listener; clones share its cache.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    store: Store,
    clock: Arc<dyn Clock>,
    auth: Auth,
    host_names: HostNames,
    live: Live,
    public_url: String,
    mount: PathPrefix,
    sign_on: Option<SignOn>,
    strangers: Strangers,
    tokens: Mutex<HashMap<String, (Instant, Token)>>,
    pace: Pace,
}

/// Single sign-on through a proxy that names the user.
struct SignOn {
    header: String,
    proxies: TrustedProxies,
    role: UserRole,
}

impl Authenticator {
    /// The authenticator for this configuration.
    pub fn new(store: &Store, config: &Config, clock: Arc<dyn Clock>) -> Self {
        let sign_on = config.web.sign_on_header.clone().map(|header| SignOn {
            header,
            proxies: config.web.sign_on_proxies.clone(),
            role: config.web.sign_on_role,
        });
        Self(Arc::new(Inner {
            store: store.clone(),
            clock,
            auth: config.auth,
            host_names: HostNames::new(&config.public_url, &config.allowed_hosts),
            live: config.live(),
            public_url: config.public_url.clone(),
            mount: PathPrefix::at(&config.public_url),
            sign_on,
            strangers: Strangers::default(),
            tokens: Mutex::default(),
            pace: Pace::default(),
        }))
    }

    /// Notifies the operator of jobs that are refused because of the host name that they use.
    #[must_use]
    pub fn telling(self, operator: &Operator) -> Self {
        self.0.strangers.tell_through(operator.clone());
        self
    }

    /// The path prefix under which browsers reach the routes behind it.
    pub fn mount(&self) -> &PathPrefix {
        &self.0.mount
    }

    /// Whether everybody may do everything.
    pub(super) fn is_open(&self) -> bool {
        self.0.auth == Auth::Open
    }

    /// Counts one request of its source.
    ///
    /// # Errors
    /// 429 if the source has exceeded its requests in this second.
    pub(super) fn keep_pace(&self, request: &HttpRequest) -> Result<(), ApiError> {
        let config = self.0.live.get();
        let Some(most) = config.ingest.rate_per_source else { return Ok(()) };
        let source = client_address(request, &config.ingest.trusted_proxies);
        if self.0.pace.allows(source, most, Instant::now()) {
            Ok(())
        } else {
            Err(ApiError::TooFast { retry_after_s: 1 })
        }
    }

    /// The caller, if they have the needed permission; for a page (`forms`) with the CSRF token of
    /// its forms.
    pub(super) async fn admit(
        &self,
        request: &HttpRequest,
        permission: Permission,
        forms: bool,
    ) -> Result<Caller, ApiError> {
        let is_safe = request.method().is_safe();
        if (permission.changes() || (forms && !is_safe)) && self.is_from_another_site(request) {
            return Err(ApiError::Forbidden(
                "this request came from the page of another site, or public_url is not the address that browsers use"
                    .to_owned(),
            ));
        }
        let source = client_address(request, &self.0.live.get().ingest.trusted_proxies).to_string();
        if (self.is_open() || self.is_signed_on(request))
            && !(permission == Permission::Nothing && is_safe)
            && let Some(name) = self.0.host_names.foreign(request)
        {
            self.0.strangers.note(request, &name, &source, permission);
            return Err(ApiError::Forbidden(format!(
                "this request came by the name {name:?}, which Innkeeper does not know as its own. Any site can have a name lead \
                 here, and who comes in may do everything. Where the name is right, set public_url to the address that \
                 people use, or add the name to allowed_hosts (INNKEEPER_ALLOWED_HOSTS); or call by the IP address"
            )));
        }
        if self.is_open() || (permission == Permission::Nothing && !forms) {
            let rights = if self.is_open() { Rights::all() } else { Rights::none() };
            let caller = self.with_forms(request, Caller::anybody(rights, source), forms);
            suffices(&caller, permission)?;
            return Ok(caller);
        }
        let caller = match self.identify(request, &source, permission).await {
            Ok(Some((caller, true))) if !forms && !is_safe && !has_csrf(request, &caller) => {
                return Err(ApiError::Forbidden(
                    "a request with a session's cookie needs the header X-CSRF-Token; programs use a token"
                        .to_owned(),
                ));
            }
            Ok(Some((caller, _))) => caller,
            Ok(None) if permission == Permission::Nothing => Caller::anybody(Rights::none(), source),
            Ok(None) => {
                return Err(ApiError::Unauthorized(
                    "this needs a token (Authorization: Bearer …) or a login".to_owned(),
                ));
            }
            // A page for everybody is shown even if the caller cannot be identified.
            Err(_) if permission == Permission::Nothing => Caller::anybody(Rights::none(), source),
            Err(error) => return Err(error),
        };
        let caller = self.with_forms(request, caller, forms);
        // Whatever else a page does, it shows data of all apps.
        let shows = if forms && permission.is_for_all() { Permission::ReadAll } else { permission };
        if let Err(error) = suffices(&caller, permission).and_then(|()| suffices(&caller, shows)) {
            // Kept so that the error page knows the caller.
            request.extensions_mut().insert(caller);
            return Err(error);
        }
        Ok(caller)
    }

    /// The caller by the credentials in the request, and whether a browser sent these by itself.
    async fn identify(
        &self,
        request: &HttpRequest,
        source: &str,
        permission: Permission,
    ) -> Result<Option<(Caller, bool)>, ApiError> {
        if let Some(value) = request.headers().get(header::AUTHORIZATION) {
            let token = value.to_str().ok().and_then(token_in).ok_or_else(|| {
                ApiError::Unauthorized(
                    "Authorization must be Bearer and a token, or Basic with it as password".to_owned(),
                )
            })?;
            let token = self
                .token(
                    &keys::hash(&token),
                    !matches!(permission, Permission::ManageAll | Permission::Administer),
                )
                .await?
                .ok_or_else(|| ApiError::Unauthorized("this token is not known or has expired".to_owned()))?;
            if !token.confirmed {
                return Err(ApiError::Unauthorized(unconfirmed("this token")));
            }
            let rights = token.rights();
            let caller = Caller::of(Who::Token(token.name), rights, source.to_owned());
            return Ok(Some((caller, false)));
        }
        if let Some(name) = self.signed_on(request)? {
            return self.user_signed_on(name, source).await.map(|caller| Some((caller, true)));
        }
        let Some(cookie) = request.cookie(self.session_cookie_name()) else { return Ok(None) };
        let uses = request.method() != Method::GET || !session::is_by_itself(request);
        let (authenticator, hash) = (self.clone(), keys::hash(cookie.value()));
        let session =
            web::block(move || authenticator.session(&hash, uses)).await.map_err(ApiError::internal)??;
        Ok(session.map(|(session, lacks_second_factor)| {
            let rights = match lacks_second_factor {
                true => Rights::none(),
                false => Rights::of_role(session.user.role),
            };
            let caller = Caller::of(Who::User(session.user), rights, source.to_owned());
            (Caller { csrf: session.csrf, lacks_second_factor, ..caller }, true)
        }))
    }

    /// The token with this hash. It is cached for some seconds, but the cache is used only if it
    /// `may_be_remembered`: a token that was just removed must not create another.
    async fn token(&self, hash: &str, may_be_remembered: bool) -> Result<Option<Token>, ApiError> {
        let now = self.0.clock.now();
        let remembered = {
            let tokens = self.0.tokens.lock();
            tokens.get(hash).map(|(at, token)| (at.elapsed(), token.clone()))
        };
        let remembered =
            remembered.filter(|(_, token)| token.expires_at.is_none_or(|expires_at| expires_at > now));
        if let Some((_, token)) =
            remembered.as_ref().filter(|(age, _)| may_be_remembered && *age < TOKENS_HOLD)
        {
            return Ok(Some(token.clone()));
        }
        let (store, wanted) = (self.0.store.clone(), hash.to_owned());
        let found = web::block(move || store.token(&wanted, now)).await.map_err(ApiError::internal)?;
        let found = match (found, remembered) {
            (Err(error), Some((age, token)))
                if may_be_remembered && error.is_unavailable() && age < TOKENS_HOLD_ALONE =>
            {
                return Ok(Some(token));
            }
            (found, _) => found?,
        };
        let mut tokens = self.0.tokens.lock();
        match &found {
            // An unconfirmed token is not cached, so that it works as soon as an admin confirms it.
            Some(token) if token.confirmed => {
                if tokens.len() >= MOST_TOKENS {
                    tokens.clear();
                }
                tokens.insert(hash.to_owned(), (Instant::now(), token.clone()));
            }
            Some(_) | None => drop(tokens.remove(hash)),
        }
        Ok(found)
    }

    /// Whether a trusted proxy names the caller, or tries to with an invalid header.
    fn is_signed_on(&self, request: &HttpRequest) -> bool {
        !matches!(self.signed_on(request), Ok(None))
    }

    /// The name of the caller that a trusted proxy gives, if it gives one.
    fn signed_on(&self, request: &HttpRequest) -> Result<Option<String>, ApiError> {
        let Some(sign_on) = &self.0.sign_on else { return Ok(None) };
        let mut values = request.headers().get_all(sign_on.header.as_str());
        let Some(value) = values.next() else { return Ok(None) };
        let from = request.peer_addr().map(|peer| peer.ip());
        if !from.is_some_and(|from| sign_on.proxies.trusts(from.to_canonical())) {
            return Ok(None);
        }
        // One of the headers may come from the caller; the proxy should have removed it.
        if values.next().is_some() {
            let problem = format!(
                "{0} came more than once, so the caller is not known; have the proxy remove the {0} of those who call it before it sets \
                 its own",
                sign_on.header
            );
            return Err(ApiError::Unauthorized(problem));
        }
        let name = std::str::from_utf8(value.as_bytes()).unwrap_or_default();
        if name.contains(',') {
            let problem = format!(
                "{0} has a comma, as a list has, so the caller is not known; have the proxy remove the {0} of those who call it, and \
                 where names here have commas, send one without, as a mail address",
                sign_on.header
            );
            return Err(ApiError::Unauthorized(problem));
        }
        if name.is_empty() {
            return Ok(None);
        }
        account_name("name", name).map(Some).map_err(|invalid| {
            ApiError::Unauthorized(format!("{} says who calls: {invalid}", sign_on.header))
        })
    }

    async fn user_signed_on(&self, name: String, source: &str) -> Result<Caller, ApiError> {
        let role = self.0.sign_on.as_ref().map_or(UserRole::Viewer, |sign_on| sign_on.role);
        let store = self.0.store.acting_as(Actor::user(&name, source));
        let now = self.0.clock.now();
        let asked = name.clone();
        let user =
            web::block(move || store.user_or_new(&asked, role, now)).await.map_err(ApiError::internal)??;
        let Some(user) = user else {
            return Err(ApiError::Forbidden(format!(
                "there is a user whose name looks like {name} (upper and lower case count as the same), \
                 or its letters are of two alphabets; the proxy has to call you as before, or an admin has to remove that user"
            )));
        };
        if !user.confirmed {
            return Err(ApiError::Forbidden(unconfirmed(&format!("the user {}", user.name))));
        }
        let rights = Rights::of_role(user.role);
        Ok(Caller::of(Who::User(user), rights, source.to_owned()))
    }

    /// Adds what pages need: the colours and the time zone that the caller chose, and, without a
    /// session, the CSRF token of their forms. A form must be sent with a cookie of the same text.
    fn with_forms(&self, request: &HttpRequest, mut caller: Caller, forms: bool) -> Caller {
        if !forms {
            return caller;
        }
        choices::read(request, &mut caller);
        if !caller.csrf.is_empty() {
            return caller;
        }
        let known = request.cookie(self.csrf_cookie_name()).map(|cookie| cookie.value().to_owned());
        let csrf = known.filter(|text| text.len() == 43).or_else(|| match keys::draw() {
            Ok(secret) => Some(secret.reveal().to_owned()),
            Err(error) => {
                log::error!("no randomness for a form: {error}");
                None
            }
        });
        Caller { csrf: csrf.unwrap_or_default(), ..caller }
    }

    /// The cookie with the CSRF token of this caller's forms, if the browser does not have it yet.
    pub(super) fn missing_cookie(&self, request: &HttpRequest, caller: &Caller) -> Option<Cookie<'static>> {
        let from_session = request.cookie(self.session_cookie_name()).is_some() && caller.user().is_some();
        let known = request.cookie(self.csrf_cookie_name());
        if from_session || caller.csrf.is_empty() || known.is_some_and(|known| known.value() == caller.csrf) {
            return None;
        }
        Some(self.cookie(self.csrf_cookie_name(), caller.csrf.clone(), SameSite::Strict))
    }

    /// The cookie of a session with this secret.
    pub fn session_cookie(&self, secret: &str) -> Cookie<'static> {
        self.cookie(self.session_cookie_name(), secret.to_owned(), SameSite::Lax)
    }

    /// The secret of the session cookie in a request.
    pub fn session_of(&self, request: &HttpRequest) -> Option<String> {
        request.cookie(self.session_cookie_name()).map(|cookie| cookie.value().to_owned())
    }

    pub(super) fn cookie(
        &self,
        name: impl Into<Cow<'static, str>>,
        value: String,
        same_site: SameSite,
    ) -> Cookie<'static> {
        Cookie::build(name, value)
            .path(self.0.mount.cookie_path().to_owned())
            .http_only(true)
            .same_site(same_site)
            .secure(self.is_secure())
            .finish()
    }

    fn is_secure(&self) -> bool {
        self.0.public_url.starts_with("https://")
    }

    /// The name of the session cookie. Browsers accept a cookie whose name begins with `__Secure-`
    /// only over TLS. With `__Host-` they also accept it only from this host, which requires the
    /// path `/`.
    pub(super) fn session_cookie_name(&self) -> &'static str {
        match (self.is_secure(), self.0.mount.base()) {
            (true, "") => "__Host-innkeeper",
            (true, _) => "__Secure-innkeeper",
            (false, _) => "innkeeper",
        }
    }

    fn csrf_cookie_name(&self) -> &'static str {
        match (self.is_secure(), self.0.mount.base()) {
            (true, "") => "__Host-innkeeper-form",
            (true, _) => "__Secure-innkeeper-form",
            (false, _) => "innkeeper-form",
        }
    }

    /// Whether a browser says that another site's page triggered this request.
    fn is_from_another_site(&self, request: &HttpRequest) -> bool {
        let value = |name: &str| request.headers().get(name).and_then(|value| value.to_str().ok());
        match (value("sec-fetch-site"), value("origin")) {
            (Some("same-origin" | "none"), _) => false,
            (Some(_), _) => true,
            (None, Some(origin)) => {
                let host = value("host").unwrap_or_default();
                let own = origin.split_once("://").is_some_and(|(_, origin)| origin == host);
                let public = self
                    .0
                    .public_url
                    .strip_prefix(origin)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
                !own && !public
            }
            // Not a browser, or one that is too old to send these headers.
            (None, None) => false,
        }
    }
}

/// Checks that a caller has the needed permission.
fn suffices(caller: &Caller, permission: Permission) -> Result<(), ApiError> {
    if caller.lacks_second_factor && !matches!(permission, Permission::Nothing | Permission::SetUp) {
        return Err(ApiError::NeedsSecondFactor);
    }
    if permission.is_own() && caller.user().is_none() {
        return Err(ApiError::Forbidden(
            "this is about a user's own account, and no user is logged in here".to_owned(),
        ));
    }
    Ok(caller.rights.suffice_for(permission)?)
}

/// Why users and tokens made while the instance was open do not work.
pub fn unconfirmed(what: &str) -> String {
    format!(
        "{what} was made or changed by an unknown person while everybody could do that (auth = \"open\"); it works after \
         an admin has confirmed it in the settings"
    )
}

fn has_csrf(request: &HttpRequest, caller: &Caller) -> bool {
    let given = request.headers().get("x-csrf-token").map(|value| value.as_bytes());
    !caller.csrf.is_empty() && given == Some(caller.csrf.as_bytes())
}

/// The token in an `Authorization` header.
fn token_in(value: &str) -> Option<String> {
    let (scheme, rest) = value.split_once(' ')?;
    match scheme.to_ascii_lowercase().as_str() {
        "bearer" => Some(rest.trim().to_owned()),
        "basic" => {
            let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
            let (user, password) = decoded.split_once(':')?;
            Some(if password.is_empty() { user } else { password }.to_owned())
        }
        _ => None,
    }
    .filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_both_schemes() {
        for (value, token) in [
            ("Bearer abc", Some("abc")),
            ("bearer  abc ", Some("abc")),
            ("Basic dTphYmM=", Some("abc")),
            ("Basic YWJjOg==", Some("abc")),
            ("Basic !!!", None),
            ("Bearer ", None),
            ("Digest abc", None),
            ("abc", None),
        ] {
            assert_eq!(token_in(value).as_deref(), token, "{value}");
        }
    }
}
