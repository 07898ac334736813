//! One run of one target.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Duration;

use innkeeper_core::Time;

use super::attempt::ProbeAttempt;
use super::config::Probe;
use super::family::Family;
use super::outcome::{Phases, ProbeOutcome, ProbeStatus, in_ms};
use super::targets::ProbeTarget;

/// Checks `target` once, within the probe's time limit (plus at most three seconds for a program that ignores TERM).
/// `now` is the wall clock's time, against which certificates are checked.
pub fn run(probe: &Probe, target: &ProbeTarget, now: Time) -> ProbeOutcome {
    let is_both = probe.check.network().is_some_and(|network| network.family == Family::Both);
    let mut outcome = match is_both {
        true => over_both(probe, target, now),
        false => once(probe, target, ProbeAttempt::new(target.key(), now, probe.timeout)),
    };
    if let Some(limit) = probe.warn_after
        && outcome.took > limit
        && outcome.status == ProbeStatus::Ok
    {
        let what = format!("it took {}, longer than {}", in_ms(outcome.took), in_ms(limit));
        outcome.also(ProbeStatus::Warning, &what);
    }
    outcome
}

fn once(probe: &Probe, target: &ProbeTarget, mut attempt: ProbeAttempt) -> ProbeOutcome {
    let started = attempt.started;
    // The check parses input from strangers with code of other libraries. A panic fails only this check.
    let done = catch_unwind(AssertUnwindSafe(|| probe.check.run(target.given.reveal(), &mut attempt)));
    let mut outcome = match done {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(failure)) => ProbeOutcome::new(failure.status, failure.what),
        Err(_) => {
            ProbeOutcome::new(ProbeStatus::Unknown, "the check itself failed: a bug in innkeeper-agent")
        }
    };
    let phases: &Phases = &attempt.phases;
    outcome.took = started.elapsed();
    for (phase, took) in phases.iter() {
        outcome = outcome.figure(&format!("{}_ms", phase.as_str()), rounded_ms(took), "ms");
    }
    outcome.phases = attempt.phases;
    let took = rounded_ms(outcome.took);
    outcome.figure("time_ms", took, "ms")
}

/// Checks over IPv4 and IPv6 in parallel. Figures and lines name their family; the worse status counts.
fn over_both(probe: &Probe, target: &ProbeTarget, now: Time) -> ProbeOutcome {
    let over = |family| {
        let mut attempt = ProbeAttempt::new(target.key(), now, probe.timeout);
        attempt.family = Some(family);
        once(probe, target, attempt)
    };
    let (v4, v6) = thread::scope(|scope| {
        let v4 = scope.spawn(|| over(Family::V4));
        let v6 = over(Family::V6);
        let lost =
            || ProbeOutcome::new(ProbeStatus::Unknown, "the check itself failed: a bug in innkeeper-agent");
        (v4.join().unwrap_or_else(|_| lost()), v6)
    });
    let mut merged = ProbeOutcome::new(v4.status, format!("IPv4: {}", v4.summary));
    merged.also(v6.status, &format!("IPv6: {}", v6.summary));
    let details = [("IPv4", &v4), ("IPv6", &v6)].map(|(name, outcome)| format!("{name}: {}", outcome.text()));
    merged = merged.with_details(&details.concat());
    merged.took = v4.took.max(v6.took);
    for (name, outcome) in [("ipv4", v4), ("ipv6", v6)] {
        for (figure, number) in outcome.figures {
            merged = merged.figure(&format!("{name}_{figure}"), number.value, &number.unit);
        }
    }
    merged
}

/// Milliseconds, rounded to two decimals.
fn rounded_ms(took: Duration) -> f64 {
    (took.as_secs_f64() * 100_000.0).round() / 100.0
}
