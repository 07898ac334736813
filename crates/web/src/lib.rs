//! The front desk: answers people and programs that ask about reservations.
//!
//! It only reads. What a reservation is shown as comes from [`innkeeper_core::sla`], so it cannot disagree with the sweeper.
//!
//! Where to start: [`Web`] registers the routes; `pages/` is what people look at, with `tally.rs` for its counts,
//! `looks.rs` says whether they could be made, `logins.rs`, `second_factor.rs` and `refused_logins.rs` are who may log
//! in and who may not, `openid/` is the login at a provider, `passkeys.rs` what a browser signs, `api/` what programs
//! manage it by, `gotel.rs` and `gocron.rs` answer in the shapes of those two protocols, with the lists of `lists.rs`.

mod api;
#[doc(hidden)]
pub mod fuzz;
mod gocron;
mod gotel;
mod lists;
mod logins;
mod looks;
mod openid;
mod pages;
#[cfg(feature = "passkeys")]
mod passkeys;
mod refused_logins;
mod second_factor;
mod tally;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::web::Data;
use chrono::TimeDelta;
use innkeeper_alerter::{Message, Sent};
use innkeeper_core::names::AlerterName;
use innkeeper_core::notice::Notice;
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::reservation::Terms;
use innkeeper_core::ways::DeadEnd;
use innkeeper_core::{Clock, Time};
use innkeeper_node::config::{Auth, Live};
use innkeeper_node::heart::progress::Progress;
use innkeeper_node::heart::{Astray, Operator};
use innkeeper_node::http::health::Health;
use innkeeper_node::http::metrics::Observed;
use innkeeper_node::http::nodes::Nodes;
use innkeeper_node::http::peer::Peer;
use innkeeper_node::http::{ApiError, Gate, HttpService, Routes, Spools};
use innkeeper_node::invitation::{announcement, first_admin, tell_unconfirmed};
use innkeeper_node::{
    Config, Heart, KnownWays, Part, Role, Shutdown, Wake, Ways, descriptors, wait_for_database,
};
use innkeeper_store::{Counts, Store, StoreError};
use uuid::Uuid;

use openid::{OpenId, Provider, Seats};
#[cfg(feature = "passkeys")]
use passkeys::RelyingParty;
use refused_logins::RefusedLogins;
use tally::{Counted, Tally};

/// How long a stop waits for a look that is under way.
pub const LOOKS_END: Duration = Duration::from_secs(1);
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
    /// Where people reach the pages.
    pub pages_url: String,
    /// The public address, where somebody said it.
    pub given_url: Option<String>,
    pub instance: String,
    /// Whether everybody may do everything.
    pub is_open: bool,
    /// Whether a proxy says who calls.
    pub signs_on: bool,
    /// The provider at which people log in, where there is one.
    pub openid: Option<OpenId>,
    pub gate: Gate,
    /// The configuration in force.
    live: Live,
    /// Every way out.
    ways: Ways,
    /// Woken when a conclusion may have changed; the sweeper's, where it runs in this process.
    wake: Option<Wake>,
    /// What writes to people outside of any alert.
    pub operator: Operator,
    /// The ways out as the sweepers have them.
    known_ways: KnownWays,
    /// How the operator hears of reservations whose messages lead nowhere.
    pub astray: Astray,
    /// What small indexes know, and when it was asked.
    counted: Mutex<Option<(Instant, Counts)>>,
    tally: Tally,
    /// What is written down of them.
    refused_logins: RefusedLogins,
    /// Where whole lists are written before they are sent.
    pub spools: Spools,
    /// Whether what answers show can be read.
    progress: Progress,
    /// What passkeys are bound to, or why there are none.
    #[cfg(feature = "passkeys")]
    relying_party: Result<RelyingParty, String>,
}

impl Desk {
    /// At which origin there are passkeys.
    ///
    /// # Errors
    /// Why there are none, as a sentence.
    pub fn passkeys_at(&self) -> Result<&str, &str> {
        #[cfg(feature = "passkeys")]
        return self.relying_party.as_ref().map(|party| party.origin.as_str()).map_err(String::as_str);
        #[cfg(not(feature = "passkeys"))]
        Err("This Innkeeper was built without passkeys (cargo build --release --features passkeys; \
             for `web` with -p innkeeper-web).")
    }

