//! The page with the description of all routes, made from the OpenAPI document.

use std::sync::LazyLock;

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use innkeeper_http::curl::{ASK, CHECK_IN, TOKEN};
use innkeeper_http::{ApiError, Caller};
use serde_json::{Map, Value};

use super::frame::Frame;
use super::page as answer;
use crate::AppState;
use crate::api::openapi::TEXT;

#[derive(Template)]
#[template(path = "api.html")]
struct ApiPage<'a> {
    frame: Frame<'a>,
    about: &'a Prose,
    groups: &'a [Group],
    shapes: &'a [Shape],
}

/// A text in pieces. `true` marks those that were between backticks.
type Prose = Vec<(bool, String)>;

/// The operations of one tag.
struct Group {
    name: String,
    about: Prose,
    operations: Vec<Operation>,
}

struct Operation {
    id: String,
    method: String,
    path: String,
    summary: String,
    about: Vec<Prose>,
    scope: String,
    parameters: Vec<Field>,
    body_types: String,
    body: Vec<Field>,
    answers: Vec<DescribedAnswer>,
    before_url: String,
    after_url: String,
}

/// A parameter, or a field of a schema.
struct Field {
    name: String,
    place: String,
    kind: Kind,
    required: bool,
    about: Prose,
}

/// A type in words, and the schema that the words link to.
struct Kind {
    words: String,
    shape: Option<String>,
}

struct DescribedAnswer {
    status: String,
    about: Prose,
    shape: Option<String>,
}

struct Shape {
    name: String,
    about: Prose,
    fields: Vec<Field>,
}

struct Described {
    about: Prose,
    groups: Vec<Group>,
    shapes: Vec<Shape>,
}

static DESCRIBED: LazyLock<Described> =
    LazyLock::new(|| described(&serde_json::from_str(&TEXT).unwrap_or_default()));

/// The page.
pub async fn page(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let Described { about, groups, shapes } = &*DESCRIBED;
    answer(&ApiPage { frame: Frame::of(&app_state, &caller, "/api"), about, groups, shapes })
}

fn described(document: &Value) -> Described {
    let mut groups: Vec<Group> = list(&document["tags"])
        .map(|tag| Group {
            name: text(&tag["name"]),
            about: prose(&tag["description"]),
            operations: Vec::new(),
        })
        .collect();
    for (path, item) in entries(&document["paths"]) {
        for (method, operation) in entries(item) {
            let tag = text(&operation["tags"][0]);
            if let Some(group) = groups.iter_mut().find(|group| group.name == tag) {
                group.operations.push(described_operation(document, path, method, operation));
            }
        }
    }
    let schemas = entries(&document["components"]["schemas"]);
    let shape = |(name, schema): (&String, &Value)| Shape {
        name: name.clone(),
        about: prose(&schema["description"]),
        fields: fields(document, schema),
    };
    Described { about: prose(&document["info"]["description"]), groups, shapes: schemas.map(shape).collect() }
}

fn described_operation(document: &Value, path: &str, method: &str, operation: &Value) -> Operation {
    let parameter = |parameter: &Value| Field {
        name: text(&parameter["name"]),
        place: text(&parameter["in"]),
        kind: kind(&parameter["schema"]),
        required: parameter["required"] == true,
        about: prose(&parameter["description"]),
    };
    let answer = |(status, response): (&String, &Value)| DescribedAnswer {
        status: status.clone(),
        about: prose(&response["description"]),
        shape: entries(&response["content"]).find_map(|(_, content)| kind(&content["schema"]).shape),
    };
    let content = &operation["requestBody"]["content"];
    let (before_url, after_url) = curl(path, method, operation);
    Operation {
        id: format!("{method}{}", path.replace(|c: char| !c.is_ascii_alphanumeric(), "-")),
        method: method.to_uppercase(),
        path: path.to_owned(),
        summary: text(&operation["summary"]),
        about: text(&operation["description"])
            .split("\n\n")
            .filter(|paragraph| !paragraph.is_empty())
            .map(pieces)
            .collect(),
        scope: scope(operation),
        parameters: list(&operation["parameters"]).map(parameter).collect(),
        body_types: entries(content).map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", "),
        body: entries(content)
            .next()
            .map(|(_, content)| fields(document, &content["schema"]))
            .unwrap_or_default(),
        answers: entries(&operation["responses"]).map(answer).collect(),
        before_url,
        after_url,
    }
}

