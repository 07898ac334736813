//! `GET /nodes` and `GET /is-coordinator`: the processes of this installation, and which of them does what only one may do.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use chrono::TimeDelta;
use innkeeper_core::access::Need;
use innkeeper_core::{Clock, Time};
use innkeeper_store::{ClockStep, Duty, KnownNode, Store, StoreError, Unjudged};
use serde::Serialize;

use super::{ApiError, Routes};
use crate::config::Live;
use crate::heart::{Heart, LEASE, Singleton, gone_after, missing_after, strengths};

/// The most steps of clocks that are shown.
pub const STEPS_SHOWN: i64 = 20;

/// What the two pages share.
#[derive(Clone)]
pub struct Nodes {
    store: Store,
    clock: Arc<dyn Clock>,
    live: Live,
    /// The lease that this process may hold; none where it has no work that needs it.
    singleton: Option<Singleton>,
}

impl Nodes {
    /// The nodes of the installation whose node `heart` is.
    pub fn new(store: Store, heart: &Heart, singleton: Option<Singleton>) -> Self {
        Self { store, clock: heart.clock(), live: heart.live().clone(), singleton }
    }

    /// Registers the two.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(Data::new(self.clone())).get("/nodes", Need::ReadAll, nodes).get(
            "/is-coordinator",
            Need::Nothing,
            is_coordinator,
        );
    }
}

#[derive(Serialize)]
struct Shown {
    success: bool,
    at: Time,
    nodes: Vec<ShownNode>,
    duties: Vec<ShownDuty>,
    expected: Vec<ShownStrength>,
    blind_windows: Vec<ShownWindow>,
    clock_steps: Vec<ShownStep>,
    /// Reservations that the sweeper cannot judge.
    unjudged: Vec<ShownUnjudged>,
}

/// `state`: `alive`; `silent` when it has not beaten for ten seconds; `stopped` when it said goodbye. `offset_ms` is what it adds to
/// its machine's clock; `unable` are the duties that it cannot do now (`sending` is a part of the sweeper's), and `problem` says why.
#[derive(Serialize)]
struct ShownNode {
    id: String,
    role: String,
    host: String,
    address: String,
    version: String,
    state: &'static str,
    started_at: Time,
    beat_at: Time,
    goodbye_at: Option<Time>,
    offset_ms: i64,
    coordinator: bool,
    unable: Vec<String>,
    problem: String,
}

#[derive(Serialize)]
struct ShownDuty {
    name: String,
    beat_at: Time,
    done: bool,
    /// Nobody is told until then that it is missing.
    snoozed_until: Option<Time>,
}

/// How many nodes do a duty, where the configuration (`expect`) says how many should.
#[derive(Serialize)]
struct ShownStrength {
    name: &'static str,
    expected: usize,
    alive: usize,
    enough: bool,
}

#[derive(Serialize)]
struct ShownUnjudged {
    reservation_id: i64,
    app: String,
    component: String,
    problem: String,
    since_at: Time,
}

#[derive(Serialize)]
struct ShownWindow {
    from: Time,
    until: Time,
}

/// A clock that jumped, the latest first: `database` (which all nodes follow) or `machine`; `by_ms` is negative where it went back. See
/// [`innkeeper_store::ClockStep`] for the outcomes.
#[derive(Serialize)]
struct ShownStep {
    at: Time,
    clock: String,
    host: String,
    by_ms: i64,
    outcome: String,
    ended_at: Option<Time>,
}

impl From<ClockStep> for ShownStep {
    fn from(step: ClockStep) -> Self {
        let ClockStep { at, clock, host, by, outcome, ended_at, .. } = step;
        Self { at, clock, host, by_ms: by.num_milliseconds(), outcome, ended_at }
    }
}

impl From<Unjudged> for ShownUnjudged {
    fn from(unjudged: Unjudged) -> Self {
        let Unjudged { reservation_id, app, component, problem, since_at } = unjudged;
        Self { reservation_id, app, component, problem, since_at }
    }
}

impl ShownNode {
    fn of(known: KnownNode, coordinator: Option<&str>, gone_after: TimeDelta, now: Time) -> Self {
        let state = known.state(gone_after, now);
        let KnownNode { node, beat_at, goodbye_at, unable, problem, .. } = known;
        Self {
            coordinator: state == "alive" && coordinator == Some(node.id.as_str()),
            id: node.id,
            role: node.role,
            host: node.host,
            address: node.address,
            version: node.version,
            state,
            started_at: node.started_at,
            beat_at,
            goodbye_at,
            offset_ms: node.offset.num_milliseconds(),
            unable,
            problem,
        }
    }
}

impl Nodes {
    fn shown(&self) -> Result<Shown, StoreError> {
        let now = self.clock.now();
        let coordinator = self.store.lease_holder(LEASE)?;
        let (gone_after, missing_after) = (gone_after(&self.store), missing_after(&self.store));
        let nodes = self.store.nodes()?;
        let expected = strengths(&self.live.get().expect, &nodes, gone_after, now)
            .into_iter()
            .map(|it| ShownStrength {
                name: it.duty,
                expected: it.expected,
                alive: it.alive,
                enough: it.is_enough(),
            })
            .collect();
        let mut snoozed = self.store.snoozed_duties(now)?;
        let duty = |Duty { name, beat_at }| ShownDuty {
            snoozed_until: snoozed.remove(&name),
            done: now - beat_at <= missing_after,
            name,
            beat_at,
        };
        let windows = self.store.blind_windows(now)?;
        Ok(Shown {
            success: true,
            at: now,
            nodes: nodes
                .into_iter()
                .map(|known| ShownNode::of(known, coordinator.as_deref(), gone_after, now))
                .collect(),
            duties: self.store.duties()?.into_iter().map(duty).collect(),
            expected,
            blind_windows: windows
                .into_iter()
                .map(|window| ShownWindow { from: window.from, until: window.until })
                .collect(),
            clock_steps: self.store.clock_steps(STEPS_SHOWN)?.into_iter().map(ShownStep::from).collect(),
            unjudged: self.store.unjudged()?.into_iter().map(ShownUnjudged::from).collect(),
        })
    }
}

/// Answers with the nodes, their duties, the blind windows and the latest steps of clocks as JSON.
///
/// # Errors
/// The database's.
pub async fn nodes(nodes: Data<Nodes>) -> Result<HttpResponse, ApiError> {
    let shown = web::block(move || nodes.shown()).await.map_err(ApiError::internal)??;
    Ok(HttpResponse::Ok().json(shown))
}

async fn is_coordinator(nodes: Data<Nodes>) -> HttpResponse {
    HttpResponse::Ok().json(nodes.singleton.as_ref().is_some_and(Singleton::is_held))
}
