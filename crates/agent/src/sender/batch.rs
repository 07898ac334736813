//! Batches of reports that are sent in one request, and the server's result for each report.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{Api, ApiTrouble, place};
use crate::clock::Stamp;
use crate::config;
use crate::report::SpooledReport;
use crate::spool::{Destination, Name, Spool, SpoolEntry};
use crate::terms::for_older;
use url::Url;

/// Most reports in one request.
const REPORTS: usize = 100;
/// Most bytes of text in one request. A request may have 1 MiB, and JSON escapes lengthen some characters.
const TEXT: usize = 512 * 1024;

/// The result for one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SendResult {
    /// The server has the report, from this request or an earlier one.
    Done,
    /// The reservation does not exist.
    Unknown,
    /// The server rejects the report for now, for example because the token is not valid for this app.
    Refused(String),
    /// The server will never accept the report.
    GivenUp(String),
}

impl SendResult {
    /// Why the server does not have the report.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Unknown => Some("the server knows no such reservation"),
            Self::Refused(why) | Self::GivenUp(why) => Some(why),
        }
    }

    /// The same, but only if somebody may correct the cause, so that the report is accepted later.
    pub fn mendable_problem(&self) -> Option<&str> {
        self.problem().filter(|_| !matches!(self, Self::GivenUp(_)))
    }
}

/// The response to a request.
#[derive(Debug)]
pub struct Delivered {
    /// The result of each report, in the order of the reports.
    pub outcomes: Vec<SendResult>,
    /// Most bytes of output that the server keeps, if it said so.
    pub output_bytes: Option<usize>,
}

/// Sends reports in one request.
///
/// # Errors
/// The request failed, or its response was lost after the server had accepted it.
pub fn deliver(
    api: &Api,
    destination: &Destination,
    reports: &[&SpooledReport],
    patience: Duration,
) -> Result<Delivered, ApiTrouble> {
    let (url, with_token) = match destination {
        Destination::Server(server) => {
            (api.address(named(server.as_deref())?.as_ref(), "/api/v1/checkins")?, true)
        }
        Destination::Ping(address) => (reports_address(address)?, false),
    };
    let now = Stamp::now();
    let body = json!({ "reports": reports.iter().map(|report| report.wire(&now)).collect::<Vec<Value>>() });
    let answer = api.post(&url, &body, with_token, patience)?;
    let wrong = |why: &str| ApiTrouble::Garbled { place: place(&url), why: why.to_owned() };
    let listed = answer.get("reports").and_then(Value::as_array);
    let listed = listed.filter(|listed| listed.len() == reports.len());
    let listed = listed.ok_or_else(|| wrong("it does not contain a result for each report"))?;
    let outcomes = listed.iter().map(outcome).collect::<Option<Vec<SendResult>>>();
    let outcomes = outcomes.ok_or_else(|| wrong("the result of a report is missing in it"))?;
    let output_bytes = answer.get("output_bytes").and_then(Value::as_u64);
    Ok(Delivered { outcomes, output_bytes: output_bytes.and_then(|bytes| usize::try_from(bytes).ok()) })
}

fn outcome(said: &Value) -> Option<SendResult> {
    let problem = || said.get("problem").and_then(Value::as_str);
    Some(match said.get("status")?.as_str()? {
        "recorded" | "known" => SendResult::Done,
        "unknown" => SendResult::Unknown,
        "too_old" => SendResult::GivenUp(problem().unwrap_or("it is too old").to_owned()),
        "refused" => SendResult::Refused(problem().unwrap_or("the server refuses it").to_owned()),
        // A result that only newer servers know.
        _ => SendResult::Refused(problem()?.to_owned()),
    })
}

/// Notes about a reservation that was made or changed.
#[derive(Debug, Default)]
pub struct ReservedRemarks {
    /// Changes to the request that an older server needed.
    pub changes: Vec<String>,
    /// The server's warning, for example that messages of the reservation reach nobody.
    pub warning: Option<String>,
}

impl ReservedRemarks {
    /// All notes.
    pub fn notes(&self) -> impl Iterator<Item = &String> {
        self.changes.iter().chain(&self.warning)
    }
}

