//! Checks that the loader fills the same tables as the store does for a new reservation.

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_store::{Actor, Reserved, Store};

/// Fails if the loaded reservation 1 has another number of rows than a new one in any of `tables`, which must be
/// those that refer to reservations. `number` runs SQL.
pub fn resembles(store: &Store, tables: &[String], number: impl Fn(&str) -> Result<f64>) -> Result<()> {
    ensure!(!tables.is_empty(), "no table refers to reservations");
    let app = AppName::parse("bench")?;
    let component = ComponentName::parse("sample")?;
    let schedule = Schedule::every(TimeDelta::days(7))?;
    let patch = Patch { schedule: Some((schedule, None)), ..Patch::default() };
    let now = SystemClock.now();
    let acting = store.acting_as(Actor::command_line());
    let Reserved::Created(id) = acting.reserve(&app, &component, &patch, now)? else {
        anyhow::bail!("the sample was there before");
    };
    for table in tables {
        let rows = |id| number(&format!("SELECT COUNT(*) FROM {table} WHERE reservation_id = {id}"));
        let (made, loaded) = (rows(id)?, rows(1)?);
        ensure!(
            made == loaded,
            "the loader is behind the schema: in {table} a reservation has {made} rows, one that was loaded {loaded}"
        );
    }
    acting.check_out(&app, &component, now).context("the sample stays")?;
    Ok(())
}
