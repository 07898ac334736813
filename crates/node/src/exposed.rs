//! Access of others to the database: logged at the start and shown by `check-config`, never a reason to refuse to run.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use innkeeper_alerter::is_loopback;
use innkeeper_store::{DatabaseUrl, PostgresUrl};

use crate::Config;
use crate::config::DatabasePlace;
use crate::config::postgres_tls::{self, Parameters};

const READ_BY_OTHERS: u32 = 0o004;
const WRITTEN_BY_OTHERS: u32 = 0o002;
const WRITTEN_BY_GROUP: u32 = 0o020;
/// The sticky bit: in such a directory only the owner of a file may remove it.
const STICKY: u32 = 0o1000;

/// A line for each way in which others can reach the database.
pub(crate) fn find(config: &Config) -> Vec<String> {
    lines(config, true)
}

/// Like [`find`], without what the operator has chosen explicitly, such as an `sslmode` in the URL.
pub(crate) fn unanswered(config: &Config) -> Vec<String> {
    lines(config, false)
}

fn lines(config: &Config, with_chosen: bool) -> Vec<String> {
    let mut lines: Vec<String> = directory(&config.data_dir).into_iter().collect();
    match &config.database.kind {
        DatabasePlace::Sqlite { path } => {
            lines.extend(files(path));
            if let Some(above) = path.parent() {
                lines.extend(directory(above).filter(|line| !lines.contains(line)));
            }
        }
        DatabasePlace::Postgres => {
            let address = match config.database.address() {
                Some(DatabaseUrl::Postgres(url)) => Some(url),
                _ => None,
            };
            let found = address.and_then(|url| unverified(url, |name| std::env::var(name).ok()));
            lines.extend(found.filter(|found| with_chosen || !found.is_chosen).map(|found| found.what));
        }
    }
    lines
}

/// The problem with a directory in which others can change or replace files.
fn directory(path: &Path) -> Option<String> {
    // A missing directory will be created for its owner only, inside the nearest one that exists.
    let there = path.ancestors().find_map(|above| above.canonicalize().ok())?;
    let mode = |directory: &Path| fs::metadata(directory).ok().map(|found| found.mode());
    let found = there.ancestors().find(|above| {
        let is_written = mode(above).is_some_and(|mode| {
            // Despite the sticky bit others can add files, such as a journal that SQLite would replay.
            mode & WRITTEN_BY_OTHERS != 0 && (mode & STICKY == 0 || *above == there && path.exists())
        });
        is_written && above.ancestors().all(|way| mode(way).is_some_and(|mode| mode & 0o001 != 0))
    })?;
    Some(format!(
        "every user of this machine can put files of their own in the place of Innkeeper's, the database among them, since the \
         directory {} can be written by all (mode {:04o}); chmod o-w it, or choose another data_dir",
        found.display(),
        mode(found).unwrap_or_default() & 0o7777
    ))
}

/// The problems with the modes of the file and of the files beside it that belong to it.
fn files(path: &Path) -> Vec<String> {
    // For a symbolic link, its target counts. A missing file will be created for its owner only.
    let Ok(path) = path.canonicalize() else { return Vec::new() };
    let beside = ["", "-wal", "-shm"].map(|end| {
        let mut name = OsString::from(&path);
        name.push(end);
        PathBuf::from(name)
    });
    let is_open = |bits: u32| {
        path.ancestors().skip(1).all(|above| fs::metadata(above).is_ok_and(|found| found.mode() & bits != 0))
    };
    // A file is out of reach if a directory above it cannot be entered.
    let (to_others, to_group) = (is_open(0o001), is_open(0o011));
    beside.iter().filter_map(|file| wrong(file, to_others, to_group)).collect()
}

fn wrong(file: &Path, to_others: bool, to_group: bool) -> Option<String> {
    let mode = fs::metadata(file).ok()?.mode();
    let who = if to_others && mode & WRITTEN_BY_OTHERS != 0 {
        "written by every user of this machine"
    } else if to_others && mode & READ_BY_OTHERS != 0 {
        "read by every user of this machine"
    } else if to_group && mode & WRITTEN_BY_GROUP != 0 {
        "written by its whole group"
    } else {
        return None;
    };
    Some(format!(
        "the database file {0} can be {who} (mode {1:04o}), with all addresses at which jobs check in; chmod 600 it",
        file.display(),
        mode & 0o7777
    ))
}

