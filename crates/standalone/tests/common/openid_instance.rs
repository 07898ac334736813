//! Instances whose people log in at a provider of `common/openid.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::Duration;

use innkeeper_testing::client::{Client, Response};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::Value;

use super::instance::Instance;
use super::openid::{Browser, Providers};

pub const PUBLIC: &str = "http://inn.example";
pub const GROUPS: &str = "roles_claim = \"groups\"\nscopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n\
                      [web.openid.roles]\nadmin = [\"ops\"]\neditor = [\"dev\"]\nviewer = [\"staff\"]\n";
pub const BASIC: &str = "client_id = \"basic\"\nclient_secret = \"s3cret /+:%\"\n";

pub fn providers() -> Providers {
    Providers::start(&format!("{PUBLIC}/login/openid/callback"))
}

/// An instance whose people log in at `issuer`.
pub fn instance(issuer: &str, more: &str) -> Instance {
    instance_over(TestDatabase::sqlite(), PUBLIC, issuer, more)
}

pub fn instance_over(database: TestDatabase, public: &str, issuer: &str, more: &str) -> Instance {
    instance_under(&[], database, public, issuer, more)
}

/// The same with these variables in its environment.
pub fn instance_under(
    variables: &[(&str, &str)],
    database: TestDatabase,
    public: &str,
    issuer: &str,
    more: &str,
) -> Instance {
    let config = format!(
        "auth = \"tokens\"\npublic_url = \"{public}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[web.openid]\n\
         issuer = \"{issuer}\"\n{more}"
    );
    let server = Server::start_with(variables, "innkeeper", &config, &["--database-url", database.url()]);
    Instance { server, client: Client::new(Duration::from_secs(60)), database }
}

pub fn browser(instance: &Instance) -> Browser {
    Browser::new(PUBLIC, &instance.server.url(""))
}

/// An instance of the false provider, which is told how to misbehave.
pub fn false_instance(providers: &Providers, more: &str) -> Instance {
    instance(&providers.fake, &format!("client_id = \"false\"\n{GROUPS}{more}"))
}

pub fn try_with(providers: &Providers, instance: &Instance, knobs: &Value) -> Response {
    providers.misbehave(knobs);
    browser(instance).go("/login/openid?next=/alerts")
}

pub fn users(instance: &Instance) -> Vec<String> {
    let mut users = instance.database.texts("SELECT name || ': ' || role FROM users");
    users.sort();
    users
}

pub fn log_of(instance: &Instance, action: &str) -> Vec<String> {
    instance.database.texts(&format!(
        "SELECT who || ' | ' || source || ' | ' || subject || ' | ' || replace(detail, '\n', '; ')
         FROM audit WHERE action = '{action}' ORDER BY id"
    ))
}

pub fn is_in(answer: &Response, browser: &Browser) -> bool {
    answer.status == 200
        && browser.went.last().unwrap().ends_with("/alerts")
        && answer.body.contains("Log out")
}
