//! Records the store's statements on SQLite, and explains their query plans. Connections to
//! Postgres have a listener of their own.

use std::cell::RefCell;

use diesel::connection::{Instrumentation, InstrumentationEvent, set_default_instrumentation};
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::Text;
use innkeeper_testing::database::TestDatabase;

thread_local! {
    static ASKED: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
}

fn listener() -> Option<Box<dyn Instrumentation>> {
    Some(Box::new(|event: InstrumentationEvent<'_>| {
        if let InstrumentationEvent::StartQuery { query, .. } = event {
            ASKED.with_borrow_mut(|asked| asked.iter_mut().for_each(|asked| asked.push(query.to_string())));
        }
    }))
}

/// Makes connections that are opened from now on record their statements.
pub fn listen() {
    set_default_instrumentation(listener).unwrap();
}

/// The statements that `work` runs on this thread, on connections that were opened after [`listen`].
pub fn asked(work: impl FnOnce()) -> Vec<String> {
    ASKED.set(Some(Vec::new()));
    work();
    ASKED.take().unwrap()
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    detail: String,
}

/// The steps of SQLite's query plans for those of `statements` that contain the word `about`.
pub fn plans(database: &TestDatabase, statements: &[String], about: &str) -> Vec<String> {
    let path = database.url().strip_prefix("sqlite://").unwrap();
    let mut connection = SqliteConnection::establish(path).unwrap();
    let mut plans = Vec::new();
    for statement in statements.iter().filter(|statement| statement.contains(about)) {
        let sql = statement.split("-- binds").next().unwrap_or_default();
        let steps: Vec<Step> = sql_query(format!("EXPLAIN QUERY PLAN {sql}")).load(&mut connection).unwrap();
        plans.extend(steps.into_iter().map(|step| step.detail));
    }
    assert!(!plans.is_empty(), "nothing is asked about {about}: {statements:?}");
    plans
}
