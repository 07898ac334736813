//! The OpenAPI description of the routes outside this API: the protocols of jobs, and the routes for operators. The
//! texts are beside the handlers; for `ingest` they are in `innkeeper_ingest_routes`.

use innkeeper_core::access::Permission;
use innkeeper_http::description::{
    DescribedBody, Description, FieldKind, Method, Parameter as Part, ParameterPlace,
};
use innkeeper_http::status_routes;
use serde_json::{Value, json};
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn,
};
use utoipa::openapi::request_body::{RequestBody, RequestBodyBuilder};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::SecurityRequirement;
use utoipa::openapi::{ContentBuilder, Paths, RefOr, Required, ResponseBuilder};

use crate::{gocron, gotel};

/// Adds the descriptions of all these routes.
pub(crate) fn describe(paths: &mut Paths) {
    let own = gotel::ROUTES.into_iter().chain(gocron::ROUTES).chain([super::NODES]);
    for route in innkeeper_ingest_routes::all().into_iter().chain(status_routes()).chain(own) {
        paths.add_path_operation(plain(route.path), vec![method(route.method)], operation(&route));
    }
}

fn method(method: Method) -> HttpMethod {
    match method {
        Method::Get => HttpMethod::Get,
        Method::Post => HttpMethod::Post,
        Method::Put => HttpMethod::Put,
    }
}

/// The path without patterns: `/{first:[0-9a-f]{36}}/x` becomes `/{first}/x`.
fn plain(pattern: &str) -> String {
    let (mut plain, mut depth, mut is_form) = (String::new(), 0, false);
    for c in pattern.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ':' if depth == 1 => is_form = true,
            _ => {}
        }
        is_form = is_form && depth > 0;
        if !is_form {
            plain.push(c);
        }
    }
    plain
}

fn operation(route: &Description) -> Operation {
    let mut operation = OperationBuilder::new().tag(route.group).summary(Some(route.summary));
    if !route.details.is_empty() {
        operation = operation.description(Some(route.details));
    }
    let permissions: Vec<Permission> = route.other_permission.into_iter().chain([route.permission]).collect();
    if permissions != [Permission::Nothing] {
        operation = operation.securities(Some(permissions.into_iter().map(requirement)));
    }
    for part in route.parameters {
        operation = operation.parameter(parameter(part));
    }
    if let Some(of) = &route.body {
        operation = operation.request_body(Some(body(of)));
    }
    let (status, what) = route.answer;
    operation = operation.response(status, ResponseBuilder::new().description(what));
    if !route.failure.is_empty() {
        operation = operation.response("default", ResponseBuilder::new().description(route.failure));
    }
    operation.build()
}

/// The scope that a token needs.
fn requirement(permission: Permission) -> SecurityRequirement {
    match permission {
        Permission::Nothing => SecurityRequirement::default(),
        Permission::Administer => SecurityRequirement::new("bearer", ["admin"]),
        _ => SecurityRequirement::new("bearer", permission.scope().map(|scope| scope.as_str())),
    }
}

fn body(of: &DescribedBody) -> RequestBody {
    let mut object = ObjectBuilder::new();
    for field in of.fields {
        object = object.property(field.name, schema(field.kind));
        if field.required {
            object = object.required(field.name);
        }
    }
    let example: Value = serde_json::from_str(of.example).unwrap_or_default();
    let content = ContentBuilder::new().schema(Some(object)).example(Some(example));
    RequestBodyBuilder::new()
        .content("application/json", content.build())
        .required(Some(Required::True))
        .build()
}

fn schema(of: FieldKind) -> RefOr<Schema> {
    let single = |of| ObjectBuilder::new().schema_type(SchemaType::new(of)).build();
    RefOr::T(match of {
        FieldKind::List => Schema::Array(ArrayBuilder::new().items(single(Type::String)).build()),
        FieldKind::Text => Schema::Object(single(Type::String)),
        FieldKind::Integer => Schema::Object(single(Type::Integer)),
        FieldKind::Boolean => Schema::Object(single(Type::Boolean)),
        FieldKind::Object => Schema::Object(single(Type::Object)),
    })
}

fn parameter(part: &Part) -> Parameter {
    let (place, required) = match part.place {
        ParameterPlace::Path => (ParameterIn::Path, Required::True),
        ParameterPlace::Query => (ParameterIn::Query, Required::False),
    };
    let mut parameter = ParameterBuilder::new()
        .name(part.name)
        .parameter_in(place)
        .required(required)
        .description(Some(part.description))
        .schema(Some(schema(FieldKind::Text)));
    if !part.example.is_empty() {
        parameter = parameter.example(Some(json!(part.example)));
    }
    parameter.build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_shown_without_the_form_of_its_parts() {
        for (pattern, shown) in [
            ("/", "/"),
            ("/cron/{account}", "/cron/{account}"),
            ("/{first:[0-9a-fA-F-]{36}}/{second}/", "/{first}/{second}/"),
        ] {
            assert_eq!(plain(pattern), shown);
        }
    }

    #[test]
    fn every_example_of_a_body_is_json_and_has_what_must_be_there() {
        let bodies: Vec<DescribedBody> =
            innkeeper_ingest_routes::all().iter().filter_map(|route| route.body).collect();
        assert!(bodies.len() > 5);
        for body in bodies {
            let example: Value = serde_json::from_str(body.example).unwrap();
            for field in body.fields.iter().filter(|field| field.required) {
                assert!(!example[field.name].is_null(), "{}: {}", field.name, body.example);
            }
            for name in example.as_object().unwrap().keys() {
                assert!(body.fields.iter().any(|field| field.name == name), "{name}: {}", body.example);
            }
        }
    }
}
