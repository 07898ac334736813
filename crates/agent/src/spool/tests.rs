use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::report::{Names, ReportKind, SpooledReport};

fn entry(kind: ReportKind) -> SpoolEntry {
    let report = SpooledReport::new(Some(Names::parse("a/b").unwrap()), kind, Stamp::now());
    SpoolEntry { destination: Destination::Server(None), reports: vec![report], terms: None }
}

fn spool(bounds: Bounds) -> (tempfile::TempDir, Spool) {
    let directory = tempfile::tempdir().unwrap();
    let state = StateDirectory::open(Some(directory.path())).unwrap();
    let spool = Spool::open(&state, bounds).unwrap();
    (directory, spool)
}

#[test]
fn entries_are_private_in_order_and_whole() {
    let (_directory, spool) = spool(Bounds::default());
    let entries: Vec<SpoolEntry> = (0..20).map(|_| entry(ReportKind::Success)).collect();
    for entry in &entries {
        spool.add(Uuid::new_v4(), entry).unwrap();
    }
    let names = spool.list().unwrap();
    let read: Vec<SpoolEntry> = names.iter().map(|name| spool.read(name).unwrap()).collect();
    assert_eq!(read, entries, "twenty in one millisecond or two");
    for name in &names {
        assert_eq!(fs::metadata(spool.directory.join(&name.text)).unwrap().mode() & 0o777, 0o600);
    }
    assert_eq!(fs::metadata(&spool.directory).unwrap().mode() & 0o777, 0o700);
}

#[test]
fn a_torn_entry_is_put_aside_and_holds_up_nothing() {
    let (directory, spool) = spool(Bounds::default());
    spool.add(Uuid::new_v4(), &entry(ReportKind::Success)).unwrap();
    let torn = spool.list().unwrap().remove(0);
    fs::write(spool.directory.join(&torn.text), "{\"destina").unwrap();
    spool.add(Uuid::new_v4(), &entry(ReportKind::Fail)).unwrap();
    let read: Vec<SpoolEntry> = spool.list().unwrap().iter().filter_map(|name| spool.read(name)).collect();
    assert_eq!(read.len(), 1);
    assert_eq!(spool.list().unwrap().len(), 1);
    assert_eq!(fs::read_dir(directory.path().join("unreadable")).unwrap().count(), 1);
    // The number of kept files is limited, so that a disk that corrupts every file is not filled.
    for n in 0..30 {
        let name = Name::of(n, Uuid::new_v4(), false, &Destination::Server(None));
        fs::write(spool.directory.join(&name.text), "x").unwrap();
        assert_eq!(spool.read(&name), None);
    }
    assert_eq!(fs::read_dir(directory.path().join("unreadable")).unwrap().count(), PUT_ASIDE);
}

#[test]
fn what_is_over_the_bounds_is_dropped_and_told() {
    let (_directory, spool) = spool(Bounds { entries: 3, ..Bounds::default() });
    spool.add(Uuid::new_v4(), &entry(ReportKind::Fail)).unwrap();
    for _ in 0..5 {
        spool.add(Uuid::new_v4(), &entry(ReportKind::Success)).unwrap();
    }
    let kept: Vec<bool> = spool.list().unwrap().iter().map(Name::is_failure).collect();
    assert_eq!(kept, [true, false, false]);
    let told = spool.dropped().entries();
    assert_eq!(told.len(), 1);
    let output = told[0].reports[0].output.as_deref().unwrap();
    assert!(output.contains("3 of this job's reports were dropped"), "{output}");
    spool.forget_dropped(&spool.dropped().entries());
    assert!(spool.dropped().entries().is_empty());
}

#[test]
fn a_wall_clock_that_was_ahead_does_not_change_the_order() {
    let (_directory, spool) = spool(Bounds::default());
    let ahead = Name::of(4_000_000_000_000, Uuid::new_v4(), false, &Destination::Server(None));
    spool.write(&ahead.text, &serde_json::to_vec(&entry(ReportKind::Start)).unwrap()).unwrap();
    let name = spool.add(Uuid::new_v4(), &entry(ReportKind::Success)).unwrap();
    assert!(name > ahead);
}

#[test]
fn what_a_dead_writer_left_is_swept_later() {
    let (_directory, spool) = spool(Bounds::default());
    let half = spool.directory.join(format!("{HALF}x"));
    let file = File::create(&half).unwrap();
    spool.sweep();
    assert!(half.exists());
    file.set_modified(SystemTime::now() - ABANDONED * 2).unwrap();
    spool.sweep();
    assert!(!half.exists());
    assert!(spool.list().unwrap().is_empty());
}

#[test]
fn what_is_found_later_stands_where_it_happened() {
    let (_directory, spool) = spool(Bounds::default());
    let newer = spool.add(Uuid::new_v4(), &entry(ReportKind::Success)).unwrap();
    let mut old = entry(ReportKind::Fail);
    old.reports[0].stamp = Stamp::now().before(RECENT * 2);
    assert!(spool.add(Uuid::new_v4(), &old).unwrap() < newer);
}

#[test]
fn a_name_tells_where_its_entry_goes() {
    let ping = Destination::Ping("https://h.example/ping/1".to_owned());
    let server = Destination::Server(None);
    let name = Name::of(1, Uuid::new_v4(), true, &ping);
    assert!(name.goes_to(&ping) && !name.goes_to(&server) && name.is_failure());
    assert!(!name.text.contains("example"));
}
