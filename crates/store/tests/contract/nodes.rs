//! Innkeeper's own processes: heartbeats, finding out that one is gone, blind windows, and leases.

use std::ops::RangeInclusive;

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::duty::Duty;
use innkeeper_core::reservation::Window;
use innkeeper_core::sla::State;
use innkeeper_store::{ActingStore, DatabaseKind, HeartbeatOutcome, Node, NodeChanges, NodeHeartbeat, Work};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    a_node_that_falls_silent_is_noticed_once_until_it_beats_again,
    a_process_that_is_restarted_again_and_again_is_told_once_an_hour,
    one_of_two_that_run_beside_each_other_is_not_restarted_by_the_other,
    the_death_of_one_does_not_hide_that_of_its_neighbour,
    a_node_that_said_goodbye_is_not_missed,
    a_duty_that_nobody_does_is_noticed_once_and_so_is_its_return,
    a_duty_is_snoozed_until_a_time_or_until_somebody_ends_it,
    the_long_dead_are_forgotten,
    a_span_without_heartbeats_is_a_blind_window_and_told_in_the_same_transaction,
    while_another_node_beats_nothing_is_blind,
    what_one_node_has_written_does_not_speak_for_one_that_is_behind,
    a_new_process_ends_a_short_one_too,
    a_crash_and_a_quick_restart_leave_a_blind_window,
    who_starts_beside_another_ends_no_window,
    a_stop_ends_when_the_last_check_ins_are_written_and_refuses_new_ones_from_its_begin,
    nobody_is_blamed_while_no_ingest_is_there_nor_before_the_time_to_be_heard_again,
    a_doubt_that_turns_out_to_be_none_costs_a_second,
    one_holds_the_lease_until_its_end,
);

fn node(id: &str, role: &str) -> Node {
    Node {
        id: id.to_owned(),
        role: role.to_owned(),
        host: "here".to_owned(),
        address: "127.0.0.1:1".to_owned(),
        version: "1.2.3".to_owned(),
        started_at: at(0),
        offset: TimeDelta::milliseconds(7),
    }
}

fn beat_first(store: &ActingStore, id: &str, duty: &str, now: Time, first: bool) -> HeartbeatOutcome {
    let tell = |_: &Window| vec![delivery("log", "", remark("blind"))];
    store.beat(&node(id, duty), &[duty.parse().unwrap()], first, now, &tell).unwrap()
}

fn beat(store: &ActingStore, id: &str, duty: &str, now: Time) -> HeartbeatOutcome {
    beat_first(store, id, duty, now, false)
}

fn watch(store: &ActingStore, now: Time) -> (Vec<String>, Vec<String>) {
    let NodeChanges { gone, missing } = store.watch(seconds(10), seconds(15), now).unwrap();
    (
        gone.into_iter().filter(|gone| gone.is_news).map(|gone| gone.last.node.id).collect(),
        missing.into_iter().map(|duty| duty.name).collect(),
    )
}

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn a_node_that_falls_silent_is_noticed_once_until_it_beats_again(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    beat(&store, "b", "ingest", at(0));
    beat(&store, "b", "ingest", at(10));
    assert_eq!(watch(&store, at(10)), (vec![], vec![]));
    assert_eq!(watch(&store, at(11)), (names(&["a"]), vec![]));
    assert_eq!(watch(&store, at(12)), (vec![], vec![]), "somebody has told it");
    beat(&store, "a", "ingest", at(13));
    beat(&store, "b", "ingest", at(24));
    assert_eq!(watch(&store, at(24)), (names(&["a"]), vec![]), "it has been back");
    let known = store.nodes().unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!((known[0].node.clone(), known[0].beat_at), (node("a", "ingest"), at(13)));
}