/// A connection to a remote Postgres server that does not verify the server, so that a man in the middle could take
/// it.
struct Unverified {
    what: String,
    /// Whether the mode was chosen explicitly.
    is_chosen: bool,
}

fn unverified(url: &PostgresUrl, environment: impl Fn(&str) -> Option<String>) -> Option<Unverified> {
    let parameters = Parameters::of(url, environment);
    // A service file may set any parameter.
    if parameters.get("service", "PGSERVICE").is_some() {
        return None;
    }
    let written: Vec<String> = url.hosts().into_iter().filter(|host| !host.is_empty()).collect();
    let hosts = match (parameters.get("hostaddr", "PGHOSTADDR"), written.is_empty()) {
        (Some(addresses), _) => listed(&addresses),
        (None, true) => parameters.get("host", "PGHOST").map(|hosts| listed(&hosts)).unwrap_or_default(),
        (None, false) => written,
    };
    let elsewhere = hosts.into_iter().find(|host| !host.starts_with(['/', '@']) && !is_loopback(host))?;
    let is_chosen = parameters.chosen_mode().is_some();
    let mode = parameters.mode();
    // libpq treats `require` together with a root certificate as `verify-ca`, for backward compatibility.
    let is_verified = matches!(mode.as_str(), "verify-full" | "verify-ca")
        || (mode == "require" && parameters.authority().is_some());
    let without = if postgres_tls::IS_BUILT_IN {
        String::new()
    } else {
        format!(" This program was built without TLS for Postgres: {}.", postgres_tls::HOW_TO_GET_IT)
    };
    let what = format!(
        "the database at {elsewhere} is not asked who it is (sslmode={mode}): whoever stands between can read all that is \
         written, and answer in its place. Add ?sslmode=verify-full&sslrootcert=FILE to database.url, FILE being the \
         certificate of the authority that issued its own, or system; or, where the way there is yours alone, an sslmode of \
         your choice, as ?sslmode=disable.{without}"
    );
    (!is_verified).then_some(Unverified { what, is_chosen })
}