/// Makes the reservation of `terms`, or changes the fields that they name and no others.
///
/// # Errors
/// The request failed, or the server rejects the terms.
pub fn reserve(
    api: &Api,
    server: Option<&str>,
    terms: &Value,
    patience: Duration,
) -> Result<ReservedRemarks, ApiTrouble> {
    let url = api.address(named(server)?.as_ref(), "/reservation")?;
    let until = Instant::now() + patience;
    let (mut terms, mut changes) = (terms.clone(), Vec::new());
    loop {
        let left = until.saturating_duration_since(Instant::now());
        let trouble = match api.post_and_hear(&url, &terms, true, left) {
            Ok((_, warning)) => return Ok(ReservedRemarks { changes, warning }),
            Err(trouble) => trouble,
        };
        // Each round removes or replaces one field that the server does not know.
        let Some((older, change)) = for_older(&terms, &trouble) else { return Err(trouble) };
        terms = older;
        changes.push(change);
    }
}

fn named(server: Option<&str>) -> Result<Option<Url>, ApiTrouble> {
    server
        .map(|text| config::server(text).map_err(|what| ApiTrouble::Unable(format!("server: {what}"))))
        .transpose()
}

fn reports_address(ping: &str) -> Result<Url, ApiTrouble> {
    let mut url = config::server(ping).map_err(|what| ApiTrouble::Unable(format!("--ping: {what}")))?;
    url.set_path(&format!("{}/reports", url.path().trim_end_matches('/')));
    Ok(url)
}

/// Entries for one destination.
#[derive(Debug)]
pub(super) struct Batch {
    destination: Destination,
    /// The entries; never empty.
    pub(super) entries: Vec<(Name, SpoolEntry)>,
}

impl Batch {
    pub(super) fn of_one(one: (Name, SpoolEntry)) -> Self {
        Self { destination: one.1.destination.clone(), entries: vec![one] }
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Takes the next batch out of `waiting`, oldest entries first, for a destination that is not in `shut`. Entries
    /// that are too old are removed from the spool.
    pub(super) fn gather(
        spool: &Spool,
        waiting: &mut Vec<Name>,
        shut: &[Destination],
        now: &Stamp,
        given_up: &mut usize,
    ) -> Option<Self> {
        let mut batch: Option<Self> = None;
        let (mut reports, mut text) = (0, 0);
        let mut is_full = false;
        let mut left = Vec::new();
        for name in waiting.drain(..) {
            if shut.iter().any(|destination| name.goes_to(destination)) {
                continue;
            }
            if is_full || batch.as_ref().is_some_and(|batch| !name.goes_to(&batch.destination)) {
                left.push(name);
                continue;
            }
            let Some(entry) = spool.read(&name) else { continue };
            if entry.reports.iter().all(|report| report.stamp.ago_ms(now) > spool.longest_ms()) {
                spool.drop_entry(&name);
                *given_up += 1;
                continue;
            }
            // Two destinations have the same tag.
            if batch.as_ref().is_some_and(|batch| batch.destination != entry.destination) {
                left.push(name);
                continue;
            }
            let length: usize = entry.reports.iter().map(SpooledReport::size).sum();
            if batch.is_some() && (reports + entry.reports.len() > REPORTS || text + length > TEXT) {
                is_full = true;
                left.push(name);
                continue;
            }
            reports += entry.reports.len();
            text += length;
            match &mut batch {
                Some(batch) => batch.entries.push((name, entry)),
                None => batch = Some(Self::of_one((name, entry))),
            }
        }
        *waiting = left;
        batch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_report_has_its_outcome() {
        assert_eq!(outcome(&json!({"status": "known"})), Some(SendResult::Done));
        let refused = outcome(&json!({"status": "refused", "problem": "key: is no UUID"}));
        assert_eq!(refused.unwrap().problem(), Some("key: is no UUID"));
        assert_eq!(outcome(&json!({"status": "perhaps"})), None);
        assert_eq!(outcome(&json!("recorded")), None);
    }

    #[test]
    fn a_ping_address_gets_its_reports_beside() {
        let url = reports_address("https://h.example/ping/1234/").unwrap();
        assert_eq!(url.as_str(), "https://h.example/ping/1234/reports");
    }
}
