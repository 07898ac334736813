//! The front desk: answers people and programs that ask about reservations.
//!
//! Beside what `api/` manages it only reads. What a reservation is shown as comes from [`innkeeper_core::sla`], so it cannot disagree with the sweeper.
//!
//! Where to start: [`Web`] registers the routes; `pages/` is what people look at, `api/` what programs manage it by, `gotel.rs` and `gocron.rs` answer in the shapes of those two protocols.

mod api;
mod gocron;
mod gotel;
mod pages;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web::{self, Data};
use chrono::TimeDelta;
use innkeeper_core::names::AlerterName;
use innkeeper_core::sla::{Evaluation, evaluate};
use innkeeper_core::{Clock, Time};
use innkeeper_node::http::health::Health;
use innkeeper_node::http::metrics::Observed;
use innkeeper_node::http::nodes::Nodes;
use innkeeper_node::http::peer::Peer;
use innkeeper_node::http::{ApiError, Caller, Gate, HttpService, Routes};
use innkeeper_node::{Config, Heart, Role, Shutdown, wait_for_database};
use innkeeper_store::{Counts, Listed, Store, StoreError};

/// How long counts hold.
const COUNTS_HOLD: Duration = Duration::from_secs(5);

/// The front desk's routes and what they share.
#[derive(Clone)]
pub struct Web {
    desk: Data<Desk>,
}

/// What the handlers share.
pub(crate) struct Desk {
    store: Store,
    clock: Arc<dyn Clock>,
    pub public_url: String,
    pub instance: String,
    /// Names that `notify` and `alerters` may use.
    pub alerters: Vec<AlerterName>,
    /// `remind_every` of a reservation that does not name one.
    pub remind_every: Option<TimeDelta>,
    /// The counts on the pages and when they were taken: a million rows are not counted for each look.
    counted: Mutex<Option<(Instant, Counts)>>,
}

impl Desk {
    /// How many there are, as of some seconds ago at most.
    ///
    /// # Errors
    /// The database's.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        let known = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, counts)) = known
            && at.elapsed() < COUNTS_HOLD
        {
            return Ok(counts);
        }
        let counts = self.store.counts()?;
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), counts));
        Ok(counts)
    }
}

impl Web {
    /// A desk over `store`.
    pub fn new(store: Store, config: &Config, clock: Arc<dyn Clock>) -> Self {
        Self {
            desk: Data::new(Desk {
                store,
                clock,
                public_url: config.public_url.clone(),
                instance: config.instance.clone(),
                alerters: config.alerters.keys().cloned().collect(),
                remind_every: config.sweeper.remind_every,
                counted: Mutex::default(),
            }),
        }
    }

    /// Registers the pages. `/` and `/nodes` are pages for browsers alone, so mount this before what answers programs there.
    pub fn mount_pages(&self, routes: &mut Routes<'_>) {
        routes.app_data(self.desk.clone());
        pages::mount(routes);
    }

    /// Registers the routes of both protocols. `GET /` is registered too; beside ingest, whose `GET /` knows more, mount this second.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(self.desk.clone());
        gotel::mount(routes);
        gocron::mount(routes);
        api::mount(routes);
    }
}

/// A reservation and what is to be shown of it.
pub(crate) struct Shown {
    pub listed: Listed,
    pub evaluation: Evaluation,
}

/// All reservations that the caller may see, or those of one app, as they stand now; latest check-in first.
pub(crate) async fn reservations(
    desk: &Data<Desk>,
    caller: &Caller,
    app: Option<String>,
) -> Result<(Vec<Shown>, Time), ApiError> {
    let now = desk.clock.now();
    let store = desk.store.clone();
    let listed = web::block(move || store.list(app.as_deref(), now)).await.map_err(ApiError::internal)??;
    let visible = |listed: &Listed| caller.covers(&listed.reservation.terms.app).is_ok();
    let shown = listed.into_iter().filter(visible).map(|listed| {
        let evaluation = evaluate(&listed.view(), now);
        Shown { listed, evaluation }
    });
    Ok((shown.collect(), now))
}

/// The whole process: waits for the database, then answers until it is asked to stop.
///
/// # Errors
/// What ended it before that.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let store = wait_for_database(config, shutdown)?;
    let health = Health::new(store.clone(), env!("CARGO_PKG_VERSION"));
    let heart = Heart::start(&store, config, Role::Web, shutdown)?;
    let nodes = Nodes::new(store.clone(), &heart, None);
    let observed = Observed::new(store.clone(), &heart);
    let peer = Peer::new(store.clone(), heart.clock(), &config.instance);
    let gate = Gate::new(&store, config, heart.clock());
    let web = Web::new(store, config, heart.clock());
    let service = HttpService::new("web", config.web.listen, gate, move |routes| {
        web.mount_pages(routes);
        web.mount(routes);
        health.mount(routes);
        nodes.mount(routes);
        peer.mount(routes);
        observed.mount(routes);
    });
    let served = service.on_listening(heart.listening()).run(shutdown);
    shutdown.request();
    let said_goodbye = heart.finish();
    served?;
    said_goodbye
}
