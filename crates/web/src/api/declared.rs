//! Declared sets of reservations, as kept in a repository: a set is applied as a whole, and exported in the same form.

use std::collections::{HashMap, HashSet};

use actix_web::http::header;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use innkeeper_core::Invalid;
use innkeeper_core::access::Permission;
use innkeeper_core::names::AppName;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::DeadEnd;
use innkeeper_http::{ApiError, Caller, LargeBody, ListSpool};
use innkeeper_node::heartbeat::dead_end_reporter::line;
use innkeeper_store::{Applied, ChangedDeclaration, IdentifiedReservation, Store};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::document::{ReservationDocument, terms_knowing};
use super::reading::{self, ReadQuery};
use super::{ask, named_app};
use crate::AppState;
use crate::lists::JSON;

type Answer = Result<HttpResponse, ApiError>;

/// The most warnings about unreachable recipients in an answer.
const MOST_WARNINGS: usize = 100;

/// A set of reservations; in TOML each begins with `[[reservations]]`.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeclaredDocument {
    /// The reservations. Each pair of `app` and `component` may occur once.
    reservations: Vec<ReservationDocument>,
}

/// A reservation by its number and names.
#[derive(Serialize, ToSchema)]
pub(crate) struct NamedReservation {
    /// Its number; null if it has not been made.
    id: Option<i64>,
    app: String,
    component: String,
}

/// A reservation whose declaration differs from its former state.
#[derive(Serialize, ToSchema)]
pub(crate) struct ChangedReservation {
    #[serde(flatten)]
    reservation: NamedReservation,
    /// The differences, one line for each field: `grace: 1m -> 5m`. A caller without `read` gets the names of the
    /// fields alone.
    difference: Vec<String>,
}

/// What was changed, or in a dry run would be.
#[derive(Serialize, ToSchema)]
pub(crate) struct AppliedSet {
    /// Whether this was a dry run, which changes nothing.
    dry_run: bool,
    /// The reservations that were made.
    created: Vec<NamedReservation>,
    /// The reservations that were changed.
    changed: Vec<ChangedReservation>,
    /// The reservations that were checked out.
    removed: Vec<NamedReservation>,
    /// How many reservations already were as declared.
    unchanged: usize,
    /// Recipients in `notify` and `alerters` that cannot be reached, as sentences that begin with app and component; at
    /// most 100.
    warnings: Vec<String>,
}

impl From<IdentifiedReservation> for NamedReservation {
    fn from(IdentifiedReservation { id, app, component }: IdentifiedReservation) -> Self {
        Self { id, app, component }
    }
}

impl AppliedSet {
    fn of(applied: Applied, dry_run: bool, warnings: Vec<String>, may_read: bool) -> Self {
        let field = |line: String| line.split(':').next().unwrap_or_default().to_owned();
        let changed =
            |ChangedDeclaration { reservation, difference }: ChangedDeclaration| ChangedReservation {
                reservation: reservation.into(),
                difference: if may_read { difference } else { difference.into_iter().map(field).collect() },
            };
        Self {
            dry_run,
            created: applied.created.into_iter().map(Into::into).collect(),
            changed: applied.changed.into_iter().map(changed).collect(),
            removed: applied.removed.into_iter().map(Into::into).collect(),
            unchanged: applied.unchanged,
            warnings,
        }
    }
}

/// The recipients of these specs that cannot be reached, by app and component.
fn dead_ends_of(app_state: &AppState, spec: &[Spec]) -> Vec<(String, Vec<DeadEnd>)> {
    let named =
        spec.iter().map(|spec| (format!("{}/{}", spec.app, spec.component), app_state.dead_ends(spec)));
    named.filter(|(_, dead_ends)| !dead_ends.is_empty()).collect()
}

/// Apply a declared set
///
/// Makes the reservations that are missing and changes those that differ; with `prune` it also checks out those that
/// are not declared. An absent field gets its default, whatever its value was. The set is applied as a whole or not at
/// all: one invalid entry refuses the whole set, and the error names it (`reservations[3].cron`). The body is JSON, or
/// TOML with `Content-Type: application/toml`; up to 16 MiB.
#[utoipa::path(put, path = "/api/v1/apply", tag = "Declared set", security(("bearer" = ["manage"])),
    params(
        ("dry_run" = Option<bool>, Query, description = "only report what would be done"),
        ("prune" = Option<bool>, Query, description = "check out reservations that are not declared, in the caller's apps"),
        ("app" = Option<String>, Query, description = "the set is that of this app: entries and `prune` are about it alone"),
    ),
    request_body(content((DeclaredDocument = "application/json", example = json!({"reservations": [{"app": "shop",
        "component": "backup", "frequency": 1, "time_units": "hours", "grace": "10m"}]})), (DeclaredDocument = "application/toml"))),
    responses((status = 200, description = "what was done, or would be", body = AppliedSet)))]