fn a_process_that_is_restarted_again_and_again_is_told_once_an_hour(database: &TestDatabase) {
    let store = database.store();
    // The node lives for five seconds and is started again two seconds later. Another node watches.
    let (mut told, mut second) = (Vec::new(), 0);
    let look = |now: i64, told: &mut Vec<(i64, usize, TimeDelta)>| {
        beat(&store, "other", "sweeper", at(now));
        let NodeChanges { gone, .. } = store.watch(seconds(10), seconds(15), at(now)).unwrap();
        told.extend(gone.iter().filter(|gone| gone.is_news).map(|gone| (now, gone.times, gone.once_in)));
    };
    while second < 6000 {
        let id = format!("life {second}");
        let node = Node { started_at: at(second), ..node(&id, "ingest") };
        store.beat(&node, &[Duty::Ingest], true, at(second), &|_| Vec::new()).unwrap();
        store.beat(&node, &[Duty::Ingest], false, at(second + 5), &|_| Vec::new()).unwrap();
        look(second + 6, &mut told);
        second += 7;
    }
    assert!(told.len() <= 2, "{told:?}");
    assert_eq!(
        (told[0].1, told[0].0 < 30, told[0].2),
        (1, true, TimeDelta::hours(1)),
        "the first time at once: {told:?}"
    );
    assert!(told[1..].iter().all(|(_, times, _)| *times > 400), "with their number: {told:?}");
    // When nobody starts it again, that is reported at once.
    let before = told.len();
    (second..second + 1200).step_by(5).for_each(|now| look(now, &mut told));
    let last = told.get(before).unwrap_or_else(|| panic!("{told:?}"));
    assert!(last.0 < second + 30 && told.len() == before + 1, "{told:?}");
    assert_eq!(last.2, TimeDelta::minutes(10), "as often as it would be told");
}

fn one_of_two_that_run_beside_each_other_is_not_restarted_by_the_other(database: &TestDatabase) {
    let store = database.store();
    // Sweepers need not listen, so two on the same machine differ only by their ids.
    let hour = at(0) - TimeDelta::seconds(at(0).timestamp().rem_euclid(3600)) + TimeDelta::hours(1);
    let after = |second: i64| hour + seconds(second);
    let live = |id: &str, started: i64, seconds: RangeInclusive<i64>| {
        let node = Node { started_at: after(started), address: String::new(), ..node(id, "sweeper") };
        for second in seconds.step_by(5) {
            store.beat(&node, &[Duty::Sweeper], second == started, after(second), &|_| Vec::new()).unwrap();
        }
    };
    live("old", 0, 0..=50);
    live("first", 52, 52..=62);
    live("second", 57, 57..=62);
    assert_eq!(watch(&store, after(65)), (names(&["old"]), vec![]), "it was restarted");
    live("first", 52, 67..=1497);
    // The first one dies, and nobody starts it again.
    live("second", 57, 67..=1512);
    assert_eq!(watch(&store, after(1512)), (names(&["first"]), vec![]), "in the same hour");
}

fn the_death_of_one_does_not_hide_that_of_its_neighbour(database: &TestDatabase) {
    let store = database.store();
    // Both have the same role, host and address, yet neither takes the place of the other.
    let live = |id: &str, seconds: RangeInclusive<i64>| {
        seconds.step_by(5).for_each(|second| drop(beat(&store, id, "sweeper", at(second))));
    };
    live("first", 0..=10);
    live("second", 0..=60);
    assert_eq!(watch(&store, at(60)), (names(&["first"]), vec![]));
    beat(&store, "third", "ingest", at(80));
    assert_eq!(watch(&store, at(80)), (names(&["second"]), names(&["sweeper"])), "soon after the other");
}

fn a_node_that_said_goodbye_is_not_missed(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "web", at(0));
    beat(&store, "b", "web", at(0));
    store.say_goodbye("a", at(1)).unwrap();
    beat(&store, "b", "web", at(20));
    assert_eq!(watch(&store, at(20)), (vec![], vec![]));
    assert_eq!(store.nodes().unwrap()[0].goodbye_at, Some(at(1)));
}

