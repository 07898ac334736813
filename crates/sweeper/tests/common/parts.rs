//! A sweeper taken apart: one step at a time, on a clock that is moved by hand.

use std::sync::Arc;

use chrono::TimeDelta;
use innkeeper_alerter::Alerters;
use innkeeper_core::checkin::{CheckIn, CheckInKind};
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::{Clock, ManualClock, SystemClock, Time};
use innkeeper_node::{Config, KnownWays, Metrics, Role, Shutdown};
use innkeeper_store::{ActingStore, Arrival, Definition, SweepOutcome, Target};
use innkeeper_sweeper::dispatch::{DeliverySender, Dispatched};
use innkeeper_sweeper::leases::Leases;
use innkeeper_sweeper::messages::MessageComposer;
use innkeeper_sweeper::watch::Watch;
use innkeeper_testing::database::TestDatabase;
use innkeeper_testing::smtp_sink::SmtpSink;

use super::config;

/// A sweeper taken apart: one step at a time.
pub struct Parts {
    pub store: ActingStore,
    pub clock: Arc<ManualClock>,
    pub watch: Watch,
    pub sender: DeliverySender,
    pub shutdown: Shutdown,
}

impl Parts {
    /// Over this database, with the sender of the alerter `name`.
    pub fn new(database: &TestDatabase, name: &str, alerters: &str) -> Self {
        Self::operated_by(database, name, alerters, "log")
    }

    /// The same with this operator.
    pub fn operated_by(database: &TestDatabase, name: &str, alerters: &str, operator: &str) -> Self {
        let text = config(database, alerters)
            .replace("operator = [\"log\"]", &format!("operator = [\"{operator}\"]"));
        let config = Config::from_toml(Role::Sweeper, &text).expect("it works");
        let clock = Arc::new(ManualClock::at(SystemClock.now()));
        let alerters = Alerters::build(&config.alerters, clock.clone()).expect("it works");
        let store = database.store();
        let composer = MessageComposer::new(&config, &KnownWays::of(&config));
        let metrics = Metrics::new().expect("it works");
        let watch = Watch {
            store: (*store).clone(),
            clock: clock.clone(),
            composer,
            batch: 4,
            metrics: metrics.clone(),
            operator: None,
        };
        let sender = DeliverySender {
            store: (*store).clone(),
            alerters: Arc::new(alerters),
            name: AlerterName::parse("alerter", name).expect("it works"),
            clock: clock.clone(),
            lease: TimeDelta::seconds(5),
            leases: Leases::default(),
            claiming: Arc::default(),
            cursor: Arc::default(),
            retry_for: TimeDelta::days(1),
            enabled_at: None,
            metrics,
            complaints: Arc::default(),
            progress: innkeeper_node::heartbeat::progress::Progress::new(std::time::Duration::from_secs(15)),
        };
        Self { store, clock, watch, sender, shutdown: Shutdown::new() }
    }

    pub fn sweep(&self) -> SweepOutcome {
        self.watch.sweep_once(self.clock.now()).expect("it works")
    }

    pub fn dispatch(&self) -> Dispatched {
        self.sender.dispatch_once(&self.shutdown).expect("it works")
    }

    pub fn advance(&self, seconds: i64) -> Time {
        self.clock.advance(TimeDelta::seconds(seconds))
    }

    pub fn check_in(&self, component: &str) {
        let target = Target::Names(
            AppName::parse("shop").expect("it works"),
            ComponentName::parse(component).expect("it works"),
        );
        let checkin = CheckIn::new(CheckInKind::Success, self.clock.now());
        self.store
            .writer()
            .record(&[Arrival { target, checkin, definition: Definition::None }])
            .expect("it works");
    }
}

/// A table of the configuration that sends mail to `sink`.
pub fn mail(sink: &SmtpSink) -> String {
    format!(
        "[alerter.mail]\nkind = \"smtp\"\nhost = \"127.0.0.1\"\nport = {}\ntls = \"none\"\nfrom = \"inn@example.org\"\n",
        sink.port()
    )
}

/// What a step did: claimed so many, delivered so many.
pub fn done(claimed: usize, delivered: usize) -> Dispatched {
    Dispatched { claimed, delivered }
}
