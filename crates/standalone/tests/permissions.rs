//! Permissions: every route × every kind of caller, and what each is answered. A real process with `auth = "tokens"`.
//!
//! `ROUTES` says what each route needs, apart from the code: a route that is added or changed must be added or changed here, too.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::collections::BTreeSet;
use std::time::Duration;

use common::instance::{Caller, FORM, Instance, nobody};
use common::{Inn, Shape, eventually};
use innkeeper_core::access::Scope;
use innkeeper_core::{Clock as _, SystemClock};
use innkeeper_store::NewToken;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::{self, Server};
use serde_json::json;

const PUBLIC: &[&str] = &[
    "GET /",
    "GET /api as Page",
    "GET /api/v1/openapi.json",
    "GET /assets/editor.js",
    "GET /assets/favicon.svg",
    "GET /assets/live.js",
    #[cfg(feature = "passkeys")]
    "GET /assets/passkeys.js",
    "GET /assets/style.css",
    "GET /badge/{key}.svg",
    "GET /favicon.ico",
    "GET /healthcheck",
    "GET /healthz",
    "GET /is-coordinator",
    "GET /login as Page",
    "GET /login/openid as Page",
    "GET /login/openid/callback as Page",
    "POST /login as Page",
    "GET /login/second as Page",
    "POST /login/second as Page",
    #[cfg(feature = "passkeys")]
    "POST /login/second/passkey/begin as Page",
    #[cfg(feature = "passkeys")]
    "POST /login/second/passkey/finish as Page",
    "POST /logout as Page",
    "GET /peer",
    "GET /ping/{first}",
    "GET /ping/{first}/",
    "GET /ping/{first}/{second}",
    "GET /ping/{first}/{second}/",
    "GET /ping/{first}/{second}/{third}",
    "GET /ping/{first}/{second}/{third}/",
    "POST /ping/{first}",
    "POST /ping/{first}/",
    "POST /ping/{first}/{second}",
    "POST /ping/{first}/{second}/",
    "POST /ping/{first}/{second}/{third}",
    "POST /ping/{first}/{second}/{third}/",
    "POST /ping/{key:[0-9a-fA-F-]{36}}/reports",
    "PUT /ping/{first}",
    "PUT /ping/{first}/",
    "PUT /ping/{first}/{second}",
    "PUT /ping/{first}/{second}/",
    "PUT /ping/{first}/{second}/{third}",
    "PUT /ping/{first}/{second}/{third}/",
    "GET /public/{key} as Page",
    "GET /readyz",
    "GET /setup/{secret} as Page",
    "POST /setup/{secret} as Page",
    "GET /version",
    "GET /{first:[0-9a-f]{32}}/{second}",
    "GET /{first:[0-9a-f]{32}}/{second}/",
    "GET /{first:[0-9a-f]{32}}/{second}/{third}",
    "GET /{first:[0-9a-f]{32}}/{second}/{third}/",
    "GET /{first:[0-9a-fA-F-]{36}}",
    "GET /{first:[0-9a-fA-F-]{36}}/",
    "GET /{first:[0-9a-fA-F-]{36}}/{second}",
    "GET /{first:[0-9a-fA-F-]{36}}/{second}/",
    "POST /{first:[0-9a-f]{32}}/{second}",
    "POST /{first:[0-9a-f]{32}}/{second}/",
    "POST /{first:[0-9a-f]{32}}/{second}/{third}",
    "POST /{first:[0-9a-f]{32}}/{second}/{third}/",
    "POST /{first:[0-9a-fA-F-]{36}}",
    "POST /{first:[0-9a-fA-F-]{36}}/",
    "POST /{first:[0-9a-fA-F-]{36}}/{second}",
    "POST /{first:[0-9a-fA-F-]{36}}/{second}/",
    "PUT /{first:[0-9a-f]{32}}/{second}",
    "PUT /{first:[0-9a-f]{32}}/{second}/",
    "PUT /{first:[0-9a-f]{32}}/{second}/{third}",
    "PUT /{first:[0-9a-f]{32}}/{second}/{third}/",
    "PUT /{first:[0-9a-fA-F-]{36}}",
    "PUT /{first:[0-9a-fA-F-]{36}}/",
    "PUT /{first:[0-9a-fA-F-]{36}}/{second}",
    "PUT /{first:[0-9a-fA-F-]{36}}/{second}/",
];
const CHECK_IN: &[&str] = &["POST /api/v1/checkins", "POST /checkin"];
const KNOWN: &[&str] = &["GET /account as Page", "POST /account/display as Page", "GET /api/v1/me"];
/// Of the user's own account; tokens have none.
const ACCOUNT: &[&str] = &[
    #[cfg(feature = "passkeys")]
    "POST /account/passkeys/ask as Page",
    #[cfg(feature = "passkeys")]
    "POST /account/passkeys/{id}/name as Page",
    #[cfg(feature = "passkeys")]
    "POST /account/passkeys/{id}/remove as Page",
    "POST /account/password as Page",
    "POST /account/recovery-codes as Page",
    "POST /account/second-factor/remove as Page",
    "POST /account/sessions/end-others as Page",
    "POST /account/sessions/{hash}/end as Page",
];
/// The same, also before a second factor is set up.
const SET_UP: &[&str] = &[
    #[cfg(feature = "passkeys")]
    "POST /account/passkeys/begin as Page",
    #[cfg(feature = "passkeys")]
    "POST /account/passkeys/finish as Page",
    "GET /account/second-factor as Page",
    "POST /account/second-factor as Page",
    "POST /account/second-factor/confirm as Page",
];
/// Of the caller's apps.
const READ: &[&str] = &[
    "GET /api/v1/alerts",
    "GET /api/v1/export",
    "GET /api/v1/reservations",
    "GET /api/v1/reservations/{id}",
    "GET /api/v1/reservations/{id}/alerts",
    "GET /api/v1/reservations/{id}/check-ins",
    "GET /api/v1/reservations/{id}/figures",
    "GET /cron",
    "GET /cron/missed",
    "GET /cron/{account}",
    "GET /reservation",
];
const READ_ALL: &[&str] = &[
    "GET / as Page",
    "GET /api/v1/deliveries",
    "GET /api/v1/nodes",
    "GET /api/v1/summary",
    "GET /alerts as Page",
    "GET /badguests as Page",
    "GET /deliveries as Page",
    "GET /metrics",
    "GET /nodes",
    "GET /nodes as Page",
    "GET /settings as Page",
    "GET /status as Page",
    "GET /status/{id} as Page",
];
/// Of the caller's apps.
const MANAGE: &[&str] = &[
    "PUT /api/v1/apply",
    "POST /api/v1/apply",
    "POST /api/v1/reservations",
    "GET / with a query",
    "POST /",
    "POST /checkout",
    "POST /pause",
    "POST /reservation",
    "POST /snooze",
];
/// By its number: what the caller does not have is answered as what is not there.
const MANAGE_BY_NUMBER: &[&str] = &[
    "PATCH /api/v1/reservations/{id}",
    "DELETE /api/v1/reservations/{id}",
    "POST /api/v1/reservations/{id}/accept-figures",
    "POST /api/v1/reservations/{id}/resume",
    "POST /api/v1/reservations/{id}/snooze",
    "POST /api/v1/reservations/{id}/undo-checkout",
];
const MANAGE_ALL: &[&str] = &[
    "POST /api/v1/deliveries/{id}/retry",
    "POST /api/v1/duties/{name}/resume",
    "POST /api/v1/duties/{name}/snooze",
    "GET /api/v1/tokens",
    "POST /api/v1/tokens",
    "DELETE /api/v1/tokens/{id}",
    "POST /deliveries/{id}/retry as Page",
    "POST /explain as Page",
    "GET /new as Page",
    "POST /new as Page",
    "POST /nodes/{duty}/resume as Page",
    "POST /nodes/{duty}/snooze as Page",
    "POST /settings/alerters/{name}/test as Page",
    "POST /settings/shares as Page",
    "POST /settings/shares/{key}/remove as Page",
    "POST /settings/tokens as Page",
    "POST /settings/tokens/{id}/remove as Page",
    "POST /status/{id}/check-out as Page",
    "GET /status/{id}/edit as Page",
    "POST /status/{id}/edit as Page",
    "POST /status/{id}/resume as Page",
    "POST /status/{id}/accept-figures as Page",
    "POST /status/{id}/snooze as Page",
    "POST /status/{id}/test-alert as Page",
    "POST /status/{id}/undo as Page",
];
const ADMINISTER: &[&str] = &[
    "GET /api/v1/audit",
    "POST /api/v1/tokens/{id}/confirm",
    "GET /settings/audit as Page",
    "POST /settings/shares/{key}/confirm as Page",
    "POST /settings/tokens/{id}/confirm as Page",
    "POST /settings/users as Page",
    "POST /settings/users/{id}/confirm as Page",
    "POST /settings/users/{id}/link as Page",
    "POST /settings/users/{id}/remove as Page",
    "POST /settings/users/{id}/role as Page",
    "POST /settings/users/{id}/second-factor/remove as Page",
    "POST /settings/users/{id}/second-factor/require as Page",
    "POST /settings/users/{id}/sessions/end as Page",
];

