//! What the document of a reservation asks for in this API, where it is the whole truth.

use innkeeper_core::Invalid;
use innkeeper_core::names::AlerterName;
pub(crate) use innkeeper_core::reservation::ReservationDocument;
use innkeeper_core::reservation::document::Alerters;
use innkeeper_core::reservation::{Patch, Spec};
use innkeeper_http::keys;

use crate::AppState;

/// The terms that a document asks for.
pub(crate) fn spec(document: ReservationDocument, app_state: &AppState) -> Result<Spec, Invalid> {
    terms_knowing(document, app_state, &app_state.alerter_names())
}

/// The terms that it asks for, of a reservation whose terms were `before`: it may name what it named then, also an alerter that is gone.
pub(crate) fn changed_terms(
    document: ReservationDocument,
    app_state: &AppState,
    before: &Spec,
) -> Result<Spec, Invalid> {
    terms_knowing(document, app_state, &[app_state.alerter_names(), before.alerters_named()].concat())
}

/// The terms that it asks for; the alerters that it may name are `known`.
pub(crate) fn terms_knowing(
    document: ReservationDocument,
    app_state: &AppState,
    known: &[AlerterName],
) -> Result<Spec, Invalid> {
    let (app, component) = document.names()?;
    let patch = document.patch(Alerters::Only(known))?;
    Patch { remind_every_if_new: app_state.remind_every(), ..patch }.into_spec(app, component)
}

/// What names this spec in `ETag` and `If-Match`: another one after each change.
pub(crate) fn etag(spec: &Spec) -> String {
    let text = serde_json::to_string(&ReservationDocument::of(spec)).unwrap_or_default();
    let mut hash = keys::hash(&text);
    hash.truncate(32);
    format!("\"{hash}\"")
}
