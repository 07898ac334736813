//! The cost of one sweep for the database when nothing is due.

use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::http::Ask;
use crate::load::{Background, LoadPlan};
use crate::table::{Row, commas, median};
use crate::world::World;
use crate::world::database::Database;
use crate::world::roles::Roles;

/// The two queries of a sweep, as `store/src/sweep/` makes them. Their time is just before the earliest one that is
/// due.
const QUESTIONS: [(&str, &str); 2] = [
    ("next", "SELECT wake_at FROM states WHERE wake_at >= $from ORDER BY wake_at LIMIT 1"),
    (
        "claim",
        "SELECT reservation_id FROM states WHERE wake_at >= $from AND wake_at <= $now ORDER BY wake_at LIMIT 500
         FOR UPDATE SKIP LOCKED",
    ),
];
/// Longest distance in ms between the present and the time from which a sweep reads: `sweeper/src/watch.rs`.
const BEHIND: i64 = 2000;

/// Runs both queries after some ordinary work, because dead entries in the index affect them.
pub fn one_look_with_nothing_due(world: &mut World) -> Result<Vec<Row>> {
    let work = world.conditions.pick(60, 10, 2);
    let rate = world.conditions.rate_on_time(world.conditions.reservations);
    let database = world.many()?;
    database.begin(0)?;
    work_for(database, rate, Duration::from_secs(work))?;
    let now: i64 = database.text("SELECT MIN(wake_at) - 1 FROM states")?.parse()?;
    let look = Look::at(database, now - BEHIND, now)?;
    let whole = Look::at(database, i64::MIN, now)?;
    let row = Row::new("one look with nothing due", format!("{:.3} ms ({})", look.took_ms, look.words))
        .at_most(look.took_ms, 1.0, " ms, an index range")
        .under(format!(
            "{} reservations, after {work} s of on-time check-ins; planning and execution, median of 5; {}; the one look a second at the whole index: {:.3} ms ({})",
            commas(database.reservations() as f64),
            look.shapes,
            whole.took_ms,
            whole.words
        ))
        .held_by(
            "two statements, some twenty pages of one index each, planning included; 0.9 ms in a quiet hour. One statement for both \
             would save half, and lock what it only asks for.",
        )
        .with("pages", look.pages)
        .with("whole_ms", whole.took_ms);
    Ok(vec![if look.only_ranges && whole.only_ranges { row } else { row.missed() }])
}

/// The results of both queries for one starting time.
struct Look {
    took_ms: f64,
    pages: f64,
    only_ranges: bool,
    words: String,
    shapes: String,
}

impl Look {
    fn at(database: &Database, from: i64, now: i64) -> Result<Self> {
        let (mut took_ms, mut pages, mut only_ranges) = (0.0, 0.0, true);
        let (mut words, mut shapes) = (Vec::new(), Vec::new());
        for (name, sql) in QUESTIONS {
            // In quotes, because the smallest BIGINT is not a valid literal.
            let sql = sql.replace("$from", &format!("'{from}'")).replace("$now", &now.to_string());
            let plans = (0..5).map(|_| explain(database, &sql)).collect::<Result<Vec<_>>>()?;
            let took = median(plans.iter().map(|plan| plan.took_ms));
            let read = median(plans.iter().map(|plan| plan.pages));
            only_ranges &= plans.iter().all(|plan| plan.is_index_range);
            words.push(format!("{name} {took:.3} ms, {read:.0} pages"));
            shapes.extend(plans.first().map(|plan| format!("{name}: {}", plan.nodes)));
            took_ms += took;
            pages += read;
        }
        Ok(Self { took_ms, pages, only_ranges, words: words.join("; "), shapes: shapes.join("; ") })
    }
}

/// Runs the programs under ordinary load and stops them.
fn work_for(database: &Database, rate: f64, lasts: Duration) -> Result<()> {
    let roles = Roles::start(database, "")?;
    let load = Background::start(LoadPlan {
        address: roles.ingest.address()?,
        connections: 32,
        rate: Some(rate),
        most: None,
        lasts: None,
        jobs: 0..database.reservations(),
        ask: Ask::CheckIn,
    });
    std::thread::sleep(lasts);
    load.finish()?.all_acknowledged()
}

struct Explained {
    took_ms: f64,
    pages: f64,
    is_index_range: bool,
    nodes: String,
}

fn explain(database: &Database, sql: &str) -> Result<Explained> {
    let text = database.text(&format!("EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {sql}"))?;
    let explained: Value = serde_json::from_str(&text)?;
    let number =
        |value: &Value, name: &str| value[name].as_f64().with_context(|| format!("no {name} in {text}"));
    let explained = &explained[0];
    let plan = &explained["Plan"];
    Ok(Explained {
        took_ms: number(explained, "Planning Time")? + number(explained, "Execution Time")?,
        pages: number(plan, "Shared Hit Blocks")? + number(plan, "Shared Read Blocks")?,
        is_index_range: reads_only_the_index(plan),
        nodes: nodes(plan),
    })
}

/// The nodes of the plan, outermost first: `Limit, LockRows, Index Scan`.
fn nodes(node: &Value) -> String {
    let mut words = vec![node["Node Type"].as_str().unwrap_or("?").to_owned()];
    words.extend(node["Plans"].as_array().into_iter().flatten().map(nodes));
    words.join(", ")
}

/// Whether every node that reads the table uses the index of `wake_at`.
fn reads_only_the_index(node: &Value) -> bool {
    // A bitmap heap scan reads only the rows that the index scan below it has found.
    let reads =
        node["Node Type"].as_str().is_some_and(|kind| kind.contains("Scan") && kind != "Bitmap Heap Scan");
    let by_index = node["Index Name"].as_str().is_some_and(|index| index.contains("wake_at"));
    let below = node["Plans"].as_array().is_none_or(|plans| plans.iter().all(reads_only_the_index));
    (!reads || by_index) && below
}
