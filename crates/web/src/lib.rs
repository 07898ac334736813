//! Pages and API: answers people and programs that ask about reservations.
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

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::web::Data;
use chrono::TimeDelta;
use innkeeper_alerter::{Message, Sent};
use innkeeper_core::names::AlerterName;
use innkeeper_core::notice::Notice;
use innkeeper_core::recipient::MailAddress;
use innkeeper_core::reminders::Reminders;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::AlerterKind;
use innkeeper_core::ways::DeadEnd;
use innkeeper_core::{Clock, Time};
use innkeeper_http::nodes::{Parked, parked};
use innkeeper_http::{ApiError, Authenticator, Listener, Routes, Spools};
use innkeeper_node::config::{Auth, Live};
use innkeeper_node::heartbeat::progress::Progress;
use innkeeper_node::heartbeat::{DeadEndReporter, Operator};
use innkeeper_node::invitation::{announcement, first_admin, tell_unconfirmed};
use innkeeper_node::{Config, KnownWays, Process, Role, RoleWork, Shutdown, SupervisedThread, Wake, Ways};
use innkeeper_store::{Counts, Store, StoreError};
use parking_lot::Mutex;
use uuid::Uuid;

use openid::{OpenId, Provider, Seats};
#[cfg(feature = "passkeys")]
use passkeys::RelyingParty;
use refused_logins::RefusedLogins;
use tally::{Tallied, Tally};

/// An alerter as the settings show it.
pub struct KnownAlerter {
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: AlerterKind,
    /// Whether it sends to a mail address.
    pub needs_address: bool,
    /// Whether it is parked: its messages wait.
    pub is_parked: bool,
}

/// How long a stop waits for a look that is under way.
const LOOKS_END: Duration = Duration::from_secs(1);
/// How long counts hold.
const COUNTS_HOLD: Duration = Duration::from_secs(5);

/// Pages and API: the routes, and what they share.
pub struct Web {
    app_state: Data<AppState>,
    /// What looks whether pages could be made.
    looking: SupervisedThread,
    /// The secret of the link by which the first admin is made, where there is one.
    setup: Option<String>,
}

/// What the handlers share.
pub(crate) struct AppState {
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
    pub authenticator: Authenticator,
    /// The configuration in force.
    live: Live,
    /// Every way out.
    ways: Ways,
    /// Woken when a conclusion may have changed; the sweeper's, where it runs in this process.
    wake: Option<Wake>,
    /// What writes to people outside of any alert.
    pub operator: Operator,
    /// The alerters of the sweepers.
    known_ways: KnownWays,
    /// How the operator hears of reservations whose messages lead nowhere.
    pub dead_end_reporter: DeadEndReporter,
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

impl AppState {
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
                "while this instance is open (auth = \"open\"), users and tokens are made on the machine alone: \
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

