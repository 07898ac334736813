//! The `http` probe against servers with good, bad, slow and endless responses, or with no HTTP at all.

mod probe_support;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};

use innkeeper_agent::probe::{Phase, ProbeOutcome, ProbeStatus};
use innkeeper_testing::ports::closed_port;
use probe_support::tls::{Wanted, accept, time};
use probe_support::{Server, assert_said, check, check_at, drip, hang, probe, request};

/// A server that chooses its response by the head of the request and records the requests.
struct Web {
    server: Server,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Web {
    fn new(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self::on("127.0.0.1:0", answer)
    }

    fn on(address: &str, answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let kept = Arc::clone(&heard);
        let server = Server::on(address, move |mut stream| {
            let request = request(&mut stream);
            let answer = answer(&request);
            kept.lock().expect("no test that panicked").push(request);
            let _ = stream.write_all(&answer);
        });
        Self { server, heard }
    }

    fn says(answer: &'static str) -> Self {
        Self::new(move |_| answer.as_bytes().to_vec())
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.server.port())
    }

    fn check(&self, more: &str) -> ProbeOutcome {
        check(&format!("kind = 'http'\ntarget = '{}'\n{more}", self.url("/")))
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().expect("no test that panicked").clone()
    }
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

#[test]
fn a_good_answer_and_how_long_each_part_of_it_took() {
    let web = Web::new(|_| ok("hello").into_bytes());
    let outcome = web.check("");
    assert_said(&outcome, ProbeStatus::Ok, "status 200 OK");
    assert_eq!((outcome.figures["status"].value, outcome.figures["body_bytes"].value), (200.0, 5.0));
    for phase in [Phase::Dns, Phase::Connect, Phase::FirstByte, Phase::Body] {
        assert!(
            outcome.phases.get(phase).is_some()
                && outcome.figures.contains_key(&format!("{}_ms", phase.as_str()))
        );
    }
    assert!(outcome.phases.get(Phase::Tls).is_none());
    let heard = web.heard().remove(0).to_lowercase();
    assert!(heard.starts_with("get / http/1.1\r\n"), "{heard}");
    let version = env!("CARGO_PKG_VERSION");
    for header in [
        &*format!("user-agent: innkeeper-agent/{version}"),
        "accept-encoding: identity",
        "connection: close",
        "accept: */*",
    ] {
        assert!(heard.contains(&format!("\r\n{header}\r\n")), "{header}: {heard}");
    }
    assert!(heard.contains(&format!("\r\nhost: 127.0.0.1:{}\r\n", web.server.port())));
    web.check("");
    assert_eq!(web.server.connections(), 2, "each run connects anew");
}

#[test]
fn what_is_sent() {
    let web = Web::new(|_| ok("").into_bytes());
    let more = "method = 'POST'\nbody = 'a=1&b=ü'\nuser_agent = 'x/1'\nheaders = { Content-Type = 'text/plain', X-Count = 5 }";
    assert_said(&web.check(more), ProbeStatus::Ok, "200");
    assert_said(&web.check("method = 'GET'\nbody = 'get with a body'"), ProbeStatus::Ok, "200");
    assert_said(
        &web.check("method = 'PURGE'\nheaders = ['Host: other.example', 'Accept-Encoding: gzip']"),
        ProbeStatus::Ok,
        "200",
    );
    let heard = web.heard();
    assert!(
        heard[0].starts_with("POST / HTTP/1.1\r\n") && heard[0].ends_with("\r\n\r\na=1&b=ü"),
        "{heard:?}"
    );
    for header in ["content-type: text/plain", "x-count: 5", "user-agent: x/1", "content-length: 8"] {
        assert!(heard[0].to_lowercase().contains(&format!("\r\n{header}\r\n")), "{header} {heard:?}");
    }
    assert!(heard[1].ends_with("\r\n\r\nget with a body"), "{heard:?}");
    let third = heard[2].to_lowercase();
    assert!(
        third.starts_with("purge / ")
            && third.contains("host: other.example\r\n")
            && third.contains("accept-encoding: gzip"),
        "{third}"
    );
    assert_eq!(third.matches("host: ").count(), 1);
}

#[test]
fn statuses_that_are_expected() {
    for (status, more, well) in [
        ("200 OK", "", true),
        ("204 No Content", "", true),
        ("404 Not Found", "", false),
        ("500 Oops", "", false),
        ("401 Unauthorized", "status = [200, 401]", true),
        ("403 Forbidden", "status = ['4xx']", true),
        ("200 OK", "status = ['300-399', '404']", false),
        ("304 Not Modified", "", false),
        ("299 Odd", "", true),
        ("418 Teapot", "status = 418", true),
    ] {
        let status = status.to_owned();
        let text = status.clone();
        let web = Web::new(move |_| format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").into_bytes());
        let outcome = web.check(more);
        assert_eq!(outcome.status == ProbeStatus::Ok, well, "{text} {more}: {outcome:?}");
    }
    let web = Web::says("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 8\r\n\r\nno\u{1b}[31m db");
    let outcome = web.check("status = ['200-204', 301]");
    assert_said(&outcome, ProbeStatus::Critical, "status 502 Bad Gateway; expected: 200-204, 301");
    assert!(outcome.details.contains("no"), "what it says of itself: {outcome:?}");
}

#[test]
fn what_the_body_says() {
    let web = Web::new(|_| ok(r#"{"status": "UP", "queue": [3]}"#).into_bytes());
    assert_said(
        &web.check("text = 'UP'\nnot_text = ['DOWN']\njson = { '/status' = 'UP', '/queue/0' = 3 }"),
        ProbeStatus::Ok,
        "200",
    );
    assert_said(
        &web.check("text = ['UP', 'Welcome']"),
        ProbeStatus::Critical,
        "status 200, but \"Welcome\" is not in its body",
    );
    assert_said(&web.check("not_text = 'UP'"), ProbeStatus::Critical, "\"UP\" is in its body");
    assert_said(
        &web.check("json = { '/queue/0' = 4 }"),
        ProbeStatus::Critical,
        "its JSON has 3 at \"/queue/0\", not \"4\"",
    );
    let page = Web::new(|_| ok("<html>sorry</html>").into_bytes());
    assert_said(&page.check("json = { '/status' = 'UP' }"), ProbeStatus::Critical, "its body is not JSON");
    let chunked =
        Web::says("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwel\r\n4\r\ncome\r\n0\r\n\r\n");
    assert_said(&chunked.check("text = 'welcome'"), ProbeStatus::Ok, "200");
    let to_the_end = Web::says("HTTP/1.0 200 OK\r\n\r\nwelcome");
    assert_said(&to_the_end.check("text = 'welcome'"), ProbeStatus::Ok, "200");
    let gzip = Web::says("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz");
    assert_said(&gzip.check("text = 'welcome'"), ProbeStatus::Critical, "encoded (gzip)");
    assert_said(&gzip.check(""), ProbeStatus::Ok, "200");
    let head = Web::says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n");
    assert_said(&head.check("method = 'HEAD'"), ProbeStatus::Ok, "200");
}

#[test]
fn of_a_body_no_more_is_read_than_is_wanted() {
    let endless = Server::start(|mut stream| {
        request(&mut stream);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nwelcome");
        while stream.write_all(&[b'x'; 64 * 1024]).is_ok() {}
    });
    let text = |more: &str| {
        check(&format!("kind = 'http'\ntarget = 'http://127.0.0.1:{}/'\n{more}", endless.port()))
    };
    let outcome = text("text = 'welcome'\nbody_limit = '100KiB'");
    assert_said(&outcome, ProbeStatus::Ok, "200");
    assert_eq!(outcome.figures["body_bytes"].value, 102_400.0);
    assert_said(
        &text("text = 'bye'\nbody_limit = '1KiB'"),
        ProbeStatus::Critical,
        "\"bye\" is not in its body in its first 1024 bytes",
    );
    assert_said(
        &text("json = { '/a' = 1 }\nbody_limit = '1KiB'"),
        ProbeStatus::Critical,
        "longer than the 1024 bytes that are read",
    );
}

#[test]
fn answers_that_end_too_soon_and_such_as_are_none() {
    for (answer, says) in [
        ("", "closed the connection without an answer"),
        ("HTTP/1.1 200 OK\r\nContent-Le", "within the headers"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "within the body, after 4 bytes"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhal", "within the body"),
        ("SSH-2.0-OpenSSH_9.2\r\n", "not HTTP"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
    ] {
        assert_said(&Web::says(answer).check(""), ProbeStatus::Critical, says);
    }
    let many: String = (0..300).map(|n| format!("X-{n}: 1\r\n")).collect();
    let many = format!("HTTP/1.1 200 OK\r\n{many}\r\n");
    assert_eq!(Web::new(move |_| many.clone().into_bytes()).check("").status, ProbeStatus::Critical);
    let refused = check(&format!("kind = 'http'\ntarget = 'http://127.0.0.1:{}/'", closed_port()));
    assert_said(&refused, ProbeStatus::Critical, "Connection refused");
}

#[test]
fn every_wait_has_an_end() {
    let target = |server: &Server, more: &str| {
        check(&format!("kind = 'http'\ntarget = 'http://127.0.0.1:{}/'\n{more}", server.port()))
    };
    let silent = Server::start(hang);
    assert_said(&target(&silent, "timeout = '300ms'"), ProbeStatus::Critical, "timed out after 300ms");
    assert_said(
        &target(&silent, "first_byte_timeout = '200ms'"),
        ProbeStatus::Critical,
        "timed out after 200ms while waiting",
    );
    let headers = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        drip(&mut stream, b"X-More: 1\r\n");
    });
    assert_said(&target(&headers, "timeout = '400ms'"), ProbeStatus::Critical, "timed out after 400ms");
    let body = Server::start(|mut stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n");
        drip(&mut stream, b"x");
    });
    assert_said(
        &target(&body, "body_timeout = '300ms'"),
        ProbeStatus::Critical,
        "timed out after 300ms while reading the answer",
    );
    // One that takes nothing: what is sent fills the buffers between the two, and no more goes.
    let deaf = Server::start(|stream| {
        std::thread::park_timeout(std::time::Duration::from_secs(60));
        drop(stream);
    });
    let large = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(large.path(), vec![b'x'; 1024 * 1024]).unwrap();
    let more = format!("timeout = '400ms'\nmethod = 'POST'\nbody_file = '{}'", large.path().display());
    assert_said(&target(&deaf, &more), ProbeStatus::Critical, "timed out after 400ms");
}

#[test]
fn redirects_are_followed_so_far_and_no_further() {
    let end = Web::new(|_| ok("the end").into_bytes());
    let there = end.url("/end?secret=hunter2");
    let start = Web::new(move |request| match request.split(' ').nth(1) {
        Some("/loop") => b"HTTP/1.1 302 Found\r\nLocation: /loop\r\n\r\n".to_vec(),
        Some("/mail") => b"HTTP/1.1 302 Found\r\nLocation: mailto:a@example.org\r\n\r\n".to_vec(),
        Some("/next") => format!("HTTP/1.1 307 Temporary Redirect\r\nLocation: {there}\r\n\r\n").into_bytes(),
        Some("/see") => b"HTTP/1.1 303 See Other\r\nLocation: ../next\r\n\r\n".to_vec(),
        _ => b"HTTP/1.1 301 Moved Permanently\r\nLocation: /next\r\nContent-Length: 5\r\n\r\nmoved".to_vec(),
    });
    let at =
        |path: &str, more: &str| check(&format!("kind = 'http'\ntarget = '{}'\n{more}", start.url(path)));
    let outcome = at("/", "text = 'the end'");
    assert_said(&outcome, ProbeStatus::Ok, &format!("status 200 OK; at {}", end.url("/end")));
    assert!(!outcome.text().contains("hunter2"));
    assert_said(
        &at("/", "redirects = 1"),
        ProbeStatus::Critical,
        "it redirects more often than redirects = 1 allows",
    );
    assert_said(
        &at("/", "redirects = 0"),
        ProbeStatus::Critical,
        "status 301 Moved Permanently; expected: 200-299",
    );
    assert_said(&at("/", "redirects = 0\nstatus = [301]"), ProbeStatus::Ok, "status 301");
    assert_said(&at("/", "status = [301]"), ProbeStatus::Ok, "status 301");
    assert_said(&at("/loop", ""), ProbeStatus::Critical, "it redirects more often than redirects = 5 allows");
    assert_said(&at("/mail", ""), ProbeStatus::Critical, "which is not a web address");
    // A form that was taken leads to a page; one that has moved is sent again.
    assert_said(&at("/see", "method = 'POST'\nbody = 'x'"), ProbeStatus::Ok, "200");
    assert!(end.heard().last().unwrap().starts_with("GET /end"));
    assert_said(&at("/next", "method = 'POST'\nbody = 'x'"), ProbeStatus::Ok, "200");
    let last = end.heard().pop().unwrap();
    assert!(last.starts_with("POST /end?secret=hunter2 ") && last.ends_with("\r\n\r\nx"), "{last}");
}

#[test]
fn secrets_are_sent_to_the_first_host_alone_and_told_to_nobody() {
    let other = Web::new(|_| ok("").into_bytes());
    let there = other.url("/");
    let own = Web::new(move |request| match request.contains("GET /first") {
        true => b"HTTP/1.1 302 Found\r\nLocation: /second\r\n\r\n".to_vec(),
        false => format!("HTTP/1.1 302 Found\r\nLocation: {there}\r\n\r\n").into_bytes(),
    });
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    };
    let headers = file("headers", "X-Api-Key: hunter2\n\nCookie: a=hunter2\n");
    let password = file("password", "hunter2\n");
    let more = format!(
        "headers_file = '{headers}'\nusername = 'me'\npassword_file = '{password}'\nheaders = {{ X-Plain = '1' }}"
    );
    let outcome = check(&format!("kind = 'http'\ntarget = '{}'\n{more}", own.url("/first?t=hunter2")));
    assert_said(&outcome, ProbeStatus::Ok, "200");
    assert_eq!((own.heard().len(), other.heard().len()), (2, 1));
    for request in own.heard() {
        let request = request.to_lowercase();
        assert!(
            request.contains("authorization: basic bwu6ahvudgvymg==")
                && request.contains("x-api-key: hunter2")
                && request.contains("cookie: a=hunter2"),
            "{request}"
        );
    }
    let foreign = other.heard()[0].to_lowercase();
    assert!(
        foreign.contains("x-plain: 1") && !foreign.contains("hunter2") && !foreign.contains("authorization"),
        "{foreign}"
    );
    // Pages that repeat what they were asked.
    let echo = Web::new(|request| {
        format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{request}", request.len()).into_bytes()
    });
    let target = echo.url("/page?key=hunter2").replace("http://", "http://me:hunter2@");
    for more in [
        "",
        "bearer = 'hunter2'",
        "status = [404]\njson = { '/a' = 1 }",
        &*format!("headers_file = '{headers}'"),
    ] {
        let outcome = check(&format!("kind = 'http'\ntarget = '{target}'\n{more}"));
        assert_eq!(outcome.status, ProbeStatus::Critical);
        assert!(!format!("{outcome:?}").contains("hunter2"), "{outcome:?}");
    }
    assert!(echo.heard()[0].contains("hunter2"));
    // Of the address itself; what fails does not tell it either.
    let port = closed_port();
    let in_address = format!(
        "kind = 'http'\ntarget = 'http://me:hunter2@127.0.0.1:{port}/p?key=hunter2'\nbearer = 'hunter2'"
    );
    let outcome = check(&in_address);
    assert_eq!(outcome.status, ProbeStatus::Critical);
    assert!(!format!("{outcome:?}").contains("hunter2"));
    let probe = probe(&format!("{in_address}\nheaders_file = '{headers}'"));
    assert!(!format!("{probe:?}").contains("hunter2"));
    let web = Web::new(|_| ok("").into_bytes());
    let token = file("token", "t0ken");
    web.check(&format!("bearer_file = '{token}'"));
    assert!(web.heard()[0].to_lowercase().contains("authorization: bearer t0ken\r\n"));
}

#[test]
fn an_address_that_stands_for_the_name_and_families() {
    let v4 = Web::new(|_| ok("four").into_bytes());
    let port = v4.server.port();
    let v6 = Web::on(&format!("[::1]:{port}"), |_| ok("six").into_bytes());
    let target =
        |host: &str, more: &str| check(&format!("kind = 'http'\ntarget = 'http://{host}:{port}/'\n{more}"));
    assert_said(&target("shop.example", "address = '127.0.0.1'\ntext = 'four'"), ProbeStatus::Ok, "200");
    assert!(v4.heard().last().unwrap().to_lowercase().contains(&format!("host: shop.example:{port}\r\n")));
    assert_said(&target("shop.example", "address = '::1'\ntext = 'six'"), ProbeStatus::Ok, "200");
    assert!(v6.heard().last().unwrap().to_lowercase().contains(&format!("host: shop.example:{port}\r\n")));
    assert_said(&target("[::1]", "text = 'six'"), ProbeStatus::Ok, "200");
    assert_said(&target("[::1]", "family = '4'"), ProbeStatus::Critical, "::1 is no IPv4 address");
    let both = target("127.0.0.1", "family = 'both'");
    assert_said(&both, ProbeStatus::Critical, "IPv6: 127.0.0.1 is no IPv6 address; IPv4: status 200");
    assert!(both.figures.contains_key("ipv4_first_byte_ms") && both.figures["ipv4_status"].value == 200.0);
}

#[test]
fn proxies_are_used_where_they_are_named_and_no_others() {
    let proxy = Web::new(|_| ok("by the proxy").into_bytes());
    let at = format!(
        "proxy = 'http://127.0.0.1:{}'\nproxy_username = 'me'\nproxy_password = 'pw'",
        proxy.server.port()
    );
    // The name is the proxy's to resolve: there is none such.
    let outcome = check(&format!(
        "kind = 'http'\ntarget = 'http://nowhere.invalid:81/a?b=c'\ntext = 'by the proxy'\n{at}"
    ));
    assert_said(&outcome, ProbeStatus::Ok, "200");
    let heard = proxy.heard().remove(0);
    assert!(heard.starts_with("GET http://nowhere.invalid:81/a?b=c HTTP/1.1\r\n"), "{heard}");
    let heard = heard.to_lowercase();
    assert!(
        heard.contains("host: nowhere.invalid:81\r\n")
            && heard.contains("proxy-authorization: basic bwu6chc=\r\n"),
        "{heard}"
    );
    let refusing = Web::says("HTTP/1.1 403 Forbidden\r\n\r\n");
    let through = format!(
        "kind = 'http'\ntarget = 'https://nowhere.invalid/'\nproxy = 'http://127.0.0.1:{}'",
        refusing.server.port()
    );
    assert_said(
        &check(&through),
        ProbeStatus::Critical,
        "the proxy: it does not connect to nowhere.invalid:443: the server says \"HTTP/1.1 403 Forbidden\"",
    );
    let away = format!(
        "kind = 'http'\ntarget = 'https://nowhere.invalid/'\nproxy = 'http://127.0.0.1:{}'",
        closed_port()
    );
    assert_said(&check(&away), ProbeStatus::Critical, "the proxy: cannot connect");
}

/// A proxy that forwards every request to the same server.
fn tunnel(port: u16) -> Server {
    Server::start(move |mut stream| {
        let asked = request(&mut stream);
        assert!(asked.starts_with("CONNECT secure.example:443 HTTP/1.1\r\n"), "{asked}");
        let _ = stream.write_all(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n");
        let onward = TcpStream::connect(("127.0.0.1", port)).expect("the server behind");
        let copy = |stream: &TcpStream| stream.try_clone().expect("a copy of a connection");
        let (mut from, mut to) = (copy(&stream), copy(&onward));
        std::thread::spawn(move || std::io::copy(&mut from, &mut to));
        let _ = std::io::copy(&mut &onward, &mut stream);
    })
}

#[test]
fn over_tls_the_certificate_counts_too_at_each_hop() {
    let own = Wanted { names: &["secure.example", "localhost"], until: "2026-09-01", ..Wanted::default() }
        .self_signed();
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, &own.pem).unwrap();
    let config = own.server(&[]);
    let secure = Server::start(move |stream| {
        if let Some(mut stream) = accept(&config, stream) {
            request(&mut stream);
            let _ = stream.write_all(ok("secure").as_bytes());
            // No goodbye of TLS, as many servers do it.
        }
    });
    let port = secure.port();
    let target = format!(
        "kind = 'http'\ntarget = 'https://localhost:{port}/'\nfamily = '4'\nca_file = '{}'\ntext = 'secure'\n",
        ca.display()
    );
    let outcome = check_at(&target, time("2026-07-01"));
    assert_said(&outcome, ProbeStatus::Ok, "status 200");
    assert!(outcome.phases.get(Phase::Tls).is_some() && outcome.figures["days_left"].value == 62.0);
    assert_said(
        &check_at(&target, time("2026-08-20")),
        ProbeStatus::Warning,
        "localhost: its certificate expires in 12 days, at 2026-09-01 00:00 UTC; status 200",
    );
    assert_said(
        &check_at(&format!("{target}expiry = false"), time("2026-08-20")),
        ProbeStatus::Ok,
        "status 200",
    );
    assert_said(&check_at(&target, time("2026-09-02")), ProbeStatus::Critical, "has expired");
    let lax = format!("{target}verify = false");
    assert_said(&check_at(&lax, time("2026-09-02")), ProbeStatus::Critical, "has expired 1 day ago");
    assert_said(
        &check_at(&format!("{lax}\nexpiry = false"), time("2026-09-02")),
        ProbeStatus::Ok,
        "status 200",
    );
    let stranger = target.replace("ca_file", "#");
    assert_said(&check_at(&stranger, time("2026-07-01")), ProbeStatus::Critical, "it is self-signed");
    // Where the first hop is the one whose certificate ends.
    let end = Web::new(|_| ok("secure").into_bytes());
    let there = end.url("/");
    let config = own.server(&[]);
    let moved = Server::start(move |stream| {
        if let Some(mut stream) = accept(&config, stream) {
            request(&mut stream);
            let _ = stream.write_all(format!("HTTP/1.1 301 Moved\r\nLocation: {there}\r\n\r\n").as_bytes());
        }
    });
    let first = target.replace(&port.to_string(), &moved.port().to_string());
    assert_said(
        &check_at(&first, time("2026-08-20")),
        ProbeStatus::Warning,
        "localhost: its certificate expires in 12 days",
    );
    // And through a proxy.
    let proxy = tunnel(port);
    let through = format!(
        "kind = 'http'\ntarget = 'https://secure.example/'\nca_file = '{}'\ntext = 'secure'\nproxy = 'http://127.0.0.1:{}'",
        ca.display(),
        proxy.port()
    );
    assert_said(&check_at(&through, time("2026-07-01")), ProbeStatus::Ok, "status 200");
}

#[test]
fn what_is_slow_is_a_warning_where_that_is_wanted() {
    let slow = Server::start(|mut stream| {
        request(&mut stream);
        std::thread::sleep(std::time::Duration::from_millis(120));
        let _ = stream.write_all(ok("").as_bytes());
        let _ = stream.read(&mut [0]);
    });
    let target = format!("kind = 'http'\ntarget = 'http://127.0.0.1:{}/'\nwarn_after = '100ms'", slow.port());
    assert_said(&check(&target), ProbeStatus::Warning, "longer than 100 ms; status 200 OK");
}
