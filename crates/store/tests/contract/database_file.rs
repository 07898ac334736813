//! An SQLite file that is deleted, moved, replaced or overwritten while a store works with it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use diesel::SqliteConnection;
use diesel::connection::{Connection as _, SimpleConnection as _};
use innkeeper_store::{ActingStore, CheckInWriter, FileLook, Store, StoreConfig, StoreError};
use innkeeper_testing::database::{TestDatabase, tester};

use crate::world::*;

/// A store with a reservation and open connections: two of the pool, and that of a writer.
struct Works {
    database: TestDatabase,
    store: ActingStore,
    writer: CheckInWriter,
    path: PathBuf,
}

impl Works {
    fn new() -> Self {
        Self::over(TestDatabase::sqlite())
    }

    /// The same with a file elsewhere; its name is a link to it.
    fn linked() -> Self {
        let database = TestDatabase::sqlite();
        link(Path::new(database.url().strip_prefix("sqlite://").unwrap()));
        Self::over(database)
    }

    fn over(database: TestDatabase) -> Self {
        let store = database.connect();
        store.migrate().unwrap();
        store.book("backup", &every(60));
        let mut writer = store.writer();
        writer.record(&[arrival("backup", success(at(1)))]).unwrap();
        writer.record_known(&[arrival("backup", success(at(2)))]).unwrap();
        let path = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
        assert_eq!(store.look_at_file(), FileLook::Fine);
        Self { database, store, writer, path }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    /// Checks that nothing is acknowledged, and that nothing is read from the lost file.
    fn refuses_everything(&mut self, what: &str) {
        let batch = [arrival("backup", success(at(3)))];
        let refused = [
            self.writer.record_known(&batch).map(drop),
            self.writer.record(&batch).map(drop),
            self.store.reserve(&app(SHOP), &component("other"), &every(60), at(3)).map(drop),
            self.store.ping(),
            self.store.count().map(drop),
        ];
        for (n, done) in refused.into_iter().enumerate() {
            let error = done.expect_err(what);
            assert!(
                matches!(error, StoreError::FileLost(_)) && error.is_unavailable(),
                "{what} {n}: {error:?}"
            );
            assert!(error.to_string().contains(&*self.path.to_string_lossy()), "{error}");
        }
    }

    /// Checks that the file is lost in spite of all attempts; returns the message.
    fn lost(&self) -> String {
        match self.store.look_at_file() {
            FileLook::Lost { words, settled: true } => words,
            other => panic!("{other:?}"),
        }
    }

    fn is_back(&mut self) {
        assert_eq!(self.is_back_with(2), None);
    }

    /// Checks that the file is back with this many check-ins; returns which older log was set
    /// aside.
    fn is_back_with(&mut self, checkins: i64) -> Option<String> {
        let set_aside = match self.store.look_at_file() {
            FileLook::Back { set_aside, .. } => set_aside,
            other => panic!("{other:?}"),
        };
        assert_eq!(self.store.look_at_file(), FileLook::Fine);
        self.writer.record(&[arrival("backup", success(at(9)))]).unwrap();
        assert_eq!(self.store.look("backup").facts.checkins, checkins + 1);
        assert_eq!(self.database.text("SELECT quick_check FROM pragma_quick_check").as_deref(), Some("ok"));
        set_aside
    }
}

/// The path of the same name in another directory.
fn elsewhere(path: &Path) -> PathBuf {
    path.parent().unwrap().join("elsewhere").join(path.file_name().unwrap())
}

/// Makes `path` a link to an empty file elsewhere.
fn link(path: &Path) {
    let elsewhere = elsewhere(path);
    fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    fs::write(&elsewhere, []).unwrap();
    symlink(&elsewhere, path).unwrap();
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// The files in `directory` whose names contain `part`.
fn files(directory: &Path, part: &str) -> Vec<PathBuf> {
    let all = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    all.filter(|path| path.to_string_lossy().contains(part)).collect()
}

#[test]
fn what_a_deleted_file_held_is_saved_and_goes_on_under_its_name() {
    let mut works = Works::new();
    fs::remove_file(&works.path).unwrap();
    works.refuses_everything("deleted");
    let words = works.lost();
    let saved = files(works.path.parent().unwrap(), "rescued");
    let [saved] = &saved[..] else { panic!("{saved:?}, {words}") };
    assert!(words.contains(&*saved.to_string_lossy()), "{words}");
    assert!(!works.path.exists(), "no new file is made");
    works.refuses_everything("still away");
    assert!(!works.path.exists(), "no new file is made");
    fs::rename(saved, &works.path).unwrap();
    works.is_back();
}

#[test]
fn a_file_that_was_moved_away_goes_on_when_it_is_back() {
    let mut works = Works::new();
    let away = works.beside(".away");
    fs::rename(&works.path, &away).unwrap();
    works.refuses_everything("moved");
    assert!(works.lost().contains("moved away"));
    fs::rename(&away, &works.path).unwrap();
    works.is_back();

    let directory = works.path.parent().unwrap().to_owned();
    let renamed = beside(&directory, "-renamed");
    fs::rename(&directory, &renamed).unwrap();
    assert!(works.store.ping().unwrap_err().is_file_lost());
    works.lost();
    fs::rename(&renamed, &directory).unwrap();
    assert!(matches!(works.store.look_at_file(), FileLook::Back { .. }));
}

#[test]
fn what_was_put_in_its_place_is_not_touched() {
    let mut works = Works::new();
    let other = Works::new();
    other.store.checkpoint().unwrap();
    let copy = works.beside(".new");
    fs::copy(&other.path, &copy).unwrap();
    let before = fs::read(&copy).unwrap();
    fs::rename(&copy, &works.path).unwrap();
    works.refuses_everything("replaced");
    let words = works.lost();
    assert!(
        words.contains("replaced") && words.contains("rescued") && words.contains("stop Innkeeper"),
        "{words}"
    );
    for _ in 0..3 {
        works.lost();
    }
    assert_eq!(fs::read(&works.path).unwrap(), before);
    assert_eq!(fs::metadata(works.beside("-wal")).unwrap().len(), 0, "a log would be put into the new file");
    let saved = files(works.path.parent().unwrap(), "rescued").remove(0);
    fs::rename(saved, &works.path).unwrap();
    works.is_back();
}

#[test]
fn an_older_copy_of_itself_does_not_go_on() {
    let mut works = Works::new();
    works.store.checkpoint().unwrap();
    let older = works.beside(".older");
    fs::copy(&works.path, &older).unwrap();
    works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
    fs::rename(&older, &works.path).unwrap();
    works.refuses_everything("an older copy");
    works.lost();
    works.lost();
    let rescued = files(works.path.parent().unwrap(), "rescued").remove(0);
    fs::rename(rescued, &works.path).unwrap();
    assert!(matches!(works.store.look_at_file(), FileLook::Back { .. }));
    assert_eq!(works.store.look("backup").facts.checkins, 3);
}

#[test]
fn what_cannot_be_saved_yet_is_held() {
    let mut works = Works::new();
    let directory = works.path.parent().unwrap().to_owned();
    fs::remove_dir_all(&directory).unwrap();
    works.refuses_everything("its directory is gone");
    match works.store.look_at_file() {
        FileLook::Lost { words, settled: false } => assert!(words.contains("cannot be saved"), "{words}"),
        other => panic!("{other:?}"),
    }
    fs::create_dir(&directory).unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    while matches!(works.store.look_at_file(), FileLook::Lost { settled: false, .. })
        && Instant::now() < until
    {
        std::thread::sleep(Duration::from_millis(100));
    }
    fs::rename(files(&directory, "rescued").remove(0), &works.path).unwrap();
    works.is_back();
}

#[test]
fn a_log_that_was_cut_off_is_not_brought_into_the_file() {
    let mut works = Works::new();
    works.store.checkpoint().unwrap();
    works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
    fs::OpenOptions::new().write(true).open(works.beside("-wal")).unwrap().set_len(0).unwrap();
    // The first commit afterwards is not acknowledged.
    let error = works.writer.record(&[arrival("backup", success(at(4)))]).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let words = works.lost();
    assert!(words.contains("cut off") && words.contains("Restart"), "{words}");
    assert_eq!(files(works.path.parent().unwrap(), "-wal.stale").len(), 1);
    // Looks as a start does, without the log, which this process still has open.
    let alone = alone(&works);
    assert_eq!(alone.look_for_damage(&|| true).unwrap(), None);
    assert_eq!(alone.look("backup").facts.checkins, 2);
}

#[test]
fn a_start_does_not_begin_anew_beside_what_is_left() {
    for (left, words, linked) in [
        ("-wal", "is its log", false),
        ("-wal", "is its log", true),
        (".rescued-1764000000", "has what it held", false),
        ("-wal.stale-1764000000", "innkeeper restore FILE", true),
    ] {
        let database = TestDatabase::sqlite();
        let path = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
        let real = if linked { elsewhere(&path) } else { path.clone() };
        if linked {
            link(&path);
        }
        fs::write(beside(&real, left), "what is left").unwrap();
        let error = database.connect().migrate().unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("missing") && error.contains(left), "{error}");
        assert_eq!(fs::read(&real).unwrap_or_default(), b"");
        assert_eq!(path.exists(), linked);
    }
}

#[test]
fn a_start_does_not_make_tables_beside_a_log_that_was_set_aside() {
    let database = TestDatabase::sqlite();
    let path = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
    // What a start leaves that ended before it made tables.
    database.execute("PRAGMA application_id = 1229868619; PRAGMA user_version = 7");
    let before = fs::read(&path).unwrap();
    assert_eq!(before.len(), 4096);
    let stale = beside(&path, "-wal.stale-1764000000");
    fs::write(&stale, "what is left").unwrap();
    let error = database.connect().migrate().unwrap_err().to_string();
    assert!(error.contains("has no tables") && error.contains("move that away"), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    fs::remove_file(&stale).unwrap();
    database.connect().migrate().unwrap();
}

fn cut(path: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(length).unwrap();
}

#[test]
fn a_file_that_was_cut_off_takes_no_check_in() {
    for length in [|_| 4096, |whole| whole / 8192 * 4096, |whole| whole - 4096, |_| 0] {
        let mut works = Works::new();
        works.store.checkpoint().unwrap();
        works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
        let length = length(fs::metadata(&works.path).unwrap().len());
        cut(&works.path, length);
        works.refuses_everything("cut off");
        let words = works.lost();
        assert!(words.contains("was cut off") && words.contains("innkeeper restore"), "{words}");
        works.refuses_everything("cut off");
        works.lost();
        assert_eq!(fs::metadata(&works.path).unwrap().len(), length, "nothing is written into it");
        assert_eq!(files(works.path.parent().unwrap(), "-wal.stale").len(), 1);
        assert!(!works.beside("-wal").exists());
        let saved = files(works.path.parent().unwrap(), "rescued");
        assert_eq!(!saved.is_empty(), words.contains("saved in"), "{words}");
    }
}

#[test]
fn what_the_log_holds_of_a_file_that_was_cut_off_is_saved() {
    let mut works = Works::new();
    works.store.checkpoint().unwrap();
    // VACUUM writes all pages into the log.
    works.database.execute("VACUUM");
    works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
    cut(&works.path, 4096);
    works.refuses_everything("cut off");
    let words = works.lost();
    let saved = files(works.path.parent().unwrap(), "rescued").remove(0);
    assert!(words.contains(&*saved.to_string_lossy()), "{words}");
    let url = format!("sqlite://{}", saved.display());
    let store = tester(&Store::connect(&StoreConfig { url, pool_size: 2 }).unwrap());
    assert_eq!(store.look("backup").facts.checkins, 3);
}

#[test]
fn a_file_that_is_compacted_is_not_taken_for_one_that_was_cut_off() {
    let mut works = Works::new();
    works.database.execute(
        "CREATE TABLE more AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50)
        SELECT randomblob(4000) AS more FROM n; PRAGMA wal_checkpoint(TRUNCATE)",
    );
    assert_eq!(works.store.look_at_file(), FileLook::Fine);
    let before = fs::metadata(&works.path).unwrap().len();
    works.database.execute("DROP TABLE more; VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
    assert!(fs::metadata(&works.path).unwrap().len() < before);
    works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
    assert_eq!(works.store.look_at_file(), FileLook::Fine);
}

#[test]
fn a_link_that_gives_way_to_its_file_loses_nothing() {
    let mut works = Works::linked();
    works.store.checkpoint().unwrap();
    fs::rename(elsewhere(&works.path), &works.path).unwrap();
    works.refuses_everything("the link gave way");
    works.is_back();
    assert_eq!(alone_with_its_log(&works), 3);
}

/// An older state of the database, as a log or journal. SQLite would apply it to any database file
/// beside it.
struct Older {
    directory: tempfile::TempDir,
    suffixes: &'static [&'static str],
}

impl Older {
    /// The present state of `works`, which then continues to write.
    fn of(works: &mut Works, suffixes: &'static [&'static str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let real = fs::canonicalize(&works.path).unwrap();
        let older = Self { directory, suffixes };
        for suffix in suffixes {
            if *suffix == "-journal" {
                works.store.checkpoint().unwrap();
                older.make_journal(&real);
            } else {
                fs::copy(beside(&real, suffix), older.path(suffix)).unwrap();
            }
        }
        // This check-in is in the file only, not in its log.
        works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
        works.database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
        works.writer.record(&[arrival("backup", success(at(4)))]).unwrap();
        older
    }

    fn path(&self, suffix: &str) -> PathBuf {
        beside(&self.directory.path().join("older"), suffix)
    }

    /// Makes the journal that a crash in the middle of a transaction leaves.
    fn make_journal(&self, real: &Path) {
        let copy = self.directory.path().join("copy");
        fs::copy(real, &copy).unwrap();
        let mut connection = SqliteConnection::establish(copy.to_str().unwrap()).unwrap();
        connection
            .batch_execute(
                "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 5; BEGIN IMMEDIATE;
                 UPDATE states SET checkins = checkins + 1;
                 CREATE TABLE more AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50)
                 SELECT randomblob(4000) AS more FROM n",
            )
            .unwrap();
        fs::copy(beside(&copy, "-journal"), self.path("-journal")).unwrap();
        assert!(fs::metadata(self.path("-journal")).unwrap().len() > 512);
    }

    fn lay_beside(&self, path: &Path) {
        for suffix in self.suffixes {
            fs::copy(self.path(suffix), beside(path, suffix)).unwrap();
        }
    }

    /// Checks that the older log was set aside, and that the message says so.
    fn was_told(&self, said: Option<String>, path: &Path) {
        let said = said.expect("an older log was set aside");
        for suffix in self.suffixes {
            let name = beside(path, &format!("{suffix}.stale")).to_string_lossy().into_owned();
            let found = files(path.parent().unwrap(), &name).remove(0);
            assert!(said.contains(&*found.to_string_lossy()), "{said}");
            assert_eq!(fs::read(found).unwrap(), fs::read(self.path(suffix)).unwrap(), "{suffix}");
        }
    }
}

const OLDER: [&[&str]; 3] = [&["-wal"], &["-wal", "-shm"], &["-journal"]];

#[test]
fn an_older_log_where_a_link_gives_way_to_its_file_is_set_aside() {
    for suffixes in OLDER {
        let mut works = Works::linked();
        let older = Older::of(&mut works, suffixes);
        older.lay_beside(&works.path);
        fs::rename(elsewhere(&works.path), &works.path).unwrap();
        works.refuses_everything("the link gave way");
        older.was_told(works.is_back_with(4), &works.path);
        assert_eq!(alone_with_its_log(&works), 5);
    }
}

#[test]
fn an_older_log_where_a_file_gives_way_to_a_link_is_set_aside() {
    for suffixes in OLDER {
        let mut works = Works::new();
        let (elsewhere, link) = (elsewhere(&works.path), works.beside(".link"));
        fs::create_dir(elsewhere.parent().unwrap()).unwrap();
        let older = Older::of(&mut works, suffixes);
        older.lay_beside(&elsewhere);
        fs::hard_link(&works.path, &elsewhere).unwrap();
        symlink(Path::new("elsewhere").join(works.path.file_name().unwrap()), &link).unwrap();
        fs::rename(&link, &works.path).unwrap();
        works.refuses_everything("the file gave way");
        older.was_told(works.is_back_with(4), &elsewhere);
        assert_eq!(alone_with_its_log(&works), 5);
    }
}

#[test]
fn an_older_log_that_lies_where_a_file_comes_back_is_set_aside() {
    for suffixes in OLDER {
        for is_deleted in [false, true] {
            let mut works = Works::new();
            let older = Older::of(&mut works, suffixes);
            let away = works.beside(".away");
            if is_deleted {
                fs::remove_file(&works.path).unwrap();
            } else {
                fs::rename(&works.path, &away).unwrap();
            }
            works.refuses_everything("gone");
            works.lost();
            older.lay_beside(&works.path);
            let back =
                if is_deleted { files(works.path.parent().unwrap(), "rescued").remove(0) } else { away };
            fs::rename(back, &works.path).unwrap();
            older.was_told(works.is_back_with(4), &works.path);
            assert_eq!(alone_with_its_log(&works), 5);
        }
    }
}

#[test]
fn an_older_log_in_the_place_of_its_own_does_not_come_into_the_file() {
    let mut works = Works::new();
    let older = Older::of(&mut works, &["-wal"]);
    let link = works.beside(".other");
    fs::copy(older.path("-wal"), &link).unwrap();
    fs::rename(&link, works.beside("-wal")).unwrap();
    works.refuses_everything("another log");
    works.is_back_with(4);
    assert_eq!(alone_with_its_log(&works), 5);
}

#[test]
fn a_copy_with_a_log_beside_it_is_left_to_a_restart() {
    let mut works = Works::linked();
    let older = Older::of(&mut works, &["-wal"]);
    works.database.execute("PRAGMA wal_checkpoint(TRUNCATE)");
    let (copy, link) = (works.beside(".copy"), works.beside(".link"));
    fs::copy(&works.path, &copy).unwrap();
    older.lay_beside(&copy);
    let before = fs::read(&copy).unwrap();
    symlink(copy.file_name().unwrap(), &link).unwrap();
    fs::rename(&link, &works.path).unwrap();
    works.refuses_everything("the link leads to a copy");
    let words = works.lost();
    let log = beside(&copy, "-wal");
    assert!(words.contains("replaced") && words.contains(&*log.to_string_lossy()), "{words}");
    assert_eq!(fs::read(&copy).unwrap(), before, "not touched");
    assert_eq!(fs::read(&log).unwrap(), fs::read(older.path("-wal")).unwrap(), "not touched");
    // When somebody removes the log, the copy can be used as the file.
    fs::remove_file(&log).unwrap();
    assert_eq!(works.is_back_with(4), None);
}

#[test]
fn an_older_log_that_cannot_be_set_aside_is_not_brought_into_the_file() {
    let mut works = Works::linked();
    let older = Older::of(&mut works, &["-wal"]);
    // The name is so long that its log cannot be renamed to a longer one.
    let long = works.path.with_file_name("n".repeat(245));
    symlink(&long, works.beside(".link")).unwrap();
    older.lay_beside(&long);
    fs::rename(elsewhere(&works.path), &long).unwrap();
    fs::rename(works.beside(".link"), &works.path).unwrap();
    works.refuses_everything("the link leads elsewhere");
    let words = works.lost();
    let log = beside(&long, "-wal");
    assert!(words.contains(&*log.to_string_lossy()) && words.contains("move it away"), "{words}");
    fs::remove_file(&log).unwrap();
    assert_eq!(works.is_back_with(4), None);
}

#[test]
fn a_file_that_gives_way_to_a_link_loses_nothing() {
    let mut works = Works::new();
    works.store.checkpoint().unwrap();
    let (elsewhere, link) = (elsewhere(&works.path), works.beside(".link"));
    fs::create_dir(elsewhere.parent().unwrap()).unwrap();
    fs::hard_link(&works.path, &elsewhere).unwrap();
    symlink(&elsewhere, &link).unwrap();
    fs::rename(&link, &works.path).unwrap();
    works.refuses_everything("the file gave way");
    works.is_back();
    assert_eq!(alone_with_its_log(&works), 3);
}

/// The number of check-ins that a new process finds in the file and its log.
fn alone_with_its_log(works: &Works) -> i64 {
    works.database.number("SELECT checkins FROM states").unwrap()
}

#[test]
fn a_directory_that_moves_behind_a_link_is_the_same() {
    let mut works = Works::new();
    let directory = works.path.parent().unwrap().to_owned();
    let moved = beside(&directory, "-moved");
    fs::rename(&directory, &moved).unwrap();
    symlink(&moved, &directory).unwrap();
    works.writer.record(&[arrival("backup", success(at(3)))]).unwrap();
    assert_eq!(works.store.look_at_file(), FileLook::Fine);
    fs::remove_file(&directory).unwrap();
    fs::rename(&moved, &directory).unwrap();
}

#[test]
fn a_log_that_is_deleted_loses_nothing() {
    for suffix in ["-wal", "-shm"] {
        let mut works = Works::new();
        fs::remove_file(works.beside(suffix)).unwrap();
        works.refuses_everything(suffix);
        works.is_back();
    }
}

#[test]
fn a_file_that_is_overwritten_in_place_is_found_and_left() {
    let other = Works::new();
    other.store.checkpoint().unwrap();
    let other = fs::read(&other.path).unwrap();
    for content in [&other[..], &[], &[0; 4096], b"not a database"] {
        let mut works = Works::new();
        fs::write(&works.path, content).unwrap();
        let words = works.lost();
        assert!(words.contains(if content.is_empty() { "cut off" } else { "overwritten" }), "{words}");
        assert!(words.contains("innkeeper restore"), "{words}");
        works.refuses_everything("overwritten");
        works.lost();
        assert_eq!(fs::read(&works.path).unwrap(), content, "nothing is written into it");
        assert!(!works.beside("-wal").exists(), "the log would be put into it");
        assert_eq!(files(works.path.parent().unwrap(), "-wal.stale").len(), 1);
    }
}

#[test]
fn what_was_written_comes_into_the_file() {
    let works = Works::new();
    works.store.checkpoint().unwrap();
    assert_eq!(alone(&works).look("backup").facts.checkins, 2);
}

/// A store over a copy of the file without its log.
fn alone(works: &Works) -> ActingStore {
    let alone = works.beside(".alone");
    fs::copy(&works.path, &alone).unwrap();
    let url = format!("sqlite://{}", alone.display());
    tester(&Store::connect(&StoreConfig { url, pool_size: 2 }).unwrap())
}

#[test]
fn a_file_that_is_used_all_the_time_is_never_taken_for_another() {
    let works = Works::new();
    let until = Instant::now() + Duration::from_secs(2);
    together(4, |n| match n {
        0 => {
            while Instant::now() < until {
                assert_eq!(works.store.look_at_file(), FileLook::Fine);
                works.store.checkpoint().unwrap();
            }
        }
        1 => {
            while Instant::now() < until {
                // Another process, which checkpoints the log itself and frees pages.
                works.database.execute("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)");
            }
        }
        _ => {
            let mut writer = works.store.writer();
            while Instant::now() < until {
                match writer.record(&[arrival("backup", success(at(3)))]) {
                    Ok(_) => {}
                    Err(error) => assert!(!error.is_file_lost(), "{error}"),
                }
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    });
}
