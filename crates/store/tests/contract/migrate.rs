//! The migrations: each is applied once, by the process that comes first, and with the same result
//! on both databases.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use innkeeper_core::reservation::{Patch, Spec};
use innkeeper_core::schedule::{Frequency, Schedule, TimeUnit};
use innkeeper_core::snooze::SnoozeMode;
use innkeeper_store::{Actor, Arrival, DatabaseKind, Definition, StoreError, Target, Undone};
use innkeeper_testing::database::TestDatabase;

use crate::world::*;

on_both!(
    a_second_time_does_nothing,
    many_processes_at_once_apply_each_once,
    down_takes_everything_away_and_up_brings_it_back,
    the_tables_are_those_of_the_schema,
    what_was_there_before_the_chain_is_carried_over,
    reservations_of_innkeepers_own_go_and_those_of_users_stay,
    what_a_node_of_an_older_version_makes_again_goes_again,
    schedules_of_before_are_carried_over,
    frequencies_of_before_become_a_part_of_the_schedule,
    accounts_of_the_open_past_are_told_from_the_others,
    a_database_of_a_newer_version_is_refused_and_left_as_it_is,
);

fn a_database_of_a_newer_version_is_refused_and_left_as_it_is(database: &TestDatabase) {
    database.store();
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('20991231000001')");
    let before = tables(database);
    let error = database.connect().migrate().unwrap_err();
    assert!(matches!(error, StoreError::Newer(_)) && !error.is_unavailable(), "{error:?}");
    let said = error.to_string();
    assert!(said.contains("newer version") && said.contains("20991231000001"), "{said}");
    assert_eq!(tables(database), before);
}

fn a_second_time_does_nothing(database: &TestDatabase) {
    let store = database.connect();
    assert_eq!(store.migrate().unwrap().len(), migrations(database.kind()).len());
    store.book("backup", &every(60));
    assert_eq!(store.migrate().unwrap(), Vec::<String>::new());
    assert_eq!(store.count().unwrap(), 1);
}

fn many_processes_at_once_apply_each_once(database: &TestDatabase) {
    let applied = together(4, |_| database.connect().migrate().unwrap());
    assert_eq!(applied.concat().len(), migrations(database.kind()).len(), "{applied:?}");
    assert_eq!(database.connect().count().unwrap(), 0);
}

fn down_takes_everything_away_and_up_brings_it_back(database: &TestDatabase) {
    database.store();
    let before = tables(database);
    let migrations = migrations(database.kind());
    for (_, down) in migrations.iter().rev() {
        database.execute(down);
    }
    assert_eq!(tables(database), Tables::new());
    for (up, _) in &migrations {
        database.execute(up);
    }
    assert_eq!(tables(database), before);
}

fn the_tables_are_those_of_the_schema(database: &TestDatabase) {
    database.store();
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema.rs")).unwrap();
    let mut schema = Tables::new();
    let mut table = String::new();
    for line in source.lines().map(str::trim) {
        if line.starts_with("joinable!") {
            break;
        }
        if let Some((column, kind)) = line.trim_end_matches(',').split_once(" -> ") {
            let nullable = kind.starts_with("Nullable<");
            let kind = kind.trim_start_matches("Nullable<").trim_end_matches('>').to_uppercase();
            let columns: &mut Columns = schema.entry(table.clone()).or_default();
            columns.push((column.to_owned(), kind.replace("BOOL", "BOOLEAN"), nullable));
        } else if line.ends_with(") {") {
            table = line.split(' ').next().unwrap().to_owned();
        }
    }
    let mut tables = tables(database);
    // Not in the schema, only in SQL (lookup_keys.rs): Postgres has a type for the keys, SQLite has
    // none.
    assert!(tables.remove("lookup_keys").is_some());
    let states = tables.get_mut("states").unwrap();
    let columns = states.len();
    states.retain(|(column, ..)| !matches!(column.as_str(), "names_key" | "ping_key"));
    assert_eq!(states.len(), columns - 2);
    assert!(tables.keys().eq(schema.keys()), "{:?}", tables.keys());
    for (table, columns) in schema {
        assert_eq!(tables[&table], columns, "{table}");
    }
}

