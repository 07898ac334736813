//! Generates hundreds of thousands of reservations in SQL: `job-0`, `job-1`, … of the app `bench`, each with a period
//! of five minutes and a grace of one minute. The id of `job-N` is N + 1. Their keys are in no order, like random
//! ones.

use sha2::{Digest, Sha256};

/// Number of reservations, from the first, that notify the webhook `hook`.
pub const WITH_HOOK: u64 = 50_000;
/// The period of each reservation, in ms.
pub const PERIOD_MS: i64 = 300_000;
/// The grace of each reservation, in ms.
pub const GRACE_MS: i64 = 60_000;

const COLUMNS: &str =
    "key, app, component, slug, owner, description, tags, notify, alerters, alert_msg, schedule,
    grace_ms, alert_after, notify_recovery, is_site, created_at, updated_at";

/// The columns of the `n`th reservation, beginning with its key.
fn columns(now: i64) -> String {
    format!(
        "'bench', 'job-' || n, 'job-' || n, 'ops', 'a job of the benchmark', '[]',
         CASE WHEN n < {WITH_HOOK} THEN 'hook' ELSE '' END, '[]', '', 'every 5 minutes', {GRACE_MS}, 1, TRUE,
         FALSE, {now} - 86400000, {now}"
    )
}

pub fn postgres_reservations(count: u64, now: i64) -> String {
    format!(
        "INSERT INTO reservations ({COLUMNS})
         SELECT lpad(to_hex(n * 2654435761 % 4294967296), 8, '0') || '-0000-4000-8000-' || lpad(to_hex(n), 12, '0'), {}
         FROM generate_series(0, {count}::bigint - 1) n;",
        columns(now)
    )
}

/// The lookup key of a reservation's names: the first half of the SHA-256 of both with a zero byte between.
const NAMES_KEY: &str =
    "encode(substring(sha256(convert_to(app, 'UTF8') || '\\x00'::bytea || convert_to(component, 'UTF8')) FOR 16),
            'hex')::uuid";

/// The lookup keys of every reservation.
pub fn postgres_lookup_keys() -> [String; 2] {
    ["key::uuid", NAMES_KEY].map(|lookup_key| {
        format!("INSERT INTO lookup_keys (lookup_key, reservation_id) SELECT {lookup_key}, id FROM reservations ORDER BY 1")
    })
}

/// The lookup keys and the states for SQLite, which has no SHA-256, for the jobs with these numbers.
pub fn sqlite_lookup_keys_and_states(jobs: std::ops::Range<u64>, now: i64, wake_from: i64) -> String {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let rows: Vec<String> = jobs
        .map(|n| {
            let names = Sha256::digest(format!("bench\0job-{n}"));
            let key = format!("{:08x}00004000800{n:013x}", n * 2_654_435_761 % 4_294_967_296);
            format!("({}, x'{}', x'{key}')", n + 1, hex(&names[..16]))
        })
        .collect();
    format!(
        "CREATE TEMP TABLE made AS WITH made (id, names, key) AS (VALUES {}) SELECT * FROM made;
         INSERT INTO lookup_keys (lookup_key, reservation_id) SELECT names, id FROM made UNION ALL SELECT key, id FROM made;
         {}
         DROP TABLE made;",
        rows.join(","),
        states("names", "key", "made", now, wake_from)
    )
}

pub fn sqlite_reservations(count: u64, now: i64) -> String {
    format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < {count})
         INSERT INTO reservations ({COLUMNS})
         SELECT printf('%08x-0000-4000-8000-%012x', n * 2654435761 % 4294967296, n), {}
         FROM numbers;",
        columns(now)
    )
}

pub fn postgres_states(now: i64, wake_from: i64) -> String {
    states(NAMES_KEY, "key::uuid", "reservations", now, wake_from)
}

/// A state for each row of `table`: up, last checked in at `now`, with wakes spread over a period after `wake_from`.
fn states(names_key: &str, ping_key: &str, table: &str, now: i64, wake_from: i64) -> String {
    format!(
        "INSERT INTO states (reservation_id, last_checkin_at, last_seen_at, last_source, checkins, checkins_seen, status,
             wake_at, eager, names_key, ping_key)
         SELECT id, {now}, {now}, '127.0.0.1', 1, 1, 'up', {wake_from} + id * 7919 % {PERIOD_MS}, FALSE, {names_key},
             {ping_key}
         FROM {table}
         ORDER BY id;"
    )
}
