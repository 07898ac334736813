//! An SQLite file that is deleted, moved, replaced or overwritten under a store that works with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use innkeeper_store::{FileLook, Store, StoreError, Writer};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

/// A store with a reservation, whose connections are open: two of the pool, a writer's.
struct Works {
    database: TestDatabase,
    store: Store,
    writer: Writer,
    path: PathBuf,
}

impl Works {
    fn new() -> Self {
        let database = TestDatabase::sqlite();
        let store = database.connect();
        store.migrate().unwrap();
        store.book("backup", &every(60));
        let mut writer = store.writer();
        writer.record(&[arrival("backup", success(at(1)))]).unwrap();
        writer.record_plain(&[arrival("backup", success(at(2)))]).unwrap();
        let path = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
        assert_eq!(store.look_at_file(), FileLook::Fine);
        Self { database, store, writer, path }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        beside(&self.path, suffix)
    }

    /// Nothing is acknowledged, and nothing is read from what is gone.
    fn refuses_everything(&mut self, what: &str) {
        let batch = [arrival("backup", success(at(3)))];
        let refused = [
            self.writer.record_plain(&batch).map(drop),
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

    /// What there is to say when all is done that can be done.
    fn lost(&self) -> String {
        match self.store.look_at_file() {
            FileLook::Lost { words, settled: true } => words,
            other => panic!("{other:?}"),
        }
    }

    fn is_back(&mut self) {
        assert!(matches!(self.store.look_at_file(), FileLook::Back(_)), "{:?}", self.store.look_at_file());
        assert_eq!(self.store.look_at_file(), FileLook::Fine);
        self.writer.record(&[arrival("backup", success(at(9)))]).unwrap();
        assert_eq!(self.store.look("backup").facts.checkins, 3);
        assert_eq!(self.database.text("SELECT quick_check FROM pragma_quick_check").as_deref(), Some("ok"));
    }
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
    assert!(matches!(works.store.look_at_file(), FileLook::Back(_)));
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
    assert!(matches!(works.store.look_at_file(), FileLook::Back(_)));
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
    // The first commit after it is not acknowledged.
    let error = works.writer.record(&[arrival("backup", success(at(4)))]).unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let words = works.lost();
    assert!(words.contains("cut off") && words.contains("Restart"), "{words}");
    assert_eq!(files(works.path.parent().unwrap(), "-wal.stale").len(), 1);
    // As a start finds it: the log that is still open is this process's own affair.
    let alone = alone(&works);
    assert_eq!(alone.look_for_damage(&|| true).unwrap(), None);
    assert_eq!(alone.look("backup").facts.checkins, 2);
}

#[test]
fn a_start_does_not_begin_anew_beside_what_is_left() {
    for (left, words) in [("-wal", "is its log"), (".rescued-1764000000", "has what it held")] {
        let database = TestDatabase::sqlite();
        let path = PathBuf::from(database.url().strip_prefix("sqlite://").unwrap());
        fs::write(beside(&path, left), "what is left").unwrap();
        let error = database.connect().migrate().unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("missing"), "{error}");
        assert!(!path.exists());
    }
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
        assert!(words.contains("overwritten") && words.contains("innkeeper restore"), "{words}");
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
fn alone(works: &Works) -> Store {
    let alone = works.beside(".alone");
    fs::copy(&works.path, &alone).unwrap();
    let url = format!("sqlite://{}", alone.display());
    Store::connect(&innkeeper_store::StoreConfig { url, pool_size: 2 }).unwrap()
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
                // Another process, which sees to the log itself, and gives pages back.
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
