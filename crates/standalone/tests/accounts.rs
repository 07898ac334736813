//! Accounts and what is written down of them: changes of jobs, users who are removed, and what was made while the instance
//! was open.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use std::time::Duration;

use common::instance::{Caller, FORM, Instance, nobody};
use common::{Inn, Shape, eventually};
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::json;

in_both_shapes!(what_a_job_changes_by_itself_is_written_down);

/// Of the audit log: who did what to what, and how it changed. The first first.
fn told(database: &TestDatabase) -> Vec<String> {
    database.texts("SELECT who || ' | ' || source || ' | ' || action || ' | ' || subject || ' | ' || detail FROM audit ORDER BY id")
}

fn what_a_job_changes_by_itself_is_written_down(shape: Shape) {
    let inn = Inn::with(shape, "");
    let gocron = |email: &str, frequency: u32| {
        let body = json!({ "cronname": "backup", "account": "shop", "email": email, "frequency": frequency });
        let answer = inn.send("POST", "/", &[], body.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{answer:?}");
    };
    gocron("ada@example.org", 60);
    gocron("ada@example.org", 60);
    gocron("mallory@example.org", 60);
    gocron("mallory@example.org", 600);
    let log = told(&inn.database);
    assert_eq!(log.len(), 3, "{log:#?}");
    assert_eq!(log[0], "anybody | 127.0.0.1 | make reservation | shop/backup | ");
    assert!(
        log[1].starts_with("anybody | 127.0.0.1 | change reservation | shop/backup | notify: "),
        "{log:#?}"
    );
    assert!(log[1].contains("ada@example.org -> mallory@example.org"), "{log:#?}");
    assert!(log[2].contains("change reservation") && log[2].contains("every"), "{log:#?}");

    let key = inn.database.text("SELECT key FROM ping_keys WHERE app = 'shop'").unwrap();
    for _ in 0..2 {
        let answer = inn.send("POST", &format!("/ping/{key}/nightly?create=1"), &[], b"");
        assert!(matches!(answer.status, 200 | 201), "{answer:?}");
    }
    let log = told(&inn.database);
    assert_eq!(log.len(), 4, "{log:#?}");
    assert_eq!(log[3], "ping key | 127.0.0.1 | make reservation | shop/nightly | ");
}

#[test]
fn a_token_is_named_where_it_changes_a_job_by_its_check_in() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let token = instance.token(&admin, "deploy", "scope=manage&scope=checkin");
    let body =
        json!({ "cronname": "backup", "account": "shop", "email": "ada@example.org", "frequency": 60 });
    assert_eq!(instance.send(&token, "POST", "/", false, &body.to_string()).status, 201);
    assert!(
        told(&instance.database)
            .contains(&"token deploy | 127.0.0.1 | make reservation | shop/backup | ".to_owned()),
        "{:#?}",
        told(&instance.database)
    );
}

