//! Which target runs when: time is moved here, and nothing runs.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use innkeeper_agent::probe::Slots;
use innkeeper_agent::probe::timetable::{After, Start, Task, Timetable};
use innkeeper_core::Time;
use innkeeper_core::schedule::Schedule;

fn at(ms: i64) -> Time {
    DateTime::UNIX_EPOCH + TimeDelta::milliseconds(1_700_000_000_000 + ms)
}

fn every(key: &str, host: &str, seconds: i64) -> Task {
    Task {
        key: key.to_owned(),
        host: host.to_owned(),
        schedule: Schedule::every(TimeDelta::seconds(seconds)).expect("a short interval"),
        retries: 0,
        retry_after: Duration::ZERO,
    }
}

fn many(count: usize, host: &str) -> Vec<Task> {
    (0..count).map(|n| every(&format!("k{n}"), host, 60)).collect()
}

#[test]
fn each_target_runs_once_an_interval_at_its_own_place() {
    let mut table = Timetable::new(many(100, ""), Slots { parallel: 100, per_host: 1 }, at(0));
    let mut runs: HashMap<usize, Vec<Time>> = HashMap::new();
    let mut now = at(0);
    while let Some(wake) = table.next_wake(now).filter(|wake| *wake <= at(600_000)) {
        now = wake;
        for start in table.start_due(now) {
            assert_eq!((start.attempt, start.missed), (1, 0));
            runs.entry(start.task).or_default().push(start.due);
            assert_eq!(table.finished(&format!("k{}", start.task), false, now), After::Report);
        }
    }
    for (task, times) in &runs {
        assert!((10..=11).contains(&times.len()), "{task}: {}", times.len());
        // After the first run, which comes soon after the start, each is an interval after the one before.
        for pair in times[1..].windows(2) {
            assert_eq!(pair[1] - pair[0], TimeDelta::seconds(60));
        }
    }
    assert_eq!(runs.len(), 100);
}

#[test]
fn the_same_target_never_runs_twice_at_once_and_what_passed_is_left_out() {
    let mut table = Timetable::new(vec![every("a", "", 10)], Slots::default(), at(0));
    let first = table.next_wake(at(0)).unwrap();
    assert_eq!(table.start_due(first).len(), 1);
    for seconds in 1..35 {
        assert_eq!(table.start_due(first + TimeDelta::seconds(seconds)), []);
    }
    assert_eq!(table.next_wake(first), None, "nothing to wait for but its end");
    let later = first + TimeDelta::seconds(35);
    assert_eq!(table.finished("a", false, later), After::Report);
    let starts = table.start_due(later);
    assert_eq!(starts.len(), 1, "once, not three times");
    assert!((2..=3).contains(&starts[0].missed), "{starts:?}");
    assert!(later - starts[0].due < TimeDelta::seconds(10));
    table.finished("a", false, later);
    assert!(table.next_wake(later).unwrap() - later <= TimeDelta::seconds(10));
}

#[test]
fn places_are_bounded_in_all_and_for_each_host() {
    let mut tasks = many(50, "one.example");
    tasks.extend((0..50).map(|n| every(&format!("other{n}"), &format!("host{n}.example"), 60)));
    let keys: Vec<String> = tasks.iter().map(|task| task.key.clone()).collect();
    let mut table = Timetable::new(tasks, Slots { parallel: 10, per_host: 3 }, at(0));
    let now = at(120_000);
    let mut done = std::collections::HashSet::new();
    let mut running: Vec<usize> = Vec::new();
    for _ in 0..1000 {
        running.extend(table.start_due(now).into_iter().map(|start| start.task));
        assert!(running.len() <= 10 && table.running_now() == running.len());
        assert!(running.iter().filter(|task| **task < 50).count() <= 3);
        let Some(task) = running.pop() else { break };
        table.finished(&keys[task], false, now);
        done.insert(task);
    }
    assert_eq!(done.len(), 100, "nobody waits for ever");
}

