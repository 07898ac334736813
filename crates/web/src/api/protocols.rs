//! The table of what is no part of this API: the protocols of jobs, and what those who run Innkeeper ask.

use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Paths, RefOr, Required, ResponseBuilder};

/// A route: method, path, tag, scopes that do (an empty one for none), what it does.
struct Route {
    get: bool,
    path: &'static str,
    tag: &'static str,
    scopes: &'static [&'static str],
    summary: &'static str,
}

const fn get(
    path: &'static str,
    tag: &'static str,
    scopes: &'static [&'static str],
    summary: &'static str,
) -> Route {
    Route { get: true, path, tag, scopes, summary }
}

const fn post(
    path: &'static str,
    tag: &'static str,
    scopes: &'static [&'static str],
    summary: &'static str,
) -> Route {
    Route { get: false, path, tag, scopes, summary }
}

const ROUTES: [Route; 20] = [
    get(
        "/",
        "gocron",
        &["", "manage"],
        "With a query: check in, and make or change the reservation; without one: are you there?",
    ),
    post("/", "gocron", &["manage"], "Check in, and make or change the reservation"),
    get("/cron", "gocron", &["read"], "List all reservations"),
    get("/cron/missed", "gocron", &["read"], "List what is overdue"),
    get("/cron/{account}", "gocron", &["read"], "List the reservations of an account"),
    get("/reservation", "GoTel", &["read"], "List all reservations, latest check-in first"),
    post(
        "/reservation",
        "GoTel",
        &["manage"],
        "Make a reservation, or change the fields that are given; no others are taken",
    ),
    post("/checkin", "GoTel", &["checkin"], "Check in; 2xx means that it is committed"),
    post("/snooze", "GoTel", &["manage"], "Let nothing alert for a while"),
    post("/pause", "GoTel", &["manage"], "The same as /snooze"),
    post("/checkout", "GoTel", &["manage"], "Remove a reservation"),
    get("/healthcheck", "Watching", &[""], "Ask whether the database answers"),
    get("/version", "Watching", &[""], "Ask for the versions of Innkeeper and its database"),
    get("/healthz", "Watching", &[""], "Ask whether the process is alive"),
    get("/readyz", "Watching", &[""], "Ask whether it can do its work"),
    get("/metrics", "Watching", &["read"], "Metrics for Prometheus"),
    get("/nodes", "Watching", &["read"], "List the processes of this installation"),
    get("/api/v1/nodes", "House", &["read"], "List the processes of this installation"),
    get("/is-coordinator", "Watching", &[""], "Ask whether this process does what only one may do"),
    get("/peer", "Watching", &[""], "Ask, as another installation, how this one is"),
];

/// The forms of a ping address.
const PINGS: [(&str, &str); 12] = [
    ("/ping/{first}", "by the key of a reservation"),
    ("/ping/{first}/", "by the key of a reservation"),
    ("/ping/{first}/{second}", "by a key and what happened, or by the app's ping key and a slug"),
    ("/ping/{first}/{second}/", "by a key and what happened, or by the app's ping key and a slug"),
    ("/ping/{first}/{second}/{third}", "by the app's ping key, a slug, and what happened"),
    ("/ping/{first}/{second}/{third}/", "by the app's ping key, a slug, and what happened"),
    ("/{first}", "by the key of a reservation, without /ping"),
    ("/{first}/", "by the key of a reservation, without /ping"),
    ("/{first}/{second}", "by a key and what happened, or by the app's ping key and a slug, without /ping"),
    ("/{first}/{second}/", "by a key and what happened, or by the app's ping key and a slug, without /ping"),
    ("/{first}/{second}/{third}", "by the app's ping key, a slug, and what happened, without /ping"),
    ("/{first}/{second}/{third}/", "by the app's ping key, a slug, and what happened, without /ping"),
];

/// Adds all of them.
pub(crate) fn describe(paths: &mut Paths) {
    for route in &ROUTES {
        let method = if route.get { HttpMethod::Get } else { HttpMethod::Post };
        paths.add_path_operation(route.path, vec![method], operation(route));
    }
    for (path, summary) in PINGS {
        for method in [HttpMethod::Get, HttpMethod::Post, HttpMethod::Put] {
            let operation = ping(path, &format!("Ping {summary}"));
            paths.add_path_operation(path, vec![method], operation);
        }
    }
}

fn operation(route: &Route) -> Operation {
    let mut operation = OperationBuilder::new().tag(route.tag).summary(Some(route.summary));
    if route.scopes != [""] {
        operation = operation.securities(Some(route.scopes.iter().map(|scope| match *scope {
            "" => SecurityRequirement::default(),
            scope => SecurityRequirement::new("bearer", [scope]),
        })));
    }
    if route.path == "/cron/{account}" {
        operation = operation.parameter(text("account", ParameterIn::Path, true, "the app", "shop"));
    }
    if route.path == "/" && route.get {
        for (name, description, example) in [
            ("cronname", "the component", "backup"),
            ("account", "the app", "shop"),
            ("email", "who hears of it, with commas; any text is taken", "ops@example.org"),
            ("frequency", "a check-in every so many seconds", "300"),
            ("site", "1 for an Internet gateway", "0"),
        ] {
            operation = operation.parameter(text(name, ParameterIn::Query, false, description, example));
        }
    }
    if !route.get {
        operation = operation.request_body(Some(body(route.path)));
    }
    let answer = match (route.path, route.get) {
        ("/", _) => ("201", "checked in (with a query or a body); `200` without"),
        ("/is-coordinator", _) => ("200", "`true` or `false`"),
        ("/healthz" | "/readyz" | "/metrics", _) => ("200", "text"),
        ("/reservation", false) => ("200", "`\"OK\"`"),
        _ => ("200", "JSON"),
    };
    operation = operation.response(answer.0, ResponseBuilder::new().description(answer.1));
    if route.path.starts_with("/api/") {
        return operation.build();
    }
    let failed = ResponseBuilder::new().description(
        "`{\"success\":false,\"message\":\"…\",\"field\":\"…\"}` with an honest status: `400` names the field, `404`, `413` over 64 KiB, \
         `503` with `Retry-After` while the database is away",
    );
    operation.response("default", failed).build()
}