fn what_was_there_before_the_chain_is_carried_over(database: &TestDatabase) {
    let store = database.store();
    let ids: Vec<i64> = ["a", "b", "silent"].map(|name| store.book(name, &every(60))).to_vec();
    for second in 0..3 {
        store.record(&[arrival("b", success(at(second))), arrival("a", success(at(second)))]);
        store.check_in("a", &[fail(at(second), 1), log(at(second))]);
    }
    // One check-in of a was pruned already.
    database.execute("DELETE FROM checkins WHERE number = 1");
    // Columns of later migrations are not in the tables that this one makes anew.
    let mut migrations = migrations(database.kind());
    let mut later = |words: &str| {
        let place = migrations.iter().position(|(up, _)| up.contains(words)).unwrap();
        migrations.remove(place)
    };
    let (rules_up, rules_down) = later("rows and lost ends");
    let (reports_up, reports_down) = later("Reports of agents");
    let (figures_up, figures_down) = later("Figures: numbers");
    let (renamed_up, renamed_down) = later("RENAME TO lookup_keys");
    let (over_up, over_down) = later("runs_over_before");
    let (up, down) = migrations.remove(1);
    let downs = [over_down, renamed_down, figures_down, reports_down, rules_down, down];
    let ups = [up, rules_up, reports_up, figures_up, renamed_up, over_up];
    let all = downs.into_iter().chain(ups).collect::<Vec<_>>();
    all.iter().for_each(|sql| database.execute(sql));
    let history = |id| store.checkins_of(id, 100).unwrap();
    assert_eq!(ids.iter().map(|id| history(*id).len()).collect::<Vec<_>>(), [8, 2, 0]);
    assert_eq!(history(ids[1])[1].at, at(1));
    store.record(&[arrival("b", success(at(9))), arrival("silent", success(at(9)))]);
    assert_eq!(ids.iter().map(|id| history(*id).len()).collect::<Vec<_>>(), [8, 3, 1]);
    assert_eq!(store.look("b").facts.checkins, 4);
}

fn schedules_of_before_are_carried_over(database: &TestDatabase) {
    let store = database.store();
    let cron = Schedule::cron("0 2 * * *", "Europe/Berlin").unwrap();
    let nightly = Patch { schedule: Some((cron.clone(), None)), ..Patch::default() };
    let often = store.book("often", &every(300));
    let gone = [("nightly", &nightly), ("gone", &nightly)].map(|(name, patch)| store.book(name, patch))[1];
    store.check_in("often", &[fail(at(1), 1)]);
    assert!(store.check_out(&app(SHOP), &component("gone"), at(2)).unwrap());
    // The state before the migration: the tables, and what is kept of a check-out.
    let newer = back_before(database, "in one notation");
    database.execute(
        r#"UPDATE checkouts SET reservation = replace(reservation, '"schedule":"cron 0 2 * * * Europe/Berlin"',
               '"period_ms":null,"cron":"0 2 * * *","time_zone":"Europe/Berlin"')"#,
    );
    assert_eq!(database.count("checkouts WHERE reservation LIKE '%\"cron\":\"0 2 * * *\"%'"), 1);
    assert_eq!(
        database.text("SELECT cron FROM reservations WHERE component = 'nightly'"),
        Some("0 2 * * *".to_owned())
    );

    let store = database.connect();
    assert_eq!(store.migrate().unwrap().len(), newer);
    assert_eq!(store.look("often").spec.schedule, every(300).schedule.unwrap().0);
    assert_eq!(store.look("nightly").spec.schedule, cron);
    assert_eq!(
        (store.look("often").id, store.look("often").facts.fails),
        (often, 1),
        "what belongs to it is there"
    );
    assert_eq!(store.checkins_of(often, 10).unwrap().len(), 1);
    assert_eq!(store.undo_checkout(gone, at(3)).unwrap(), Undone::Done);
    assert_eq!(store.look("gone").spec.schedule, cron);
    assert!(store.book("new", &every(60)) > gone, "no number is given twice");
}

