//! Snoozes of duties: until when nobody is told that no node does the work of one.

use std::collections::BTreeMap;

use diesel::prelude::*;
use innkeeper_core::Time;

use crate::rows::{ms, time};
use crate::schema::duties;
use crate::{Store, StoreError};

impl Store {
    /// Lets nobody be told until `until` that the duty is missing; `now` ends a snooze. False when there is no such duty.
    pub fn snooze_duty(&self, name: &str, until: Time, now: Time) -> Result<bool, StoreError> {
        self.write(|connection| {
            let snoozed_until = (until > now).then(|| ms(until));
            let changed = diesel::update(duties::table.filter(duties::name.eq(name)))
                .set(duties::snoozed_until.eq(snoozed_until))
                .execute(connection)?;
            let (action, detail) = match until > now {
                true => ("snooze duty", format!("until {}", until.format("%Y-%m-%d %H:%M:%S UTC"))),
                false => ("resume duty", String::new()),
            };
            if changed > 0 {
                self.note(connection, action, name, &detail, now)?;
            }
            Ok(changed > 0)
        })
    }

    /// The duties that are snoozed at `now`, and until when.
    pub fn snoozed_duties(&self, now: Time) -> Result<BTreeMap<String, Time>, StoreError> {
        let rows: Vec<(String, Option<i64>)> = duties::table
            .filter(duties::snoozed_until.gt(ms(now)))
            .select((duties::name, duties::snoozed_until))
            .load(&mut *self.get()?)?;
        Ok(rows.into_iter().filter_map(|(name, until)| Some((name, time(until?)))).collect())
    }
}
