//! Check-ins of one reservation that the database refuses while it takes those of others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use innkeeper_core::Time;
use innkeeper_node::heart::Operator;
use innkeeper_store::{Arrival, StoreError, Target};

/// So many reservations are told of; of any further ones the log alone tells.
const MOST: usize = 100;
/// When one of which that is so still is told again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Refusals further apart have nothing to do with each other: each may have been one of all.
const TOGETHER: Duration = Duration::from_secs(600);

/// So often the database is told of one.
const NOTED: Duration = Duration::from_secs(1);

/// Whose check-ins were refused lately.
pub(crate) struct Refused {
    operator: Operator,
    by_name: HashMap<String, Refusals>,
}

struct Refusals {
    first: Instant,
    /// When the check-in came that was the first.
    first_at: Time,
    told: bool,
    /// When the database was told of it last.
    noted: Option<Instant>,
}

impl Refused {
    pub fn new(operator: &Operator) -> Self {
        Self { operator: operator.clone(), by_name: HashMap::new() }
    }

    /// Whether it is known that check-ins for this target alone are refused: since the first was, others could be written.
    pub fn is_known(&self, target: &Target) -> bool {
        self.by_name.get(&name(target)).is_some_and(|refusals| refusals.told)
    }

    /// The database refuses this check-in; others could be written at `proved`. The operator hears of it as soon as it is known to be no
    /// fault of all: that one is told as such. Returns since when those of its reservation have been refused, where that is known and to be
    /// noted in the database.
    pub fn note(&mut self, arrival: &Arrival, error: &StoreError, proved: Option<Instant>) -> Option<Time> {
        let (target, at) = (&arrival.target, arrival.checkin.at);
        self.by_name.retain(|_, refusals| refusals.first.elapsed() < AGAIN);
        let name = name(target);
        if self.by_name.len() >= MOST && !self.by_name.contains_key(&name) {
            return None;
        }
        let first = Refusals { first: Instant::now(), first_at: at, told: false, noted: None };
        let refusals = self.by_name.entry(name.clone()).or_insert(first);
        if !refusals.told && refusals.first.elapsed() > TOGETHER {
            (refusals.first, refusals.first_at) = (Instant::now(), at);
        }
        if !refusals.told && proved.is_none_or(|proved| proved <= refusals.first) {
            return None;
        }
        if !std::mem::replace(&mut refusals.told, true) {
            self.tell(&name, error);
        }
        let refusals = self.by_name.get_mut(&name)?;
        if refusals.noted.is_some_and(|noted| noted.elapsed() < NOTED) {
            return None;
        }
        // What this one was told before may be over: the database knows whether it was heard of meanwhile.
        let from = if refusals.noted.is_none() { refusals.first_at } else { at };
        refusals.noted = Some(Instant::now());
        Some(from)
    }

    fn tell(&self, name: &str, error: &StoreError) {
        let text = format!(
            "The database refuses them: {error}\nThey are answered with 500. Those of others are written. As long as they come, \
             this job is not told to be overdue."
        );
        self.operator.tell(&format!("Check-ins of {name} cannot be written"), &text);
    }
}

/// How people are told of a target. A ping key is a secret.
fn name(target: &Target) -> String {
    match target {
        Target::Names(app, component) => format!("{app}/{component}"),
        Target::Key(key) => format!("the ping key {}…", &key.to_string()[..8]),
        Target::Slug { slug, .. } => format!("{slug} of a ping key"),
    }
}
