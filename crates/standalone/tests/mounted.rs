//! A path prefix on a shared host, behind a real proxy that strips the prefix and behind one that leaves it.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::collections::{BTreeMap, BTreeSet};

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::haproxy::HaProxy;
use innkeeper_testing::ports::free_port;
use innkeeper_testing::process::{self, Server};
use serde_json::json;

/// Innkeeper at `/monitor` of a proxy, and a browser that is logged in there.
struct Instance {
    base: String,
    host: String,
    server: Server,
    _proxy: HaProxy,
    client: Client,
    cookies: BTreeMap<String, String>,
}

impl Instance {
    fn open(strips: bool) -> Self {
        let port = free_port();
        let host = format!("http://127.0.0.1:{port}");
        let base = format!("{host}/monitor");
        let config = format!(
            "auth = \"tokens\"\npublic_url = \"{base}/\"\noperator = [\"log\"]\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n"
        );
        let server = Server::start("innkeeper", &config, &[]);
        let proxy = HaProxy::start(port, server.address(), strips);
        server.wait_for_log("Make the first admin");
        let mut instance =
            Self { base, host, server, _proxy: proxy, client: Client::default(), cookies: BTreeMap::new() };
        let log = instance.server.log();
        let link = log.split_once("within a day: ").unwrap().1.split_whitespace().next().unwrap().to_owned();
        assert!(link.starts_with(&format!("{}/setup/", instance.base)), "{link}");
        let password = "password=correct+horse&again=correct+horse&name=ada";
        let entered = instance.submit(link.strip_prefix(&instance.host).unwrap(), password);
        assert_eq!((entered.status, entered.header("location")), (303, Some("/monitor/status")));
        instance
    }

    /// Asks as a browser does: a path of the host, with the cookies whose path fits.
    fn send(&mut self, method: &str, path: &str, body: &str) -> Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let headers = [
            ("accept", "text/html"),
            ("cookie", &cookies.join("; ")),
            ("user-agent", "Mozilla/5.0"),
            ("origin", &self.host),
            ("content-type", "application/x-www-form-urlencoded"),
        ];
        let answer =
            self.client.send(method, &format!("{}{path}", self.host), &headers, body.as_bytes()).unwrap();
        for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            assert!(format!("{cookie};").contains("; Path=/monitor;"), "{cookie}");
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        answer
    }

    fn page(&mut self, path: &str) -> String {
        let answer = self.send("GET", path, "");
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.body
    }

    /// Sends the form of the page at `path` to `action`.
    fn submit_to(&mut self, path: &str, action: &str, fields: &str) -> Response {
        let page = self.page(path);
        let csrf = page.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        self.send("POST", action, &format!("csrf={csrf}&{fields}"))
    }

    fn submit(&mut self, path: &str, fields: &str) -> Response {
        self.submit_to(path, path, fields)
    }
}

/// Where a page leads to and what it loads.
fn leads_to(page: &str) -> Vec<String> {
    let attributes = [" href=\"", " src=\"", " action=\"", " data-editor=\""];
    let found = attributes.into_iter().flat_map(|attribute| {
        page.split(attribute).skip(1).map(|rest| rest.split('"').next().unwrap().replace("&#38;", "&"))
    });
    found.filter(|to| !to.starts_with('#') && !to.starts_with("data:")).collect()
}

#[test]
fn behind_a_proxy_that_strips_the_path() {
    everything_works(Instance::open(true));
}

#[test]
fn behind_a_proxy_that_leaves_the_path() {
    everything_works(Instance::open(false));
}

