//! A browser as HTTP sees it: it keeps cookies, and brings back what the last page gave its forms.

#![allow(clippy::unwrap_used, dead_code, reason = "a test fails by it, and no test uses all of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use innkeeper_core::{Clock as _, SystemClock};
use innkeeper_http::keys::totp;
use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::process::Server;

use super::instance::Instance;

/// The password of every user here.
pub const PASSWORD: &str = "correct horse";
/// Another.
pub const OTHER_PASSWORD: &str = "seven ducks beneath a bridge";
/// As the proxy in front of it says who calls.
pub const BEHIND_A_PROXY: &str = "trusted_proxies = [\"127.0.0.1\"]\n";

pub struct Visitor<'s> {
    server: &'s Server,
    client: Client,
    pub cookies: BTreeMap<String, String>,
    pub headers: Vec<(&'static str, String)>,
    csrf: String,
}

impl<'s> Visitor<'s> {
    pub fn new(server: &'s Server) -> Self {
        let client = Client::new(Duration::from_secs(60));
        let headers = vec![(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0".to_owned(),
        )];
        Self { server, client, cookies: BTreeMap::new(), headers, csrf: String::new() }
    }

    /// The same browser, at another process.
    pub fn at<'o>(&self, server: &'o Server) -> Visitor<'o> {
        Visitor {
            server,
            client: self.client.clone(),
            cookies: self.cookies.clone(),
            headers: self.headers.clone(),
            csrf: self.csrf.clone(),
        }
    }

    fn send(&mut self, method: &str, path: &str, more: &[(&str, &str)], body: &str) -> Response {
        let cookies: Vec<String> =
            self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let cookies = cookies.join("; ");
        let mut headers: Vec<(&str, &str)> =
            self.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        if !cookies.is_empty() {
            headers.push(("cookie", &cookies));
        }
        headers.extend_from_slice(more);
        let answer = self.client.send(method, &self.server.url(path), &headers, body.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        for (_, value) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, rest) = value.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            match rest.contains("Max-Age=0") {
                true => drop(self.cookies.remove(name)),
                false => drop(self.cookies.insert(name.to_owned(), value.to_owned())),
            }
        }
        if let Some(csrf) = answer.body.split("name=\"csrf\" value=\"").nth(1) {
            self.csrf = csrf.split('"').next().unwrap().to_owned();
        }
        answer
    }

    /// A page.
    pub fn get(&mut self, path: &str) -> Response {
        self.send("GET", path, &[("accept", "text/html")], "")
    }

    /// The same, as the script of an open page asks for it.
    pub fn get_by_itself(&mut self, path: &str) -> Response {
        self.send("GET", path, &[("accept", "text/html"), ("x-requested-by", "live")], "")
    }

    /// What a program asks for that has the browser's cookies.
    pub fn call(&mut self, method: &str, path: &str, body: &str) -> Response {
        let csrf = self.csrf.clone();
        self.send(method, path, &[("x-csrf-token", &csrf)], body)
    }

    /// A form, of the last page.
    pub fn submit(&mut self, path: &str, fields: &[(&str, &str)]) -> Response {
        if self.csrf.is_empty() {
            self.get("/login");
        }
        let body = url_encoded(&[&[("csrf", self.csrf.clone().as_str())], fields].concat());
        self.send("POST", path, &[("accept", "text/html")], &body)
    }

    /// A name and a password.
    pub fn log_in(&mut self, name: &str, password: &str) -> Response {
        self.get("/login");
        self.submit("/login", &[("name", name), ("password", password), ("next", "/alerts?q=a")])
    }

    /// Logs in with the password alone.
    pub fn enter(&mut self, name: &str) {
        let answer = self.log_in(name, PASSWORD);
        assert_eq!((answer.status, answer.header("location")), (303, Some("/alerts?q=a")), "{answer:?}");
        self.get("/account");
    }

    /// Sets up an authenticator app. Returns its secret, and the recovery codes.
    pub fn set_up_app(&mut self) -> (String, Vec<String>) {
        let answer = self.submit("/account/second-factor", &[("password", PASSWORD)]);
        assert_eq!(answer.status, 303, "{answer:?}");
        let page = self.get("/account/second-factor");
        let secret = secret_on(&page);
        // That of the step before, so that those of this one and the next are left.
        let code = code(&secret, -1);
        let answer = self.submit("/account/second-factor/confirm", &[("code", &code)]);
        assert_eq!(answer.status, 200, "{answer:?}");
        (secret, codes_on(&answer))
    }
}

