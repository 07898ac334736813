//! A real PgBouncer in transaction mode in front of a Postgres server.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diesel::connection::Connection;
use diesel::sql_types::Text;
use diesel::{PgConnection, QueryableByName, RunQueryDsl, sql_query};
use tempfile::TempDir;

/// The program's path in Debian.
const PROGRAM: &str = "/usr/sbin/pgbouncer";

/// The pooler. Stopped when dropped.
pub struct PgBouncer {
    child: Child,
    directory: TempDir,
    database: String,
}

impl PgBouncer {
    /// Starts a pooler with `pool_size` connections to the database of `url`, whose server must listen on a Unix
    /// socket, as those of tests do.
    pub fn before(url: &str, pool_size: u32) -> Self {
        let (_, rest) = url.split_once('@').expect("an address with a user");
        let (host, database) = rest.split_once('/').expect("an address with a database");
        let server = host.replace("%2F", "/").replace("%2f", "/");
        let directory = TempDir::with_prefix("ik").expect("a temporary directory");
        let place = directory.path().display();
        let config = format!(
            "[databases]\n* = host={server} port=5432\n[pgbouncer]\nlisten_addr =\nlisten_port = 6432\nunix_socket_dir = {place}\n\
             auth_type = trust\nauth_file = {place}/users\npool_mode = transaction\ndefault_pool_size = {pool_size}\n\
             max_client_conn = 200\nlogfile = {place}/log\n"
        );
        let write = |name: &str, text: &str| {
            std::fs::write(directory.path().join(name), text).expect("it can be written");
        };
        write("ini", &config);
        write("users", "\"innkeeper\" \"\"\n");
        let mut command = match crate::cluster::is_root() {
            // PgBouncer refuses to run as root.
            true => {
                let owned = Command::new("chown").args(["-R", "nobody", &place.to_string()]).status();
                assert!(owned.is_ok_and(|status| status.success()), "chown");
                let mut command = Command::new("setpriv");
                command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", PROGRAM]);
                command
            }
            false => Command::new(PROGRAM),
        };
        let child = command
            .args(["-q", &format!("{place}/ini")])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{PROGRAM}: {error}; scripts/test installs it"));
        let bouncer = Self { child, database: database.to_owned(), directory };
        let end = Instant::now() + Duration::from_secs(20);
        while let Err(error) = PgConnection::establish(&bouncer.url()) {
            let log = std::fs::read_to_string(bouncer.directory.path().join("log")).unwrap_or_default();
            assert!(Instant::now() < end, "{PROGRAM} does not answer: {error}\n{log}");
            std::thread::sleep(Duration::from_millis(50));
        }
        bouncer
    }

    /// The database's URL through the pooler.
    pub fn url(&self) -> String {
        let place = self.directory.path().display().to_string().replace('/', "%2F");
        format!("postgres://innkeeper@{place}:6432/{}", self.database)
    }

    /// Runs `sql` through the pooler and returns the text in the first row and column.
    pub fn text(&self, sql: &str) -> String {
        let mut connection = PgConnection::establish(&self.url()).expect("it answers");
        let found: Found = sql_query(format!(
            "WITH found (value) AS ({sql}) SELECT CAST(value AS TEXT) AS value FROM found"
        ))
        .get_result(&mut connection)
        .unwrap_or_else(|error| panic!("{error}, in: {sql}"));
        found.value
    }
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Text)]
    value: String,
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
