//! OpenID providers for tests (`tests/openid/provider.mjs`), and a browser that is sent to them and back.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use innkeeper_testing::client::{Client, Response};
use serde_json::{Value, json};

/// A real provider and a false one, until this is dropped.
pub struct Providers {
    process: Child,
    /// The issuer of the real one.
    pub real: String,
    /// The issuer of the other.
    pub fake: String,
    control: String,
    client: Client,
}

impl Providers {
    /// They send people back to `redirect_uri`.
    pub fn start(redirect_uri: &str) -> Self {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openid");
        assert!(
            scripts.join("node_modules/oidc-provider").exists(),
            "the OpenID provider's packages are missing: run scripts/test, or `npm ci` in {}",
            scripts.display()
        );
        let mut process = Command::new("node")
            .arg(scripts.join("provider.mjs"))
            .arg(redirect_uri)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|error| {
                panic!("node cannot be run ({error}): run scripts/test, or install Node.js 20 or later")
            });
        let mut line = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut line).unwrap();
        // It ends when nobody reads what it says.
        std::thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
        let said: Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("provider.mjs said {line:?}: {error}"));
        let text = |name: &str| said[name].as_str().unwrap().to_owned();
        Self {
            process,
            real: text("real"),
            fake: text("false"),
            control: text("control"),
            client: Client::default(),
        }
    }

    /// Who has an account at the real one, with their claims.
    pub fn know(&self, people: &Value) {
        self.client.post(&format!("{}/people", self.control), people);
    }

    /// How the false one misbehaves from now on.
    pub fn misbehave(&self, knobs: &Value) {
        self.client.post(&format!("{}/knobs", self.control), knobs);
    }

    /// The false one signs with another key.
    pub fn rotate(&self) {
        self.client.post(&format!("{}/rotate", self.control), &json!({}));
    }

    /// How often the false one was asked for what.
    pub fn asked(&self, what: &str) -> u64 {
        self.client.get(&self.control).json()[what].as_u64().unwrap()
    }
}

impl Drop for Providers {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A browser with its cookies. What it is sent to at `public` it asks of `server`.
pub struct Browser {
    client: Client,
    public: String,
    server: String,
    /// By host and name.
    cookies: BTreeMap<(String, String), String>,
    /// Where it has been, the latest last.
    pub went: Vec<String>,
}

impl Browser {
    pub fn new(public: &str, server: &str) -> Self {
        let client = Client::new(Duration::from_secs(60));
        let (public, server) = (public.to_owned(), server.trim_end_matches('/').to_owned());
        Self { client, public, server, cookies: BTreeMap::new(), went: Vec::new() }
    }

    /// One request, and no redirect.
    pub fn send(&mut self, method: &str, url: &str, body: &str) -> Response {
        let url = if url.starts_with('/') { format!("{}{url}", self.public) } else { url.to_owned() };
        let host = host_of(&url);
        let cookies: Vec<String> = self
            .cookies
            .iter()
            .filter(|((of, _), _)| *of == host)
            .map(|((_, name), value)| format!("{name}={value}"))
            .collect();
        let cookies = cookies.join("; ");
        let mut headers = vec![("accept", "text/html"), ("cookie", cookies.as_str())];
        if url.starts_with(&self.public) {
            headers.push(("host", host.as_str()));
        }
        if method == "POST" {
            headers.push(("content-type", "application/x-www-form-urlencoded"));
        }
        let asked = match url.strip_prefix(&self.public) {
            Some(path) => format!("{}{path}", self.server),
            None => url.clone(),
        };
        let answer = self
            .client
            .send(method, &asked, &headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {asked}: {error}"));
        for (_, set) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let (name, value) = set.split(';').next().unwrap().split_once('=').unwrap();
            let key = (host.clone(), name.to_owned());
            if value.is_empty() || set.to_lowercase().contains("max-age=0") {
                self.cookies.remove(&key);
            } else {
                self.cookies.insert(key, value.to_owned());
            }
        }
        self.went.push(url);
        answer
    }

    /// Goes to `url`, and where that leads.
    pub fn go(&mut self, url: &str) -> Response {
        let answer = self.send("GET", url, "");
        self.follow(answer)
    }

    /// Goes where an answer leads, until one leads nowhere or `stops` says so of an address.
    fn follow_until(
        &mut self,
        mut answer: Response,
        stops: impl Fn(&str) -> bool,
    ) -> (Response, Option<String>) {
        for _ in 0..20 {
            let Some(to) = answer.header("location").map(str::to_owned) else { return (answer, None) };
            let last = self.went.last().unwrap().clone();
            let to = if to.starts_with('/') { format!("{}{to}", origin_of(&last)) } else { to };
            if stops(&to) {
                return (answer, Some(to));
            }
            answer = self.send("GET", &to, "");
        }
        panic!("redirects without an end: {:?}", self.went);
    }

    pub fn follow(&mut self, answer: Response) -> Response {
        self.follow_until(answer, |_| false).0
    }

    /// Begins at Innkeeper, and logs in at the real provider as `name`. Where that sends the browser back to, which it does not go.
    pub fn up_to_callback(&mut self, next: &str, name: &str) -> String {
        let callback = format!("{}/login/openid/callback", self.public);
        let mut answer = self.send("GET", &format!("/login/openid?next={next}"), "");
        for _ in 0..4 {
            let (page, stopped) = self.follow_until(answer, |to| to.starts_with(&callback));
            if let Some(to) = stopped {
                return to;
            }
            let form = page.body.split("<form").nth(1).unwrap_or_else(|| panic!("{page:?}"));
            let action = form.split("action=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
            let prompt = form.split("name=\"prompt\" value=\"").nth(1).unwrap().split('"').next().unwrap();
            let body = format!("prompt={prompt}&login={name}&password=any");
            answer = self.send("POST", &action, &body);
        }
        panic!("the provider asks and asks: {:?}", self.went);
    }

    /// The whole login; the page at its end.
    pub fn log_in(&mut self, next: &str, name: &str) -> Response {
        let back = self.up_to_callback(next, name);
        self.go(&back)
    }

    /// Ends its session at Innkeeper.
    pub fn log_out(&mut self) {
        let page = self.go("/alerts");
        let csrf = page.body.split("name=\"csrf\" value=\"").nth(1).unwrap_or_else(|| panic!("{page:?}"));
        let body = format!("csrf={}", csrf.split('"').next().unwrap());
        let answer = self.send("POST", "/logout", &body);
        assert_eq!(answer.status, 303, "{answer:?}");
    }

    /// A cookie that Innkeeper gave it.
    pub fn cookie(&self, name: &str) -> Option<&String> {
        self.cookies.get(&(host_of(&self.public), name.to_owned()))
    }

    /// Has none any more at Innkeeper.
    pub fn forget(&mut self) {
        let host = host_of(&self.public);
        self.cookies.retain(|(of, _), _| *of != host);
    }
}

fn host_of(url: &str) -> String {
    let (_, rest) = url.split_once("://").unwrap();
    rest.split(['/', '?']).next().unwrap().to_owned()
}

fn origin_of(url: &str) -> String {
    format!("{}://{}", url.split_once("://").unwrap().0, host_of(url))
}