/// What the callers may do, by their names: the routes above, in this order.
const MAY: [(&str, [bool; 11]); 10] = {
    const Y: bool = true;
    const N: bool = false;
    [
        // public, known, account, set up, check in, read, read all, manage, manage by number, manage all, administer
        ("nobody", [Y, N, N, N, N, N, N, N, N, N, N]),
        ("checkin", [Y, Y, N, N, Y, N, N, N, N, N, N]),
        ("read", [Y, Y, N, N, N, Y, Y, N, N, N, N]),
        ("manage", [Y, Y, N, N, N, N, N, Y, Y, Y, N]),
        // Every scope, for another app alone: it reads nothing of this one.
        ("elsewhere", [Y, Y, N, N, N, Y, N, N, Y, N, N]),
        ("gone", [Y, N, N, N, N, N, N, N, N, N, N]),
        ("viewer", [Y, Y, Y, Y, N, Y, Y, N, N, N, N]),
        ("editor", [Y, Y, Y, Y, Y, Y, Y, Y, Y, Y, N]),
        // An admin who has to set up a second factor before anything else.
        ("must set up", [Y, N, N, Y, N, N, N, N, N, N, N]),
        ("admin", [Y, Y, Y, Y, Y, Y, Y, Y, Y, Y, Y]),
    ]
};