/// The scope that a token needs, in words.
fn scope(operation: &Value) -> String {
    let of = |requirement: &Value| match requirement["bearer"].as_array() {
        None => "nothing".to_owned(),
        Some(scopes) if scopes.is_empty() => "any token".to_owned(),
        Some(scopes) if scopes[0] == "admin" => "the role admin".to_owned(),
        Some(scopes) => format!("the scope {}", text(&scopes[0])),
    };
    let all: Vec<String> = list(&operation["security"]).map(of).collect();
    if all.is_empty() { "nothing".to_owned() } else { all.join(" or ") }
}

/// An example command with curl, in two parts: before and after the server's address.
fn curl(path: &str, method: &str, operation: &Value) -> (String, String) {
    // Reports are not counted as check-ins here: their answer says what became of each, so it must be shown.
    let checks_in = !path.ends_with("/reports")
        && ["/checkin", "/ping/", "/{first}"].iter().any(|ingest| path.starts_with(ingest))
        || (path, method) == ("/", "post");
    let mut before = if checks_in { CHECK_IN } else { ASK }.to_owned();
    let content =
        entries(&operation["requestBody"]["content"]).find(|(_, content)| !content["example"].is_null());
    let sends = content.is_some();
    if !matches!((method, sends), ("get", false) | ("post", true)) {
        before += &format!(" -X {}", method.to_uppercase());
    }
    if operation["security"].is_array() {
        before += &format!(" {TOKEN}");
    }
    let (mut place, mut query) = (path.to_owned(), Vec::new());
    for parameter in list(&operation["parameters"]).filter(|parameter| parameter["required"] == true) {
        let name = text(&parameter["name"]);
        let example = match (parameter["example"].as_str(), name.as_str()) {
            (Some(example), _) => example,
            (None, "If-Match") => "*",
            (None, "state") => "dead",
            (None, _) => "1",
        };
        match parameter["in"].as_str() {
            Some("path") => place = place.replace(&format!("{{{name}}}"), example),
            Some("header") => before += &format!(" -H '{name}: {example}'"),
            _ => query.push(format!("{name}={example}")),
        }
    }
    let mut after = place;
    if !query.is_empty() {
        after += &format!("?{}", query.join("&"));
    }
    after.push('\'');
    if let Some((kind, content)) = content {
        after += &format!(" -H 'Content-Type: {kind}' -d '{}'", content["example"]);
    }
    (before, after)
}

/// The fields of a schema, including those of the schemas that it refers to or combines.
fn fields(document: &Value, schema: &Value) -> Vec<Field> {
    if let Some(name) = schema["$ref"].as_str().and_then(shape_name) {
        return fields(document, &document["components"]["schemas"][name]);
    }
    if let Some(parts) = schema["allOf"].as_array() {
        return parts.iter().flat_map(|part| fields(document, part)).collect();
    }
    let is_required = |name: &str| list(&schema["required"]).any(|required| required == name);
    let field = |(name, of): (&String, &Value)| Field {
        name: name.clone(),
        place: String::new(),
        kind: kind(of),
        required: is_required(name),
        about: prose(&of["description"]),
    };
    entries(&schema["properties"]).map(field).collect()
}

/// A type in words, for example `text` or `list of whole number`.
fn kind(schema: &Value) -> Kind {
    if let Some(name) = schema["$ref"].as_str().and_then(shape_name) {
        return Kind { words: name.to_owned(), shape: Some(name.to_owned()) };
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::Array(names) => {
            names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect()
        }
        name => name.as_str().into_iter().collect(),
    };
    let words = match names.first().copied().unwrap_or_default() {
        "array" => {
            let items = kind(&schema["items"]);
            return Kind { words: format!("list of {}", items.words), shape: items.shape };
        }
        "string" if schema["format"] == "date-time" => "instant",
        "string" => "text",
        "integer" => "whole number",
        "boolean" => "true or false",
        other => other,
    };
    Kind { words: words.to_owned(), shape: None }
}

fn shape_name(reference: &str) -> Option<&str> {
    reference.rsplit('/').next()
}

fn prose(value: &Value) -> Prose {
    pieces(value.as_str().unwrap_or_default())
}

fn pieces(text: &str) -> Prose {
    let parts = text.split('`').enumerate().map(|(n, part)| (n % 2 == 1, part.to_owned()));
    parts.filter(|(_, part)| !part.is_empty()).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn entries(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flat_map(Map::iter)
}