fn a_duty_that_nobody_does_is_noticed_once_and_so_is_its_return(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "sweeper", at(0));
    store.say_goodbye("a", at(1)).unwrap();
    assert_eq!(watch(&store, at(15)).1, names(&[]));
    assert_eq!(watch(&store, at(16)).1, names(&["sweeper"]));
    assert_eq!(watch(&store, at(99)).1, names(&[]));
    assert_eq!(beat(&store, "b", "sweeper", at(100)).taken_up, [Duty::Sweeper]);
    assert_eq!(beat(&store, "b", "sweeper", at(101)).taken_up, []);
    assert_eq!(store.duties().unwrap()[0].beat_at, at(101));
}

fn the_long_dead_are_forgotten(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    beat(&store, "b", "ingest", at(86_401));
    watch(&store, at(86_401));
    assert_eq!(store.nodes().unwrap().len(), 1);
}

fn a_duty_is_snoozed_until_a_time_or_until_somebody_ends_it(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    let snoozed = |now| store.snoozed_duties(at(now)).unwrap().into_iter().collect::<Vec<_>>();
    assert!(!store.snooze_duty("sweeper", at(60), at(0)).unwrap(), "nobody has had it");
    assert!(store.snooze_duty("ingest", at(60), at(0)).unwrap());
    beat(&store, "a", "ingest", at(1));
    assert_eq!(snoozed(59), [("ingest".to_owned(), at(60))]);
    assert_eq!(snoozed(60), []);
    assert!(store.snooze_duty("ingest", at(10), at(10)).unwrap());
    assert_eq!(snoozed(11), []);
}

fn a_span_without_heartbeats_is_a_blind_window_and_told_in_the_same_transaction(database: &TestDatabase) {
    let store = database.store();
    assert_eq!(beat_first(&store, "a", "ingest", at(0), true).blind, None, "nothing was there before");
    assert_eq!(beat(&store, "a", "ingest", at(5)).blind, None);
    let window = Window { from: at(5), until: at(11) };
    assert_eq!(beat(&store, "a", "ingest", at(11)).blind, Some(window));
    assert_eq!(beat(&store, "b", "ingest", at(11)).blind, None, "it has been recorded");
    beat(&store, "s", "sweeper", at(0));
    assert_eq!(beat(&store, "s", "sweeper", at(11)).blind, None, "a sweeper takes no check-ins");
    assert_eq!(store.blind_windows(at(12)).unwrap(), [window]);
    assert_eq!(database.count("deliveries"), 1);
    assert_eq!(store.forget_blind_windows(at(11)).unwrap(), 0);
    assert_eq!(store.forget_blind_windows(at(12)).unwrap(), 1);
}

fn while_another_node_beats_nothing_is_blind(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    (1..20).for_each(|second| drop(beat(&store, "b", "ingest", at(second))));
    assert_eq!(beat(&store, "a", "ingest", at(20)).blind, None);
    assert_eq!(beat_first(&store, "c", "ingest", at(21), true).blind, None);
    assert_eq!(store.blind_windows(at(21)).unwrap(), []);
}

fn what_one_node_has_written_does_not_speak_for_one_that_is_behind(database: &TestDatabase) {
    let store = database.store();
    let beat = |id: &str, done_until, written_until, now| {
        let work = [Work { done_until, ..Work::done(Duty::Ingest, now) }];
        let node = node(id, "ingest");
        let heartbeat = NodeHeartbeat {
            node: &node,
            work: &work,
            first: false,
            written_until,
            stopping_since: None,
            now,
        };
        store.record_heartbeat(&heartbeat, &|_| Vec::new()).unwrap().blind
    };
    beat("a", at(0), None, at(0));
    for second in 1..4 {
        assert_eq!(beat("b", at(second), Some(at(second - 1)), at(second)), None);
        assert_eq!(beat("a", at(0), Some(at(0)), at(second)), None);
    }
    // On SQLite few heartbeats are stored, and all nodes write to one file, so what one node has
    // written counts.
    if let DatabaseKind::Postgres = store.backend() {
        assert_eq!(store.duties().unwrap()[0].beat_at, at(0), "a holds check-ins from then on");
    }
    beat("a", at(4), Some(at(0)), at(4));
    beat("b", at(5), Some(at(3)), at(5));
    assert!(store.duties().unwrap()[0].beat_at >= at(4));
    assert_eq!(store.blind_windows(at(5)).unwrap(), []);
}