fn everything_works(mut instance: Instance) {
    // Who is not logged in is led to the login and from there back.
    let cookies = std::mem::take(&mut instance.cookies);
    let sent = instance.send("GET", "/monitor/status/1?x=y", "");
    assert_eq!(sent.header("location"), Some("/monitor/login?next=%2Fstatus%2F1%3Fx%3Dy"), "{sent:?}");
    let login = sent.header("location").unwrap().to_owned();
    let icon = "<link rel=\"icon\" type=\"image/svg+xml\" href=\"/monitor/assets/favicon.svg\">";
    assert!(instance.send("GET", &login, "").body.contains(icon));
    let entered = instance.submit_to(
        &login,
        "/monitor/login",
        "name=ada&password=correct+horse&next=%2Fstatus%3Fx%3Dy",
    );
    assert_eq!(entered.header("location"), Some("/monitor/status?x=y"), "{entered:?}");
    instance.cookies = cookies;

    // Forms, with what they lead to.
    let fields = "app=shop&component=backup&kind=every&frequency=1&time_units=hours&grace=5m&owner=ada&tags=night&alert_after=1";
    let made = instance.submit("/monitor/new", fields);
    assert_eq!(made.header("location"), Some("/monitor/status/1?said=made"), "{}", made.body);
    let token = instance.submit_to(
        "/monitor/settings",
        "/monitor/settings/tokens",
        "name=jobs&scope=checkin&scope=manage&scope=read",
    );
    let token = token.body.split("ik_").nth(1).unwrap().split('<').next().unwrap().trim().to_owned();
    for share in ["shape=page&kind=app&subject=shop", "shape=badge&kind=reservation&subject=1&title=backup"] {
        let made = instance.submit_to("/monitor/settings", "/monitor/settings/shares", share);
        assert_eq!(made.status, 303, "{made:?}");
    }
    let invited = instance.submit_to("/monitor/settings", "/monitor/settings/users", "name=bob&role=viewer");
    let link = format!("{}/setup/", instance.base);
    assert!(invited.body.contains(&link), "{}", invited.body);

    // Jobs, by the addresses that they are shown.
    let headers = [("authorization", format!("Bearer ik_{token}"))];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ask = |instance: &Instance, method: &str, path: &str, body: &str| {
        let url = format!("{}{path}", instance.base);
        instance.client.send(method, &url, &headers, body.as_bytes()).unwrap()
    };
    let job = ask(&instance, "GET", "/reservation", "").json()["result"][0].clone();
    let ping = job["ping_url"].as_str().unwrap().to_owned();
    assert!(ping.starts_with(&format!("{}/ping/", instance.base)), "{ping}");
    assert_eq!(instance.client.get(&ping).status, 200);
    assert_eq!(instance.client.get(&format!("{ping}/3")).status, 200);
    let body = json!({ "app": "shop", "component": "backup" }).to_string();
    assert_eq!(ask(&instance, "POST", "/checkin", &body).status, 200);
    assert_eq!(ask(&instance, "GET", "/?cronname=a&account=site&email=log&frequency=300", "").status, 201);
    assert_eq!(ask(&instance, "GET", "?cronname=a&account=site&email=log&frequency=300", "").status, 201);
    let document =
        json!({ "app": "shop", "component": "api", "frequency": 1, "time_units": "hours" }).to_string();
    let made = ask(&instance, "POST", "/api/v1/reservations", &document);
    let location = made.header("location").unwrap_or_else(|| panic!("{made:?}")).to_owned();
    assert!(location.starts_with("/monitor/api/v1/reservations/"), "{location}");
    let known = instance.client.send("GET", &format!("{}{location}", instance.host), &headers, b"").unwrap();
    assert_eq!(known.json()["component"], "api");
    let described = ask(&instance, "GET", "/api/v1/openapi.json", "").json();
    assert_eq!(described["servers"], json!([{ "url": instance.base }]));

    // Every page, and everything that one leads to.
    let begin = ["/monitor", "/monitor/", "/monitor/status/99", "/monitor/api"];
    let mut waiting = begin.map(str::to_owned).to_vec();
    let mut seen: BTreeSet<String> = waiting.iter().cloned().collect();
    while let Some(path) = waiting.pop() {
        let answer = instance.send("GET", &path, "");
        let expected = if path.ends_with("/99") { 404 } else { 200 };
        assert_eq!(answer.status, expected, "{path}: {answer:?}");
        if !answer.header("content-type").is_some_and(|kind| kind.starts_with("text/html")) {
            continue;
        }
        assert!(answer.body.contains("<link rel=\"icon\""), "{path}");
        for to in leads_to(&answer.body) {
            assert!(to == "/monitor" || to.starts_with("/monitor/"), "{path} leads to {to}");
            let posted = answer.body.contains(&format!(" action=\"{to}\" method=\"post\""))
                || answer.body.contains(&format!(" data-editor=\"{to}\""));
            let to = to.split('#').next().unwrap().to_owned();
            if !posted && seen.insert(to.clone()) {
                waiting.push(to);
            }
        }
    }
    for path in [
        "/monitor/settings",
        "/monitor/api",
        "/monitor/status/1/edit",
        "/monitor/assets/live.js",
        "/monitor/assets/favicon.svg",
    ] {
        assert!(seen.contains(path), "{path} was not come by: {seen:?}");
    }
    assert!(seen.iter().any(|path| path.starts_with("/monitor/public/")), "{seen:?}");
    assert!(seen.iter().any(|path| path.starts_with("/monitor/badge/")), "{seen:?}");
    let page = instance.page("/monitor/status/1");
    assert!(
        page.contains(&format!("{ping}/start")) && page.contains(&format!("{}/badge/", instance.base)),
        "{page}"
    );

    // The command line's link, and the way out.
    let said =
        process::command("innkeeper", instance.server.directory()).args(["invite", "bob"]).output().unwrap();
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(said.contains(&link), "{said}");
    let left = instance.submit_to("/monitor/status", "/monitor/logout", "");
    assert_eq!(left.header("location"), Some("/monitor/login"));
    assert_eq!(instance.send("GET", "/monitor/status", "").status, 303);
    // Past the proxy it works as well.
    assert_eq!(instance.client.get(&instance.server.url("/healthcheck")).status, 200);
}

