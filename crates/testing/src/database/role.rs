//! Another role of the Postgres server, whose rights a test takes away and gives back.

use diesel::PgConnection;
use diesel::connection::{Connection as _, SimpleConnection as _};
use uuid::Uuid;

use super::TestDatabase;

/// May read and write every table of the database until a test revokes something. Gone when dropped, before the database is.
pub struct DatabaseRole<'a> {
    database: &'a TestDatabase,
    name: String,
}

impl TestDatabase {
    /// A role of its own; the tables have to be there. Postgres alone has roles.
    pub fn role(&self) -> DatabaseRole<'_> {
        let name = format!("innkeeper_test_{}", Uuid::new_v4().simple());
        self.execute(&format!(
            "CREATE ROLE {name} LOGIN;
             GRANT USAGE, CREATE ON SCHEMA public TO {name};
             GRANT ALL ON ALL TABLES IN SCHEMA public TO {name};
             GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}"
        ));
        DatabaseRole { database: self, name }
    }
}

impl DatabaseRole<'_> {
    /// The database's address for this role.
    pub fn url(&self) -> String {
        let (_, place) = self.database.url().split_once('@').expect("an address with a user");
        format!("postgres://{}@{place}", self.name)
    }

    /// Takes a right away: `INSERT ON checkins`.
    pub fn revoke(&self, right: &str) {
        self.database.execute(&format!("REVOKE {right} FROM {}", self.name));
    }

    /// Gives it back.
    pub fn grant(&self, right: &str) {
        self.database.execute(&format!("GRANT {right} TO {}", self.name));
    }
}

impl Drop for DatabaseRole<'_> {
    fn drop(&mut self) {
        // No panic here: it would hide the one that ended the test.
        let gone = PgConnection::establish(self.database.url()).map_err(|error| error.to_string()).and_then(
            |mut connection| {
                let all = format!("DROP OWNED BY {0}; DROP ROLE {0}", self.name);
                connection.batch_execute(&all).map_err(|error| error.to_string())
            },
        );
        if let Err(error) = gone {
            eprintln!("the role {} stays: {error}", self.name);
        }
    }
}
