//! Reading in gocron's shape.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use innkeeper_core::access::Permission;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::names::AppName;
use innkeeper_http::description::{Description, Parameter};
use innkeeper_http::{ApiError, Caller, Routes};
use innkeeper_ingest_routes::gocron::GROUP;
use serde::Serialize;
use serde_json::json;

use crate::AppState;
use crate::lists::reservations;

const ALL: Description = Description::get("/cron", Permission::Read, GROUP, "List all reservations");
const MISSED: Description = Description::get("/cron/missed", Permission::Read, GROUP, "List what is overdue");
const OF_ACCOUNT: Description =
    Description::get("/cron/{account}", Permission::Read, GROUP, "List the reservations of an account")
        .with(&[Parameter::path("account", "the app", "shop")]);
pub(crate) const ROUTES: [Description; 3] = [ALL, MISSED, OF_ACCOUNT];

pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes.described(&ALL, all).described(&MISSED, missed).described(&OF_ACCOUNT, of_account);
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

impl From<Assessed> for Cron {
    fn from(Assessed { reservation, open_alert, .. }: Assessed) -> Self {
        let (spec, facts) = (&reservation.spec, &reservation.facts);
        Self {
            cronname: spec.component.to_string(),
            account: spec.app.to_string(),
            email: spec.notify.to_string(),
            frequency: spec.schedule.period().map_or(0, |period| period.num_seconds()),
            site: spec.is_site,
            ipaddress: facts.last_source.clone(),
            lastruntime: facts.last_checkin_at.map_or(0, |at| at.timestamp()),
            alerted: open_alert.is_some(),
        }
    }
}

/// Those of which `shape` makes something: an object, with its account where one was named, and their number before them.
async fn crons(
    app_state: &Data<AppState>,
    caller: &Caller,
    account: Option<AppName>,
    shape: impl Fn(Assessed) -> Option<Cron> + Send + 'static,
) -> Result<(HttpResponse, usize), ApiError> {
    let named = account.as_ref().map(|account| json!(account.to_string()));
    let list = reservations(app_state, caller, account, move |shown, _| shape(shown), "]}").await?;
    let (account, count) =
        (named.map(|name| format!(r#""Account":{name},"#)).unwrap_or_default(), list.count);
    Ok((list.answer(format!(r#"{{{account}"Count":{count},"Crons":["#)), count))
}

async fn all(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    Ok(crons(&app_state, &caller, None, |shown| Some(shown.into())).await?.0)
}

async fn missed(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let overdue = |shown: Assessed| shown.evaluation.overdue.then(|| shown.into());
    Ok(crons(&app_state, &caller, None, overdue).await?.0)
}

async fn of_account(
    app_state: Data<AppState>,
    caller: Caller,
    account: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let account = account.into_inner();
    let nothing = || ApiError::NotFound(format!("the account {account} has no reservations"));
    // What can be no name is not asked of the database: Postgres takes no NUL.
    let name = AppName::parse(account.as_str()).ok().filter(|name| name.as_str() == account);
    let name = name.ok_or_else(nothing)?;
    match crons(&app_state, &caller, Some(name), |shown| Some(shown.into())).await? {
        (_, 0) => Err(nothing()),
        (answer, _) => Ok(answer),
    }
}
