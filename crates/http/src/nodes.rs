//! `GET /nodes` and `GET /is-coordinator`: the processes of this installation, and which of them
//! does the work that only one may do.

use std::fmt;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::web::{self, Data};
use chrono::TimeDelta;
use innkeeper_core::access::Permission;
use innkeeper_core::ways::{WaysOut, parked_words};
use innkeeper_core::{Clock, Time, duration};
use innkeeper_node::config::Live;
use innkeeper_node::heartbeat::{Heartbeat, LEASE, Singleton, gone_after, missing_after, strengths};
use innkeeper_store::{ClockStep, KnownDuty, KnownNode, NodeState, Store, StoreError, Unjudged};
use serde::Serialize;

use super::description::{Description, WATCHING};
use super::{ApiError, Routes};

const NODES: Description =
    Description::get("/nodes", Permission::ReadAll, WATCHING, "List the processes of this installation");
const IS_COORDINATOR: Description = Description::get(
    "/is-coordinator",
    Permission::Nothing,
    WATCHING,
    "Ask whether this process is the coordinator",
)
.answers("200", "`true` or `false`");
pub(super) const ROUTES: [Description; 2] = [NODES, IS_COORDINATOR];

/// The most clock steps that are shown.
pub const STEPS_SHOWN: i64 = 20;

/// The state that both routes share.
#[derive(Clone)]
pub struct Nodes {
    store: Store,
    clock: Arc<dyn Clock>,
    live: Live,
    /// The lease that this process may hold; none where no work of it needs the lease.
    singleton: Option<Singleton>,
}

impl Nodes {
    /// The nodes of the installation to which the process of this `heartbeat` belongs.
    pub fn new(store: Store, heartbeat: &Heartbeat) -> Self {
        Self { store, clock: heartbeat.clock(), live: heartbeat.live().clone(), singleton: None }
    }

    /// For a process that may hold this lease.
    #[must_use]
    pub fn with_lease(self, singleton: Singleton) -> Self {
        Self { singleton: Some(singleton), ..self }
    }

    /// Registers both routes.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes
            .app_data(Data::new(self.clone()))
            .described(&NODES, nodes)
            .described(&IS_COORDINATOR, is_coordinator);
    }
}

#[derive(Serialize)]
struct NodesView {
    success: bool,
    at: Time,
    nodes: Vec<ShownNode>,
    duties: Vec<ShownDuty>,
    expected: Vec<ShownStrength>,
    blind_windows: Vec<ShownWindow>,
    clock_steps: Vec<ShownStep>,
    /// Reservations that the sweeper cannot judge.
    unjudged: Vec<ShownUnjudged>,
    /// Alerters that are parked.
    parked: Vec<Parked>,
}

/// An alerter that is parked (`enabled = false`), and how many messages wait for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Parked {
    /// Its name.
    pub alerter: String,
    /// How many messages wait.
    pub waiting: i64,
}

impl fmt::Display for Parked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}; waiting now: {}",
            parked_words(&self.alerter),
            duration::counted(self.waiting, "message")
        )
    }
}

/// The alerters in `ways` that are parked.
///
/// # Errors
/// The `StoreError` of counting their messages.
pub fn parked(store: &Store, ways: &WaysOut) -> Result<Vec<Parked>, StoreError> {
    let parked = |name: &str| Ok(Parked { alerter: name.to_owned(), waiting: store.waiting_for(name)? });
    ways.parked().map(parked).collect()
}

/// A node as the response shows it. `state` is `alive`, `silent` when its latest heartbeat is too
/// long ago, or `stopped` when it said goodbye. `offset_ms` is what it adds to its machine's clock.
/// `unable` are the duties that it cannot do now (`sending` is a part of the sweeper's); `problem`
/// says why.
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
    /// Until when nobody is told that no node does it.
    snoozed_until: Option<Time>,
}

/// How many nodes do a duty, for duties of which the configuration (`expect`) says how many nodes
/// there should be.
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

/// A step of a clock: of the `database` (which all nodes follow) or of a `machine`. `by_ms` is
/// negative where the clock went back. See [`innkeeper_store::StepOutcome`] for the outcomes.
#[derive(Serialize)]
struct ShownStep {
    at: Time,
    clock: &'static str,
    host: String,
    by_ms: i64,
    outcome: &'static str,
    ended_at: Option<Time>,
}

impl From<ClockStep> for ShownStep {
    fn from(step: ClockStep) -> Self {
        let ClockStep { at, clock, host, by, outcome, ended_at, .. } = step;
        let (clock, outcome) = (clock.as_str(), outcome.as_str());
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
            coordinator: state == NodeState::Alive && coordinator == Some(node.id.as_str()),
            id: node.id,
            role: node.role,
            host: node.host,
            address: node.address,
            version: node.version,
            state: state.as_str(),
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
    /// The alerters that the sweepers have published; those of this process's configuration where
    /// none has.
    fn ways(&self) -> Result<WaysOut, StoreError> {
        let said = self.store.published_ways()?.into_iter().map(|(_, ways)| ways);
        let all = said.reduce(|all, other| all.and(&other));
        Ok(all.unwrap_or_else(|| self.live.get().ways_out()))
    }

    fn shown(&self) -> Result<NodesView, StoreError> {
        let now = self.clock.now();
        let coordinator = self.store.lease_holder(LEASE)?;
        let (gone_after, missing_after) = (gone_after(&self.store), missing_after(&self.store));
        let nodes = self.store.nodes()?;
        let expected = strengths(&self.live.get().expect, &nodes, gone_after, now)
            .into_iter()
            .map(|it| ShownStrength {
                name: it.duty.as_str(),
                expected: it.expected,
                alive: it.alive,
                enough: it.is_enough(),
            })
            .collect();
        let mut snoozed = self.store.snoozed_duties(now)?;
        let duty = |KnownDuty { name, beat_at }| ShownDuty {
            snoozed_until: snoozed.remove(&name),
            done: now - beat_at <= missing_after,
            name,
            beat_at,
        };
        let windows = self.store.blind_windows(now)?;
        Ok(NodesView {
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
            parked: parked(&self.store, &self.ways()?)?,
        })
    }
}

/// Answers with the nodes, their duties, the blind windows and the latest clock steps as JSON.
///
/// # Errors
/// 503 when the database cannot be reached, and 500 when it refuses a statement.
pub async fn nodes(nodes: Data<Nodes>) -> Result<HttpResponse, ApiError> {
    let shown = web::block(move || nodes.shown()).await.map_err(ApiError::internal)??;
    Ok(HttpResponse::Ok().json(shown))
}

async fn is_coordinator(nodes: Data<Nodes>) -> HttpResponse {
    HttpResponse::Ok().json(nodes.singleton.as_ref().is_some_and(Singleton::is_held))
}
