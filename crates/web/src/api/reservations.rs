//! Single reservations.

use actix_web::http::header::{self, HeaderMap};
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use innkeeper_core::access::Permission;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::names::one_line;
use innkeeper_core::reservation::{Patch, Spec};
use innkeeper_core::schedule::KINDS;
use innkeeper_core::sla::State;
use innkeeper_core::{Invalid, Time};
use innkeeper_http::{ApiError, Body, Caller};
use innkeeper_store::{ActingStore, ChangeOutcome, Filter, ListCursor, Store, Undelivered};
use serde_json::{Map, Value};

use super::document::{ReservationDocument, changed_terms, etag, spec};
use super::reading::{self, ReadQuery};
use super::shown::{Changeable, Reservation, Reservations};
use super::{ask, named_app, no_reservation, visible};
use crate::AppState;

type Answer = Result<HttpResponse, ApiError>;

/// How often a change is retried when another change is made at the same time.
const TRIES: usize = 3;

/// List reservations
///
/// Returns one page: reservations with an open alert first, then by app and component. A token that is limited to apps
/// gets those of its apps.
#[utoipa::path(get, path = "/api/v1/reservations", tag = "Reservations", security(("bearer" = ["read"])),
    params(
        ("q" = Option<String>, Query, description = "a part of app or component, whatever its case"),
        ("app" = Option<String>, Query, description = "only this app"),
        ("tag" = Option<String>, Query, description = "with this tag"),
        ("owner" = Option<String>, Query, description = "only this owner"),
        ("state" = Option<String>, Query, description = "in this state: `down`, `overdue`, `held`, `unobserved`, `late`, `running`, `new`, `snoozed`, `up`; \
            by name then, and a page may be short and yet have a `next`"),
        ("limit" = Option<i64>, Query, description = "1 to 200; 50 if it is absent"),
        ("cursor" = Option<String>, Query, description = "`next` of the page before"),
    ),
    responses((status = 200, description = "a page", body = Reservations)))]
pub(crate) async fn list(app_state: Data<AppState>, caller: Caller, request: HttpRequest) -> Answer {
    let asked = ReadQuery::of(&request, &LISTED_BY)?;
    let state = asked.text("state").map(|word| State::parse("state", word)).transpose()?;
    let cursor = match asked.text("cursor") {
        Some(text) => read_cursor(text)?,
        // Reservations in the same state have the same severity, so they are ordered by name.
        None if state.is_some() => ListCursor::name(),
        None => ListCursor::worst(),
    };
    let limit = asked.limit()?;
    let text = |name| asked.text(name).map(str::to_owned);
    let filter = Filter {
        text: text("q"),
        app: named_app(&caller, asked.text("app"))?.map(|app| app.to_string()),
        tag: text("tag"),
        owner: text("owner"),
        state,
        apps: caller.apps(),
    };
    let (page, undelivered, now) = ask(&app_state, &caller, move |store, now| {
        let page = store.page(&filter, &cursor, limit, now)?;
        let ids: Vec<i64> = page.listed.iter().map(|one| one.reservation.id).collect();
        let undelivered = store.undelivered(&ids, now)?;
        Ok((page, undelivered, now))
    })
    .await?;
    let shown =
        |one: &Assessed| Reservation::of(one, undelivered.get(&one.reservation.id), &app_state, &caller, now);
    let next = page.next.as_ref().map(write_cursor).transpose().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok().json(Reservations { reservations: page.listed.iter().map(shown).collect(), next }))
}

/// The parameters of a list.
pub(crate) const LISTED_BY: [&str; 7] = ["q", "app", "tag", "owner", "state", "limit", "cursor"];

pub(crate) fn write_cursor(cursor: &ListCursor) -> serde_json::Result<String> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor)?))
}

pub(crate) fn read_cursor(text: &str) -> Result<ListCursor, Invalid> {
    let wrong = || Invalid::new("cursor", "is not a value that an answer gave as `next`");
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|_| wrong())?;
    let value: Value = serde_json::from_slice(&json).map_err(|_| wrong())?;
    let cursor = serde_json::from_value(value).map_err(|_| wrong())?;
    if let ListCursor::Worst { app, component, .. } | ListCursor::Name { app, component } = &cursor {
        // PostgreSQL accepts no NUL in a text.
        [app, component].into_iter().try_for_each(|text| one_line("cursor", text, 500))?;
    }
    Ok(cursor)
}

