//! Which alerters exist while sweepers come and go.
//!
//! Sweepers may run with different configurations for a while. An alerter is gone only when no
//! sweeper has it: neither one that is present, nor one that is away and may come back.

use std::collections::BTreeSet;

use chrono::TimeDelta;

use super::WaysOut;
use crate::Time;

/// How long the alerters of an absent sweeper count, unless another sweeper has taken its place.
pub const KEPT: TimeDelta = TimeDelta::minutes(10);

/// A sweeper with its alerters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweeperWays {
    /// Its node.
    pub node: String,
    /// The machine's name.
    pub host: String,
    /// When it was started.
    pub started_at: Time,
    /// When it last sent a heartbeat.
    pub heard_at: Time,
    /// Whether it is present.
    pub presence: Presence,
    /// Its alerters; `None` if it has not reported them, or if the report cannot be read.
    pub ways: Option<WaysOut>,
}

/// Whether a sweeper is present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// It is present.
    Here,
    /// It reported that it stopped.
    Stopped,
    /// It stopped sending heartbeats.
    Silent,
}

/// The alerters that exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownAlerters {
    /// Their names.
    pub names: BTreeSet<String>,
    /// The nodes whose reports no longer count.
    pub outdated: Vec<String>,
    /// Whether every sweeper that is present has reported its alerters.
    pub is_complete: bool,
}

impl KnownAlerters {
    /// What the reports of these sweepers say at `now`. `None` if no sweeper is present.
    pub fn of(sweepers: &[SweeperWays], now: Time) -> Option<Self> {
        let here = || sweepers.iter().filter(|sweeper| sweeper.presence == Presence::Here);
        here().next()?;
        let may_return = |away: &SweeperWays| {
            let follows = |sweeper: &SweeperWays| sweeper.started_at >= away.heard_at;
            let is_replaced = here().any(|sweeper| sweeper.host == away.host && follows(sweeper));
            // If all present sweepers started after it stopped, they have replaced it, on whatever
            // machines.
            let is_succeeded = away.presence == Presence::Stopped && here().all(follows);
            !is_replaced && !is_succeeded && now - away.heard_at < KEPT
        };
        let is_complete = here().all(|sweeper| sweeper.ways.is_some());
        let mut kept = Self { is_complete, ..Self::default() };
        for sweeper in sweepers {
            match &sweeper.ways {
                Some(ways) if sweeper.presence == Presence::Here || may_return(sweeper) => {
                    kept.names.extend(ways.names().map(str::to_owned));
                }
                None if sweeper.presence == Presence::Here => {}
                _ => kept.outdated.push(sweeper.node.clone()),
            }
        }
        Some(kept)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;
    use crate::names::AlerterName;
    use crate::ways::AlerterKind;

    fn at(seconds: i64) -> Time {
        DateTime::from_timestamp(1_800_000_000 + seconds, 0).unwrap()
    }

    /// A sweeper on the machine `node` from `started` to `heard`.
    fn sweeper(node: &str, started: i64, heard: i64, presence: Presence, alerter: &str) -> SweeperWays {
        let name = AlerterName::parse("alerter", alerter).unwrap();
        SweeperWays {
            node: format!("{node}{started}"),
            host: node.to_owned(),
            started_at: at(started),
            heard_at: at(heard),
            presence,
            ways: Some(WaysOut::new([(&name, AlerterKind::Webhook)])),
        }
    }

    fn has_old(sweepers: &[SweeperWays], now: i64) -> bool {
        KnownAlerters::of(sweepers, at(now)).unwrap().names.contains("old")
    }

    #[test]
    fn an_alerter_is_gone_when_no_sweeper_has_it() {
        use Presence::{Here, Silent, Stopped};
        let new = |node, started| sweeper(node, started, 100, Here, "new");
        assert!(has_old(&[sweeper("a", 0, 100, Here, "old"), new("b", 0)], 100), "one has it");
        assert!(!has_old(&[new("a", 0), new("b", 0)], 100));
        for presence in [Stopped, Silent] {
            let away = sweeper("a", 0, 50, presence, "old");
            assert!(has_old(&[away.clone(), new("b", 0)], 51), "it may come back: {presence:?}");
            assert!(has_old(&[away.clone(), new("b", 0)], 50 + 599));
            assert!(!has_old(&[away.clone(), new("b", 0)], 50 + 600));
            let replaced = [away, new("b", 0), new("a", 52)];
            assert!(!has_old(&replaced, 53), "another has its place: {presence:?}");
            assert_eq!(KnownAlerters::of(&replaced, at(53)).unwrap().outdated, ["a0"]);
        }
        // Each start of a container may have a host name of its own.
        assert!(!has_old(&[sweeper("a", 0, 50, Stopped, "old"), new("c", 52)], 53));
        assert!(has_old(&[sweeper("a", 0, 50, Silent, "old"), new("c", 52)], 53), "it may live, cut off");
    }

    #[test]
    fn it_is_not_all_that_there_is_while_one_that_is_there_has_not_said_what_it_has() {
        let mute = SweeperWays { ways: None, ..sweeper("b", 0, 100, Presence::Here, "old") };
        let kept = KnownAlerters::of(&[sweeper("a", 0, 100, Presence::Here, "new"), mute], at(100)).unwrap();
        let names = ["log", "new"].map(str::to_owned).into();
        assert_eq!(kept, KnownAlerters { names, outdated: Vec::new(), is_complete: false });
        assert!(
            KnownAlerters::of(&[sweeper("a", 0, 100, Presence::Here, "new")], at(100)).unwrap().is_complete
        );
        assert_eq!(KnownAlerters::of(&[sweeper("a", 0, 100, Presence::Stopped, "new")], at(100)), None);
        assert_eq!(KnownAlerters::of(&[], at(100)), None);
    }
}