    /// What a passkey is bound to.
    ///
    /// # Errors
    /// 409 with why there are no passkeys here.
    #[cfg(feature = "passkeys")]
    pub fn relying_party(&self) -> Result<&RelyingParty, ApiError> {
        self.relying_party.as_ref().map_err(|why| ApiError::Conflict(why.clone()))
    }

    /// Whether users and tokens may be made over HTTP: not while everybody who comes by could.
    ///
    /// # Errors
    /// 403, which says how it is done then.
    pub fn knows_who_asks(&self) -> Result<(), ApiError> {
        match self.is_open {
            false => Ok(()),
            true => Err(ApiError::Forbidden(
                "while this house is open (auth = \"open\"), users and tokens are made on the machine alone: \
                 `innkeeper invite NAME --role ROLE`, `innkeeper token NAME`"
                    .to_owned(),
            )),
        }
    }

    /// An answer has failed: whether others would is looked at soon.
    pub fn failed(&self, error: &ApiError) {
        if matches!(error, ApiError::Unavailable { .. } | ApiError::Internal(_)) {
            self.progress.want_probe();
        }
    }

    /// Has the sweeper look at once, where it runs in this process.
    pub fn look_again(&self) {
        if let Some(wake) = &self.wake {
            wake.wake();
        }
    }

    /// The alerters, with their kinds.
    pub fn alerter_kinds(&self) -> Vec<(String, &'static str)> {
        let alerters = self.ways.now();
        let kind = |name: &AlerterName| alerters.get(name.as_str()).map_or("", |way| way.kind());
        alerters.names().map(|name| (name.to_string(), kind(name))).collect()
    }

    /// Every name that `notify` and `alerters` may use: those of this process's configuration, and those that a sweeper has.
    pub fn alerter_names(&self) -> Vec<AlerterName> {
        self.known_ways.names(&self.live.get())
    }

    /// What in the terms of a reservation leads nowhere.
    pub fn dead_ends(&self, terms: &Terms) -> Vec<DeadEnd> {
        self.known_ways.get().of_terms(terms).dead_ends
    }

    /// Tells the operator what leads nowhere of a reservation that was made or changed. Does not wait for that.
    pub fn report(&self, terms: &Terms) {
        let (ways, store, astray) = (self.known_ways.clone(), self.store.clone(), self.astray.clone());
        let terms = terms.clone();
        drop(actix_web::web::block(move || {
            let name = format!("{}/{}", terms.app, terms.component);
            astray.report(&name, &ways.dead_ends(&store, &terms));
        }));
    }

    /// `remind_every` of a reservation that is made by the form, unless it says otherwise.
    pub fn remind_every(&self) -> Option<TimeDelta> {
        self.live.get().sweeper.remind_every
    }

    /// Sends a notice through an alerter, and waits for what its provider says: nothing, or what is wrong.
    pub fn send_now(
        &self,
        alerter: &str,
        recipient: Option<&MailAddress>,
        notice: &Notice,
    ) -> Result<(), String> {
        let alerters = self.ways.now();
        let way = alerters.get(alerter).ok_or_else(|| format!("there is no alerter {alerter}"))?;
        let key = Uuid::new_v4().to_string();
        match way.send(&Message { notices: std::slice::from_ref(notice), recipient, key: &key }) {
            Sent::Delivered => Ok(()),
            Sent::Retryable { problem, .. } | Sent::Permanent { problem, .. } => Err(problem),
        }
    }

    /// How many alerts are open and messages wait, as of some seconds ago at most.
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
        let counts = self.store.open_counts()?;
        *self.counted.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), counts));
        Ok(counts)
    }

    /// How many alerts are open, as it was known last: whoever asks the store has it looked at.
    pub fn down(&self) -> i64 {
        let known = *self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        known.map_or(0, |(_, counts)| counts.down)
    }

    /// How many reservations are in each state, where that is known already. Blocks for a moment.
    pub fn tally(&self) -> Option<Arc<Counted>> {
        self.tally.look(&self.store, &self.clock)
    }

    /// Before this alerts are not remembered.
    pub fn history_begins(&self, now: Time) -> Time {
        let kept = TimeDelta::days(self.live.get().history.keep_days.into());
        now.checked_sub_signed(kept).unwrap_or(Time::MIN_UTC)
    }
}

