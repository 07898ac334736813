//! The processes of this installation and what Innkeeper checks about itself.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::reservation::Window;
use innkeeper_core::{Time, duration};
use innkeeper_http::nodes::{Parked, STEPS_SHOWN};
use innkeeper_http::{ApiError, Caller};
use innkeeper_node::heartbeat::{LEASE, Strength, clock, gone_after, missing_after, strengths};
use innkeeper_store::{ClockStep, KnownDuty, KnownNode, NodeState, SelfCheck, StepOutcome, Ticker};

use super::form::Form;
use super::frame::Frame;
use super::view::When;
use super::{ask, change, page, see_other};
use crate::AppState;

#[derive(Template)]
#[template(path = "nodes.html")]
struct NodesPage<'a> {
    frame: Frame<'a>,
    nodes: Vec<NodeRow>,
    duties: Vec<DutyRow>,
    fewer: Vec<Strength>,
    parked: Vec<Parked>,
    checks: Vec<CheckRow>,
    windows: Vec<WindowRow>,
    steps: Vec<StepRow>,
}

/// The page.
pub async fn nodes(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let (nodes, (duties, snoozed), (checks, parked), (windows, steps), holder, now) =
        ask(&app_state, |app_state, now| {
            let store = &app_state.store;
            let windows = (store.blind_windows(now)?, store.clock_steps(STEPS_SHOWN)?);
            let duties = (store.duties()?, store.snoozed_duties(now)?);
            Ok((
                store.nodes()?,
                duties,
                (store.checks()?, app_state.parked()?),
                windows,
                store.lease_holder(LEASE)?,
                now,
            ))
        })
        .await?;
    let zone = caller.zone_or(chrono_tz::UTC);
    let node = |known| NodeRow::of(known, holder.as_deref(), gone_after(&app_state.store), zone, now);
    let duty = |duty: &KnownDuty| {
        DutyRow::of(duty, snoozed.get(&duty.name).copied(), missing_after(&app_state.store), zone, now)
    };
    let fewer = strengths(&app_state.live.get().expect, &nodes, gone_after(&app_state.store), now)
        .into_iter()
        .filter(|it| !it.is_enough());
    page(&NodesPage {
        frame: Frame::of(&app_state, &caller, "/nodes"),
        nodes: nodes.iter().map(node).collect(),
        duties: duties.iter().map(duty).collect(),
        fewer: fewer.collect(),
        parked,
        checks: checks.iter().map(|check| CheckRow::of(check, zone, now)).collect(),
        windows: windows.iter().rev().map(|window| WindowRow::of(window, zone, now)).collect(),
        steps: steps.iter().map(|step| StepRow::of(step, zone, now)).collect(),
    })
}

/// How long the page's button lets nobody be told of a duty.
const SNOOZE: TimeDelta = TimeDelta::days(1);

/// Lets nobody be told for a day that no node has the duty.
pub async fn snooze(
    app_state: Data<AppState>,
    caller: Caller,
    duty: Path<String>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    sleep(&app_state, &caller, duty.into_inner(), SNOOZE).await
}

/// Ends that.
pub async fn resume(
    app_state: Data<AppState>,
    caller: Caller,
    duty: Path<String>,
    _: Form,
) -> Result<HttpResponse, ApiError> {
    sleep(&app_state, &caller, duty.into_inner(), TimeDelta::zero()).await
}

async fn sleep(
    app_state: &Data<AppState>,
    caller: &Caller,
    duty: String,
    span: TimeDelta,
) -> Result<HttpResponse, ApiError> {
    let known =
        change(app_state, caller, move |store, now| store.snooze_duty(&duty, now + span, now)).await?;
    match known {
        true => Ok(see_other("/nodes")),
        false => Err(ApiError::NotFound("there is no such duty".to_owned())),
    }
}

/// Work that at least one node must be doing at any time.
pub struct DutyRow {
    pub name: String,
    /// `alive`; `down` if no node does it; `snoozed` if the operator is not told of that.
    pub state: &'static str,
    pub done: When,
    pub snoozed_until: Option<When>,
}

impl DutyRow {
    pub fn of(
        duty: &KnownDuty,
        snoozed_until: Option<Time>,
        missing_after: TimeDelta,
        zone: Tz,
        now: Time,
    ) -> Self {
        let is_missing = now - duty.beat_at > missing_after;
        Self {
            name: duty.name.clone(),
            state: match (is_missing, snoozed_until) {
                (_, Some(_)) => "snoozed",
                (true, None) => "down",
                (false, None) => "alive",
            },
            done: When::new(duty.beat_at, zone, now),
            snoozed_until: snoozed_until.map(|until| When::new(until, zone, now)),
        }
    }

    /// Whether nobody does it, and that is worth a line at the top.
    pub fn is_missing(&self) -> bool {
        self.state == "down"
    }
}

/// A process.
pub struct NodeRow {
    pub state: &'static str,
    pub role: String,
    pub host: String,
    pub address: String,
    pub version: String,
    pub beat: When,
    pub started: When,
    pub offset_ms: i64,
    pub coordinator: bool,
    pub problem: String,
}

impl NodeRow {
    pub fn of(known: &KnownNode, holder: Option<&str>, gone_after: TimeDelta, zone: Tz, now: Time) -> Self {
        let node = &known.node;
        let state = known.state(gone_after, now);
        Self {
            state: state.as_str(),
            role: node.role.clone(),
            host: node.host.clone(),
            address: node.address.clone(),
            version: node.version.clone(),
            beat: When::new(known.beat_at, zone, now),
            started: When::new(node.started_at, zone, now),
            offset_ms: node.offset.num_milliseconds(),
            problem: if state == NodeState::Alive { known.problem.clone() } else { String::new() },
            coordinator: state == NodeState::Alive && holder == Some(node.id.as_str()),
        }
    }
}

/// A check of Innkeeper's own.
pub struct CheckRow {
    pub name: String,
    pub state: String,
    pub since: When,
    pub problem: String,
}

impl CheckRow {
    pub fn of(check: &SelfCheck, zone: Tz, now: Time) -> Self {
        Self {
            name: check.name.clone(),
            state: check.state.clone(),
            since: When::new(check.since_at, zone, now),
            problem: check.problem.clone(),
        }
    }
}

/// A blind window.
pub struct WindowRow {
    pub from: When,
    pub until: When,
    pub long: String,
}

impl WindowRow {
    pub fn of(window: &Window, zone: Tz, now: Time) -> Self {
        Self {
            from: When::new(window.from, zone, now),
            until: When::new(window.until, zone, now),
            long: duration::words(window.until - window.from),
        }
    }
}

/// A clock that jumped.
pub struct StepRow {
    pub at: When,
    pub whose: String,
    pub by: String,
    pub outcome: &'static str,
}

impl StepRow {
    pub fn of(step: &ClockStep, zone: Tz, now: Time) -> Self {
        Self {
            at: When::new(step.at, zone, now),
            whose: match step.clock {
                Ticker::Database => "the database".to_owned(),
                Ticker::Machine => step.host.clone(),
            },
            by: clock::size(step.by),
            outcome: match step.outcome {
                StepOutcome::Waiting => "Innkeeper waits to see whether it lasts",
                StepOutcome::Following => "Innkeeper is following it",
                StepOutcome::Followed => "Followed",
                StepOutcome::Returned => "Returned; nothing was changed",
                StepOutcome::Held => "Nothing is judged until it has passed what was recorded",
                StepOutcome::Released => "It has passed what was recorded",
                StepOutcome::Ignored => "Nothing was changed",
            },
        }
    }
}
