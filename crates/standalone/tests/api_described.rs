//! The description of the routes contains every route that is not a page, with its permission, and nothing else.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, BTreeSet};

use innkeeper_testing::client::Client;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::{Value, json};

/// `GET /status/{id}`, and each need under which it is registered.
type Routes = BTreeMap<String, BTreeSet<String>>;

fn server() -> Server {
    let config = "operator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    Server::start_with(&[("INNKEEPER_LOG", "info,innkeeper_http=debug")], "innkeeper", config, &[])
}

/// `/{first:[0-9a-f]{36}}/x` as `/{first}/x`.
fn plain(pattern: &str) -> String {
    let (mut plain, mut depth, mut skips) = (String::new(), 0, false);
    for c in pattern.chars() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ':' if depth == 1 => skips = true,
            _ => {}
        }
        if depth == 0 {
            skips = false;
        }
        if !skips {
            plain.push(c);
        }
    }
    plain
}

fn routed(log: &str) -> Routes {
    let mut routes = Routes::new();
    for line in log.lines().filter_map(|line| line.split_once(": route ")).map(|(_, rest)| rest) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [method, pattern, "needs", need, "as", manner] = words[..] else { panic!("{line}") };
        let is_page = manner == "Page"
            || pattern == "/favicon.ico"
            || pattern.starts_with("/assets/")
            || pattern.starts_with("/badge");
        if !is_page {
            let need = need.trim_end_matches(',').to_owned();
            routes.entry(format!("{method} {}", plain(pattern))).or_default().insert(need);
        }
    }
    routes
}

/// What the description says of a need.
fn requirement(need: &str) -> Value {
    match need {
        "Nothing" => json!({}),
        "Known" => json!({ "bearer": [] }),
        "CheckIn" => json!({ "bearer": ["checkin"] }),
        "Read" | "ReadAll" => json!({ "bearer": ["read"] }),
        "Manage" | "ManageAll" => json!({ "bearer": ["manage"] }),
        "Administer" => json!({ "bearer": ["admin"] }),
        other => panic!("{other} is new"),
    }
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let server = server();
    let document = Client::default().get(&server.url("/api/v1/openapi.json")).json();
    let routes = routed(&server.log());
    assert!(routes.len() > 50, "{routes:?}");
    let mut described = Routes::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            described.insert(format!("{} {path}", method.to_uppercase()), BTreeSet::new());
            let name = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()), "{name}");
            assert!(operation["responses"].as_object().is_some_and(|all| !all.is_empty()), "{name}");
            let named = |name: &str| path.contains(&format!("{{{name}}}"));
            let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
            let in_path = parameters.iter().filter(|one| one["in"] == "path");
            let in_path: Vec<&str> = in_path.map(|one| one["name"].as_str().unwrap()).collect();
            assert!(in_path.iter().all(|parameter| named(parameter)), "{name}: {in_path:?}");
            assert_eq!(in_path.len(), path.matches('{').count(), "{name}");
        }
    }
    let names = |routes: &Routes| routes.keys().cloned().collect::<BTreeSet<_>>();
    let (routed, said) = (names(&routes), names(&described));
    assert_eq!(routed.difference(&said).collect::<Vec<_>>(), Vec::<&String>::new(), "not described");
    assert_eq!(said.difference(&routed).collect::<Vec<_>>(), Vec::<&String>::new(), "not routed");
    for (route, needs) in &routes {
        let (method, path) = route.split_once(' ').unwrap();
        let operation = &document["paths"][path][method.to_lowercase()];
        let security = operation["security"].as_array().cloned().unwrap_or_else(|| vec![json!({})]);
        let needs: Vec<Value> = needs.iter().map(|need| requirement(need)).collect();
        assert!(
            needs.iter().all(|need| security.contains(need)) && security.len() == needs.len(),
            "{route} needs {needs:?}, and {security:?} is described"
        );
    }
}