pub(crate) async fn apply(
    app_state: Data<AppState>,
    caller: Caller,
    request: HttpRequest,
    body: LargeBody,
) -> Answer {
    let asked = ReadQuery::of(&request, &["dry_run", "prune", "app"])?;
    let dry_run = asked.flag("dry_run")?.unwrap_or_default();
    let prune = asked.flag("prune")?.unwrap_or_default();
    let app = named_app(&caller, asked.text("app"))?;
    if dry_run && !caller.may(Permission::Read) {
        return Err(ApiError::Forbidden(
            "a dry run says what there is and writes nothing: it needs the scope read beside manage"
                .to_owned(),
        ));
    }
    let is_toml = names_toml(&request, header::CONTENT_TYPE);
    let (asker, shared) = (caller.clone(), app_state.clone());
    let (applied, warnings) = ask(&app_state, &caller, move |store, now| {
        // Parsing takes place on this thread, where it delays no other request: the body may have 16 MiB.
        let document: DeclaredDocument =
            if is_toml { reading::toml(&body.0) } else { reading::json(&body.0) }?;
        if prune && app.is_none() && document.reservations.is_empty() {
            let problem =
                "is empty, and prune would check everything out; name the app to be emptied with app=";
            return Err(Invalid::new("reservations", problem).into());
        }
        let spec = declared(document, store, &shared, &asker, app.as_ref())?;
        let is_meant = |of: &AppName| match &app {
            Some(app) => app == of,
            None => asker.covers(of).is_ok(),
        };
        let applied = store.apply(&spec, prune.then_some(&is_meant), dry_run, now)?;
        let mut dead_ends = dead_ends_of(&shared, &spec);
        if !dead_ends.is_empty() {
            // The alerters that the sweepers publish now; if the database is unavailable, those that are known.
            if let Err(error) = shared.known_ways.refresh(&shared.store) {
                log::debug!("the sweepers' alerters cannot be read: {error}");
            }
            dead_ends = self::dead_ends_of(&shared, &spec);
        }
        let warnings =
            dead_ends.iter().take(MOST_WARNINGS).map(|(name, dead_ends)| line(name, dead_ends)).collect();
        if !dry_run {
            let changed = applied.changed.iter().map(|changed| &changed.reservation);
            let touched: HashSet<String> = applied
                .created
                .iter()
                .chain(changed)
                .map(|named| format!("{}/{}", named.app, named.component))
                .collect();
            shared
                .dead_end_reporter
                .report_all(dead_ends.into_iter().filter(|(name, _)| touched.contains(name)));
        }
        Ok((applied, warnings))
    })
    .await?;
    app_state.look_again();
    Ok(HttpResponse::Ok().json(AppliedSet::of(applied, dry_run, warnings, caller.may(Permission::Read))))
}

/// The specs of the entries. The error names the first invalid entry. An entry may name an alerter that no longer
/// exists if the reservation named it before.
fn declared(
    document: DeclaredDocument,
    store: &Store,
    app_state: &AppState,
    caller: &Caller,
    app: Option<&AppName>,
) -> Result<Vec<Spec>, ApiError> {
    let mut all = Vec::with_capacity(document.reservations.len());
    let mut places: HashMap<(String, String), usize> = HashMap::new();
    let known = app_state.alerter_names();
    let gone = document.reservations.iter().filter(|entry| entry.names_other_than(&known));
    let mut named_before = store.alerters_named(&gone.map(|entry| entry.app.as_str()).collect())?;
    for (place, entry) in document.reservations.into_iter().enumerate() {
        let at = |invalid: Invalid| {
            let field = format!("reservations[{place}].{}", invalid.field);
            invalid.called(field)
        };
        let before = named_before.remove(&(entry.app.clone(), entry.component.clone()));
        let spec = match before {
            Some(before) => terms_knowing(entry, app_state, &[&known[..], &before].concat()),
            None => terms_knowing(entry, app_state, &known),
        };
        let spec = spec.map_err(at)?;
        if let Some(app) = app.filter(|app| **app != spec.app) {
            return Err(
                at(Invalid::new("app", format!("is {}, and this is the set of {app}", spec.app))).into()
            );
        }
        caller.covers(&spec.app).map_err(|error| match error {
            ApiError::Forbidden(text) => ApiError::Forbidden(format!("reservations[{place}].app: {text}")),
            other => other,
        })?;
        if let Some(first) = places.insert((spec.app.to_string(), spec.component.to_string()), place) {
            let problem = format!("{}/{} is in reservations[{first}] already", spec.app, spec.component);
            return Err(at(Invalid::new("component", problem)).into());
        }
        all.push(spec);
    }
    Ok(all)
}