const GROUPS: [&[&str]; 11] = [
    PUBLIC,
    KNOWN,
    ACCOUNT,
    SET_UP,
    CHECK_IN,
    READ,
    READ_ALL,
    MANAGE,
    MANAGE_BY_NUMBER,
    MANAGE_ALL,
    ADMINISTER,
];
/// Whether the gate, or the app that a token is bound to, kept the caller out.
fn is_refused(answer: &Response) -> bool {
    let to_login = answer.header("location").is_some_and(|to| to.starts_with("/login?next="));
    let to_set_up = answer.header("location") == Some("/account/second-factor");
    matches!(answer.status, 401 | 403) || (answer.status == 303 && (to_login || to_set_up))
}

#[test]
fn every_route_asks_for_what_it_should() {
    let database = TestDatabase::sqlite();
    let directory = tempfile::TempDir::new().unwrap();
    let mut command = process::command("innkeeper", directory.path());
    command.env("INNKEEPER_LOG", "debug").args(["--listen", "127.0.0.1:0", "--database-url", database.url()]);
    let mut child =
        command.stderr(std::process::Stdio::piped()).stdout(std::process::Stdio::null()).spawn().unwrap();
    let mut routes: Vec<(String, String)> = Vec::new();
    for line in std::io::BufRead::lines(std::io::BufReader::new(child.stderr.take().unwrap())) {
        let line = line.unwrap();
        if line.contains("listening on http://") && !routes.is_empty() {
            break;
        }
        let Some((_, route)) = line.split_once("route ") else { continue };
        let Some((route, rest)) = route.split_once(" needs ") else { continue };
        let (need, manner) = rest.trim().split_once(", as ").unwrap();
        let manner = if manner.starts_with("Page") { " as Page" } else { "" };
        routes.push((format!("{route}{manner}"), need.to_owned()));
        if routes.len() > 1 && route == "GET /readyz" {
            // The last that is registered.
            break;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let needs = [
        "Nothing",
        "Known",
        "Account",
        "SetUp",
        "CheckIn",
        "Read",
        "ReadAll",
        "Manage",
        "Manage",
        "ManageAll",
        "Administer",
    ];
    let expected: BTreeSet<(String, String)> = GROUPS
        .iter()
        .zip(needs)
        .flat_map(|(group, need)| {
            group.iter().map(move |route| (route.replace(" with a query", ""), need.to_owned()))
        })
        .collect();
    let found: BTreeSet<(String, String)> = routes.into_iter().collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    let unknown: Vec<_> = found.difference(&expected).collect();
    assert!(missing.is_empty() && unknown.is_empty(), "not there: {missing:?}; not in the test: {unknown:?}");
}

#[test]
fn every_caller_gets_through_to_what_they_may_and_to_nothing_else() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let mut callers = vec![
        nobody(),
        instance.token(&admin, "checkin", "scope=checkin"),
        instance.token(&admin, "read", "scope=read"),
        instance.token(&admin, "manage", "scope=manage"),
        instance.token(&admin, "elsewhere", "scope=checkin&scope=read&scope=manage&apps=zoo"),
        instance.token(&admin, "gone", "scope=checkin&scope=read&scope=manage&expires_in=1d"),
        instance.user("viewer"),
        instance.user("editor"),
    ];
    // A day later the token that ends has ended; the sessions are as they were.
    instance.database.execute("UPDATE tokens SET expires_at = expires_at - 86400000 WHERE name = 'gone'");
    let made = instance.send(
        &admin,
        "POST",
        "/reservation",
        false,
        &json!({ "app": "shop", "component": "secret-job", "owner": "", "notify": "", "frequency": 5, "time_units": "minutes" })
            .to_string(),
    );
    assert_eq!(made.status, 200, "{made:?}");
    let link = instance.link("must", "admin");
    instance.database.execute("UPDATE users SET second_factor_required = TRUE WHERE name = 'must'");
    let answer = instance.submit(&nobody(), &link, "password=correct+horse&again=correct+horse");
    callers.push(instance.session_at("/account/second-factor", "must set up", &answer));
    callers.push(admin);
    let jobs = instance.send(callers.last().unwrap(), "GET", "/reservation", false, "").json();
    let id = jobs["result"][0]["job_id"].to_string();

    let mut walked = 0;
    for (caller, (name, may)) in callers.iter().zip(MAY) {
        assert_eq!(caller.name, name);
        for (group, may) in GROUPS.iter().zip(may) {
            // The login's own are tried below: they end the session.
            for route in group.iter().filter(|route| !route.contains("/logout")) {
                let answer = call(&instance, caller, route, &id);
                // By a login nobody checks in with gocron's GET: any link could have it sent.
                let may = may && !(route.ends_with(" with a query") && ["admin", "editor"].contains(&name));
                // A page shows what there is, whatever it does; but that of the display shows nothing.
                let shows = route.ends_with(" as Page") && !PUBLIC.contains(route) && !KNOWN.contains(route);
                let may = may && !(name == "manage" && shows);
                assert_eq!(!is_refused(&answer), may, "{route} as {name}: {answer:?}");
                assert_ne!(answer.status, 500, "{route} as {name}: {answer:?}");
                if name == "elsewhere" {
                    let named = route.ends_with("/api/v1/reservations") && answer.status == 403;
                    assert!(
                        named || !answer.body.contains("secret-job"),
                        "{route} tells of another app: {answer:?}"
                    );
                }
                walked += 1;
            }
        }
    }
    // By its number a token of another app reaches nothing either.
    let elsewhere = &callers[4];
    for (method, part) in [("GET", ""), ("DELETE", ""), ("POST", "/resume"), ("GET", "/alerts")] {
        let path = format!("/api/v1/reservations/{id}{part}");
        let answer = instance.send(elsewhere, method, &path, false, "{}");
        assert_eq!(answer.status, 404, "{method} {path}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{method} {path}");
    }
    assert_eq!(instance.database.count("reservations"), 1, "nobody checked it out");
    assert_eq!(walked, MAY.len() * (GROUPS.iter().map(|group| group.len()).sum::<usize>() - 1));
}

/// Calls a route with something that passes as far as the handler's own refusal, and harms nothing.
fn call(instance: &Instance, caller: &Caller, route: &str, id: &str) -> Response {
    let page = route.ends_with(" as Page");
    let with_query = route.ends_with(" with a query");
    let (method, pattern) =
        route.trim_end_matches(" as Page").trim_end_matches(" with a query").split_once(' ').unwrap();
    // What a form would change is not there.
    let id = if method == "GET" { id } else { "999999" };
    let mut path = pattern
        .replace("{first:[0-9a-fA-F-]{36}}", "00000000-0000-4000-8000-000000000000")
        .replace("{key:[0-9a-fA-F-]{36}}", "00000000-0000-4000-8000-000000000000")
        .replace("{first:[0-9a-f]{32}}", "00000000000040008000000000000000")
        .replace("{id}", id)
        .replace("{account}", "shop");
    for placeholder in ["{hash}", "{key}", "{secret}", "{name}", "{duty}", "{first}", "{second}", "{third}"] {
        path = path.replace(placeholder, "nothing");
    }
    if with_query {
        path.push_str("?cronname=x&account=shop&email=&frequency=5");
    }
    if pattern == "/api/v1/apply" {
        path.push_str("?app=nothing");
    }
    let body = match (method, page, pattern) {
        ("POST", true, "/login") => format!("csrf={}&name=x&password=y", caller.csrf),
        ("POST", true, _) => format!("csrf={}&duration=1h&role=viewer&scope=checkin", caller.csrf),
        ("PUT" | "POST", false, "/api/v1/apply") => {
            json!({ "reservations": [{ "app": "shop", "component": "x", "cron": "0 2 * * *" }] }).to_string()
        }
        ("POST", false, "/api/v1/checkins") => {
            json!({ "reports": [{ "app": "shop", "component": "gone", "kind": "success" }] }).to_string()
        }
        ("POST", false, "/api/v1/tokens") => json!({ "name": "" }).to_string(),
        ("POST", false, "/api/v1/reservations") => {
            json!({ "app": "shop", "component": "secret-job", "cron": "0 2 * * *" }).to_string()
        }
        ("POST", false, "/") => {
            json!({ "cronname": "x", "account": "shop", "email": "", "frequency": 5 }).to_string()
        }
        ("POST", false, _) => {
            json!({ "app": "shop", "component": "gone", "duration": 1, "time_units": "hours" }).to_string()
        }
        _ => String::new(),
    };
    let answer = instance.send(caller, method, &path, page, &body);
    // Each report is answered by itself.
    if pattern == "/api/v1/checkins" && answer.status == 200 {
        let outcome = &answer.json()["reports"][0];
        let is_refused = outcome["status"] == "refused";
        assert!(is_refused || outcome["status"] == "unknown", "{route}: {answer:?}");
        return Response { status: if is_refused { 403 } else { 200 }, ..answer };
    }
    // So that the many wrong passwords of this test do not make each other wait.
    if pattern == "/login" && method == "POST" {
        instance.database.execute("DELETE FROM login_failures");
        // a wrong password is not a source that has to wait.
        return Response { status: if answer.status == 401 { 200 } else { answer.status }, ..answer };
    }
    // Where no login waits nothing is asked here: the page leads to the login, without asking who it is.
    if ["/login/second", "/login/second/passkey/finish"].contains(&pattern) {
        let to_login = answer.header("location").is_some_and(|to| to.starts_with("/login?next=%2Fstatus"));
        let too_late = answer.status == 401 && answer.body.contains("This login took too long");
        assert!(answer.status == 303 && to_login || too_late, "{route}: {answer:?}");
        return Response { status: 200, ..answer };
    }
    answer
}

#[test]
fn a_request_that_another_site_had_sent_changes_nothing() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let reservation =
        json!({ "app": "shop", "component": "b", "owner": "", "notify": "", "frequency": 5, "time_units": "minutes" })
            .to_string();
    let with = |more: &[(&str, &str)], csrf: &str| {
        let mut headers: Vec<(&str, &str)> =
            admin.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend_from_slice(more);
        if !csrf.is_empty() {
            headers.push(("x-csrf-token", csrf));
        }
        instance
            .client
            .send("POST", &instance.server.url("/reservation"), &headers, reservation.as_bytes())
            .unwrap()
    };
    assert_eq!(with(&[], "").status, 403, "a cookie alone");
    assert_eq!(with(&[], FORM).status, 403, "a wrong token");
    assert_eq!(with(&[("sec-fetch-site", "cross-site")], &admin.csrf).status, 403);
    assert_eq!(with(&[("sec-fetch-site", "same-site")], &admin.csrf).status, 403);
    assert_eq!(with(&[("origin", "https://evil.example")], &admin.csrf).status, 403);
    assert_eq!(with(&[("origin", "null")], &admin.csrf).status, 403);
    let own = format!("http://{}", instance.server.address());
    assert_eq!(with(&[("origin", &own)], &admin.csrf).status, 200);
    assert_eq!(with(&[("sec-fetch-site", "same-origin")], &admin.csrf).status, 200);
    for path in ["/logout", "/new", "/settings/tokens"] {
        let answer = instance.send(&admin, "POST", path, true, "csrf=wrong&name=x");
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert!(answer.body.contains("is too old"), "{path}");
    }
    // Where everybody may do everything, a page of another site still may not.
    let open = Server::start("innkeeper", "[ingest]\nlisten = \"127.0.0.1:0\"\n", &[]);
    for (method, path) in [("POST", "/reservation"), ("GET", "/?cronname=x&account=y&email=&frequency=5")] {
        let evil = [("sec-fetch-site", "cross-site")];
        let answer = instance.client.send(method, &open.url(path), &evil, reservation.as_bytes()).unwrap();
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
    }
}