fn frequencies_of_before_become_a_part_of_the_schedule(database: &TestDatabase) {
    let store = database.store();
    let written = |count, unit| {
        let frequency = Frequency { count, unit };
        let schedule = Schedule::every(frequency.span()).unwrap();
        Patch { schedule: Some((schedule, Some(frequency))), ..Patch::default() }
    };
    let cron = (Schedule::cron("0 2 * * *", "Europe/Berlin").unwrap(), None);
    let patch = [
        ("seconds", written(90, TimeUnit::Seconds)),
        ("minutes", written(5, TimeUnit::Minutes)),
        ("hours", written(12, TimeUnit::Hours)),
        ("days", written(1, TimeUnit::Days)),
        ("pinged", every(5400)),
        ("nightly", Patch { schedule: Some(cron), ..Patch::default() }),
    ];
    for (name, patch) in &patch {
        store.book(name, patch);
    }
    let gone = store.book("gone", &patch[2].1);
    let broken = store.book("broken", &every(60));
    assert!(store.check_out(&app(SHOP), &component("gone"), at(2)).unwrap());
    // The state before the migration: the columns, their values, and what is kept of a check-out.
    let newer = back_before(database, "The schedule is one column");
    let kept = |name: &str, column: &str| {
        database.text(&format!("SELECT CAST({column} AS TEXT) FROM reservations WHERE component = '{name}'"))
    };
    let before =
        |name: &str| ["schedule", "period_ms", "frequency", "time_units"].map(|column| kept(name, column));
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(before("minutes"), [some("every 300s"), some("300000"), some("5"), some("minutes")]);
    assert_eq!(before("days"), [some("every 86400s"), some("86400000"), some("1"), some("days")]);
    assert_eq!(before("pinged"), [some("every 5400s"), some("5400000"), None, None]);
    assert_eq!(before("nightly"), [some("cron 0 2 * * * Europe/Berlin"), None, None, None]);
    // Older versions wrote this.
    database.execute("UPDATE reservations SET schedule = 'every 1h30m' WHERE component = 'pinged'");
    database.execute("UPDATE reservations SET schedule = 'now and then' WHERE component = 'broken'");
    database.execute(
        r#"UPDATE checkouts SET reservation = replace(reservation, '"schedule":"every 12 hours"',
               '"schedule":"every 12h","frequency":12,"time_units":"hours"')"#,
    );
    assert_eq!(database.count("checkouts WHERE reservation LIKE '%\"frequency\":12%'"), 1);

    let store = database.connect();
    assert_eq!(store.migrate().unwrap().len(), newer);
    let schedule = |name: &str| kept(name, "schedule").unwrap();
    assert_eq!(
        ["seconds", "minutes", "hours", "days", "pinged", "nightly", "broken"].map(schedule),
        [
            "every 90 seconds",
            "every 5 minutes",
            "every 12 hours",
            "every 1 days",
            "every 5400s",
            "cron 0 2 * * * Europe/Berlin",
            "now and then"
        ]
    );
    let said = |spec: &Spec| Some((spec.schedule.clone(), spec.frequency));
    for (name, patch) in &patch {
        assert_eq!(said(&store.look(name).spec), patch.schedule, "{name}");
    }
    assert_eq!(store.undo_checkout(gone, at(3)).unwrap(), Undone::Done);
    assert_eq!((store.look("gone").id, said(&store.look("gone").spec)), (gone, patch[2].1.schedule.clone()));
    assert!(store.book("new", &every(60)) > broken, "no number is given twice");
}

