//! Turns a reservation's document into its spec. In this API the document is complete: an absent field means its
//! default.

use innkeeper_core::Invalid;
use innkeeper_core::names::AlerterName;
pub(crate) use innkeeper_core::reservation::ReservationDocument;
use innkeeper_core::reservation::document::Alerters;
use innkeeper_core::reservation::{Patch, Spec};
use innkeeper_http::keys;

use crate::AppState;

/// The spec of a new reservation with this document.
pub(crate) fn spec(document: ReservationDocument, app_state: &AppState) -> Result<Spec, Invalid> {
    terms_knowing(document, app_state, &app_state.alerter_names())
}

/// The spec of an existing reservation with this document. It may name the alerters that the spec `before` names, even
/// those that no longer exist.
pub(crate) fn changed_terms(
    document: ReservationDocument,
    app_state: &AppState,
    before: &Spec,
) -> Result<Spec, Invalid> {
    terms_knowing(document, app_state, &[app_state.alerter_names(), before.alerters_named()].concat())
}

/// The spec of this document, which may name the alerters in `known`.
pub(crate) fn terms_knowing(
    document: ReservationDocument,
    app_state: &AppState,
    known: &[AlerterName],
) -> Result<Spec, Invalid> {
    let (app, component) = document.names()?;
    let patch = document.patch(Alerters::Only(known))?;
    Patch { remind_every_if_new: app_state.remind_every(), ..patch }.into_spec(app, component)
}

/// The value of `ETag` and `If-Match` for this spec: a hash, which changes with the spec.
pub(crate) fn etag(spec: &Spec) -> String {
    let text = serde_json::to_string(&ReservationDocument::of(spec)).unwrap_or_default();
    let mut hash = keys::hash(&text);
    hash.truncate(32);
    format!("\"{hash}\"")
}