/// The fields of each body, as `name`, type, whether it must be there, and an example of the whole.
fn body(path: &str) -> utoipa::openapi::request_body::RequestBody {
    let names = [("app", Type::String, true), ("component", Type::String, true)];
    let (fields, example): (Vec<(&str, Type, bool)>, Value) = match path {
        "/" => (
            vec![
                ("cronname", Type::String, true),
                ("account", Type::String, true),
                ("email", Type::String, true),
                ("frequency", Type::Integer, true),
                ("site", Type::Boolean, false),
            ],
            json!({ "cronname": "backup", "account": "shop", "email": "ops@example.org", "frequency": 300 }),
        ),
        "/checkin" => (
            [&names[..], &[("notes", Type::String, false)]].concat(),
            json!({ "app": "shop", "component": "backup" }),
        ),
        "/snooze" | "/pause" => (
            [&names[..], &[("duration", Type::Integer, true), ("time_units", Type::String, true)]].concat(),
            json!({ "app": "shop", "component": "backup", "duration": 2, "time_units": "hours" }),
        ),
        "/checkout" => (names.to_vec(), json!({ "app": "shop", "component": "backup" })),
        _ => (
            [
                &names[..],
                &[
                    ("frequency", Type::Integer, false),
                    ("time_units", Type::String, false),
                    ("cron", Type::String, false),
                    ("calendar", Type::String, false),
                    ("time_zone", Type::String, false),
                    ("grace", Type::String, false),
                    ("notify", Type::String, false),
                    ("alerters", Type::Array, false),
                    ("slug", Type::String, false),
                    ("owner", Type::String, false),
                    ("description", Type::String, false),
                    ("tags", Type::Array, false),
                    ("alert_msg", Type::String, false),
                    ("alert_subject", Type::String, false),
                    ("recovery_msg", Type::String, false),
                    ("runbook", Type::String, false),
                    ("alert_after", Type::Integer, false),
                    ("remind_every", Type::String, false),
                    ("notify_recovery", Type::Boolean, false),
                    ("max_run", Type::String, false),
                    ("min_run", Type::String, false),
                    ("is_site", Type::Boolean, false),
                ],
            ]
            .concat(),
            json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours", "notify": "" }),
        ),
    };
    let mut object = ObjectBuilder::new();
    for (name, of, required) in fields {
        object = object.property(name, schema(of));
        if required {
            object = object.required(name);
        }
    }
    let content = ContentBuilder::new().schema(Some(object)).example(Some(example));
    RequestBodyBuilder::new()
        .content("application/json", content.build())
        .required(Some(Required::True))
        .build()
}

fn ping(path: &str, summary: &str) -> Operation {
    let mut operation = OperationBuilder::new().tag("Healthchecks").summary(Some(summary)).description(Some(
        "What happened is `start`, `fail`, `log`, an exit status from `0` to `255`, or what systemd says of a unit that failed (`TERM`, `timeout`); \
         without it, a success. `state` in the query wins over it. Of a body, however long, the beginning and the end are kept, 10,000 bytes in \
         all; of one that is slow, stands still or is cut off, what came of it. A success whose body has no length before it \
         (a stream) and breaks off is kept as output, and answered 400.",
    ));
    for (name, description, example) in [
        (
            "first",
            "the key of the reservation (a UUID), or the app's ping key",
            "018d2c4e-0000-4000-8000-000000000000",
        ),
        ("second", "the slug, or what happened", "start"),
        ("third", "what happened", "0"),
    ] {
        if path.contains(&format!("{{{name}}}")) {
            operation = operation.parameter(text(name, ParameterIn::Path, true, description, example));
        }
    }
    operation
        .parameter(text("rid", ParameterIn::Query, false, "a UUID that pairs a start with its end", ""))
        .parameter(text(
            "state",
            ParameterIn::Query,
            false,
            "what happened; also `run`, `complete` and `ok`",
            "",
        ))
        .parameter(text("create", ParameterIn::Query, false, "1 makes the reservation of a slug", ""))
        .response("200", ResponseBuilder::new().description("`OK`; `201` when it made its reservation"))
        .response("default", ResponseBuilder::new().description("the reason in plain words"))
        .build()
}

fn schema(of: Type) -> RefOr<Schema> {
    let single = |of| ObjectBuilder::new().schema_type(SchemaType::new(of)).build();
    RefOr::T(match of {
        Type::Array => Schema::Array(ArrayBuilder::new().items(single(Type::String)).build()),
        of => Schema::Object(single(of)),
    })
}

fn text(name: &str, place: ParameterIn, required: bool, description: &str, example: &str) -> Parameter {
    let mut parameter = ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(if required { Required::True } else { Required::False })
        .description(Some(description))
        .schema(Some(schema(Type::String)));
    if !example.is_empty() {
        parameter = parameter.example(Some(json!(example)));
    }
    parameter.build()
}