fn reservations_of_innkeepers_own_go_and_those_of_users_stay(database: &TestDatabase) {
    let store = database.store();
    let own = |duty: &str| Patch {
        owner: Some("Innkeeper".to_owned()),
        description: Some(format!("Whether a node does the work of {duty}")),
        ..every(60)
    };
    let inn = app("innkeeper");
    for (duty, patch) in
        [("ingest", own("ingest")), ("sweeper", own("sweeper")), ("web", every(60)), ("backup", every(60))]
    {
        store.reserve(&inn, &component(duty), &patch, at(0)).unwrap();
    }
    store.book("ingest", &own("ingest"));
    assert_eq!(store.pass(at(60)).opened, 5);
    store.snooze(&inn, &component("sweeper"), at(9000), SnoozeMode::Quiet, at(60)).unwrap();
    database.execute("INSERT INTO duties (name, beat_at) VALUES ('ingest', 1), ('sweeper', 1), ('web', 1)");
    let ours = migrations(database.kind()).into_iter().find(|(up, _)| up.contains("own_reservations"));
    let (up, down) = ours.unwrap();
    // That migration uses the names that the tables had then.
    let renamed =
        migrations(database.kind()).into_iter().find(|(up, _)| up.contains("RENAME TO lookup_keys")).unwrap();
    database.execute(&renamed.1);
    database.execute(&down);
    database.execute(&up);
    database.execute(&renamed.0);
    let left = database.texts("SELECT app || '/' || component FROM reservations ORDER BY 1");
    assert_eq!(left, ["innkeeper/backup", "innkeeper/web", "shop/ingest"]);
    let counts = ["alerts", "deliveries", "states"].map(|table| database.count(table));
    assert_eq!((counts, database.count("lookup_keys")), ([3; 3], 6));
    let snoozed = store.snoozed_duties(at(100)).unwrap();
    assert_eq!(snoozed.into_iter().collect::<Vec<_>>(), [("sweeper".to_owned(), at(9000))]);
}

fn what_a_node_of_an_older_version_makes_again_goes_again(database: &TestDatabase) {
    let store = database.store();
    let inn = app("innkeeper");
    let own = |duty: &str| Patch {
        owner: Some("Innkeeper".to_owned()),
        description: Some(format!("Whether a node does the work of {duty}")),
        ..every(60)
    };
    // What an older node does each minute for each of its duties.
    let older = |duties: &[&str], second| {
        let batch: Vec<Arrival> = duties
            .iter()
            .map(|duty| Arrival {
                target: Target::Names(inn.clone(), component(duty)),
                checkin: success(at(second)),
                definition: Definition::IfMissing(Box::new(own(duty))),
            })
            .collect();
        store.record(&batch);
        // An older node writes no audit entry.
        database.execute("DELETE FROM audit WHERE who = ''");
    };
    store.book("ingest", &own("ingest"));
    store.reserve(&inn, &component("backup"), &own("backup"), at(0)).unwrap();
    let ada = Actor { who: "user ada".to_owned(), source: "here".to_owned() };
    store.acting_as(ada).reserve(&inn, &component("web"), &own("web"), at(0)).unwrap();
    older(&["ingest", "sweeper", "web"], 0);
    assert_eq!(store.pass(at(120)).opened, 5);
    database.execute("INSERT INTO duties (name, beat_at) VALUES ('ingest', 1), ('sweeper', 1), ('web', 1)");
    store.snooze(&inn, &component("sweeper"), at(9000), SnoozeMode::Quiet, at(120)).unwrap();

    let removed = store.remove_own_reservations(at(121)).unwrap();
    assert_eq!(removed, ["innkeeper/ingest", "innkeeper/sweeper"]);
    let names = "SELECT app || '/' || component FROM reservations ORDER BY 1";
    assert_eq!(
        database.texts(names),
        ["innkeeper/backup", "innkeeper/web", "shop/ingest"],
        "users' own stay"
    );
    let counts = ["alerts", "deliveries", "states"].map(|table| database.count(table));
    assert_eq!((counts, database.count("lookup_keys")), ([3; 3], 6));
    let snoozed = store.snoozed_duties(at(121)).unwrap();
    assert_eq!(snoozed.into_iter().collect::<Vec<_>>(), [("sweeper".to_owned(), at(9000))]);

    older(&["sweeper"], 180);
    assert_eq!(
        store.remove_own_reservations(at(181)).unwrap(),
        ["innkeeper/sweeper"],
        "as often as it comes"
    );
    assert_eq!(store.snoozed_duties(at(181)).unwrap().len(), 1, "the snooze stays");
    assert_eq!(store.remove_own_reservations(at(182)).unwrap(), Vec::<String>::new());
    assert_eq!(store.pass(at(400)).opened, 0);
}

