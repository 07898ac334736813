//! The OpenAPI 3.1 description of every route, made from the handlers of this API and the descriptions of the
//! protocols.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::Data;
use innkeeper_http::ApiError;
use innkeeper_ingest_routes::reports;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Schema;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{Components, Content, OpenApi as Document, Ref, RefOr, ResponseBuilder};
use utoipa::{Modify, OpenApi, ToSchema};

use crate::AppState;

use super::{declared, described, document, duties, figures, history, instance, reservations, rest, tokens};

/// The description as JSON.
pub(crate) static TEXT: LazyLock<String> =
    LazyLock::new(|| Described::openapi().to_json().unwrap_or_default());

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Innkeeper",
        version = env!("CARGO_PKG_VERSION"),
        description = "Watches jobs that are supposed to check in. The paths under `/api/v1` manage it; the others are the protocols of jobs, and of \
            those who run it. Where `auth` is `open` no token is asked for. Otherwise each operation names the scope that a token must have; users have \
            theirs by their role. Instants are RFC 3339, durations texts like `5m`.",
    ),
    paths(
        instance::me,
        reservations::list,
        reservations::create,
        reservations::look,
        reservations::change,
        reservations::check_out,
        rest::undo_checkout,
        rest::snooze,
        rest::resume,
        declared::apply,
        declared::apply_by_post,
        declared::export,
        figures::figures,
        figures::accept,
        history::checkins,
        history::alerts_of,
        history::alerts,
        history::deliveries,
        history::retry,
        tokens::list,
        tokens::create,
        tokens::remove,
        tokens::confirm,
        duties::snooze,
        duties::resume,
        instance::summary,
        instance::audit,
        reports::by_names,
        reports::by_key,
        openapi,
    ),
    components(schemas(Problem, document::ReservationDocument)),
    modifiers(&Protocols, &PatchBodies, &Problems, &Bearer),
    tags(
        (name = "Reservations", description = "Single reservations."),
        (name = "Declared set", description = "All reservations as one document, for example from a repository."),
        (name = "History", description = "Check-ins, alerts and messages."),
        (name = "Tokens", description = "The tokens with which programs identify themselves."),
        (name = "Instance", description = "The installation itself."),
        (name = "Agent", description = "Reports of `innkeeper-agent`, and of other clients that keep reports while the server is away."),
        (name = "GoTel", description = "Reservations and check-ins as GoTel's clients send them."),
        (name = "gocron", description = "Check-ins that contain their reservation."),
        (name = "Healthchecks", description = "Pings at an address that belongs to one reservation."),
        (name = "Watching", description = "Monitoring of Innkeeper itself."),
    ),
)]
struct Described;

/// An error (RFC 9457).
#[derive(Serialize, ToSchema)]
#[allow(dead_code, reason = "describes what the routes make of an error")]
pub(crate) struct Problem {
    /// Always `about:blank`: the status says what kind of error it is.
    r#type: String,
    /// The status in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What was wrong, and what is allowed.
    detail: String,
    /// The field that is at fault: `grace`, `reservations[3].cron`, `body`.
    field: Option<String>,
}

/// Read this description
#[utoipa::path(get, path = "/api/v1/openapi.json", tag = "Instance",
    responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json")))]
pub(crate) async fn openapi(app_state: Data<AppState>) -> Result<HttpResponse, ApiError> {
    let mut document: Value = serde_json::from_str(&TEXT).map_err(ApiError::internal)?;
    // If no public address is configured, the server's address is that of this document.
    if let Some(url) = &app_state.given_url {
        document["servers"] = json!([{ "url": url }]);
    }
    Ok(HttpResponse::Ok().json(document))
}

struct Protocols;

impl Modify for Protocols {
    fn modify(&self, document: &mut Document) {
        described::describe(&mut document.paths);
    }
}

/// Describes the merge patch: the document with no required fields.
struct PatchBodies;

impl Modify for PatchBodies {
    fn modify(&self, document: &mut Document) {
        let Some(components) = &mut document.components else { return };
        let Some(RefOr::T(Schema::Object(whole))) = components.schemas.get_mut("ReservationDocument") else {
            return;
        };
        let mut patch = whole.clone();
        // The answer about a reservation has these fields and further ones.
        whole.additional_properties = None;
        patch.required.clear();
        patch.description =
            Some("Fields of a reservation that are to change; `null` gives a field its default.".to_owned());
        components.schemas.insert("ReservationPatch".to_owned(), RefOr::T(Schema::Object(patch)));
    }
}

/// Adds the problem answer to each operation of this API.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut Document) {
        for (path, item) in &mut document.paths.paths {
            if !path.starts_with("/api/") {
                continue;
            }
            let operations: [&mut Option<Operation>; 5] =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let content = Content::new(Some(RefOr::Ref(Ref::from_schema_name("Problem"))));
                let problem = ResponseBuilder::new()
                    .description("a problem: `400` names the field, `401` who calls is not known, `403` they may not (nor may a \
                        session whose user has yet to set up a second factor), `404` there is no such thing, `413` too large, `503` the database is away (`Retry-After`)")
                    .content("application/problem+json", content);
                operation.responses.responses.insert("default".to_owned(), problem.build().into());
            }
        }
    }
}

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token. Each operation names the scope it needs: `checkin`, `read`, `manage`; `admin` is a role of users alone."));
        document
            .components
            .get_or_insert_with(Components::new)
            .add_security_scheme("bearer", SecurityScheme::Http(bearer.build()));
    }
}
