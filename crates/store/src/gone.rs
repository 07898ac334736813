//! Which of the nodes that stopped without a goodbye the operator hears of: one that is started again and again is told of seldom.

use chrono::TimeDelta;
use innkeeper_core::Time;

use crate::{KnownNode, Node, NodeState};

/// Once in so long for each place where another process took over: a crash loop, each turn of which is the same news.
const RESTARTED: TimeDelta = TimeDelta::hours(1);
/// The same where none did.
const LEFT: TimeDelta = TimeDelta::minutes(10);
/// How far the times of two processes on one machine may be apart.
const CLOCKS: TimeDelta = TimeDelta::seconds(1);

/// Nodes of one role, host and address that stopped without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoneNodes {
    /// The latest of them.
    pub last: KnownNode,
    /// How many there were within the last hour; 1 where this is the first.
    pub times: usize,
    /// How often it is told at most: once an hour, or once in ten minutes where no other took over.
    pub once_in: TimeDelta,
    /// Whether it was not told yet in the `once_in` that this is.
    pub is_news: bool,
}

/// Groups `found`, which were found now, by where they ran. `nodes` are all that were known before, with when each was found.
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
            // One that still ran when this one began was beside it, and no earlier turn of the same loop.
            known.beat_at <= last.node.started_at + CLOCKS
                && known.found_at.is_some_and(|at| at >= begun && at <= now)
                && (restarted || !was_restarted(known, nodes, gone_after))
        };
        group.is_news = !of_group().any(was_told);
    }
    groups
}

/// Whether another process took the place of `known` before anybody could miss it.
fn was_restarted(known: &KnownNode, nodes: &[KnownNode], gone_after: TimeDelta) -> bool {
    let Node { role, host, address, started_at, .. } = &known.node;
    nodes.iter().map(|other| &other.node).any(|other| {
        (&other.role, &other.host) == (role, host)
            && other.started_at > *started_at
            // One that began while it still ran is a neighbour.
            && other.started_at >= known.beat_at - CLOCKS
            && other.started_at <= known.beat_at + gone_after
            // Until it listens, it has no address.
            && (other.address.is_empty() || address.is_empty() || other.address == *address)
    })
}

fn is_same_place(one: &KnownNode, other: &KnownNode) -> bool {
    let (one, other) = (&one.node, &other.node);
    (&one.role, &one.host, &one.address) == (&other.role, &other.host, &other.address)
}

/// When the hour, or whatever else is so long, began that `now` is in.
fn begin_of(now: Time, long: TimeDelta) -> Time {
    now - TimeDelta::milliseconds(now.timestamp_millis().rem_euclid(long.num_milliseconds()))
}
