//! Houses whose people log in at a provider of `common/openid.rs`.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::time::Duration;

use innkeeper_testing::client::{Answer, Client};
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::process::Server;
use serde_json::Value;

use super::house::House;
use super::openid::{Browser, Providers};

pub const PUBLIC: &str = "http://inn.example";
pub const GROUPS: &str = "roles_claim = \"groups\"\nscopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n\
                      [web.openid.roles]\nadmin = [\"ops\"]\neditor = [\"dev\"]\nviewer = [\"staff\"]\n";
pub const BASIC: &str = "client_id = \"basic\"\nclient_secret = \"s3cret /+:%\"\n";

pub fn providers() -> Providers {
    Providers::start(&format!("{PUBLIC}/login/openid/callback"))
}

/// A house whose people log in at `issuer`.
pub fn house(issuer: &str, more: &str) -> House {
    house_over(TestDatabase::sqlite(), PUBLIC, issuer, more)
}

pub fn house_over(database: TestDatabase, public: &str, issuer: &str, more: &str) -> House {
    house_under(&[], database, public, issuer, more)
}

/// The same with these variables in its environment.
pub fn house_under(
    variables: &[(&str, &str)],
    database: TestDatabase,
    public: &str,
    issuer: &str,
    more: &str,
) -> House {
    let config = format!(
        "auth = \"tokens\"\npublic_url = \"{public}\"\n[ingest]\nlisten = \"127.0.0.1:0\"\nworkers = 1\n[web.openid]\n\
         issuer = \"{issuer}\"\n{more}"
    );
    let server = Server::start_with(variables, "innkeeper", &config, &["--database-url", database.url()]);
    House { server, client: Client::new(Duration::from_secs(60)), database }
}

pub fn browser(house: &House) -> Browser {
    Browser::new(PUBLIC, &house.server.url(""))
}

/// A house of the false provider, which is told how to misbehave.
pub fn false_house(providers: &Providers, more: &str) -> House {
    house(&providers.fake, &format!("client_id = \"false\"\n{GROUPS}{more}"))
}

pub fn try_with(providers: &Providers, house: &House, knobs: &Value) -> Answer {
    providers.misbehave(knobs);
    browser(house).go("/login/openid?next=/alerts")
}

pub fn users(house: &House) -> Vec<String> {
    let mut users = house.database.texts("SELECT name || ': ' || role FROM users");
    users.sort();
    users
}

pub fn log_of(house: &House, action: &str) -> Vec<String> {
    house.database.texts(&format!(
        "SELECT who || ' | ' || source || ' | ' || subject || ' | ' || replace(detail, '\n', '; ')
         FROM audit WHERE action = '{action}' ORDER BY id"
    ))
}

pub fn is_in(answer: &Answer, browser: &Browser) -> bool {
    answer.status == 200
        && browser.went.last().unwrap().ends_with("/alerts")
        && answer.body.contains("Log out")
}