#[test]
fn passwords_are_tried_slowly_and_sessions_end() {
    let instance = Instance::open("[web]\nsession = \"12h\"\n");
    let admin = instance.user("admin");
    for wrong in 0..5 {
        let answer = instance.log_in("admin", "wrong");
        assert_eq!(answer.status, 401, "{wrong}: {answer:?}");
        assert!(answer.body.contains("The name or the password is wrong."));
    }
    let answer = instance.log_in("admin", "correct+horse");
    assert_eq!(answer.status, 429, "the right one must wait, too: {answer:?}");
    assert!(answer.header("retry-after").is_some());
    // Nobody else has to wait.
    assert_eq!(instance.log_in("nobody-there", "x").status, 401);
    instance.database.age(Duration::from_secs(60));
    let answer = instance.log_in("admin", "correct+horse");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/alerts")), "{answer:?}");
    let again = instance.session("admin", &answer);

    assert_eq!(instance.submit(&again, "/logout", "").status, 303);
    assert!(is_refused(&instance.send(&again, "GET", "/status", true, "")), "a session that was ended");
    assert!(!is_refused(&instance.send(&admin, "GET", "/status", true, "")), "another session of the user");
    instance.database.age(Duration::from_secs(12 * 3600));
    let answer = instance.send(&admin, "GET", "/status?q=a", true, "");
    assert_eq!((answer.status, answer.header("location")), (303, Some("/login?next=%2Fstatus%3Fq%3Da")));
}