/// `web` by itself has none of the routes of `ingest`, and describes them as the standalone program does.
#[test]
fn web_by_itself_describes_the_routes_of_ingest_too() {
    let database = TestDatabase::postgres();
    let arguments = ["--database-url", database.url(), "--listen", "127.0.0.1:0"];
    let web = Server::start("web", "operator = [\"log\"]\n", &arguments);
    let described = |server: &Server| Client::default().get(&server.url("/api/v1/openapi.json")).json();
    let (of_web, of_all) = (described(&web), described(&server()));
    for (path, method) in
        [("/checkin", "post"), ("/", "get"), ("/ping/{first}", "put"), ("/api/v1/checkins", "post")]
    {
        assert!(of_web["paths"][path][method]["summary"].is_string(), "{method} {path}");
    }
    assert_eq!(of_web["paths"], of_all["paths"]);
}

/// What a token of `manage` alone is answered is described beside the whole reservation.
#[test]
fn what_a_writer_who_may_not_read_is_told_is_described() {
    let server = server();
    let document = Client::default().get(&server.url("/api/v1/openapi.json")).json();
    let schemas = &document["components"]["schemas"];
    let fields: BTreeSet<&str> =
        schemas["Written"]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(fields, BTreeSet::from(["app", "component", "etag", "id"]));
    let either = schemas["Changeable"]["oneOf"].to_string();
    assert!(either.contains("/Reservation\"") && either.contains("/Written\""), "{either}");
    let one = "/api/v1/reservations/{id}";
    for (method, path, status) in [
        ("post", "/api/v1/reservations".to_owned(), "201"),
        ("patch", one.to_owned(), "200"),
        ("post", format!("{one}/snooze"), "200"),
        ("post", format!("{one}/resume"), "200"),
        ("post", format!("{one}/undo-checkout"), "200"),
    ] {
        let answer = &document["paths"][&path][method]["responses"][status]["content"]["application/json"];
        assert_eq!(answer["schema"]["$ref"], "#/components/schemas/Changeable", "{method} {path}");
    }
}

#[test]
fn the_description_holds_together_and_is_a_page() {
    let server = server();
    let client = Client::default();
    let answer = client.get(&server.url("/api/v1/openapi.json"));
    let document = answer.json();
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    for reference in answer.body.split("\"$ref\":\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let page = client.get(&server.url("/api"));
    assert_eq!(page.status, 200);
    assert!(!page.body.contains(" style=") && page.body.matches("<script").count() <= 1, "{}", page.body);
    for path in document["paths"].as_object().unwrap().keys() {
        assert!(page.body.contains(&format!(" {path}</code>")), "{path}");
    }
    for id in page.body.split("href=\"#shape-").skip(1).map(|rest| rest.split('"').next().unwrap()) {
        assert!(page.body.contains(&format!("id=\"shape-{id}\"")), "{id}");
    }
}

/// Whether the text of `docs/API.md` has a path like this, whatever stands for its parameters.
fn is_told_of(guide: &str, path: &str) -> bool {
    let ends = |c: char| c.is_whitespace() || "?`\")".contains(c);
    guide.match_indices("/api/v1/").any(|(place, _)| {
        let told = guide[place..].split(ends).next().unwrap_or_default();
        let (mut told, mut parts) = (told.split('/'), path.split('/'));
        let agrees = |told: &str, part: &str| part.starts_with('{') && !told.is_empty() || told == part;
        loop {
            match (told.next(), parts.next()) {
                (None, None) => return true,
                (Some(told), Some(part)) if agrees(told, part) => {}
                _ => return false,
            }
        }
    })
}

#[test]
fn the_guide_has_every_path_of_the_api() {
    let guide = include_str!("../../../docs/API.md");
    assert!(is_told_of(guide, "/api/v1/reservations/{id}/snooze"));
    assert!(!is_told_of(guide, "/api/v1/reservations/{id}/dance"));
    let document = Client::default().get(&server().url("/api/v1/openapi.json")).json();
    let paths: Vec<&String> = document["paths"].as_object().unwrap().keys().collect();
    let of_api = paths.iter().filter(|path| path.starts_with("/api/v1/"));
    let untold: Vec<_> = of_api.filter(|path| !is_told_of(guide, path)).collect();
    assert!(untold.is_empty(), "docs/API.md says nothing of {untold:?}");
}
