//! Decides of which nodes that stopped without a goodbye the operator is told. A node that crashes
//! and restarts again and again is reported seldom.

use chrono::TimeDelta;
use innkeeper_core::Time;

use crate::{KnownNode, Node, NodeState};

/// How often a place is reported where another process took over: it may be a crash loop.
const RESTARTED: TimeDelta = TimeDelta::hours(1);
/// How often a place is reported where no other process took over.
const LEFT: TimeDelta = TimeDelta::minutes(10);
/// How far the times of two processes on one machine may be apart.
const CLOCKS: TimeDelta = TimeDelta::seconds(1);

/// Nodes of one role, host and address that stopped without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneNodes {
    /// The latest of them.
    pub last: KnownNode,
    /// How many stopped there within the last hour, with this one; at least 1.
    pub times: usize,
    /// How often this place is reported at most: once an hour, or once in ten minutes where no
    /// other process took over.
    pub once_in: TimeDelta,
    /// Whether this place was not reported yet in the current span of `once_in`.
    pub is_news: bool,
}

/// Groups `found`, the nodes found now, by where they ran. `nodes` are all known nodes, as they
/// were before this look.
pub(crate) fn group(
    found: Vec<KnownNode>,
    nodes: &[KnownNode],
    gone_after: TimeDelta,
    now: Time,
) -> Vec<GoneNodes> {
    let mut groups: Vec<GoneNodes> = Vec::new();
    for known in found {
        match groups.iter_mut().find(|group| is_same_place(&group.last, &known)) {
            Some(group) if group.last.beat_at < known.beat_at => group.last = known,
            Some(_) => {}
            None => groups.push(GoneNodes { last: known, times: 1, once_in: LEFT, is_news: true }),
        }
    }
    for group in &mut groups {
        let last = &group.last;
        let of_group = || nodes.iter().filter(|known| is_same_place(last, known));
        let is_gone = |known: &&KnownNode| {
            known.state(gone_after, now) == NodeState::Silent && known.beat_at > now - RESTARTED - gone_after
        };
        group.times = of_group().filter(is_gone).count().max(1);
        let restarted = was_restarted(last, nodes, gone_after);
        group.once_in = if restarted { RESTARTED } else { LEFT };
        let begun = begin_of(now, group.once_in);
        let was_told = |known: &KnownNode| {
            // A node that still ran when this one began ran beside it, and is no earlier turn of a
            // crash loop.
            known.beat_at <= last.node.started_at + CLOCKS
                && known.found_at.is_some_and(|at| at >= begun && at <= now)
                && (restarted || !was_restarted(known, nodes, gone_after))
        };
        group.is_news = !of_group().any(was_told);
    }
    groups
}

/// Whether another process took the place of `known` within `gone_after`.
fn was_restarted(known: &KnownNode, nodes: &[KnownNode], gone_after: TimeDelta) -> bool {
    let Node { role, host, address, started_at, .. } = &known.node;
    nodes.iter().map(|other| &other.node).any(|other| {
        (&other.role, &other.host) == (role, host)
            && other.started_at > *started_at
            // A process that began while `known` still ran is another node on the same machine.
            && other.started_at >= known.beat_at - CLOCKS
            && other.started_at <= known.beat_at + gone_after
            // A process has no address until it listens.
            && (other.address.is_empty() || address.is_empty() || other.address == *address)
    })
}

fn is_same_place(one: &KnownNode, other: &KnownNode) -> bool {
    let (one, other) = (&one.node, &other.node);
    (&one.role, &one.host, &one.address) == (&other.role, &other.host, &other.address)
}

/// The begin of the span of this length that contains `now`: for an hour, the last full hour.
fn begin_of(now: Time, long: TimeDelta) -> Time {
    now - TimeDelta::milliseconds(now.timestamp_millis().rem_euclid(long.num_milliseconds()))
}
