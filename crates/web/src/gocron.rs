//! Reading in gocron's shape.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::access::Need;
use innkeeper_core::names::AppName;
use innkeeper_core::schedule::Schedule;
use innkeeper_node::http::{ApiError, Caller, Routes};
use serde::Serialize;
use serde_json::json;

use crate::Desk;
use crate::lists::{Shown, reservations};

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

impl From<Shown> for Cron {
    fn from(Shown { listed, .. }: Shown) -> Self {
        let (terms, facts) = (&listed.reservation.terms, &listed.reservation.facts);
        Self {
            cronname: terms.component.to_string(),
            account: terms.app.to_string(),
            email: terms.notify.to_string(),
            frequency: match &terms.schedule {
                Schedule::Every(period) => period.num_seconds(),
                Schedule::Cron(_) | Schedule::Calendar(_) => 0,
            },
            site: terms.is_site,
            ipaddress: facts.last_source.clone(),
            lastruntime: facts.last_checkin_at.map_or(0, |at| at.timestamp()),
            alerted: listed.open_alert.is_some(),
        }
    }
}

/// Those of which `shape` makes something: an object, with its account where one was named, and their number before them.
async fn crons(
    desk: &Data<Desk>,
    caller: &Caller,
    account: Option<AppName>,
    shape: impl Fn(Shown) -> Option<Cron> + Send + 'static,
) -> Result<(HttpResponse, usize), ApiError> {
    let named = account.as_ref().map(|account| json!(account.to_string()));
    let list = reservations(desk, caller, account, move |shown, _| shape(shown), "]}").await?;
    let (account, count) =
        (named.map(|name| format!(r#""Account":{name},"#)).unwrap_or_default(), list.count);
    Ok((list.answer(format!(r#"{{{account}"Count":{count},"Crons":["#)), count))
}

async fn all(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    Ok(crons(&desk, &caller, None, |shown| Some(shown.into())).await?.0)
}

async fn missed(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let overdue = |shown: Shown| shown.evaluation.overdue.then(|| shown.into());
    Ok(crons(&desk, &caller, None, overdue).await?.0)
}

async fn of_account(
    desk: Data<Desk>,
    caller: Caller,
    account: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = account.into_inner();
    let nothing = || ApiError::NotFound(format!("the account {account} has no reservations"));
    // What can be no name is not asked of the database: Postgres takes no NUL.
    let name = AppName::parse(account.as_str()).ok().filter(|name| name.as_str() == account);
    let name = name.ok_or_else(nothing)?;
    match crons(&desk, &caller, Some(name), |shown| Some(shown.into())).await? {
        (_, 0) => Err(nothing()),
        (answer, _) => Ok(answer),
    }
}
