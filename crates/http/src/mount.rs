//! Requests and answers below the path of `public_url` ([`Mount`]).
//!
//! Handlers do not know the prefix. It is removed from requests before they are routed, so a proxy may strip it or
//! leave it. It is added to redirects in responses, to links by the pages (`Frame::base`), and to the path of cookies
//! by the authenticator.

use std::sync::Arc;

use actix_web::dev::{ResourceDef, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::http::uri::{PathAndQuery, Uri};
use innkeeper_node::PathPrefix;

/// The paths that a listener has.
#[derive(Clone)]
pub(crate) struct Paths(pub Arc<Vec<ResourceDef>>);

/// Takes the base from a request's path. Where the proxy has done so already, a path may begin like the base by
/// itself (`/status/17` below `/status`): it stays as it is, if this is a path that there is, and what would be
/// left is none.
pub(crate) fn enter(mount: &PathPrefix, request: &mut ServiceRequest) {
    let Some(inside) = mount.inside(request.path()) else { return };
    let known = |path: &str| {
        let paths = request.app_data::<Paths>();
        paths.is_some_and(|paths| paths.0.iter().any(|one| says_what(one) && one.is_match(path)))
    };
    if known(request.path()) && !known(inside) {
        return;
    }
    let whole = match request.uri().query() {
        Some(query) => format!("{inside}?{query}"),
        None => inside.to_owned(),
    };
    // What was part of a URI is one.
    let Ok(whole) = PathAndQuery::try_from(whole) else { return };
    let uri = Uri::from(whole);
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
}

/// Puts the base before the path that an answer leads to.
pub(crate) fn leave<B>(mount: &PathPrefix, answer: &mut ServiceResponse<B>) {
    if mount.base().is_empty() {
        return;
    }
    let Some(to) = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok()) else { return };
    if to.starts_with('/')
        && !to.starts_with("//")
        && let Ok(to) = HeaderValue::try_from(format!("{}{to}", mount.base()))
    {
        answer.headers_mut().insert(LOCATION, to);
    }
}

/// Whether the first part of its paths says what they are: it is given, or a key by its form, and not anything.
fn says_what(path: &ResourceDef) -> bool {
    let is_anything = |pattern: &str| {
        let variable = pattern.strip_prefix("/{").and_then(|rest| rest.split('}').next());
        variable.is_some_and(|name| !name.contains(':'))
    };
    path.pattern().is_some_and(|pattern| !is_anything(pattern))
}