#[test]
fn what_is_kept_tells_no_secret() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let token = instance.token(&admin, "deploy", "scope=read");
    let secrets = [
        token.headers[0].1.trim_start_matches("Bearer ").to_owned(),
        admin.headers[0].1.trim_start_matches("innkeeper=").to_owned(),
        "correct horse".to_owned(),
    ];
    let mut kept = instance.server.log();
    for query in [
        "SELECT hash || name || scopes || apps FROM tokens",
        "SELECT hash FROM sessions",
        "SELECT name || COALESCE(password, '') FROM users",
        "SELECT who || action || subject || detail FROM audit",
    ] {
        kept.push_str(&instance.database.texts(query).join("\n"));
    }
    assert!(kept.contains("$argon2id$"), "{kept}");
    for secret in secrets {
        assert!(!kept.contains(&secret), "{secret} in {kept}");
    }
}

#[test]
fn a_proxy_that_is_listed_says_who_calls() {
    let sign_on = "[web]\nsign_on_header = \"X-Forwarded-User\"\nsign_on_proxies = [\"127.0.0.1\"]\nsign_on_role = \"editor\"\n";
    let instance = Instance::open(sign_on);
    let named = |instance: &Instance, name: &str, path: &str| {
        let headers = [("x-forwarded-user", name), ("accept", "text/html")];
        instance.client.send("GET", &instance.server.url(path), &headers, b"").unwrap()
    };
    let page = named(&instance, "grace", "/new");
    assert_eq!(page.status, 200, "{page:?}");
    assert!(page.body.contains("grace") && !page.body.contains("Log out"));
    assert_eq!(named(&instance, "grace", "/settings/audit").status, 403, "an editor is no admin");
    assert!(is_refused(&named(&instance, "", "/status")));
    assert_eq!(named(&instance, &"x".repeat(101), "/status").status, 303, "no name of a user");
    // Two names, as from a proxy that leaves the caller's own header beside its own.
    for names in
        [&["grace", "root"][..], &["root", "grace"], &["grace", "grace"], &["", "grace"], &["grace, root"]]
    {
        let headers = names.iter().map(|name| ("x-forwarded-user", *name)).chain([("accept", "text/html")]);
        let headers: Vec<_> = headers.collect();
        let answer = instance.client.send("GET", &instance.server.url("/status"), &headers, b"").unwrap();
        assert!(is_refused(&answer), "{names:?}: {answer:?}");
        let told = instance
            .client
            .send("GET", &instance.server.url("/api/v1/me"), &headers[..names.len()], b"")
            .unwrap();
        assert!(told.status == 401 && told.body.contains("have the proxy remove"), "{names:?}: {told:?}");
    }
    // From an address that is not listed the header is nobody's word.
    let elsewhere = Instance::open(&sign_on.replace("127.0.0.1", "192.0.2.1"));
    assert!(is_refused(&named(&elsewhere, "grace", "/status")));
}

