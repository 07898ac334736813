//! Reports that go in one request, and what the server says to each.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::{Api, ApiTrouble, place};
use crate::clock::Stamp;
use crate::config;
use crate::report::SpooledReport;
use crate::spool::{Destination, Name, Spool, SpoolEntry};
use crate::terms::for_older;
use url::Url;

/// The most reports of a request.
const REPORTS: usize = 100;
/// Of their text, bytes. A request may have 1 MiB; JSON writes some characters longer.
const TEXT: usize = 512 * 1024;

/// What became of one report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReportOutcome {
    /// The server has it, now or from before.
    Done,
    /// There is no such reservation.
    Unknown,
    /// The server does not take it: for what it says, or because the token is not for this app.
    Refused(String),
    /// The server will never take it.
    GivenUp(String),
}

impl ReportOutcome {
    /// Why the server does not have it.
    pub fn problem(&self) -> Option<&str> {
        match self {
            Self::Done => None,
            Self::Unknown => Some("the server knows no such reservation"),
            Self::Refused(why) | Self::GivenUp(why) => Some(why),
        }
    }

    /// The same, where somebody may set it right, so that the report is taken after all.
    pub fn mendable_problem(&self) -> Option<&str> {
        self.problem().filter(|_| !matches!(self, Self::GivenUp(_)))
    }
}

/// The answer to a request.
#[derive(Debug)]
pub struct Delivered {
    /// For each report, in their order.
    pub outcomes: Vec<ReportOutcome>,
    /// How much output the server keeps, where it said so.
    pub output_bytes: Option<usize>,
}

/// Sends reports in one request.
///
/// # Errors
/// The request came to nothing; or to something, and the answer did not come back.
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
    let listed = listed.ok_or_else(|| wrong("it does not say what became of each report"))?;
    let outcomes = listed.iter().map(outcome).collect::<Option<Vec<ReportOutcome>>>();
    let outcomes = outcomes.ok_or_else(|| wrong("it does not say what became of a report"))?;
    let output_bytes = answer.get("output_bytes").and_then(Value::as_u64);
    Ok(Delivered { outcomes, output_bytes: output_bytes.and_then(|bytes| usize::try_from(bytes).ok()) })
}

fn outcome(said: &Value) -> Option<ReportOutcome> {
    let problem = || said.get("problem").and_then(Value::as_str);
    Some(match said.get("status")?.as_str()? {
        "recorded" | "known" => ReportOutcome::Done,
        "unknown" => ReportOutcome::Unknown,
        "too_old" => ReportOutcome::GivenUp(problem().unwrap_or("it is too old").to_owned()),
        "refused" => ReportOutcome::Refused(problem().unwrap_or("the server refuses it").to_owned()),
        // Of a later version.
        _ => ReportOutcome::Refused(problem()?.to_owned()),
    })
}

/// What is to be said of a reservation that was made.
#[derive(Debug, Default)]
pub struct ReservedRemarks {
    /// What a server that is an older one was asked instead.
    pub changes: Vec<String>,
    /// What the server warns of: where its messages lead nowhere.
    pub warning: Option<String>,
}

impl ReservedRemarks {
    /// All of it.
    pub fn notes(&self) -> impl Iterator<Item = &String> {
        self.changes.iter().chain(&self.warning)
    }
}

/// Makes the reservation of these `terms`, or changes of it what they name and nothing else.
///
/// # Errors
/// What came of it instead.
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
        // Each time there is one less that it does not know.
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

/// Entries of one destination.
#[derive(Debug)]
pub(super) struct Batch {
    destination: Destination,
    /// Never empty.
    pub(super) entries: Vec<(Name, SpoolEntry)>,
}

impl Batch {
    pub(super) fn of_one(one: (Name, SpoolEntry)) -> Self {
        Self { destination: one.1.destination.clone(), entries: vec![one] }
    }

    pub(super) fn destination(&self) -> &Destination {
        &self.destination
    }

    /// Takes the next batch out of `waiting`: from the oldest on, to a destination that is not `shut`. Entries that are
    /// too old leave the spool.
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
            // Two destinations of one tag.
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
        assert_eq!(outcome(&json!({"status": "known"})), Some(ReportOutcome::Done));
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
