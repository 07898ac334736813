//! The ways to one reservation by ping addresses, and what came by them.

use innkeeper_testing::client::Response;
use serde_json::json;

use super::Inn;

/// The ways to the reservation shop/nightly-backup, without their actions: by key and by slug, and both at the root.
pub struct Ways {
    pub id: i64,
    pub key: String,
    pub root: String,
    pub slug: String,
    pub root_slug: String,
}

impl Ways {
    pub fn to(inn: &Inn) -> Self {
        inn.reserve("shop", "Nightly Backup", json!({ "frequency": 50 }));
        let job = inn.job("shop", "Nightly Backup");
        let key = inn.ping_path("shop", "Nightly Backup");
        let ping_key = job["ping_key"].as_str().expect("the first reservation makes it");
        Self {
            id: job["job_id"].as_i64().expect("an id"),
            root: key.replace("/ping", ""),
            key,
            slug: format!("/ping/{ping_key}/nightly-backup"),
            root_slug: format!("/{ping_key}/nightly-backup"),
        }
    }

    pub fn all(&self) -> [&str; 4] {
        [&self.key, &self.root, &self.slug, &self.root_slug]
    }
}

/// The latest check-in: kind, exit status, notes.
pub fn latest(inn: &Inn, id: i64) -> (String, Option<i32>, String) {
    let history = inn.database.store().checkins_of(id, 1).expect("the history");
    let checkin = history.first().expect("a check-in");
    (checkin.kind.as_str().to_owned(), checkin.exit_code, checkin.notes.clone())
}

/// Status and body.
pub fn said(answer: &Response) -> (u16, &str) {
    (answer.status, &answer.body)
}