fn a_new_process_ends_a_short_one_too(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    store.say_goodbye("a", at(1)).unwrap();
    assert_eq!(store.blind_windows(at(2)).unwrap(), [Window { from: at(0), until: at(2) }], "it goes on");
    let blind = beat_first(&store, "b", "ingest", at(3), true).blind;
    assert_eq!(blind, Some(Window { from: at(0), until: at(3) }));
}

/// Records the heartbeats of a node that started at the first of these seconds, as its process
/// does: on SQLite only those of the seconds in `stored`.
fn live(
    store: &ActingStore,
    id: &str,
    role: &str,
    span: std::ops::Range<i64>,
    stored: &[i64],
) -> Vec<Window> {
    let node = Node { started_at: at(span.start), ..node(id, role) };
    let mut before = None;
    let mut blind = Vec::new();
    for second in span.clone() {
        let (now, first) = (at(second), second == span.start);
        if first || stored.contains(&second) || store.backend() == DatabaseKind::Postgres {
            // Two clocks are rounded differently.
            let done_until = if first { now - TimeDelta::milliseconds(1) } else { now };
            let work = [Work { done_until, ..Work::done(Duty::Ingest, now) }];
            let heartbeat = NodeHeartbeat {
                node: &node,
                work: &work,
                first,
                written_until: before,
                stopping_since: None,
                now,
            };
            blind.extend(store.record_heartbeat(&heartbeat, &|_| Vec::new()).unwrap().blind);
        }
        before = Some(now);
    }
    blind
}

fn a_crash_and_a_quick_restart_leave_a_blind_window(database: &TestDatabase) {
    let store = database.store();
    // The process is killed within a second of a stored heartbeat, and the next one starts after a
    // pause.
    let mut from = 0;
    for role in ["standalone", "ingest"] {
        for pause in [1, 2, 4, 10, 16] {
            let id = format!("{role} {pause}");
            let before =
                live(&store, &format!("{id} before"), role, from..from + 100, &[from + 98, from + 99]);
            assert_eq!(before.len(), usize::from(from > 0), "{id}: {before:?}");
            let killed = from + 99;
            let start = killed + pause;
            let blind = live(&store, &id, role, start..start + 60, &[start + 1, start + 15, start + 30]);
            let [window] = blind[..] else { panic!("{id}: {blind:?}") };
            assert_eq!(window.from, at(killed), "{id}");
            assert!(window.until > at(start - 1) && window.until <= at(start + 30), "{id}: {window:?}");
            store.say_goodbye(&id, at(start + 60)).unwrap();
            from += 1000;
        }
    }
}

fn who_starts_beside_another_ends_no_window(database: &TestDatabase) {
    let store = database.store();
    live(&store, "a", "ingest", 0..30, &[14, 29]);
    let new = Node { started_at: at(30), ..node("b", "ingest") };
    for second in 30..40 {
        let blind =
            store.beat(&new, &[Duty::Ingest], second == 30, at(second), &|_| Vec::new()).unwrap().blind;
        assert_eq!(blind, None, "at {second}");
        assert_eq!(beat(&store, "a", "ingest", at(second)).blind, None, "at {second}");
    }
    assert_eq!(store.blind_windows(at(39)).unwrap(), []);
}