#[test]
fn both_databases_have_the_same_indexes() {
    let [sqlite, postgres] = TestDatabase::both();
    sqlite.store();
    postgres.store();
    let in_sqlite =
        sqlite.texts("SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL ORDER BY 1");
    let in_postgres = postgres.texts(
        "SELECT indexname FROM pg_indexes WHERE schemaname = 'public'
         AND indexname NOT LIKE '%_pkey' AND indexname NOT LIKE '%_key'
         AND indexname NOT LIKE 'reservations_by_part_of_%' ORDER BY 1",
    );
    assert_eq!(in_sqlite, in_postgres);
}

/// Name, type, and whether it may be NULL.
type Columns = Vec<(String, String, bool)>;
type Tables = BTreeMap<String, Columns>;

/// The tables as the database has them, types by their Postgres names.
fn tables(database: &TestDatabase) -> Tables {
    let columns = match database.kind() {
        DatabaseKind::Postgres => database.texts(
            "SELECT table_name || ' ' || column_name || ' ' || data_type || ' ' || is_nullable
             FROM information_schema.columns WHERE table_schema = 'public'
             ORDER BY table_name, ordinal_position",
        ),
        // In SQLite an integer primary key is the row number, which has 64 bits whatever its
        // declared type, and is never NULL.
        DatabaseKind::Sqlite => database.texts(
            "SELECT t.name || ' ' || c.name || ' '
                 || CASE WHEN c.pk > 0 AND c.type = 'INTEGER' THEN 'BIGINT' ELSE c.type END || ' '
                 || CASE WHEN c.\"notnull\" OR c.pk > 0 THEN 'NO' ELSE 'YES' END
             FROM sqlite_schema t, pragma_table_info(t.name) c
             WHERE t.type = 'table' AND t.name NOT LIKE 'sqlite_%'
             ORDER BY t.name, c.cid",
        ),
    };
    let mut tables = Tables::new();
    for column in columns {
        if column.starts_with("__diesel") {
            continue;
        }
        let column = column.replace("double precision", "double");
        let words: Vec<&str> = column.split(' ').collect();
        let [table, name, kind, nullable] = words[..] else { panic!("{column}") };
        let columns = tables.entry(table.to_owned()).or_default();
        columns.push((name.to_owned(), kind.to_uppercase(), nullable == "YES"));
    }
    tables
}

/// Undoes the migration whose text contains `words` and all after it; returns how many.
pub fn back_before(database: &TestDatabase, words: &str) -> usize {
    let migrations = migrations(database.kind());
    let first = migrations.iter().position(|(up, _)| up.contains(words)).unwrap();
    for (_, down) in migrations[first..].iter().rev() {
        database.execute(down);
    }
    let newer = migrations.len() - first;
    database.execute(&format!(
        "DELETE FROM __diesel_schema_migrations
         WHERE version IN (SELECT version FROM __diesel_schema_migrations ORDER BY version DESC LIMIT {newer})"
    ));
    newer
}

/// The texts of the migrations, up and down, in order.
fn migrations(kind: DatabaseKind) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations").join(kind.as_str());
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: &Path, name: &str| fs::read_to_string(path.join(name)).unwrap();
    paths.iter().map(|path| (read(path, "up.sql"), read(path, "down.sql"))).collect()
}

