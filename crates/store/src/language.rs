//! The language of Postgres' error messages.
//!
//! diesel names the kind of an error for few codes (SQLSTATE) and hands out no code. The other
//! errors are told apart by their messages, which the server translates as `lc_messages` says.
//! Therefore each session asks for English. A superuser may set `lc_messages`; any other role needs
//! a grant. Without the grant, on a server that speaks another language, the operator is told.

use diesel::connection::SimpleConnection as _;
use diesel::{PgConnection, QueryResult, RunQueryDsl, sql_query, sql_types};

use crate::connection::AnyConnection;
use crate::{Store, StoreError};

/// Makes this session answer in English, where its role may choose. A refusal is caught: it ends
/// nothing and is not logged by the server.
const ASK_FOR_ENGLISH: &str = "DO $$ BEGIN
         PERFORM set_config('lc_messages', 'C', false);
     EXCEPTION WHEN insufficient_privilege THEN NULL;
     END $$";
/// Provokes an error, catches it, and keeps the server's message in a setting.
const SAY_SOMETHING: &str = "DO $$ BEGIN
         PERFORM 1 / 0;
     EXCEPTION WHEN division_by_zero THEN PERFORM set_config('innkeeper.said', SQLERRM, true);
     END $$";
const IN_ENGLISH: &str = "division by zero";

/// Asks the server of a new session for English.
pub(crate) fn ask_for_english(connection: &mut PgConnection) -> QueryResult<()> {
    connection.batch_execute(ASK_FOR_ENGLISH)
}

#[derive(diesel::QueryableByName)]
struct Said {
    #[diesel(sql_type = sql_types::Text)]
    said: String,
}

impl Store {
    /// What Postgres says where it should say "division by zero"; none where it speaks English.
    ///
    /// # Errors
    /// A `StoreError` when the database cannot be reached, or refuses the statement.
    pub fn other_language(&self) -> Result<Option<String>, StoreError> {
        let AnyConnection::Postgres(connection) = &mut *self.get()? else { return Ok(None) };
        let said = diesel::Connection::transaction(connection, |connection| {
            connection.batch_execute(SAY_SOMETHING)?;
            sql_query("SELECT current_setting('innkeeper.said') AS said").get_result::<Said>(connection)
        })?;
        Ok(Some(said.said).filter(|said| said != IN_ENGLISH))
    }
}
