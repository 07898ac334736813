//! What a request says about a reservation, checked.

use chrono::TimeDelta;

use super::{Patch, Spec};
use crate::Invalid;
use crate::names::{AlerterName, AppName, ComponentName, tags};
use crate::recipient::Recipients;
use crate::reminders::Reminders;
use crate::schedule::Schedule;

/// The most that `alert_after` can ask for.
pub const MOST_ALERT_AFTER: i64 = 50;
/// The longest `owner`, in characters.
pub const LONGEST_OWNER: usize = 150;
/// The longest `alert_subject`, in characters.
pub const LONGEST_SUBJECT: usize = 200;

impl Patch {
    /// The schedule that the patch gives.
    pub fn other_schedule(&self) -> Option<&Schedule> {
        self.schedule.as_ref().map(|(schedule, _)| schedule)
    }

    /// Notes the named alerters that are not among `known`. `notify` is the request's name for that
    /// field.
    #[must_use]
    pub fn knowing(mut self, notify: &'static str, known: &[AlerterName]) -> Self {
        let notified = self.notify.iter().flat_map(Recipients::alerters).map(|name| (notify, name));
        let used = self.alerters.iter().flatten().map(|name| ("alerters", name));
        let unknown = notified.chain(used).filter_map(|(field, name)| {
            name.check_known(field, known).err().map(|problem| (name.clone(), problem))
        });
        self.unknown = unknown.collect();
        self
    }

    /// Checks that the patch may be applied to a reservation whose spec is `before` (`None` for a
    /// new one). The reservation may keep unknown alerters that it already names.
    pub fn check_for(&self, before: Option<&Spec>) -> Result<(), Invalid> {
        if self.unknown.is_empty() {
            return Ok(());
        }
        let named = before.map(Spec::alerters_named).unwrap_or_default();
        match self.unknown.iter().find(|(name, _)| !named.contains(name)) {
            None => Ok(()),
            Some((_, problem)) => Err(problem.clone()),
        }
    }

    /// Checks each field, and the conditions across fields.
    pub fn checked(self) -> Result<Self, Invalid> {
        let (checked, problems) = self.looked_through();
        match problems.into_iter().next() {
            None => Ok(checked),
            Some(problem) => Err(problem),
        }
    }

    /// Like [`Self::checked`], but returns all problems.
    pub(super) fn looked_through(mut self) -> (Self, Vec<Invalid>) {
        let mut problems = self.wrong_fields();
        match self.tags.as_deref().map(tags).transpose() {
            Ok(tags) => self.tags = tags,
            Err(problem) => problems.push(problem),
        }
        if let (Some(min), Some(max)) = (self.min_run, self.max_run)
            && min > max
            && max > TimeDelta::zero()
        {
            problems.push(Invalid::new("min_run", "is longer than max_run"));
        }
        (self, problems)
    }

    /// The spec of a new reservation. An error if the patch gives no schedule.
    pub fn into_spec(self, app: AppName, component: ComponentName) -> Result<Spec, Invalid> {
        let schedule = self.schedule.clone().ok_or_else(|| {
            Invalid::new("frequency", "is missing; give frequency and time_units, or cron, or calendar")
        })?;
        let bare = Spec::new(app, component, schedule, &self);
        Ok(self.applied_to(bare))
    }
}

pub(super) fn check_alert_after(count: i64) -> Result<(), Invalid> {
    match (1..=MOST_ALERT_AFTER).contains(&count) {
        true => Ok(()),
        false => Err(Invalid::new("alert_after", format!("{count}; allowed: 1 to {MOST_ALERT_AFTER}"))),
    }
}

pub(super) fn check_reminders(reminders: Reminders) -> Result<(), Invalid> {
    match reminders {
        Reminders::Every(span) => check_limit("remind_every", span),
        Reminders::Never | Reminders::Each => Ok(()),
    }
}

/// Checks a limit. Zero means no limit and is allowed.
pub(super) fn check_limit(field: &'static str, span: TimeDelta) -> Result<(), Invalid> {
    match span > TimeDelta::zero() && span < TimeDelta::seconds(1) {
        true => Err(Invalid::new(field, "must be 0s (off) or at least 1s")),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schedule::Schedule;

    #[test]
    fn what_is_not_wished_for_stays() {
        let every = (Schedule::every(TimeDelta::minutes(5)).unwrap(), None);
        let first = Patch { schedule: Some(every), grace: Some(TimeDelta::minutes(1)), ..Patch::default() };
        let spec = first.into_spec(AppName::parse("a").unwrap(), ComponentName::parse("c").unwrap()).unwrap();
        let second =
            Patch { owner: Some("ops".into()), max_run: Some(TimeDelta::zero()), ..Patch::default() };
        let changed = second.applied_to(spec.clone());
        assert_eq!((changed.grace, changed.owner.as_str(), changed.max_run), (spec.grace, "ops", None));
    }

    #[test]
    fn limits_that_cannot_be_met_are_refused() {
        let patch = |min, max| Patch {
            min_run: Some(TimeDelta::seconds(min)),
            max_run: Some(TimeDelta::seconds(max)),
            ..Patch::default()
        };
        assert_eq!(patch(20, 10).checked().unwrap_err().field, "min_run");
        assert!(patch(20, 0).checked().is_ok());
        let zero = Patch { alert_after: Some(0), ..Patch::default() };
        assert_eq!(zero.checked().unwrap_err().field, "alert_after");
    }
}