fn accounts_of_the_open_past_are_told_from_the_others(database: &TestDatabase) {
    database.store();
    let newer = back_before(database, "Accounts of the open past");
    // What older versions left: users with their time, and the audit log.
    for (id, name) in
        ["ada", "open", "promoted", "sent-a-link", "machine", "heir", "namesake"].iter().enumerate()
    {
        let (id, columns) = (id + 1, "name, role, password, created_at");
        database.execute(&format!(
            "INSERT INTO users ({columns}) VALUES ('{name}', 'admin', 'hash', {})",
            id * 1000
        ));
    }
    let log = [
        ("user root", "add user", "ada", 1000),
        ("anybody", "log in", "ada", 1500),
        ("anybody", "add user", "open", 2000),
        ("user root", "add user", "promoted", 3000),
        ("anybody", "change user", "promoted", 3500),
        ("command line", "make password link", "sent-a-link", 4000),
        ("anybody", "make password link", "sent-a-link", 4500),
        ("anybody", "add user", "machine", 5000),
        // About an earlier user of this name, who was removed.
        ("anybody", "add user", "namesake", 5500),
        ("command line", "make password link", "machine", 6000),
        // Actions of an admin who was made by an unnamed visitor are doubted as well.
        ("user open", "add user", "heir", 6500),
        ("user open", "make password link", "promoted", 7000),
    ];
    for (who, action, user, at) in log {
        database.execute(&format!(
            "INSERT INTO audit (at, who, source, action, subject, detail)
             VALUES ({at}, '{who}', '10.0.0.5', '{action}', 'user {user}', '')"
        ));
    }
    let tokens = [
        ("adas", "user ada", 8000),
        ("of-adas", "token adas", 8001),
        ("opens", "user open", 8002),
        ("anybodys", "anybody", 8003),
        ("of-anybodys", "token anybodys", 8004),
        ("machines", "command line", 8005),
        ("strangers", "user gone", 8006),
        // Made by an earlier user of this name.
        ("before", "user ada", 10),
    ];
    for (name, by, at) in tokens {
        database.execute(&format!(
            "INSERT INTO tokens (name, hash, scopes, apps, created_by, created_at)
             VALUES ('{name}', 'hash of {name}', 'manage', '[]', '{by}', {at})"
        ));
    }
    for user in [1, 2] {
        database.execute(&format!(
            "INSERT INTO invitations (hash, user_id, expires_at) VALUES ('{user}', {user}, 99999)"
        ));
    }
    for (subject, sharers) in
        [("ours", "user ada"), ("open", "anybody"), ("both", "anybody,user ada"), ("by-opens", "user open")]
    {
        database.execute(&format!(
            "INSERT INTO shares (key, shape, kind, subject, title, created_at)
             VALUES ('{subject}', 'page', 'app', '{subject}', '', 9000)"
        ));
        for who in sharers.split(',') {
            database.execute(&format!(
                "INSERT INTO audit (at, who, source, action, subject, detail)
                 VALUES (9000, '{who}', '', 'share', 'page of app {subject}', '')"
            ));
        }
    }
    let store = database.connect();
    assert_eq!(store.migrate().unwrap().len(), newer);
    store.doubt_the_open_past().unwrap();
    assert_eq!(
        database.texts("SELECT key FROM shares WHERE NOT confirmed ORDER BY key"),
        ["by-opens", "open"]
    );
    let users: Vec<String> =
        store.users().unwrap().into_iter().filter(|user| !user.confirmed).map(|user| user.name).collect();
    assert_eq!(users, ["heir", "machine", "open", "promoted", "sent-a-link"]);
    let tokens: Vec<(String, Option<String>, bool)> =
        store.tokens().unwrap().into_iter().map(|token| (token.name, token.owner, token.confirmed)).collect();
    let token = |name: &str, owner: &str, confirmed| {
        (name.to_owned(), (!owner.is_empty()).then(|| owner.to_owned()), confirmed)
    };
    assert_eq!(
        tokens,
        [
            token("adas", "ada", true),
            token("anybodys", "", false),
            token("before", "", true),
            token("machines", "", true),
            token("of-adas", "ada", true),
            token("of-anybodys", "", false),
            token("opens", "open", false),
            token("strangers", "", true),
        ]
    );
    assert_eq!(
        database.texts("SELECT hash FROM invitations"),
        ["1"],
        "links to them may be in anybody's hands"
    );
}
