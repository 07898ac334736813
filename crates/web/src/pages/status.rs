//! The reservations, page by page.

use std::sync::Arc;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::duration;
use innkeeper_core::sla::State;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Checkout, Counts, Unjudged};

use super::frame::Frame;
use super::status_query::{SORTS, StatusQuery};
use super::strip::{self, Strip};
use super::view::{self, Row};
use super::{ask, page};
use crate::AppState;
use crate::tally::Tallied;

/// Reservations on a page.
const ROWS: i64 = 50;
/// Counts that are older than this say so.
const OLD: Duration = Duration::from_secs(15);

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    frame: Frame<'a>,
    query: StatusQuery,
    counts: Counts,
    tally: Option<TallyRow>,
    rows: Vec<(Row, Strip)>,
    next: Option<String>,
    looked_at: Option<i64>,
    /// What was just checked out.
    checked_out: Option<Checkout>,
    /// What the sweeper cannot judge.
    unjudged: Vec<Unjudged>,
}

/// The counts on top.
struct TallyRow {
    total: i64,
    /// The states that some are in, the worst first: how many, and where they are.
    states: Vec<StateCount>,
    /// How old the counts are, where they are.
    age: String,
}

struct StateCount {
    state: &'static str,
    count: i64,
    address: String,
    current: bool,
}

impl TallyRow {
    fn of(counted: &Tallied, query: &StatusQuery) -> Self {
        let shown = |state: &State| counted.of(*state) > 0 || query.is_in(state.as_str());
        let count = |state: State| StateCount {
            state: state.as_str(),
            count: counted.of(state),
            address: format!("/status?state={}", state.as_str()),
            current: query.is_in(state.as_str()),
        };
        let age = counted.age();
        let words = || duration::ago(chrono::TimeDelta::from_std(age).unwrap_or_default());
        Self {
            total: counted.total,
            states: State::ALL.iter().copied().filter(shown).map(count).collect(),
            age: if age > OLD { words() } else { String::new() },
        }
    }
}

impl StatusPage<'_> {
    /// The states and the orders to choose from.
    fn states(&self) -> Vec<&'static str> {
        State::ALL.iter().map(|state| state.as_str()).collect()
    }

    fn sorts(&self) -> [(&'static str, &'static str); 4] {
        SORTS
    }
}

/// The page.
pub async fn status(
    app_state: Data<AppState>,
    caller: Caller,
    query: Query<StatusQuery>,
) -> Result<HttpResponse, ApiError> {
    let (query, zone) = (query.into_inner(), caller.zone);
    let (filter, cursor) = (query.filter()?, query.cursor());
    let gone = query.checked_out;
    let worst_first = query.is_sorted("worst");
    let (rows, next, looked_at, checked_out, counts, tally, unjudged) =
        ask(&app_state, move |app_state, now| {
            let found = app_state.store.page(&filter, &cursor, ROWS, now)?;
            let mut shown = found.listed;
            if worst_first {
                // The database knows who is down; what else is bad it does not, so that is sorted within the page.
                shown.sort_by_key(|one| one.evaluation.state.severity());
            }
            let needed: Vec<_> =
                shown.iter().map(|one| (one.reservation.id, strip::needed_since(one, now))).collect();
            let troubles = app_state.store.troubles(&needed)?;
            let history_begins = app_state.history_begins(now);
            let ids: Vec<i64> = shown.iter().map(|one| one.reservation.id).collect();
            let undelivered = app_state.store.undelivered(&ids, now)?;
            let row = |one: &Assessed| {
                let troubles = troubles.get(&one.reservation.id).map(Vec::as_slice).unwrap_or_default();
                let lost = undelivered.get(&one.reservation.id);
                let warnings = view::warnings(app_state.warnings_of(&one.reservation.spec), lost);
                (Row::of(one, warnings, zone, now), Strip::of(one, troubles, history_begins, now))
            };
            let rows: Vec<(Row, Strip)> = shown.iter().map(row).collect();
            let checked_out = match gone {
                Some(id) => app_state.store.checkout(id)?,
                None => None,
            };
            Ok((
                rows,
                found.next,
                found.looked_at,
                checked_out,
                app_state.counts()?,
                app_state.tally(),
                app_state.store.unjudged()?,
            ))
        })
        .await?;
    let next = next.map(|cursor| query.address(Some(&cursor)));
    let tally = tally.as_ref().map(Arc::as_ref).map(|counted| TallyRow::of(counted, &query));
    page(&StatusPage {
        frame: Frame::of(&app_state, &caller, "/status"),
        query,
        counts,
        tally,
        rows,
        next,
        looked_at,
        checked_out,
        unjudged: unjudged.into_iter().filter(|one| caller.covers_named(&one.app).is_ok()).collect(),
    })
}