/// Make a reservation
///
/// Its pair of `app` and `component` must be new.
#[utoipa::path(post, path = "/api/v1/reservations", tag = "Reservations", security(("bearer" = ["manage"])),
    request_body(content = ReservationDocument, example = json!({"app": "shop", "component": "backup",
        "cron": "0 2 * * *", "time_zone": "Europe/Berlin", "grace": "30m", "notify": ["log"]})),
    responses(
        (status = 201, description = "it is made; `Location` and `ETag` say where and how it is", body = Changeable),
        (status = 409, description = "a reservation with these names exists"),
    ))]
pub(crate) async fn create(app_state: Data<AppState>, caller: Caller, Body(body): Body) -> Answer {
    let spec = spec(reading::json(&body)?, &app_state)?;
    caller.covers(&spec.app)?;
    let name = format!("{}/{}", spec.app, spec.component);
    let standing = ask(&app_state, &caller, move |store, now| {
        let id = store.create(spec, now)?.ok_or_else(|| {
            ApiError::Conflict(format!("there is a reservation {name} already; change it with PATCH"))
        })?;
        ShownReservation::of(store, store.listed(id, now)?.ok_or_else(|| no_reservation(id))?, now)
    })
    .await?;
    app_state.look_again();
    app_state.report(&standing.assessed.reservation.spec);
    let location = format!("/api/v1/reservations/{}", standing.assessed.reservation.id);
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, location));
    Ok(answer(&mut response, &app_state, &caller, &standing))
}

/// Look at a reservation
#[utoipa::path(get, path = "/api/v1/reservations/{id}", tag = "Reservations", security(("bearer" = ["read"])),
    params(("id" = i64, Path, description = "its number")),
    responses((status = 200, description = "the reservation, with its `ETag`", body = Reservation)))]
pub(crate) async fn look(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let asker = caller.clone();
    let look =
        move |store: &ActingStore, now| ShownReservation::of(store, visible(store, &asker, *id, now)?, now);
    Ok(answer(&mut HttpResponse::Ok(), &app_state, &caller, &ask(&app_state, &caller, look).await?))
}

/// Change a reservation
///
/// Takes a JSON merge patch (RFC 7396): its fields are changed, and `null` gives a field its default. Another kind of
/// schedule (`frequency`, `cron`, `calendar`) replaces the former one. `app` and `component` cannot be changed.
/// `If-Match` must be the `ETag` that the change is based on, or `*` for any.
#[utoipa::path(patch, path = "/api/v1/reservations/{id}", tag = "Reservations", security(("bearer" = ["manage"])),
    params(
        ("id" = i64, Path, description = "its number"),
        ("If-Match" = String, Header, description = "the `ETag` of what is changed, or `*`"),
    ),
    request_body(content = ref("#/components/schemas/ReservationPatch"), content_type = "application/merge-patch+json",
        example = json!({"grace": "10m", "owner": null})),
    responses(
        (status = 200, description = "as it is now", body = Changeable),
        (status = 412, description = "somebody else changed it since"),
        (status = 428, description = "`If-Match` is missing"),
    ))]
pub(crate) async fn change(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    request: HttpRequest,
    Body(body): Body,
) -> Answer {
    let matching = Matching::of(request.headers())?;
    let patch: Map<String, Value> = reading::json(&body)?;
    let (asker, shared, id) = (caller.clone(), app_state.clone(), id.into_inner());
    let standing = ask(&app_state, &caller, move |store, now| {
        for _ in 0..TRIES {
            let before = visible(store, &asker, id, now)?.reservation.spec;
            if !matching.takes(&before) {
                return Err(outdated());
            }
            let after = patched(&before, patch.clone(), &shared)?;
            // The change applies to the spec that was read, even if `If-Match` is `*`.
            match store.change(id, &Patch::for_all_of(after), &|spec| *spec == before, now)? {
                ChangeOutcome::Done => {
                    return ShownReservation::of(store, visible(store, &asker, id, now)?, now);
                }
                ChangeOutcome::Unknown => return Err(no_reservation(id)),
                ChangeOutcome::Outdated => {}
            }
        }
        Err(ApiError::Unavailable { retry_after_s: 1 })
    })
    .await?;
    app_state.look_again();
    app_state.report(&standing.assessed.reservation.spec);
    Ok(answer(&mut HttpResponse::Ok(), &app_state, &caller, &standing))
}

