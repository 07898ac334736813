//! Whether what the loader made is what the store makes: a reservation made by the store stands in the same tables.

use anyhow::{Context, Result, ensure};
use chrono::TimeDelta;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::reservation::Patch;
use innkeeper_core::schedule::Schedule;
use innkeeper_core::{Clock, SystemClock};
use innkeeper_store::{Actor, Reserved, Store};

/// An error if the reservation 1, which was loaded, has not as many rows as a new one in each of `tables`, those that refer to
/// reservations. `number` answers SQL.
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