    /// The alerters, in the order of their names.
    pub fn alerters(&self) -> Vec<KnownAlerter> {
        let alerters = self.ways.now();
        let working = alerters.names().filter_map(|name| {
            let alerter = alerters.get(name.as_str())?;
            let (kind, needs_address) = (alerter.kind(), alerter.needs_address());
            Some(KnownAlerter { name: name.to_string(), kind, needs_address, is_parked: false })
        });
        let parked = alerters.parked().map(|(name, kind)| KnownAlerter {
            name: name.to_string(),
            kind,
            needs_address: false,
            is_parked: true,
        });
        let mut all: Vec<KnownAlerter> = working.chain(parked).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// Every name that `notify` and `alerters` may use: those of this process's configuration, and those that a sweeper has.
    pub fn alerter_names(&self) -> Vec<AlerterName> {
        self.known_ways.names(&self.live.get())
    }

    /// What in the terms of a reservation leads nowhere.
    pub fn dead_ends(&self, spec: &Spec) -> Vec<DeadEnd> {
        self.known_ways.get().of_terms(spec).dead_ends
    }

    /// What about the messages of this spec people should know: what leads nowhere, and what waits since it is parked.
    pub fn warnings_of(&self, spec: &Spec) -> Vec<String> {
        self.known_ways.get().warnings_of(spec)
    }

    /// How many messages wait for each alerter that is parked, by the sweepers' word.
    ///
    /// # Errors
    /// The database's.
    pub fn parked(&self) -> Result<Vec<Parked>, StoreError> {
        parked(&self.store, &self.known_ways.look(&self.store))
    }

    /// Tells the operator what leads nowhere of a reservation that was made or changed. Does not wait for that.
    pub fn report(&self, spec: &Spec) {
        let (ways, store, dead_end_reporter) =
            (self.known_ways.clone(), self.store.clone(), self.dead_end_reporter.clone());
        let spec = spec.clone();
        drop(actix_web::web::block(move || {
            let name = format!("{}/{}", spec.app, spec.component);
            dead_end_reporter.report(&name, &ways.dead_ends(&store, &spec));
        }));
    }

    /// `remind_every` of a reservation that is made by the form, unless it says otherwise.
    pub fn remind_every(&self) -> Reminders {
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
        let way = alerters.get(alerter).ok_or_else(|| match alerters.is_parked(alerter) {
            true => "it is parked; remove enabled = false from its section to send through it".to_owned(),
            false => format!("there is no alerter {alerter}"),
        })?;
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
        let known = *self.counted.lock();
        if let Some((at, counts)) = known
            && at.elapsed() < COUNTS_HOLD
        {
            return Ok(counts);
        }
        let counts = self.store.open_counts()?;
        *self.counted.lock() = Some((Instant::now(), counts));
        Ok(counts)
    }

    /// How many alerts are open, as it was known last: whoever asks the store has it looked at.
    pub fn down(&self) -> i64 {
        let known = *self.counted.lock();
        known.map_or(0, |(_, counts)| counts.down)
    }

    /// How many reservations are in each state, where that is known already. Blocks for a moment.
    pub fn tally(&self) -> Option<Arc<Tallied>> {
        self.tally.look(&self.store, &self.clock)
    }

    /// Before this alerts are not remembered.
    pub fn history_begins(&self, now: Time) -> Time {
        let kept = TimeDelta::days(self.live.get().history.keep_days.into());
        now.checked_sub_signed(kept).unwrap_or(Time::MIN_UTC)
    }
}

impl Web {
    /// Starts what looks whether pages could be made, until the process stops. `authenticator` is the listener's; `wake` is the sweeper's, where it
    /// runs in this process.
    ///
    /// # Errors
    /// A login at a provider that cannot be built, or no thread to be had.
    pub fn start(
        process: &Process,
        authenticator: &Authenticator,
        wake: Option<Wake>,
    ) -> anyhow::Result<Self> {
        let (store, config, heartbeat) = (process.store().clone(), process.config(), process.heartbeat());
        let (clock, authenticator) = (process.clock(), authenticator.clone());
        let setup = first_admin(&store, config, clock.now());
        tell_unconfirmed(&store, config);
        let progress = heartbeat.progresses().web.clone();
        let looking = looks::start(store.clone(), Arc::clone(&clock), progress.clone(), process.shutdown())?;
        let openid = config.web.openid.as_ref().map(|openid| {
            anyhow::Ok(OpenId {
                provider: Provider::new(openid, &config.public_url)?,
                label: openid.label.clone(),
                makes_admins: openid.rules.make_admins(),
                seats: Seats::default(),
            })
        });
        Ok(Self {
            app_state: Data::new(AppState {
                store,
                clock,
                public_url: config.public_url.clone(),
                pages_url: config.pages_url.clone(),
                given_url: config.is_public_url_given.then(|| config.public_url.clone()),
                instance: config.instance.clone(),
                is_open: config.auth == Auth::Open,
                signs_on: config.web.sign_on_header.is_some(),
                openid: openid.transpose()?,
                authenticator,
                live: config.live(),
                ways: process.alerters().clone(),
                wake,
                operator: heartbeat.operator().clone(),
                known_ways: heartbeat.ways().clone(),
                dead_end_reporter: heartbeat.dead_end_reporter().clone(),
                counted: Mutex::default(),
                tally: Tally::new(),
                refused_logins: RefusedLogins::default(),
                spools: Spools::default(),
                progress,
                #[cfg(feature = "passkeys")]
                relying_party: RelyingParty::of(&config.pages_url, &config.instance),
            }),
            looking,
            setup,
        })
    }

    /// What registers the pages. `/` and `/nodes` are pages for browsers alone, so bring this before what answers programs there.
    pub fn pages(&self) -> impl Fn(&mut Routes<'_>) + Send + Sync + 'static {
        let app_state = self.app_state.clone();
        move |routes| {
            routes.app_data(app_state.clone());
            pages::mount(routes);
        }
    }

    /// What registers the routes of both protocols and of the API. `GET /` is registered too; beside ingest, whose `GET /` knows more, bring
    /// this second.
    pub fn routes(&self) -> impl Fn(&mut Routes<'_>) + Send + Sync + 'static {
        let app_state = self.app_state.clone();
        move |routes| {
            routes.app_data(app_state.clone());
            gotel::mount(routes);
            gocron::mount(routes);
            api::mount(routes);
        }
    }

    /// What says where the first admin is made, by the address at which this process listens; nothing where there is one, or callers are
    /// not asked who they are.
    pub fn setup_announcement(
        &self,
        config: &Config,
    ) -> impl FnOnce(SocketAddr) -> Option<String> + Send + use<> {
        let (config, setup) = (config.clone(), self.setup.clone());
        move |listening| setup.map(|secret| announcement(&config, listening, &secret))
    }
}

impl RoleWork for Web {
    /// Writes what waits to be written, and ends what looks.
    fn finish(self: Box<Self>, _in_order: bool) -> anyhow::Result<()> {
        self.app_state.refused_logins.finish(&self.app_state.store);
        self.looking.join_within(LOOKS_END)
    }
}

/// The whole process: waits for the database, then answers until it is asked to stop.
///
/// # Errors
/// What ended it before that.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let process = Process::start(Role::Web, config, shutdown)?;
    let listener = Listener::new(&process, "web", config.web.listen);
    let web = Web::start(&process, listener.authenticator(), None)?;
    let setup = web.setup_announcement(config);
    let listener = listener.routes(web.pages()).routes(web.routes()).on_listening(move |address| {
        setup(address).into_iter().for_each(innkeeper_node::cli::announce);
    });
    process.run(|stop| listener.run(stop), vec![Box::new(web)])
}