impl Web {
    /// A desk over `store`. `wake` is the sweeper's, where it runs in this process.
    ///
    /// # Errors
    /// An alerter, or the login at a provider, that cannot be built.
    pub fn new(
        store: Store,
        config: &Config,
        gate: Gate,
        heart: &Heart,
        wake: Option<Wake>,
    ) -> anyhow::Result<Self> {
        let clock = heart.clock();
        let ways = Ways::new(config, clock.clone())?;
        let openid = config.web.openid.as_ref().map(|openid| {
            anyhow::Ok(OpenId {
                provider: Provider::new(openid, &config.public_url)?,
                label: openid.label.clone(),
                makes_admins: openid.rules.make_admins(),
                seats: Seats::default(),
            })
        });
        Ok(Self {
            desk: Data::new(Desk {
                store,
                clock,
                public_url: config.public_url.clone(),
                pages_url: config.pages_url.clone(),
                given_url: config.is_public_url_given.then(|| config.public_url.clone()),
                instance: config.instance.clone(),
                is_open: config.auth == Auth::Open,
                signs_on: config.web.sign_on_header.is_some(),
                openid: openid.transpose()?,
                gate,
                live: config.live(),
                ways,
                wake,
                operator: heart.operator().clone(),
                known_ways: heart.ways().clone(),
                astray: heart.astray().clone(),
                counted: Mutex::default(),
                tally: Tally::new(),
                refused_logins: RefusedLogins::default(),
                spools: Spools::default(),
                progress: heart.progresses().web.clone(),
                #[cfg(feature = "passkeys")]
                relying_party: RelyingParty::of(&config.pages_url, &config.instance),
            }),
        })
    }

    /// Starts what looks whether pages could be made, until the process stops. Do not wait for its end longer than [`LOOKS_END`].
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start_looking(&self, shutdown: &Shutdown) -> std::io::Result<Part> {
        let Desk { store, clock, progress, .. } = &**self.desk;
        looks::start(store.clone(), Arc::clone(clock), progress.clone(), shutdown)
    }

    /// Writes what waits to be written, at the end of the process. Blocks.
    pub fn finish(&self) {
        self.desk.refused_logins.finish(&self.desk.store);
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

/// The whole process: waits for the database, then answers until it is asked to stop.
///
/// # Errors
/// What ended it before that.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let store = wait_for_database(config, Role::Web, shutdown)?;
    let health = Health::new(store.clone(), env!("CARGO_PKG_VERSION"));
    let heart = Heart::start(&store, config, Role::Web, shutdown)?;
    let nodes = Nodes::new(store.clone(), &heart, None);
    let observed = Observed::new(store.clone(), &heart);
    let peer = Peer::new(store.clone(), heart.clock(), &config.instance);
    let gate = Gate::new(&store, config, heart.clock()).telling(heart.operator());
    let setup = first_admin(&store, config, heart.clock().now());
    tell_unconfirmed(&store, config);
    let (listening, own) = (heart.listening(), config.clone());
    let web = Web::new(store, config, gate.clone(), &heart, None)?;
    let looking = web.start_looking(shutdown)?;
    let pages = web.clone();
    let service = HttpService::new("web", config.web.listen, gate, move |routes| {
        pages.mount_pages(routes);
        pages.mount(routes);
        health.mount(routes);
        nodes.mount(routes);
        peer.mount(routes);
        observed.mount(routes);
    });
    let served = service
        .connections(descriptors::for_connections(config))
        .on_listening(move |address| {
            listening(address);
            if let Some(secret) = setup {
                innkeeper_node::cli::announce(announcement(&own, address, &secret));
            }
        })
        .run(shutdown);
    shutdown.request();
    web.finish();
    let looked = looking.join_within(LOOKS_END);
    let said_goodbye = heart.finish();
    served?;
    looked?;
    said_goodbye
}
