//! Publishes which alerters this sweeper has, learns those of the others, and looks for reservations whose messages
//! have no recipient: at the start, and whenever the alerters change.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use innkeeper_core::Clock;
use innkeeper_core::ways::WaysOut;
use innkeeper_node::config::Live;
use innkeeper_node::dead_ends::{self, AlreadyTold, DeadEndCount};
use innkeeper_node::heartbeat::dead_end_reporter::{LeadNowhere, NAMED};
use innkeeper_node::heartbeat::{Operator, Singleton};
use innkeeper_node::{KnownWays, Seldom, Shutdown};
use innkeeper_store::{Store, StoreError};

use crate::gone::GoneWatch;

/// How often it checks whether the alerters have changed.
const EVERY: Duration = Duration::from_secs(3);
/// The interval at the start, before the first look at all reservations, and how long that interval applies.
const SOON: Duration = Duration::from_millis(500);
const EARLY: Duration = Duration::from_secs(10);
/// How often all reservations are checked even if the alerters have not changed.
const ANEW: Duration = Duration::from_secs(24 * 3600);

static UNTIDY: Seldom = Seldom::new();

/// Checks where the messages of reservations lead.
pub struct Routing {
    store: Store,
    node: String,
    clock: Arc<dyn Clock>,
    ways: KnownWays,
    operator: Operator,
    singleton: Singleton,
    gone: GoneWatch,
    /// The last result, its time, and the alerters that it was found with.
    last: Option<(DeadEndCount, Instant, Arc<WaysOut>)>,
}

impl Routing {
    /// The routing of the sweeper `node`.
    pub fn new(
        store: Store,
        node: &str,
        clock: Arc<dyn Clock>,
        operator: Operator,
        singleton: Singleton,
        gone: GoneWatch,
    ) -> Self {
        let ways = operator.ways().clone();
        Self { store, node: node.to_owned(), clock, ways, operator, singleton, gone, last: None }
    }

    /// Publishes this sweeper's alerters if they are not what is published, and learns those of the others. If this
    /// node holds the lease, it also gives up messages for alerters that are gone, and checks all reservations once a
    /// day and whenever the alerters have changed. Returns how many reservations have no recipient, or none if it did
    /// not check.
    ///
    /// # Errors
    /// A database error.
    pub fn look_once(&mut self) -> Result<Option<i64>, StoreError> {
        let own = self.ways.own();
        let published = self.store.published_ways()?;
        if !published.iter().any(|(node, ways)| *node == self.node && *ways == *own) {
            self.store.publish_ways(&self.node, &own)?;
        }
        self.ways.refresh(&self.store)?;
        if !self.singleton.is_held() {
            return Ok(None);
        }
        if let Err(error) = self.gone.look_once(Instant::now()) {
            UNTIDY.warn(format_args!("what waits for alerters that are gone is not given up: {error}"));
        }
        let ways = self.ways.get();
        // A later change in this process has been reported there, with the same alerters. For changes in other
        // processes the alerters used are unknown.
        let age = TimeDelta::from_std(self.ways.unchanged_for()).unwrap_or(TimeDelta::MAX);
        let changed_at =
            self.ways.are_of_all_roles().then(|| self.clock.now().checked_sub_signed(age)).flatten();
        let told = match &self.last {
            Some((_, at, with)) if *with == ways && at.elapsed() < ANEW => return Ok(None),
            Some((.., with)) if *with == ways => AlreadyTold::default(),
            last => AlreadyTold { by: last.as_ref().map(|(.., with)| &**with), after: changed_at },
        };
        let mut lines = Vec::new();
        let found = dead_ends::find(&self.store, &ways, told, NAMED, &mut |line| lines.push(line))?;
        // Reservations that changed meanwhile were reported when they changed.
        let is_news =
            told.by.is_some() || self.last.as_ref().is_none_or(|(before, ..)| found.is_news_after(before));
        if found.told > 0 && is_news {
            self.operator.tell(LeadNowhere { count: found.told, lines: &lines, is_new: false });
        }
        let count = found.count;
        self.last = Some((found, Instant::now(), ways));
        Ok(Some(count))
    }

    /// Publishes this sweeper's alerters at each reload, before the reload counts as done, so that nobody gets a
    /// warning about an alerter that exists.
    pub fn publish_at_reloads(&self, live: &Live) {
        let (store, node, ways) = (self.store.clone(), self.node.clone(), self.ways.clone());
        live.on_reload(move |done| {
            if done.is_ok()
                && let Err(error) = store.publish_ways(&node, &ways.own())
            {
                log::debug!("the alerters are published later: {error}");
            }
        });
    }

    /// The loop, until the process stops.
    pub(crate) fn run(mut self, shutdown: &Shutdown) {
        let begun = Instant::now();
        loop {
            match self.look_once() {
                Ok(Some(0)) => log::debug!("every reservation's messages lead somewhere"),
                Ok(_) => {}
                Err(error) => log::debug!("the alerters of all sweepers: {error}"),
            }
            // A short interval, until it should be known whether this node holds the lease.
            let is_early = self.last.is_none() && begun.elapsed() < EARLY;
            if shutdown.wait_timeout(if is_early { SOON } else { EVERY }) {
                return;
            }
        }
    }
}