#[test]
fn split_roles_ask_for_permission_at_ingest_and_at_web() {
    let inn = Inn::with(Shape::Split, "auth = \"tokens\"\n");
    let token = NewToken {
        name: "job".to_owned(),
        // Of "ik_test".
        hash: "700962375d420656bcf9ac146490d847da716bcfb9e75cab94c59fccc87b4969".to_owned(),
        scopes: vec![Scope::CheckIn, Scope::Manage],
        apps: Vec::new(),
        expires_at: None,
    };
    inn.database.store().add_token(&token, SystemClock.now()).unwrap();
    let body = json!({ "app": "shop", "component": "b", "notify": "", "owner": "", "frequency": 5, "time_units": "minutes" })
        .to_string();
    let with = |authorization: &str, path: &str| {
        inn.send("POST", path, &[("authorization", authorization)], body.as_bytes()).status
    };
    assert_eq!(inn.send("POST", "/reservation", &[], body.as_bytes()).status, 401);
    assert_eq!(with("Bearer ik_wrong", "/reservation"), 401);
    assert_eq!(with("Bearer ik_test", "/reservation"), 200);
    // As Basic's password, for callers that know nothing else.
    assert_eq!(with("Basic am9iOmlrX3Rlc3Q=", "/checkin"), 200);
    assert_eq!(inn.read("/reservation").status, 401);
    // A token that is gone ends within seconds.
    let known = inn.database.store().tokens().unwrap();
    inn.database.store().remove_token(known[0].id, SystemClock.now()).unwrap();
    eventually("the end of a token", || (with("Bearer ik_test", "/checkin") == 401).then_some(()));
}

