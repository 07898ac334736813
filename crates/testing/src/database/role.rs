//! A Postgres role whose permissions a test can revoke and grant.

use diesel::PgConnection;
use diesel::connection::{Connection as _, SimpleConnection as _};
use uuid::Uuid;

use super::TestDatabase;

/// A role that may read and write every table until a test revokes a permission. Dropped before the database is.
pub struct DatabaseRole<'a> {
    database: &'a TestDatabase,
    name: String,
}

impl TestDatabase {
    /// Creates a role. The tables must exist. Only for Postgres.
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
    /// The database's URL for this role.
    pub fn url(&self) -> String {
        let (_, place) = self.database.url().split_once('@').expect("an address with a user");
        format!("postgres://{}@{place}", self.name)
    }

    /// Revokes a permission, such as `INSERT ON checkins`.
    pub fn revoke(&self, right: &str) {
        self.database.execute(&format!("REVOKE {right} FROM {}", self.name));
    }

    /// Grants a permission.
    pub fn grant(&self, right: &str) {
        self.database.execute(&format!("GRANT {right} TO {}", self.name));
    }
}

impl Drop for DatabaseRole<'_> {
    fn drop(&mut self) {
        // No panic here, because it would hide the panic that ended the test.
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