/// An instance with these users, who have chosen their passwords.
pub fn instance(more: &str, users: &[(&str, &str)]) -> Instance {
    instance_under(&[], more, users)
}

/// The same with these variables in its environment.
pub fn instance_under(variables: &[(&str, &str)], more: &str, users: &[(&str, &str)]) -> Instance {
    let instance = Instance::open_under(variables, more);
    for (name, role) in users {
        let link = instance.link(name, role);
        let answer =
            Visitor::new(&instance.server).submit(&link, &[("password", PASSWORD), ("again", PASSWORD)]);
        assert_eq!(answer.status, 303, "{answer:?}");
    }
    instance.database.execute("DELETE FROM sessions");
    instance
}

pub fn user<'h>(instance: &'h Instance, name: &str) -> Visitor<'h> {
    let mut visitor = Visitor::new(&instance.server);
    visitor.enter(name);
    visitor
}

pub fn location(answer: &Response) -> &str {
    assert_eq!(answer.status, 303, "{answer:?}");
    answer.header("location").unwrap()
}

/// Whether a page is shown to them at all.
pub fn is_inside(visitor: &mut Visitor<'_>) -> bool {
    visitor.get("/status").status == 200
}

pub fn audit(instance: &Instance) -> Vec<String> {
    instance
        .database
        .texts("SELECT who || ' | ' || action || ' | ' || subject || ' | ' || detail FROM audit ORDER BY id")
}

#[track_caller]
pub fn is_written_down(instance: &Instance, entry: &str) {
    let entries = audit(instance);
    assert!(entries.iter().any(|known| known == entry), "{entry} in {entries:#?}");
}

/// The secret that a page shows.
pub fn secret_on(page: &Response) -> String {
    assert_eq!(page.header("cache-control"), Some("no-store"), "{page:?}");
    let address = page.body.split("href=\"otpauth://").nth(1).unwrap_or_else(|| panic!("{page:?}"));
    let secret = address.split("secret=").nth(1).unwrap()[..32].to_owned();
    let groups: Vec<&str> = (0..8).map(|n| &secret[4 * n..4 * n + 4]).collect();
    assert!(page.body.contains(&groups.join(" ")), "as text: {page:?}");
    assert!(page.body.contains("src=\"data:image/svg+xml;base64,"), "as a picture: {page:?}");
    secret
}

/// The recovery codes that a page shows.
pub fn codes_on(page: &Response) -> Vec<String> {
    assert_eq!((page.status, page.header("cache-control")), (200, Some("no-store")), "{page:?}");
    let list = page.body.split("<pre tabindex=\"0\">").nth(1).unwrap().split("</pre>").next().unwrap();
    let codes: Vec<String> = list.lines().map(str::to_owned).filter(|line| !line.is_empty()).collect();
    assert_eq!(codes.len(), 10, "{codes:?}");
    codes
}

/// The code of this many steps from now. One of an earlier step is taken until this step ends: where that is soon, the
/// next is waited for, so that a slow machine is still in time. The others are taken half a minute longer at least.
pub fn code(secret: &str, steps: i32) -> String {
    const IN_TIME_MS: u64 = 15_000;
    let into = SystemClock.now().timestamp_millis().rem_euclid(totp::STEP.num_milliseconds());
    let left = u64::try_from(totp::STEP.num_milliseconds() - into).unwrap();
    if steps < 0 && left < IN_TIME_MS {
        std::thread::sleep(Duration::from_millis(left));
    }
    totp::code(secret, SystemClock.now() + totp::STEP * steps).unwrap()
}

fn url_encoded(fields: &[(&str, &str)]) -> String {
    let encoded = |text: &str| {
        text.bytes()
            .map(|byte| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => char::from(byte).to_string(),
                byte => format!("%{byte:02X}"),
            })
            .collect::<String>()
    };
    let fields: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    fields.join("&")
}