#[test]
fn what_is_shown_outside_tells_names_and_states_alone() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let made = json!({ "app": "shop", "component": "backup", "owner": "private-owner", "notify": "private@example.org",
        "description": "private-text", "tags": ["eu"], "frequency": 5, "time_units": "minutes" });
    assert_eq!(instance.send(&admin, "POST", "/reservation", false, &made.to_string()).status, 200);
    let other = json!({ "app": "bank", "component": "private-job", "owner": "", "notify": "", "frequency": 5, "time_units": "minutes" });
    assert_eq!(instance.send(&admin, "POST", "/reservation", false, &other.to_string()).status, 200);
    let checkin = json!({ "app": "shop", "component": "backup", "notes": "private-notes" });
    assert_eq!(instance.send(&admin, "POST", "/checkin", false, &checkin.to_string()).status, 200);
    let jobs = instance.send(&admin, "GET", "/reservation", false, "").json();
    let job = jobs["result"].as_array().unwrap().iter().find(|job| job["app"] == "shop").unwrap().clone();
    let (id, ping) =
        (job["job_id"].to_string(), job["ping_url"].as_str().unwrap().rsplit('/').next().unwrap().to_owned());
    for fields in [
        "shape=page&kind=app&subject=shop&title=The+shop".to_owned(),
        "shape=page&kind=tag&subject=eu".to_owned(),
        "shape=badge&kind=tag&subject=eu".to_owned(),
        format!("shape=badge&kind=reservation&subject={id}&title=backup"),
    ] {
        assert_eq!(instance.submit(&admin, "/settings/shares", &fields).status, 303, "{fields}");
    }
    assert_eq!(
        instance.submit(&admin, "/settings/shares", "shape=page&kind=reservation&subject=1").status,
        400
    );
    let settings = instance.send(&admin, "GET", "/settings", true, "").body;
    let mut paths: Vec<String> = settings
        .match_indices("href=\"/public/")
        .chain(settings.match_indices("href=\"/badge/"))
        .map(|(at, _)| settings[at + 6..].split('"').next().unwrap().to_owned())
        .collect();
    paths.dedup();
    assert_eq!(paths.len(), 4, "{paths:?}");
    for path in &paths {
        let key = path.rsplit('/').next().unwrap().trim_end_matches(".svg");
        assert_eq!(key.len(), 43, "nobody guesses {key}");
        let shown = instance.send(&nobody(), "GET", path, true, "");
        assert_eq!(shown.status, 200, "{path}: {shown:?}");
        let is_badge = path.starts_with("/badge/");
        assert_eq!(shown.header("content-type").unwrap().starts_with("image/svg+xml"), is_badge, "{path}");
        assert!(
            shown.body.contains("up") && (is_badge || shown.body.contains("backup")),
            "{path}: {}",
            shown.body
        );
        for secret in ["private", &ping, "/status", "Settings"] {
            assert!(
                !shown.body.contains(secret) || secret == "/status" && is_badge,
                "{path} tells {secret}: {}",
                shown.body
            );
        }
    }
    let key = paths[0].rsplit('/').next().unwrap();
    assert_eq!(instance.submit(&admin, &format!("/settings/shares/{key}/remove"), "").status, 303);
    assert_eq!(instance.send(&nobody(), "GET", &paths[0], true, "").status, 404);
}

