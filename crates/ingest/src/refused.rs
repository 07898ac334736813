//! Check-ins of one reservation that the database refuses while it takes those of others.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use innkeeper_node::heart::Operator;
use innkeeper_store::{StoreError, Target};

/// So many reservations are told of; of any further ones the log alone tells.
const MOST: usize = 100;
/// When one of which that is so still is told again.
const AGAIN: Duration = Duration::from_secs(24 * 3600);
/// Refusals further apart have nothing to do with each other: each may have been one of all.
const TOGETHER: Duration = Duration::from_secs(600);

/// Whose check-ins were refused lately.
pub(crate) struct Refused {
    operator: Operator,
    by_name: HashMap<String, Refusals>,
}

struct Refusals {
    first: Instant,
    told: bool,
}

impl Refused {
    pub fn new(operator: &Operator) -> Self {
        Self { operator: operator.clone(), by_name: HashMap::new() }
    }

    /// Whether it is known that check-ins for this target alone are refused: since the first was, others could be written.
    pub fn is_known(&self, target: &Target) -> bool {
        self.by_name.get(&name(target)).is_some_and(|refusals| refusals.told)
    }

    /// The database refuses a check-in for this target; others could be written at `proved`. The operator hears of it as soon as it is known
    /// to be no fault of all: that one is told as such.
    pub fn note(&mut self, target: &Target, error: &StoreError, proved: Option<Instant>) {
        self.by_name.retain(|_, refusals| refusals.first.elapsed() < AGAIN);
        let name = name(target);
        if self.by_name.len() >= MOST && !self.by_name.contains_key(&name) {
            return;
        }
        let refusals =
            self.by_name.entry(name.clone()).or_insert(Refusals { first: Instant::now(), told: false });
        if !refusals.told && refusals.first.elapsed() > TOGETHER {
            refusals.first = Instant::now();
        }
        if refusals.told || proved.is_none_or(|proved| proved <= refusals.first) {
            return;
        }
        refusals.told = true;
        let text = format!(
            "The database refuses them: {error}\nThey are answered with 500. Those of others are written. When this job is told to be \
             overdue, it may be well."
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