/// The spec after a merge patch of its document.
fn patched(before: &Spec, patch: Map<String, Value>, app_state: &AppState) -> Result<Spec, ApiError> {
    let document = serde_json::to_value(ReservationDocument::of(before)).map_err(ApiError::internal)?;
    let Value::Object(mut fields) = document else {
        return Err(ApiError::internal("a document is an object"));
    };
    let wishes_for = |field: &str| patch.get(field).is_some_and(|value| !value.is_null());
    // Another kind of schedule replaces the former one. Two kinds in one patch are refused below.
    let (wished, others): (Vec<_>, Vec<_>) =
        KINDS.into_iter().partition(|(_, said_by)| wishes_for(said_by[0]));
    if !wished.is_empty() {
        fields.retain(|field, _| !others.iter().any(|(_, said_by)| said_by.contains(&field.as_str())));
        if wished == [KINDS[0]] {
            fields.remove("time_zone");
        }
    }
    for (field, value) in patch {
        if (field == "app" || field == "component") && fields.get(&field) != Some(&value) {
            return Err(Invalid::new(field, "cannot be changed; make another reservation").into());
        }
        match value {
            Value::Null => drop(fields.remove(&field)),
            value => drop(fields.insert(field, value)),
        }
    }
    let document: ReservationDocument = reading::value(Value::Object(fields))?;
    // A recipient that can no longer be reached does not prevent other changes; the answer contains a warning.
    Ok(changed_terms(document, app_state, before)?.in_words_of(before))
}

/// Check a reservation out
///
/// Removes the reservation. Its open alert closes, and everybody who got the alert gets a message. For a day this can
/// be undone with `undo-checkout`.
#[utoipa::path(delete, path = "/api/v1/reservations/{id}", tag = "Reservations", security(("bearer" = ["manage"])),
    params(("id" = i64, Path, description = "its number")),
    responses((status = 204, description = "it is checked out")))]
pub(crate) async fn check_out(app_state: Data<AppState>, caller: Caller, id: Path<i64>) -> Answer {
    let (asker, id) = (caller.clone(), id.into_inner());
    ask(&app_state, &caller, move |store, now| {
        visible(store, &asker, id, now)?;
        if store.check_out_by_id(id, now)? { Ok(()) } else { Err(no_reservation(id)) }
    })
    .await?;
    app_state.look_again();
    Ok(HttpResponse::NoContent().finish())
}

/// The value of `If-Match`.
enum Matching {
    Any,
    These(Vec<String>),
}

impl Matching {
    fn of(headers: &HeaderMap) -> Result<Self, ApiError> {
        let values: Vec<&str> = headers
            .get_all(header::IF_MATCH)
            .map(|value| value.to_str())
            .collect::<Result<_, _>>()
            .map_err(|_| Invalid::new("If-Match", "is not an ETag"))?;
        if values.is_empty() {
            return Err(ApiError::NeedsVersion(
                "If-Match is missing; give the ETag of what you change, or * for whatever it is".to_owned(),
            ));
        }
        let tags: Vec<String> =
            values.iter().flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect();
        Ok(if tags.iter().any(|tag| tag == "*") { Self::Any } else { Self::These(tags) })
    }

    fn takes(&self, spec: &Spec) -> bool {
        match self {
            Self::Any => true,
            Self::These(tags) => tags.contains(&etag(spec)),
        }
    }
}

fn outdated() -> ApiError {
    ApiError::Outdated("it was changed meanwhile; read it again, and then change it".to_owned())
}

/// A reservation as an answer shows it.
pub(crate) struct ShownReservation {
    pub assessed: Assessed,
    undelivered: Option<Undelivered>,
    now: Time,
}

impl ShownReservation {
    /// Adds warnings about its messages that are not delivered.
    pub fn of(store: &Store, assessed: Assessed, now: Time) -> Result<Self, ApiError> {
        let id = assessed.reservation.id;
        Ok(Self { undelivered: store.undelivered(&[id], now)?.remove(&id), assessed, now })
    }
}

/// The answer with the reservation's current state and its `ETag`. A caller without `read` gets only its identity.
pub(crate) fn answer(
    response: &mut HttpResponseBuilder,
    app_state: &AppState,
    caller: &Caller,
    standing: &ShownReservation,
) -> HttpResponse {
    let ShownReservation { assessed, undelivered, now } = standing;
    let reservation = Reservation::of(assessed, undelivered.as_ref(), app_state, caller, *now);
    response.insert_header((header::ETAG, reservation.etag()));
    response.json(Changeable::of(reservation, assessed, caller.may(Permission::Read)))
}
