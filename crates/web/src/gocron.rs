//! Reading in gocron's shape.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::access::Need;
use innkeeper_core::names::AppName;
use innkeeper_core::schedule::Schedule;
use innkeeper_node::http::{ApiError, Caller, Routes};
use serde::Serialize;

use crate::{Desk, Shown, reservations};

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes.get("/cron", Need::Read, all).get("/cron/missed", Need::Read, missed).get(
        "/cron/{account}",
        Need::Read,
        of_account,
    );
}

/// A reservation as gocron shows it. `Frequency` is seconds (0 for a cron schedule), `Lastruntime` Unix seconds (0 before
/// the first check-in).
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Cron {
    cronname: String,
    account: String,
    email: String,
    frequency: i64,
    site: bool,
    ipaddress: String,
    lastruntime: i64,
    alerted: bool,
}

impl From<&Shown> for Cron {
    fn from(shown: &Shown) -> Self {
        let reservation = &shown.listed.reservation;
        let (terms, facts) = (&reservation.terms, &reservation.facts);
        Self {
            cronname: terms.component.to_string(),
            account: terms.app.to_string(),
            email: terms.notify.to_string(),
            frequency: match &terms.schedule {
                Schedule::Every(period) => period.num_seconds(),
                Schedule::Cron(_) => 0,
            },
            site: terms.is_site,
            ipaddress: facts.last_source.clone(),
            lastruntime: facts.last_checkin_at.map_or(0, |at| at.timestamp()),
            alerted: shown.listed.open_alert.is_some(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Crons {
    #[serde(skip_serializing_if = "Option::is_none")]
    account: Option<String>,
    count: usize,
    crons: Vec<Cron>,
}

impl Crons {
    fn of<'a>(account: Option<String>, shown: impl Iterator<Item = &'a Shown>) -> HttpResponse {
        let crons: Vec<Cron> = shown.map(Cron::from).collect();
        HttpResponse::Ok().json(Self { account, count: crons.len(), crons })
    }
}

async fn all(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let (shown, _) = reservations(&desk, &caller, None).await?;
    Ok(Crons::of(None, shown.iter()))
}

async fn missed(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let (shown, _) = reservations(&desk, &caller, None).await?;
    Ok(Crons::of(None, shown.iter().filter(|shown| shown.evaluation.overdue)))
}

async fn of_account(
    desk: Data<Desk>,
    caller: Caller,
    account: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = account.into_inner();
    // What can be no name is not asked of the database: Postgres takes no NUL.
    let shown = match AppName::parse(account.as_str()) {
        Ok(_) => reservations(&desk, &caller, Some(account.clone())).await?.0,
        Err(_) => Vec::new(),
    };
    if shown.is_empty() {
        return Err(ApiError::NotFound(format!("the account {account} has no reservations")));
    }
    Ok(Crons::of(Some(account), shown.iter()))
}
