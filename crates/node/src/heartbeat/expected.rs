//! Checks that as many nodes live as `expect` says. Without it nobody would notice a node that stopped in an orderly
//! way, and when the second of two sweepers stops, the spare is gone.

use std::time::{Duration, Instant};

use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::alert::stamp;
use innkeeper_core::duty::Duty;
use innkeeper_store::{KnownNode, NodeState, SelfCheck, Store, StoreError};

use super::{Operator, gone_after};
use crate::config::{ExpectConfig, Live};
use crate::health::OK;
use crate::role::Role;

/// How long there may be too few nodes before the operator is told; a restart takes less.
pub const FEWER_FOR: TimeDelta = TimeDelta::minutes(5);
/// The interval between checks.
const EVERY: Duration = Duration::from_secs(5);
/// The state with too few nodes for less than [`FEWER_FOR`].
const SHORT: &str = "short";
/// The state with too few nodes of which the operator was told.
const TOO_FEW: &str = "too few";

/// The number of live nodes with a duty, and the expected number.
#[derive(Debug, Clone, PartialEq, Eq, Template)]
#[template(path = "strength.txt")]
pub struct Strength {
    /// The duty.
    pub duty: Duty,
    /// The expected number.
    pub expected: usize,
    /// The number of live nodes.
    pub alive: usize,
}

impl Strength {
    /// Whether at least the expected number is alive.
    pub fn is_enough(&self) -> bool {
        self.alive >= self.expected
    }
}

/// The strengths of the duties for which the configuration expects nodes. A node is alive if its last heartbeat is at
/// most `gone_after` old.
pub fn strengths(
    expect: &ExpectConfig,
    nodes: &[KnownNode],
    gone_after: TimeDelta,
    now: Time,
) -> Vec<Strength> {
    let alive: Vec<&KnownNode> =
        nodes.iter().filter(|known| known.state(gone_after, now) == NodeState::Alive).collect();
    let count = |duty: Duty| {
        alive
            .iter()
            .filter(|known| Role::named(&known.node.role).is_some_and(|role| role.duties().contains(&duty)))
            .count()
    };
    [(Duty::Ingest, expect.ingest), (Duty::Sweeper, expect.sweeper), (Duty::Web, expect.web)]
        .into_iter()
        .filter(|(_, expected)| *expected > 0)
        .map(|(duty, expected)| Strength { duty, expected, alive: count(duty) })
        .collect()
}

/// Compares the live nodes with the expected number. The state is kept in the database, so that only one node reports
/// it.
pub(super) struct Watch {
    live: Live,
    looked_at: Option<Instant>,
}

impl Watch {
    pub(super) fn new(live: Live) -> Self {
        Self { live, looked_at: None }
    }

    /// Compares, if the interval has passed.
    pub(super) fn look(&mut self, store: &Store, operator: &Operator, now: Time) -> Result<(), StoreError> {
        let expect = &self.live.get().expect;
        if expect.is_empty() || self.looked_at.is_some_and(|at| at.elapsed() < EVERY) {
            return Ok(());
        }
        self.looked_at = Some(Instant::now());
        let known = store.checks()?;
        for strength in strengths(expect, &store.nodes()?, gone_after(store), now) {
            let name = format!("expected {}", strength.duty);
            let known = known.iter().find(|check| check.name == name);
            let Some(state) = next(&strength, known, now) else { continue };
            let problem = match state {
                OK => String::new(),
                _ => strength.to_string(),
            };
            let tell = |before: Option<&str>| match (state, before) {
                (TOO_FEW, _) => {
                    let since = known.map_or(now, |known| known.since_at);
                    let since = stamp(since, chrono_tz::UTC);
                    operator.deliveries(StrengthMessage::TooFew { strength: &strength, since }, now)
                }
                (OK, Some(TOO_FEW)) => {
                    operator.deliveries(StrengthMessage::Enough { strength: &strength }, now)
                }
                _ => Vec::new(),
            };
            if store.note_check(&name, state, &problem, now, &tell)? && state == TOO_FEW {
                log::warn!("{problem}");
            }
        }
        Ok(())
    }
}

/// The state that follows `known`; `None` if it does not change.
fn next(strength: &Strength, known: Option<&SelfCheck>, now: Time) -> Option<&'static str> {
    match (strength.is_enough(), known.map(|known| (known.state.as_str(), known.since_at))) {
        (true, None | Some((OK, _))) => None,
        (true, Some(_)) => Some(OK),
        (false, None | Some((OK, _))) => Some(SHORT),
        (false, Some((SHORT, since))) if now - since >= FEWER_FOR => Some(TOO_FEW),
        (false, Some(_)) => None,
    }
}

/// A message to the operator about the number of nodes.
#[derive(Template)]
enum StrengthMessage<'a> {
    #[template(path = "too_few_nodes.txt")]
    TooFew { strength: &'a Strength, since: String },
    #[template(path = "enough_nodes.txt")]
    Enough { strength: &'a Strength },
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::heartbeat::OperatorMessage;

    fn strength(alive: usize) -> Strength {
        Strength { duty: Duty::Sweeper, expected: 2, alive }
    }

    #[test]
    fn how_many_live_is_said() {
        let too_few = StrengthMessage::TooFew { strength: &strength(1), since: "noon".to_owned() };
        let OperatorMessage { subject, text } = OperatorMessage::from(too_few);
        assert_eq!(subject, "There are too few nodes of sweeper");
        assert_eq!(text, "Of 2 nodes that should do the work of sweeper, 1 lives. Since noon.");
        let OperatorMessage { subject, text } =
            OperatorMessage::from(StrengthMessage::Enough { strength: &strength(2) });
        assert_eq!(subject, "There are enough nodes of sweeper again");
        assert_eq!(text, "Of 2 nodes that should do the work of sweeper, 2 live.");
    }

    #[test]
    fn fewer_is_told_after_five_minutes_and_once() {
        let at = |seconds: i64| Time::from_timestamp(1_000_000 + seconds, 0).unwrap();
        let check = |state: &str| SelfCheck {
            name: "expected sweeper".to_owned(),
            state: state.to_owned(),
            problem: String::new(),
            since_at: at(0),
            checked_at: at(0),
        };
        assert_eq!(next(&strength(2), None, at(0)), None);
        assert_eq!(next(&strength(1), None, at(0)), Some(SHORT));
        assert_eq!(next(&strength(1), Some(&check(OK)), at(0)), Some(SHORT));
        assert_eq!(next(&strength(1), Some(&check(SHORT)), at(299)), None);
        assert_eq!(next(&strength(2), Some(&check(SHORT)), at(299)), Some(OK), "a restart");
        assert_eq!(next(&strength(1), Some(&check(SHORT)), at(300)), Some(TOO_FEW));
        assert_eq!(next(&strength(0), Some(&check(TOO_FEW)), at(900)), None);
        assert_eq!(next(&strength(3), Some(&check(TOO_FEW)), at(900)), Some(OK));
        assert_eq!(next(&strength(2), Some(&check(OK)), at(900)), None);
    }
}
