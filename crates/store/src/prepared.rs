//! Statements in SQL that a connection parses and plans once.
//!
//! `diesel::sql_query` has the database parse and plan a statement each time, which costs as much as writing a dozen
//! rows. The text of a [`Prepared`] never changes, so the connection keeps its plan.

use diesel::backend::Backend;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::Untyped;

/// A statement: its text up to its values, the values (a tuple of `value.into_sql::<Type>()`, which become a list with
/// commas), and its text after them.
pub(crate) struct Prepared<V> {
    before: &'static str,
    values: V,
    after: &'static str,
}

/// Makes a statement; see [`Prepared`].
pub(crate) fn prepared<V>(before: &'static str, values: V, after: &'static str) -> Prepared<V> {
    Prepared { before, values, after }
}

// Its text is its identity.
impl<V> QueryId for Prepared<V> {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl<V> Query for Prepared<V> {
    type SqlType = Untyped;
}

impl<V, C> RunQueryDsl<C> for Prepared<V> {}

impl<DB: Backend, V: QueryFragment<DB>> QueryFragment<DB> for Prepared<V> {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, DB>) -> QueryResult<()> {
        out.push_sql(self.before);
        self.values.walk_ast(out.reborrow())?;
        out.push_sql(self.after);
        Ok(())
    }
}
