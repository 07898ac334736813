//! Requests and responses below the path of `public_url` ([`PathPrefix`]).
//!
//! Handlers do not know the prefix. It is removed from requests before they are routed, so a proxy may strip it or
//! leave it. It is added to redirects in responses, to links by the pages (`Frame::base`), and to the path of cookies
//! by the authenticator.

use std::sync::Arc;

use actix_web::dev::{ResourceDef, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, LOCATION};
use actix_web::http::uri::{PathAndQuery, Uri};
use innkeeper_node::PathPrefix;

/// The paths that a listener serves.
#[derive(Clone)]
pub(crate) struct Paths(pub Arc<Vec<ResourceDef>>);

/// Removes the prefix from a request's path. If a proxy has removed it already, the rest may begin
/// like the prefix by chance (`/status/17` below `/status`). So a path stays as it is if it is
/// served and the path without the prefix is not.
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
    // Does not fail, because it was a part of a URI.
    let Ok(whole) = PathAndQuery::try_from(whole) else { return };
    let uri = Uri::from(whole);
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
}

/// Adds the prefix to the path to which a response redirects.
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

/// Whether the first part of the pattern is a fixed word or restricted in its form, as a key is. A
/// pattern without such a first part matches any path.
fn says_what(path: &ResourceDef) -> bool {
    let is_anything = |pattern: &str| {
        let variable = pattern.strip_prefix("/{").and_then(|rest| rest.split('}').next());
        variable.is_some_and(|name| !name.contains(':'))
    };
    path.pattern().is_some_and(|pattern| !is_anything(pattern))
}
