//! What a stranger can do through somebody else's browser: have a name of their own lead here (DNS rebinding), or have a link followed.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

mod common;

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::http_sink::HttpSink;
use innkeeper_testing::process::Server;
use serde_json::json;

const GOCRON: &str = "/?cronname=x&account=y&email=evil@example.org&frequency=5";

fn open(top: &str) -> Server {
    Server::start("innkeeper", &format!("{top}\n[ingest]\nlisten = \"127.0.0.1:0\"\n"), &[])
}

fn ask(server: &Server, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Response {
    Client::default().send(method, &server.url(path), headers, body.as_bytes()).unwrap()
}

fn jobs(server: &Server) -> usize {
    ask(server, "GET", "/reservation", &[], "").json()["result"].as_array().unwrap().len()
}

#[test]
fn an_open_instance_answers_by_its_own_names_alone_whoever_asks() {
    let reservation =
        json!({ "app": "a", "component": "b", "frequency": 5, "time_units": "minutes" }).to_string();
    for top in ["", "allow_open = true"] {
        let server = open(top);
        let by = |host: &str, agent: &str, method: &str, path: &str, body: &str| {
            ask(&server, method, path, &[("host", host), ("user-agent", agent)], body)
        };
        for agent in ["Mozilla/5.0", "curl/8", "x"] {
            for (method, path, body) in [
                ("GET", "/status", ""),
                ("GET", "/settings", ""),
                ("GET", "/reservation", ""),
                ("GET", "/cron", ""),
                ("GET", "/nodes", ""),
                ("GET", "/metrics", ""),
                ("GET", "/api/v1/reservations", ""),
                ("GET", "/api/v1/export", ""),
                ("GET", GOCRON, ""),
                ("POST", "/", GOCRON),
                ("POST", "/reservation", reservation.as_str()),
                ("POST", "/api/v1/reservations", reservation.as_str()),
                ("POST", "/checkin", "{\"app\":\"a\",\"component\":\"b\"}"),
                ("POST", "/login", ""),
                ("POST", "/settings/tokens", ""),
            ] {
                let answer = by("evil.example:8080", agent, method, path, body);
                assert_eq!(answer.status, 403, "{top} {agent} {method} {path}: {answer:?}");
                for part in ["evil.example", "public_url", "allowed_hosts"] {
                    assert!(answer.body.contains(part), "{method} {path}: {answer:?}");
                }
            }
        }
        assert_eq!(jobs(&server), 0);
        // What nobody can guess, and what tells nothing, is for whoever asks.
        for path in ["/healthz", "/readyz", "/version", "/peer", "/", "/healthcheck"] {
            assert_eq!(by("evil.example", "x", "GET", path, "").status, 200, "{path}");
        }
        assert_eq!(by("127.0.0.1", "x", "POST", "/reservation", &reservation).status, 200);
        let url = ask(&server, "GET", "/reservation", &[], "").json()["result"][0]["ping_url"]
            .as_str()
            .unwrap()
            .to_owned();
        let ping = url.split_once("/ping/").unwrap().1.to_owned();
        assert_eq!(by("any.name.example", "x", "GET", &format!("/ping/{ping}"), "").status, 200);
    }
}

#[test]
fn names_of_the_instance_are_known() {
    let server = open("public_url = \"https://inn.example.org/\"\nallowed_hosts = [\"jobs.example.org\"]");
    let own = server.address().to_string();
    let machine = gethostname::gethostname().into_string().unwrap();
    for host in [
        own.as_str(),
        "localhost:8080",
        "[::1]:8080",
        "10.1.2.3",
        "innkeeper:8080",
        "inn.example.org",
        "INN.example.org:80",
        "jobs.example.org:8080",
        &machine,
    ] {
        assert_eq!(ask(&server, "GET", "/reservation", &[("host", host)], "").status, 200, "{host}");
    }
    for host in ["evil.example", "inn.example.org.evil.example", "example.org", "127.0.0.1.nip.io"] {
        assert_eq!(ask(&server, "GET", "/reservation", &[("host", host)], "").status, 403, "{host}");
    }
    // Where people log in a name alone opens nothing, and none is asked for.
    let closed = open("auth = \"tokens\"");
    assert_eq!(ask(&closed, "GET", "/reservation", &[("host", "evil.example")], "").status, 401);
}

#[test]
fn a_page_that_passes_for_ours_does_not_sign_on() {
    let server = open(
        "auth = \"tokens\"\npublic_url = \"https://inn.example.org\"\n[web]\nsign_on_header = \"X-Forwarded-User\"\n\
         sign_on_proxies = [\"127.0.0.1\"]\nsign_on_role = \"admin\"",
    );
    let by = |host: &str, forwarded: &str| {
        let headers = [("host", host), ("x-forwarded-host", forwarded), ("x-forwarded-user", "boss")];
        ask(&server, "GET", "/api/v1/me", &headers, "").status
    };
    assert_eq!(by("inn.example.org", "inn.example.org"), 200);
    assert_eq!(by("127.0.0.1:8080", "inn.example.org:443"), 200);
    assert_eq!((by("evil.example:8080", "inn.example.org"), by("127.0.0.1", "evil.example")), (403, 403));
}

#[test]
fn a_job_that_calls_by_a_name_that_is_not_ours_is_told_once() {
    let sink = HttpSink::start();
    let server = open(&format!("allow_open = true\noperator = [\"ops\"]\n{}", common::webhook("ops", &sink)));
    let check_in = |headers: &[(&str, &str)]| {
        let headers = [&[("host", "monitor.lan:8080")][..], headers].concat();
        ask(&server, "POST", "/checkin", &headers, "{\"app\":\"a\",\"component\":\"b\"}").status
    };
    // What a page of another site has a browser send is no job.
    assert_eq!(check_in(&[("origin", "http://monitor.lan:8080"), ("sec-fetch-site", "same-origin")]), 403);
    for _ in 0..3 {
        assert_eq!(check_in(&[]), 403);
    }
    let told = common::eventually("the operator hears of it", || {
        let told: Vec<String> =
            sink.requests().iter().map(|request| request.json()["subject"].to_string()).collect();
        let told: Vec<String> = told.into_iter().filter(|subject| subject.contains("monitor.lan")).collect();
        (!told.is_empty()).then_some(told)
    });
    assert_eq!(told, ["\"A job that calls by the name monitor.lan is refused\""]);
    assert!(server.log().contains("is refused: it came by the name \"monitor.lan\" (for /checkin)"));
}

#[test]
fn what_a_browser_sends_by_itself_checks_nobody_in() {
    let server = open("");
    for header in [
        ("sec-fetch-site", "none"),
        ("sec-fetch-mode", "navigate"),
        ("origin", "https://evil.example"),
        ("referer", "https://mail.example/"),
        ("accept-language", "de"),
        ("accept", "text/html,application/xhtml+xml,*/*;q=0.8"),
        ("accept", "image/avif,image/webp,*/*"),
        ("accept", "*/*, IMAGE/png"),
    ] {
        let answer = ask(&server, "GET", GOCRON, &[header], "");
        assert!(
            answer.status == 403 && answer.body.contains("<h1>Nothing was done</h1>"),
            "{header:?}: {answer:?}"
        );
    }
    for headers in [&[][..], &[("accept", "*/*")]] {
        let answer = ask(&server, "HEAD", GOCRON, headers, "");
        assert_eq!(answer.status, 405);
        let said = answer.header("warning").unwrap_or_default();
        assert!(said.contains("HEAD does not check in; use GET or POST"), "{answer:?}");
    }
    // Whoever looks after the job sees why it is told as missed.
    for said in
        ["was refused, since gocron's GET looked like a browser's", "was refused: HEAD does not check in"]
    {
        server.wait_for_log(said);
        let log = server.log();
        let line = log.lines().find(|line| line.contains(said)).unwrap_or_default();
        assert!(line.contains(" from 127.0.0.1 "), "{line}");
    }
    assert_eq!(jobs(&server), 0);
    // What programs send does.
    for headers in
        [&[][..], &[("accept", "*/*")], &[("accept", "application/json"), ("user-agent", "Mozilla/5.0")]]
    {
        assert_eq!(ask(&server, "GET", GOCRON, headers, "").status, 201, "{headers:?}");
    }
    assert_eq!(jobs(&server), 1);
}

#[test]
fn a_public_page_tells_names_and_states_and_keeps_nothing_in_the_browser() {
    let server = open("");
    let daily =
        json!({ "app": "a", "component": "b", "frequency": 7, "time_units": "minutes", "grace": "11m" })
            .to_string();
    assert_eq!(ask(&server, "POST", "/reservation", &[], &daily).status, 200);
    let csrf = "0123456789012345678901234567890123456789012";
    let cookie = format!("innkeeper-form={csrf}");
    let fields = format!("csrf={csrf}&shape=page&kind=app&subject=a&title=Shop");
    let made =
        ask(&server, "POST", "/settings/shares", &[("cookie", &cookie), ("accept", "text/html")], &fields);
    let settings = ask(&server, "GET", "/settings", &[("accept", "text/html")], "").body;
    let at = settings.find("/public/").unwrap_or_else(|| panic!("{made:?}"));
    let path: String = settings[at..].chars().take_while(|c| !matches!(c, '"' | '<' | ' ')).collect();
    let page = ask(&server, "GET", &path, &[("accept", "text/html"), ("host", "any.example")], "");
    assert!(page.status == 200 && page.body.contains("<td class=\"job\">b</td>"), "{page:?}");
    assert!(page.header("set-cookie").is_none(), "{page:?}");
    for told in ["minute", "every", "period"] {
        assert!(
            !page.body.split("<main").nth(1).unwrap_or(&page.body).contains(told),
            "{told}: {}",
            page.body
        );
    }
}

#[test]
fn a_path_that_no_database_looks_for_leads_nowhere() {
    let database = TestDatabase::postgres();
    let server = Server::start(
        "innkeeper",
        "[ingest]\nlisten = \"127.0.0.1:0\"\n",
        &["--database-url", database.url()],
    );
    for path in ["/public/%00", "/badge/%00.svg", "/status/%00"] {
        assert_eq!(ask(&server, "GET", path, &[("accept", "text/html")], "").status, 404, "{path}");
    }
    for path in ["/settings/shares/%00/remove", "/nodes/%00/snooze", "/api/v1/duties/%00/resume"] {
        let status = ask(&server, "POST", path, &[], "").status;
        assert!(matches!(status, 403 | 404), "{path}: {status}");
    }
}

#[test]
fn what_is_longer_than_any_name_is_not_looked_for() {
    let server = open("");
    let page =
        |query: &str| ask(&server, "GET", &format!("/status?{query}"), &[("accept", "text/html")], "").status;
    for field in ["q", "app", "tag", "owner", "after_component"] {
        let others = if field == "after_component" { "sort=name&after_app=a&" } else { "" };
        assert_eq!(page(&format!("{others}{field}={}", "x".repeat(60_000))), 400, "{field}");
        assert_eq!(page(&format!("{others}{field}=%00")), 400, "{field}");
        assert_eq!(page(&format!("{others}{field}={}", "x".repeat(200))), 200, "{field}");
    }
    let api = ask(&server, "GET", &format!("/api/v1/reservations?q={}", "x".repeat(60_000)), &[], "");
    assert_eq!(api.status, 400);
}