/// Apply a declared set, by `POST`
///
/// The same as with `PUT`, for clients that have no `PUT`.
#[utoipa::path(post, path = "/api/v1/apply", tag = "Declared set", security(("bearer" = ["manage"])),
    params(
        ("dry_run" = Option<bool>, Query, description = "only report what would be done"),
        ("prune" = Option<bool>, Query, description = "check out reservations that are not declared, in the caller's apps"),
        ("app" = Option<String>, Query, description = "the set is that of this app: entries and `prune` are about it alone"),
    ),
    request_body(content((DeclaredDocument = "application/json"), (DeclaredDocument = "application/toml"))),
    responses((status = 200, description = "what was done, or would be", body = AppliedSet)))]
#[allow(dead_code, reason = "describes the second method of a handler")]
pub(crate) fn apply_by_post() {}

/// Export a declared set
///
/// Returns the reservations of the caller's apps in the form that `apply` takes, ordered by app and component. Applying
/// the export changes nothing. The answer is JSON, or TOML with `Accept: application/toml`.
#[utoipa::path(get, path = "/api/v1/export", tag = "Declared set", security(("bearer" = ["read"])),
    params(("app" = Option<String>, Query, description = "only this app")),
    responses((status = 200, description = "the set", content((DeclaredDocument = "application/json"), (DeclaredDocument = "application/toml")))))]
pub(crate) async fn export(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    let asked = ReadQuery::of(&request, &["app"])?;
    let app = named_app(&caller, asked.text("app"))?;
    let is_toml = names_toml(&request, header::ACCEPT);
    let (store, asker, now) = (app_state.store.clone(), caller.clone(), app_state.clock.now());
    let apps = app.map(|app| vec![app.to_string()]).or_else(|| caller.apps());
    let write = move |spool: &mut ListSpool| {
        let mut count = 0;
        store.snapshot(now, |snapshot| {
            snapshot.by_name(apps.as_deref(), |spec| {
                if asker.covers(&spec.app).is_err() {
                    return Ok(());
                }
                spool.text(&entry(ReservationDocument::of(&spec), is_toml, count)?)?;
                count += 1;
                Ok::<_, ApiError>(())
            })
        })?;
        spool.text(if is_toml { "" } else { "]}" })?;
        Ok(count)
    };
    let (list, count) = app_state.spools.make(write).await?;
    Ok(match (is_toml, count) {
        (true, 0) => list.answer(TOML, "reservations = []\n".to_owned()),
        (true, _) => list.answer(TOML, String::new()),
        (false, _) => list.answer(JSON, r#"{"reservations":["#.to_owned()),
    })
}

/// The content type of a set in TOML.
const TOML: &str = "application/toml; charset=utf-8";

/// One more entry of a set that has `before` entries already.
fn entry(document: ReservationDocument, is_toml: bool, before: usize) -> Result<String, ApiError> {
    let between = match (before, is_toml) {
        (0, _) => "",
        (_, true) => "\n",
        (_, false) => ",",
    };
    let text = if is_toml {
        toml::to_string(&DeclaredDocument { reservations: vec![document] }).map_err(ApiError::internal)?
    } else {
        serde_json::to_string(&document).map_err(ApiError::internal)?
    };
    Ok(format!("{between}{text}"))
}

fn names_toml(request: &HttpRequest, header: header::HeaderName) -> bool {
    let value = request.headers().get(header).and_then(|value| value.to_str().ok());
    value.is_some_and(|value| value.to_ascii_lowercase().contains("application/toml"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_is_written_entry_by_entry_is_the_same_to_the_byte() {
        let set = r#"{"reservations":[
            {"app":"a","component":"b","owner":"o \"\n","tags":["x"],"cron":"* * * * *","time_zone":"UTC","grace":"1m"},
            {"app":"é","component":"c","frequency":1,"time_units":"hours","notify":["log"],"is_site":true},
            {"app":"z","component":"[d]"}]}"#;
        let read = || serde_json::from_str::<DeclaredDocument>(set).unwrap();
        let written = |is_toml| {
            let entries = read().reservations.into_iter().enumerate();
            entries.map(|(place, one)| entry(one, is_toml, place).unwrap()).collect::<String>()
        };
        assert_eq!(written(true), toml::to_string(&read()).unwrap());
        let json = format!("{{\"reservations\":[{}]}}", written(false));
        assert_eq!(json, serde_json::to_string(&read()).unwrap());
    }
}