#[test]
fn every_change_of_who_is_told_and_when_leaves_an_entry() {
    let instance = Instance::open("[alerter.hook]\nkind = \"webhook\"\nurl = \"http://127.0.0.1:9/x\"\n");
    let admin = instance.user("admin");
    let entries = || instance.database.count("audit");
    let api = |method: &str, path: &str, body: &str| {
        let mut headers: Vec<(&str, &str)> =
            admin.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.extend([("x-csrf-token", admin.csrf.as_str()), ("if-match", "*")]);
        instance.client.send(method, &instance.server.url(path), &headers, body.as_bytes()).unwrap()
    };
    let leaves = |what: &str, act: &dyn Fn() -> Response| {
        let before = entries();
        let answer = act();
        assert!(matches!(answer.status, 200..=204 | 303), "{what}: {answer:?}");
        assert!(entries() > before, "{what} leaves no entry: {answer:?}");
    };
    let of = |component: &str| json!({ "app": "shop", "component": component }).to_string();
    let job = |component: &str, minutes: u32| {
        json!({ "app": "shop", "component": component, "owner": "", "notify": "hook", "frequency": minutes, "time_units": "minutes" })
            .to_string()
    };
    let rest = |component: &str| {
        json!({ "app": "shop", "component": component, "duration": 1, "time_units": "hours" }).to_string()
    };
    leaves("POST /reservation", &|| api("POST", "/reservation", &job("a", 5)));
    leaves("POST /reservation again", &|| api("POST", "/reservation", &job("a", 6)));
    leaves("POST /snooze", &|| api("POST", "/snooze", &rest("a")));
    leaves("POST /pause", &|| api("POST", "/pause", &rest("a")));
    leaves("POST /checkout", &|| api("POST", "/checkout", &of("a")));
    let id = || instance.database.text("SELECT CAST(max(id) AS TEXT) FROM reservations").unwrap();
    leaves("POST /api/v1/reservations", &|| {
        api(
            "POST",
            "/api/v1/reservations",
            r#"{"app": "shop", "component": "b", "cron": "0 2 * * *", "notify": ["hook"]}"#,
        )
    });
    let path = format!("/api/v1/reservations/{}", id());
    leaves("PATCH", &|| api("PATCH", &path, r#"{"notify": ["log"]}"#));
    leaves("snooze", &|| api("POST", &format!("{path}/snooze"), r#"{"duration": "2h"}"#));
    leaves("resume", &|| api("POST", &format!("{path}/resume"), ""));
    leaves("DELETE", &|| api("DELETE", &path, ""));
    leaves("undo-checkout", &|| api("POST", &format!("{path}/undo-checkout"), ""));
    let set = json!({ "reservations": [{ "app": "shop", "component": "c", "cron": "0 2 * * *", "notify": ["hook"] }] });
    leaves("PUT /api/v1/apply", &|| api("PUT", "/api/v1/apply", &set.to_string()));
    leaves("snooze of a duty", &|| api("POST", "/api/v1/duties/web/snooze", r#"{"duration": "2h"}"#));
    leaves("resume of a duty", &|| api("POST", "/api/v1/duties/web/resume", ""));
    leaves("POST /api/v1/tokens", &|| api("POST", "/api/v1/tokens", r#"{"name": "t", "scopes": ["read"]}"#));
    leaves("DELETE /api/v1/tokens", &|| api("DELETE", "/api/v1/tokens/1", ""));
    let form = |path: &str, fields: &str| instance.submit(&admin, path, fields);
    leaves("a form", &|| {
        form("/new", "app=shop&component=d&kind=every&frequency=1&time_units=hours&grace=5m&alert_after=1")
    });
    let page = format!("/status/{}", id());
    leaves("its snooze", &|| form(&format!("{page}/snooze"), "duration=1h"));
    leaves("its resume", &|| form(&format!("{page}/resume"), ""));
    leaves("its test alert", &|| form(&format!("{page}/test-alert"), ""));
    leaves("its check-out", &|| form(&format!("{page}/check-out"), ""));
    leaves("its undo", &|| form(&format!("{page}/undo"), ""));
    leaves("a user", &|| form("/settings/users", "name=bob&role=viewer"));
    leaves("a role", &|| form("/settings/users/2/role", "role=editor"));
    leaves("a link", &|| form("/settings/users/2/link", ""));
    leaves("a removal", &|| form("/settings/users/2/remove", ""));
    leaves("a share", &|| form("/settings/shares", "shape=page&kind=app&subject=shop"));
    leaves("a duty's snooze", &|| form("/nodes/web/snooze", "duration=1h"));
    leaves("a duty's resume", &|| form("/nodes/web/resume", ""));
    leaves("a login", &|| instance.log_in("admin", "correct+horse"));
}

#[test]
fn the_tokens_of_a_user_who_is_removed_end_or_are_handed_over() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let editor = instance.user("editor");
    instance.user("viewer");
    let token = instance.token(&editor, "editors", "scope=manage&scope=read");
    let made = instance.send(
        &token,
        "POST",
        "/api/v1/tokens",
        false,
        r#"{"name": "made-by-it", "scopes": ["read"]}"#,
    );
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(
        (made.json()["owner"].as_str(), made.json()["confirmed"].as_bool()),
        (Some("editor"), Some(true))
    );
    let works = |caller: &Caller| instance.send(caller, "GET", "/api/v1/me", false, "").status == 200;
    assert!(works(&token));
    // It is said beforehand, and asked.
    let settings = instance.send(&admin, "GET", "/settings", true, "").body;
    for said in
        ["end the 2 tokens of this user", "hand the 2 tokens over to admin", "end when the user is removed"]
    {
        assert!(settings.contains(said), "{said}: {settings}");
    }
    assert!(!settings.contains("over to viewer"));
    let remove = |name: &str, fields: &str| {
        let id = instance
            .database
            .text(&format!("SELECT CAST(id AS TEXT) FROM users WHERE name = '{name}'"))
            .unwrap();
        instance.submit(&admin, &format!("/settings/users/{id}/remove"), fields)
    };
    assert_eq!(remove("editor", "tokens=3").status, 409, "a viewer");
    assert_eq!(remove("editor", "tokens=nobody").status, 400);
    assert_eq!(remove("editor", "tokens=1").status, 303, "to the admin");
    assert!(works(&token));
    assert!(instance.send(&admin, "GET", "/settings", true, "").body.contains("of user admin"));

    // The other way: they end, within the seconds for which a token is remembered.
    let other = instance.user("editor");
    let token = instance.token(&other, "others", "scope=read");
    assert!(works(&token));
    assert_eq!(remove("editor", "tokens=end").status, 303);
    eventually("the end of the token", || (!works(&token)).then_some(()));
    assert_eq!(instance.database.count("tokens"), 2);

    // And on the machine.
    let third = instance.user("editor");
    let token = instance.token(&third, "thirds", "scope=read");
    let said = instance.command(&["remove-user", "editor", "--hand-tokens-to", "admin"]);
    assert!(said.contains("now of admin: 1"), "{said}");
    assert!(works(&token));
    let said = instance.command(&["remove-user", "viewer"]);
    assert!(said.contains("had no tokens"), "{said}");
}

#[test]
fn what_was_removed_makes_no_tokens_and_what_ends_makes_none_that_last() {
    let instance = Instance::open("");
    let admin = instance.user("admin");
    let ends = instance.token(&admin, "ends", "scope=manage&scope=read&expires_in=1h");
    let make = |maker: &Caller, name: &str, expires_at: &str| {
        let body = format!(r#"{{"name": "{name}", "scopes": ["read"], "expires_at": {expires_at}}}"#);
        instance.send(maker, "POST", "/api/v1/tokens", false, &body)
    };
    for expires_at in ["null", r#""2999-01-01T00:00:00Z""#] {
        let answer = make(&ends, "lasts", expires_at);
        assert!(answer.status == 403 && answer.body.contains("which ends at"), "{answer:?}");
    }
    // The gate remembers what it knows: not for what makes another.
    for removed in ["DELETE FROM tokens WHERE name = 'removed'", "UPDATE tokens SET expires_at = 1"] {
        let token = instance.token(&admin, "removed", "scope=manage&scope=read");
        assert_eq!(instance.send(&token, "GET", "/api/v1/me", false, "").status, 200);
        instance.database.execute(removed);
        assert_eq!(make(&token, "ghost", "null").status, 401, "{removed}");
        instance.database.execute("DELETE FROM tokens");
    }
    assert_eq!(instance.database.count("tokens"), 0);
}

/// An instance that is open, or asks who calls, over this database.
fn instance(database: &TestDatabase, auth: &str) -> Server {
    let config = format!("auth = \"{auth}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n");
    Server::start("innkeeper", &config, &["--database-url", database.url()])
}

fn submit(server: &Server, cookie: &str, csrf: &str, path: &str, fields: &str) -> Response {
    let headers = [("cookie", cookie), ("accept", "text/html")];
    let body = format!("csrf={csrf}&{fields}");
    Client::new(Duration::from_secs(60)).send("POST", &server.url(path), &headers, body.as_bytes()).unwrap()
}

#[test]
fn while_the_instance_is_open_the_machine_alone_makes_users_and_tokens() {
    let database = TestDatabase::sqlite();
    let server = instance(&database, "open");
    let cookie = format!("innkeeper-form={FORM}");
    let form = |path: &str, fields: &str| submit(&server, &cookie, FORM, path, fields);
    let run = |arguments: &[&str]| {
        let mut command = innkeeper_testing::process::command("innkeeper", server.directory());
        let output = command.args(["--database-url", database.url()]).args(arguments).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["invite", "ada", "--role", "viewer"]);
    let token = run(&["token", "machines", "--scope", "read"]);
    for (path, fields) in [
        ("/settings/users", "name=mallory&role=admin"),
        ("/settings/users/1/link", ""),
        ("/settings/users/1/role", "role=admin"),
        ("/settings/users/1/confirm", ""),
        ("/settings/tokens", "name=mallorys&scope=manage"),
        ("/settings/tokens/1/confirm", ""),
        ("/settings/shares/any/confirm", ""),
    ] {
        let answer = form(path, fields);
        assert_eq!(answer.status, 403, "{path}: {answer:?}");
        assert!(answer.body.contains("on the machine alone"), "{path}: {answer:?}");
    }
    let body = br#"{"name": "mallorys", "scopes": ["manage"]}"#;
    let answer = Client::default().send("POST", &server.url("/api/v1/tokens"), &[], body).unwrap();
    assert!(answer.status == 403 && answer.body.contains("on the machine alone"), "{answer:?}");
    assert_eq!((database.count("users"), database.count("tokens")), (1, 1));
    assert_eq!(database.text("SELECT role FROM users"), Some("viewer".to_owned()));
    let page =
        Client::default().send("GET", &server.url("/settings"), &[("accept", "text/html")], b"").unwrap();
    assert!(page.body.contains("innkeeper invite NAME") && !page.body.contains("Make token"), "{page:?}");
    let key = || database.text("SELECT key FROM shares").unwrap();
    assert_eq!(form("/settings/shares", "shape=page&kind=app&subject=shop&title=Shop").status, 303);
    let page = |server: &Server| {
        let url = server.url(&format!("/public/{}", key()));
        Client::default().send("GET", &url, &[("accept", "text/html")], b"").unwrap().status
    };
    assert_eq!(page(&server), 200);
    drop(server);
    // What the machine made works when callers are asked.
    let server = instance(&database, "tokens");
    let shown = format!("Bearer {}", token.trim());
    let me =
        Client::default().send("GET", &server.url("/api/v1/me"), &[("authorization", &shown)], b"").unwrap();
    assert_eq!(me.status, 200, "{me:?}");
    assert_eq!(page(&server), 404, "what anybody showed outside is confirmed first");
}

#[test]
fn what_was_made_in_an_open_instance_does_not_work_until_an_admin_confirms_it() {
    let older = TestDatabase::sqlite();
    older.store();
    // As an older version left it: an admin and a token that anybody made. The password is "password".
    older.execute(
        "INSERT INTO users (name, role, password, created_at, confirmed) VALUES ('mallory', 'admin',
         '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ$PL01amPyeUuxG7H0vIr5X+qHkZvWnHmGBGXFYvh8z2E', 1, FALSE)",
    );
    // Of "ik_test".
    older.execute(
        "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at, confirmed)
         VALUES ('open', '700962375d420656bcf9ac146490d847da716bcfb9e75cab94c59fccc87b4969', 'manage,read', '[]', 'anybody', 1, FALSE)",
    );
    older.execute(
        "INSERT INTO shares (key, shape, kind, subject, title, created_at, confirmed)
         VALUES ('badge', 'badge', 'app', 'shop', 'Shop', 1, FALSE)",
    );
    let server = instance(&older, "tokens");
    server.wait_for_log("1 users, 1 tokens and 1 shared pages and badges were made or changed");
    let badge = || Client::default().send("GET", &server.url("/badge/badge.svg"), &[], b"").unwrap().status;
    assert_eq!(badge(), 404);
    server.wait_for_log("/setup/");
    let cookie = format!("innkeeper-form={FORM}");
    let log_in = || submit(&server, &cookie, FORM, "/login", "name=mallory&password=password");
    let answer = log_in();
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(
        answer.body.contains("after an admin has confirmed it") && answer.header("set-cookie").is_none(),
        "{answer:?}"
    );
    let shown = [("authorization", "Bearer ik_test")];
    let me = || Client::default().send("GET", &server.url("/api/v1/me"), &shown, b"").unwrap();
    assert!(me().status == 401 && me().body.contains("confirmed"), "{:?}", me());

    // The first admin is made as in a new instance, and decides.
    let log = server.log();
    let path = log[log.find("/setup/").unwrap()..].split_whitespace().next().unwrap().to_owned();
    let chosen = "name=ada&password=correct+horse&again=correct+horse";
    let answer = submit(&server, &cookie, FORM, &path, chosen);
    assert_eq!(answer.status, 303, "{answer:?}");
    let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
    let session = cookies.map(|(_, value)| value).find(|value| value.starts_with("innkeeper=")).unwrap();
    let session = session.split(';').next().unwrap().to_owned();
    let headers = [("cookie", session.as_str()), ("accept", "text/html")];
    let settings = Client::default().send("GET", &server.url("/settings"), &headers, b"").unwrap().body;
    assert_eq!(settings.matches("(to be confirmed)").count(), 3, "{settings}");
    let csrf = settings.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    for path in ["/settings/tokens/1/confirm", "/settings/shares/badge/confirm"] {
        let answer = submit(&server, &session, csrf, path, "");
        assert_eq!(answer.status, 303, "{path}: {answer:?}");
    }
    // Who knows the password nobody knows: another is chosen by a new link.
    let answer = submit(&server, &session, csrf, "/settings/users/1/confirm", "");
    assert!(
        answer.status == 200 && answer.body.contains("mallory is confirmed as admin"),
        "{}",
        answer.status
    );
    assert_eq!(log_in().status, 401);
    let link = &answer.body[answer.body.find("/setup/").unwrap()..];
    let link = link.split(['<', '"']).next().unwrap();
    let answer = submit(&server, &cookie, FORM, link, "password=battery+staple&again=battery+staple");
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!((me().status, badge()), (200, 200));
    let log = told(&older).join("\n");
    assert!(
        log.contains("confirm user | user mallory") && log.contains("confirm token | token open"),
        "{log}"
    );
    assert!(log.contains("refused login | user mallory | a wrong name or password: 1"), "{log}");
    assert!(log.contains("a user who has yet to be confirmed: 1"), "{log}");
    drop(nobody());
}