fn listed(hosts: &str) -> Vec<String> {
    hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_that_others_get_at_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("inn.db");
        let set =
            |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(files(&file), Vec::<String>::new(), "there is none yet");
        fs::write(&file, "").unwrap();
        for (above, mode, said) in [
            (0o755, 0o600, ""),
            (0o755, 0o640, ""),
            (0o755, 0o644, "can be read by every user of this machine (mode 0644)"),
            (0o755, 0o660, "can be written by its whole group (mode 0660)"),
            (0o755, 0o666, "can be written by every user of this machine (mode 0666)"),
            (0o777, 0o600, ""),
            // The directory is closed to others.
            (0o700, 0o644, ""),
            (0o700, 0o666, ""),
            (0o750, 0o644, ""),
            (0o750, 0o664, "can be written by its whole group"),
        ] {
            set(&file, mode);
            set(directory.path(), above);
            let found = files(&file).join("\n");
            assert_eq!(found.is_empty(), said.is_empty(), "{above:o} {mode:o}: {found}");
            assert!(found.contains(said), "{above:o} {mode:o}: {found}");
        }
        set(directory.path(), 0o755);
        set(&file, 0o600);
        let log = directory.path().join("inn.db-wal");
        fs::write(&log, "").unwrap();
        set(&log, 0o644);
        assert!(files(&file).join("\n").contains("inn.db-wal can be read"));
        let link = directory.path().join("link.db");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        set(&file, 0o644);
        assert!(files(&link)[0].contains("inn.db can be read"));
    }

    #[test]
    fn a_directory_that_others_can_write_is_told_with_or_without_a_database() {
        let outer = tempfile::tempdir().unwrap();
        let data = outer.path().join("data");
        let set =
            |path: &Path, mode: u32| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(outer.path(), 0o755);
        assert_eq!(directory(&data), None, "it will be made");
        set(outer.path(), 0o777);
        assert!(directory(&data).unwrap().contains("(mode 0777)"), "in this one");
        set(outer.path(), 0o1777);
        assert_eq!(directory(&data), None, "who has made it keeps it");
        fs::create_dir(&data).unwrap();
        for (above, mode, said) in [
            (0o755, 0o700, ""),
            (0o755, 0o755, ""),
            (0o755, 0o775, ""),
            (0o755, 0o777, "data can be written by all (mode 0777); chmod o-w it"),
            (0o755, 0o1777, "data can be written by all (mode 1777)"),
            (0o1777, 0o700, ""),
            // Others can replace the file.
            (0o777, 0o700, "can be written by all (mode 0777)"),
            // The directory is closed to others.
            (0o700, 0o777, ""),
            (0o755, 0o776, ""),
        ] {
            set(outer.path(), above);
            set(&data, mode);
            let found = directory(&data).unwrap_or_default();
            assert_eq!(found.is_empty(), said.is_empty(), "{above:o} {mode:o}: {found}");
            assert!(found.contains(said), "{above:o} {mode:o}: {found}");
        }
        set(outer.path(), 0o755);
        let link = outer.path().join("link");
        std::os::unix::fs::symlink(&data, &link).unwrap();
        set(&data, 0o777);
        assert!(directory(&link).unwrap().contains("/data can be"));
    }

    #[test]
    fn a_postgres_elsewhere_is_asked_who_it_is() {
        let found = |url: &str, variables: &[(&str, &str)]| {
            let Ok(DatabaseUrl::Postgres(url)) = DatabaseUrl::parse(url) else { panic!("{url}") };
            unverified(&url, |name| {
                let found = variables.iter().find(|(variable, _)| *variable == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        let told =
            |url: &str, variables: &[(&str, &str)]| found(url, variables).map(|unverified| unverified.what);
        // An explicit choice is respected.
        for mode in ["disable", "allow", "prefer", "require"] {
            assert!(found(&format!("postgres://db/inn?sslmode={mode}"), &[]).unwrap().is_chosen, "{mode}");
            assert!(found("postgres://db/inn", &[("PGSSLMODE", mode)]).unwrap().is_chosen, "{mode}");
        }
        for url in ["postgres://db/inn", "postgres://db/inn?sslmode=", "postgres://db/inn?ssl=true"] {
            assert!(!found(url, &[]).unwrap().is_chosen, "{url}");
        }
        for url in [
            "postgres://inn@localhost/inn",
            "postgres://inn@127.0.0.1:5432/inn",
            "postgres://inn@[::1]:5432/inn",
            "postgres://inn@%2Frun%2Fpostgresql/inn",
            "postgres:///inn?host=/run/postgresql",
            "postgres://inn:pw@db/inn?sslmode=verify-full&sslrootcert=/etc/ca.pem",
            "postgres://inn:pw@db/inn?sslmode=verify-ca",
            "postgres://inn:pw@db/inn?sslrootcert=system",
            "postgres://inn:pw@db/inn?sslmode=require&sslrootcert=/etc/ca.pem",
            "postgres://inn:pw@db/inn?service=inn",
        ] {
            assert_eq!(told(url, &[]), None, "{url}");
        }
        for (url, named) in [
            (
                "postgres://inn:hunter2@db.example.org/inn",
                "db.example.org is not asked who it is (sslmode=prefer)",
            ),
            (
                "postgres://inn:hunter2@10.0.0.1:5432/inn?sslmode=disable",
                "10.0.0.1 is not asked who it is (sslmode=disable)",
            ),
            ("postgres://inn:hunter2@db/inn?sslmode=require", "(sslmode=require)"),
            ("postgres://inn:hunter2@db/inn?ssl=true", "(sslmode=require)"),
            ("postgres://inn:hunter2@localhost,db2:5433/inn", "db2 is"),
            ("postgres://inn:hunter2@[2001:db8::1]:5432/inn", "2001:db8::1 is"),
            ("postgres:///inn?host=db3&password=hunter2", "db3 is"),
            ("postgres://inn@localhost/inn?hostaddr=10.0.0.7", "10.0.0.7 is"),
        ] {
            let said = told(url, &[]).unwrap_or_else(|| panic!("{url}"));
            assert!(said.contains(named) && !said.contains("hunter2"), "{url}: {said}");
        }
        assert_eq!(told("postgres://db/inn", &[("PGSSLMODE", "verify-full")]), None);
        assert!(told("postgres:///inn", &[("PGHOST", "db4")]).unwrap().contains("db4"));
    }
}
