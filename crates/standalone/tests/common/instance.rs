//! One process that asks who calls (`auth = "tokens"`), and callers of each kind.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::process::Command;
use std::time::Duration;

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::{self, Server};

/// What a form carries where there is no session: the same text as the cookie's.
pub const FORM: &str = "0123456789012345678901234567890123456789012";

pub struct Instance {
    pub server: Server,
    pub client: Client,
    pub database: TestDatabase,
}

/// A caller: what their requests carry.
pub struct Caller {
    pub name: &'static str,
    pub headers: Vec<(String, String)>,
    pub csrf: String,
}

impl Instance {
    pub fn open(more: &str) -> Self {
        Self::open_under(&[], more)
    }

    /// The same with these variables in its environment.
    pub fn open_under(variables: &[(&str, &str)], more: &str) -> Self {
        let database = TestDatabase::sqlite();
        let config = format!("auth = \"tokens\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n{more}");
        let arguments = ["--database-url", database.url()];
        let server = Server::start_with(variables, "innkeeper", &config, &arguments);
        Self { server, client: Client::new(Duration::from_secs(60)), database }
    }

    pub fn send(&self, caller: &Caller, method: &str, path: &str, page: bool, body: &str) -> Response {
        let mut headers: Vec<(&str, &str)> =
            caller.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if page {
            headers.push(("accept", "text/html"));
        } else {
            headers.push(("x-csrf-token", &caller.csrf));
        }
        self.client
            .send(method, &self.server.url(path), &headers, body.as_bytes())
            .unwrap_or_else(|error| panic!("{method} {path} as {}: {error}", caller.name))
    }

    /// A form, with what it must carry.
    pub fn submit(&self, caller: &Caller, path: &str, fields: &str) -> Response {
        self.send(caller, "POST", path, true, &format!("csrf={}&{fields}", caller.csrf))
    }

    /// Runs a command of the program over the same database.
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut command: Command = process::command("innkeeper", self.server.directory());
        let output = command.args(["--database-url", self.database.url()]).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The path of the link for a password that `innkeeper invite` prints.
    pub fn link(&self, name: &str, role: &str) -> String {
        let said = self.command(&["invite", name, "--role", role]);
        let at = said.find("/setup/").unwrap();
        said[at..].split_whitespace().next().unwrap().to_owned()
    }

    /// A user of this role with a session, by the link that `innkeeper invite` prints.
    pub fn user(&self, role: &'static str) -> Caller {
        let path = self.link(role, role);
        let answer = self.submit(&nobody(), &path, "password=correct+horse&again=correct+horse");
        assert_eq!(answer.status, 303, "{answer:?}");
        self.session(role, &answer)
    }

    /// The caller that a login's answer makes.
    pub fn session(&self, name: &'static str, answer: &Response) -> Caller {
        self.session_at("/settings", name, answer)
    }

    /// The same of one who sees no more than this page.
    pub fn session_at(&self, page: &str, name: &'static str, answer: &Response) -> Caller {
        let cookies = answer.headers.iter().filter(|(name, _)| name == "set-cookie");
        let cookie = cookies.map(|(_, value)| value.as_str()).find(|value| value.starts_with("innkeeper="));
        let cookie = cookie.unwrap_or_else(|| panic!("{answer:?}"));
        assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
        let cookie = cookie.split(';').next().unwrap().to_owned();
        let mut caller = Caller { name, headers: vec![("cookie".to_owned(), cookie)], csrf: String::new() };
        let page = self.send(&caller, "GET", page, true, "");
        assert_eq!(page.status, 200, "{page:?}");
        caller.csrf =
            page.body.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
        caller
    }

    pub fn log_in(&self, name: &'static str, password: &str) -> Response {
        self.submit(&nobody(), "/login", &format!("name={name}&password={password}&next=/alerts"))
    }

    /// A token, made by `maker` in the settings.
    pub fn token(&self, maker: &Caller, name: &'static str, fields: &str) -> Caller {
        let answer = self.submit(maker, "/settings/tokens", &format!("name={name}&{fields}"));
        assert_eq!(answer.status, 200, "{answer:?}");
        let at = answer.body.find("ik_").unwrap_or_else(|| panic!("{answer:?}"));
        let secret = answer.body[at..].split('<').next().unwrap().trim().to_owned();
        let headers = vec![
            ("authorization".to_owned(), format!("Bearer {secret}")),
            ("cookie".to_owned(), format!("innkeeper-form={FORM}")),
        ];
        Caller { name, headers, csrf: FORM.to_owned() }
    }
}

pub fn nobody() -> Caller {
    let headers = vec![("cookie".to_owned(), format!("innkeeper-form={FORM}"))];
    Caller { name: "nobody", headers, csrf: FORM.to_owned() }
}