#[test]
fn a_test_message_shows_what_the_provider_answers() {
    let sink = HttpSink::start();
    let config = format!(
        "{}[alerter.gone]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/x\"\n",
        common::webhook("hook", &sink)
    );
    let instance = Instance::open(&config);
    let admin = instance.user("admin");
    let answer = instance.submit(&admin, "/settings/alerters/hook/test", "");
    assert!(answer.status == 200 && answer.body.contains("The provider of hook has taken"), "{answer:?}");
    let received = sink.wait_for(1, Duration::from_secs(30));
    assert_eq!(received[0].json()["subject"], "Test message");
    let answer = instance.submit(&admin, "/settings/alerters/gone/test", "");
    assert!(answer.status == 400 && answer.body.contains("could not be reached"), "{answer:?}");
    assert_eq!(instance.submit(&admin, "/settings/alerters/nobody/test", "").status, 404);
    let log = instance.send(&admin, "GET", "/settings/audit", true, "").body;
    assert!(log.contains("test alerter") && log.contains("delivered"), "{log}");
}

#[test]
fn one_source_that_is_too_fast_waits_and_others_do_not() {
    let config =
        "[ingest]\nlisten = \"127.0.0.1:0\"\nrate_per_source = 3\ntrusted_proxies = [\"127.0.0.1\"]\n";
    let server = Server::start("innkeeper", config, &[]);
    let client = Client::default();
    let from = |source: &str| {
        client.send("GET", &server.url("/version"), &[("x-forwarded-for", source)], b"").unwrap()
    };
    let refused = eventually("a refusal", || Some(from("203.0.113.9")).filter(|answer| answer.status == 429));
    assert_eq!(refused.header("retry-after"), Some("1"), "{refused:?}");
    assert!(refused.json()["message"].as_str().unwrap().contains("too many requests from this address"));
    assert_eq!(from("203.0.113.10").status, 200);
    eventually("the next second", || (from("203.0.113.9").status == 200).then_some(()));
}

#[test]
fn a_message_that_waits_is_tried_again_by_its_button() {
    let instance = Instance::open("[alerter.gone]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/x\"\n");
    let admin = instance.user("admin");
    let made = json!({ "app": "shop", "component": "canary", "owner": "", "notify": "gone", "frequency": 1, "time_units": "seconds" });
    assert_eq!(instance.send(&admin, "POST", "/reservation", false, &made.to_string()).status, 200);
    let attempts = || {
        let all = "SELECT CAST(attempts AS TEXT) FROM deliveries WHERE alerter = 'gone'";
        instance.database.texts(all).first().and_then(|text| text.parse::<i64>().ok())
    };
    let tried = eventually("the first try", || attempts().filter(|attempts| *attempts > 0));
    let page = instance.send(&admin, "GET", "/deliveries", true, "").body;
    let path = page.split("action=\"/deliveries/").nth(1).unwrap().split('"').next().unwrap();
    // Far away, so that no other than the button's try can come.
    instance.database.execute("UPDATE deliveries SET next_at = next_at + 86400000 WHERE state = 'waiting'");
    assert_eq!(instance.submit(&admin, &format!("/deliveries/{path}"), "").status, 303);
    eventually("the next try", || attempts().filter(|attempts| *attempts > tried));
    assert!(instance.send(&admin, "GET", "/settings/audit", true, "").body.contains("retry delivery"));
}