fn a_stop_ends_when_the_last_check_ins_are_written_and_refuses_new_ones_from_its_begin(
    database: &TestDatabase,
) {
    let store = database.store();
    let beat = |id: &str, now, stopping_since, done_until| {
        let node = node(id, "ingest");
        let work = [Work { done_until, ..Work::done(Duty::Ingest, now) }];
        let (first, written_until) = (now == at(0), None);
        let heartbeat = NodeHeartbeat { node: &node, work: &work, first, written_until, stopping_since, now };
        store.record_heartbeat(&heartbeat, &|_| Vec::new()).unwrap().blind
    };
    // While another node takes check-ins, a stop leaves no blind window, however long it takes.
    for second in 0..20 {
        assert_eq!(beat("a", at(second), None, at(second)), None);
        assert_eq!(beat("b", at(second), (second > 9).then(|| at(9)), at(second)), None);
    }
    store.say_goodbye("b", at(20)).unwrap();
    assert_eq!(beat("a", at(20), None, at(20)), None);
    // Alone, the node writes until 24 the check-ins that came before 21, and refuses new ones.
    (21..25).for_each(|second| assert_eq!(beat("a", at(second), Some(at(21)), at(second)), None));
    store.say_goodbye("a", at(25)).unwrap();
    let blind = beat_first(&store, "c", "ingest", at(26), true).blind;
    assert_eq!(blind, Some(Window { from: at(21), until: at(26) }));
}

fn nobody_is_blamed_while_no_ingest_is_there_nor_before_the_time_to_be_heard_again(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    store.book("backup", &every(60));
    beat(&store, "a", "ingest", at(50));
    for second in [60, 120, 600] {
        assert_eq!(store.pass(at(second)).opened, 0, "at {second}");
    }
    let state = |now| store.list(None, now).unwrap()[0].evaluation.state;
    assert_eq!(state(at(610)), State::Unobserved);
    beat(&store, "a", "ingest", at(620));
    let alive = |second| {
        database.execute(&format!("UPDATE duties SET beat_at = {}", at(second).timestamp_millis()));
        database.execute(&format!("UPDATE nodes SET beat_at = {}", at(second).timestamp_millis()));
    };
    alive(679);
    assert_eq!(store.pass(at(679)).opened, 0);
    alive(680);
    assert_eq!(store.pass(at(680)).opened, 1);
    let said = store.alert("backup").unwrap().reason.sentence(chrono_tz::UTC);
    assert!(said.contains("may have been lost"), "{said}");
}

fn a_doubt_that_turns_out_to_be_none_costs_a_second(database: &TestDatabase) {
    let store = database.store();
    beat(&store, "a", "ingest", at(0));
    store.book("backup", &every(3600));
    beat(&store, "a", "ingest", at(3596));
    database.execute("DELETE FROM blind_windows");
    // Four seconds without a heartbeat: the node may be gone or only late.
    assert_eq!(store.pass(at(3600)).opened, 0);
    assert_eq!(beat(&store, "a", "ingest", at(3601)).blind, None);
    assert_eq!(store.next_wake_at().unwrap(), Some(at(3601)));
    assert_eq!(store.pass(at(3601)).opened, 1, "not an hour later");
}

fn one_holds_the_lease_until_its_end(database: &TestDatabase) {
    let store = database.store();
    let now = at(0);
    let take = |holder: &str, span| store.take_lease("prune", holder, span, now).unwrap();
    assert_eq!(store.lease_holder("prune").unwrap(), None);
    assert!(take("a", seconds(3600)));
    assert!(!take("b", seconds(3600)));
    assert!(take("a", seconds(0)), "its holder prolongs it, or lets it end");
    assert!(take("b", seconds(3600)), "it has ended");
    assert!(!take("a", seconds(3600)));
    store.give_lease_back("prune", "a").unwrap();
    assert!(!take("a", seconds(3600)), "not its to give");
    store.give_lease_back("prune", "b").unwrap();
    assert!(take("a", seconds(3600)));
    assert_eq!(store.lease_holder("prune").unwrap().as_deref(), Some("a"));
    let taken = together(8, |n| {
        let own = database.connect();
        own.take_lease("mail", &n.to_string(), seconds(3600), now).unwrap()
    });
    assert_eq!(taken.iter().filter(|taken| **taken).count(), 1, "{taken:?}");
}