/// A path that begins like the base where the proxy has stripped it is not stripped twice.
#[test]
fn a_base_with_the_name_of_a_page() {
    let config =
        "public_url = \"http://127.0.0.1:1/status\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n";
    let server = Server::start("innkeeper", config, &[]);
    let client = Client::default();
    let body = json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours" });
    assert_eq!(client.post(&server.url("/reservation"), &body).status, 200);
    for path in [
        "/status/1",
        "/status/1/edit",
        "/status/status/1",
        "/status/status/1/edit",
        "/status/status",
        "/status",
    ] {
        let answer = client.send("GET", &server.url(path), &[("accept", "text/html")], b"").unwrap();
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert!(answer.body.contains("shop"), "{path}");
    }
}

/// Where the base has the name of a route, what stands below it is a ping all the same, with `/ping` and without.
#[test]
fn pings_below_a_base_with_the_name_of_a_route() {
    for base in ["/status", "/cron", "/ping", "/nodes", "/api/v1", "/settings"] {
        let config = format!(
            "auth = \"tokens\"\npublic_url = \"http://127.0.0.1:1{base}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n"
        );
        let database = TestDatabase::sqlite();
        let server = Server::start("innkeeper", &config, &["--database-url", database.url()]);
        let client = Client::default();
        let made = process::command("innkeeper", server.directory())
            .args([
                "--database-url",
                database.url(),
                "token",
                "jobs",
                "--scope",
                "manage",
                "--scope",
                "read",
                "--scope",
                "checkin",
            ])
            .output()
            .unwrap();
        let said = String::from_utf8(made.stdout).unwrap();
        let token =
            said.split("ik_").nth(1).unwrap_or_else(|| panic!("{said}")).split_whitespace().next().unwrap();
        let bearer = format!("Bearer ik_{token}");
        let as_program = [("authorization", bearer.as_str())];
        let document = json!({ "app": "shop", "component": "backup", "frequency": 1, "time_units": "hours" });
        let url = server.url("/reservation");
        let made = client.send("POST", &url, &as_program, document.to_string().as_bytes()).unwrap();
        assert_eq!(made.status, 200, "{made:?}");
        let job = client.send("GET", &url, &as_program, b"").unwrap().json()["result"][0].clone();
        let text = |field: &str| job[field].as_str().unwrap().to_owned();
        let key = text("ping_url").rsplit('/').next().unwrap().to_owned();
        let mut count = 0;
        // As a proxy leaves it, and as one that strips it sends it.
        for before in [base, ""] {
            for way in [format!("/{key}"), format!("/{}/{}", text("ping_key"), text("slug"))] {
                for path in [format!("{before}{way}"), format!("{before}/ping{way}")] {
                    for (method, end) in
                        [("GET", ""), ("POST", ""), ("HEAD", "/start"), ("POST", "/fail"), ("GET", "/0")]
                    {
                        let answer =
                            client.send(method, &server.url(&format!("{path}{end}")), &[], b"").unwrap();
                        assert_eq!(answer.status, 200, "{method} {path}{end}: {answer:?}");
                        count += 1;
                    }
                }
            }
        }
        let checkins = database.store().checkins_of(1, 100).unwrap();
        assert_eq!(checkins.len(), count, "{base}");
    }
}

/// A base that is also a path by itself is named by `check-config` and at the start: each that there is.
#[test]
fn a_base_that_may_mean_two_things_is_named() {
    let config = |base: &str| {
        format!(
            "public_url = \"http://127.0.0.1:1{base}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n"
        )
    };
    let database = TestDatabase::sqlite();
    let arguments = ["--database-url", database.url()];
    let server = Server::start_with(&[("INNKEEPER_LOG", "debug")], "innkeeper", &config("/cron"), &arguments);
    // The last that is registered.
    server.wait_for_log("route GET /readyz needs ");
    let log = server.log();
    assert!(log.contains("public_url: its path /cron is also one of Innkeeper's own paths"), "{log}");
    let routes =
        log.lines().filter_map(|line| line.split_once("route ")?.1.split(" needs ").next()?.split_once(' '));
    let own: BTreeSet<&str> =
        routes.map(|(_, path)| path).filter(|path| *path != "/" && !path.contains('{')).collect();
    assert!(own.len() > 40 && own.contains("/cron") && own.contains("/settings"), "{own:?}");
    let directory = tempfile::TempDir::new().unwrap();
    let warned = |base: &str| {
        std::fs::write(directory.path().join("innkeeper.toml"), config(base)).unwrap();
        let said = process::command("innkeeper", directory.path()).arg("check-config").output().unwrap();
        assert!(said.status.success(), "{said:?}");
        let said = String::from_utf8(said.stdout).unwrap();
        said.contains(&format!("Warning: public_url: its path {base} is also one of Innkeeper's own paths"))
    };
    for base in own {
        assert!(warned(base), "{base}");
    }
    for base in ["", "/innkeeper", "/monitor/status", "/crons"] {
        assert!(!warned(base), "{base}");
    }
}