#[test]
fn a_hanging_target_holds_its_place_and_no_other() {
    let tasks = vec![every("hangs", "h", 60), every("a", "x", 60), every("b", "y", 60)];
    let mut table = Timetable::new(tasks, Slots { parallel: 2, per_host: 1 }, at(0));
    let now = at(70_000);
    let hung: Vec<usize> = table.start_due(now).into_iter().map(|start| start.task).collect();
    assert_eq!(hung.len(), 2);
    let other = if hung.contains(&0) { hung.iter().find(|task| **task != 0).unwrap() } else { &hung[0] };
    let key = ["hangs", "a", "b"][*other];
    table.finished(key, false, now);
    assert_eq!(table.start_due(now).len(), 1, "the third has its turn");
}

#[test]
fn what_failed_is_repeated_before_it_is_reported() {
    let task = Task { retries: 2, retry_after: Duration::from_secs(5), ..every("a", "", 60) };
    let mut table = Timetable::new(vec![task], Slots::default(), at(0));
    let now = table.next_wake(at(0)).unwrap();
    let start = table.start_due(now).remove(0);
    let second = now + TimeDelta::seconds(5);
    assert_eq!(table.finished("a", true, now), After::Retry(second));
    assert_eq!(table.running_now(), 0, "the pause holds no place");
    assert_eq!(table.next_wake(now), Some(second));
    assert_eq!(table.start_due(now), []);
    assert_eq!(table.start_due(second), [Start { attempt: 2, ..start.clone() }]);
    assert_eq!(table.finished("a", true, second), After::Retry(second + TimeDelta::seconds(5)));
    let third = second + TimeDelta::seconds(5);
    assert_eq!(table.start_due(third)[0].attempt, 3);
    assert_eq!(table.finished("a", true, third), After::Report, "now it counts");
    let next = table.next_wake(third).unwrap();
    assert_eq!(table.start_due(next)[0].attempt, 1);
    assert_eq!(table.finished("a", false, next), After::Report, "a success is reported at once");
}

#[test]
fn a_reload_keeps_what_runs_and_what_waits() {
    let (a, b, c) = (every("a", "h", 3600), every("b", "h", 3600), every("c", "h", 3600));
    let mut table = Timetable::new(vec![a.clone(), b.clone()], Slots { parallel: 9, per_host: 2 }, at(0));
    let now = at(61_000);
    assert_eq!(table.start_due(now).len(), 2);
    table.finished("a", false, now);
    let waits = table.next_wake(now);
    table.replace(vec![c.clone(), a.clone()], Slots { parallel: 9, per_host: 1 }, now);
    assert!(table.next_wake(now) <= waits);
    assert_eq!(table.running_now(), 1, "what has gone runs to its end, and holds its place");
    assert_eq!(table.start_due(now + TimeDelta::seconds(60)), [], "also against its host");
    assert_eq!(table.finished("b", true, now), After::Drop);
    let starts = table.start_due(now + TimeDelta::seconds(60));
    assert_eq!(starts.iter().map(|start| start.task).collect::<Vec<_>>(), [0]);
    // One that left and came back while it ran is not started beside itself.
    table.replace(vec![a.clone()], Slots::default(), now);
    table.replace(vec![a, c], Slots::default(), now);
    assert_eq!(table.running_now(), 1);
    assert_eq!(table.finished("c", false, now), After::Report);
}

#[test]
fn a_clock_that_is_set_back_stops_nothing() {
    let mut table = Timetable::new(vec![every("a", "", 60)], Slots::default(), at(0));
    let back = at(-86_400_000);
    table.clock_set(back);
    assert!(table.next_wake(back).unwrap() - back <= TimeDelta::seconds(60));
    let now = table.next_wake(back).unwrap();
    assert_eq!(table.start_due(now).len(), 1);
    let further = at(-2 * 86_400_000);
    table.clock_set(further);
    table.finished("a", false, further);
    assert!(table.next_wake(further).unwrap() - further <= TimeDelta::seconds(60));
}

#[test]
fn a_long_sleep_is_one_run() {
    for schedule in
        [Schedule::every(TimeDelta::seconds(1)).unwrap(), Schedule::cron("* * * * *", "UTC").unwrap()]
    {
        let task = Task { schedule, ..every("a", "", 1) };
        let mut table = Timetable::new(vec![task], Slots::default(), at(0));
        let now = at(400 * 86_400_000);
        let starts = table.start_due(now);
        assert_eq!(starts.len(), 1);
        assert!(starts[0].missed >= 10_000, "{starts:?}");
        table.finished("a", false, now);
        assert!(table.next_wake(now).is_some());
        assert_eq!(table.start_due(now), []);
    }
}
