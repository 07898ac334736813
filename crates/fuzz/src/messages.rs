//! Messages that contain a reservation's own texts, through the templates and the alerters.

use std::sync::LazyLock;

use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::alert::Reason;
use innkeeper_core::facts::Facts;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::notice::EventKind;
use innkeeper_core::reservation::{Conclusions, Patch, Reservation};
use innkeeper_core::schedule::Schedule;
use innkeeper_core::wording::{self, SubjectWords};
use innkeeper_node::{Config, KnownWays, Role};
use innkeeper_store::AlertEvent;
use innkeeper_sweeper::messages::MessageComposer;
use innkeeper_sweeper::own;
use uuid::Uuid;

static SPEAKER: LazyLock<Option<MessageComposer>> = LazyLock::new(|| {
    let config = Config::from_toml(Role::Standalone, "operator = 'log'").ok()?;
    let sender = own::SendingMachine { address: "192.0.2.1".to_owned(), host: "inn".to_owned() };
    Some(MessageComposer {
        instance: config.instance.clone(),
        public_url: config.pages_url.clone(),
        sender,
        subjects: SubjectWords::Uniform,
        ways: KnownWays::of(&config),
        operator: config.operator.clone(),
        keep_incidents: Vec::new(),
    })
});

/// The texts of a reservation, separated by lines `---`: the two names, `alert_msg`, `alert_subject`, `recovery_msg`,
/// description, owner, runbook, and the output of its job.
pub(crate) fn templates(data: &[u8]) {
    let said = String::from_utf8_lossy(data);
    let mut texts = said.split("\n---\n").map(str::to_owned);
    let mut text = || texts.next().unwrap_or_default();
    let Some(reservation) = reservation(&mut text) else { return };
    let notes = text();
    let joined: String = wording::parts(&notes).iter().map(|(_, part)| *part).collect();
    assert_eq!(joined, notes);
    let Some(composer) = SPEAKER.as_ref() else { return };
    let now = Time::UNIX_EPOCH + TimeDelta::days(20_000);
    let reason = Reason::Failed { at: now - TimeDelta::hours(1), exit_code: Some(1), in_a_row: 1 };
    let told = |kind| AlertEvent {
        kind,
        reservation: &reservation,
        reason: &reason,
        alert_id: 7,
        dedup_key: "innkeeper-7",
        opened_at: now - TimeDelta::hours(1),
        since: now - TimeDelta::hours(1),
        notes: &notes,
        took: Some(TimeDelta::seconds(90)),
        usual: None,
        others_down: 0,
        jobs: 1,
        behind: 0,
        reached: &[],
        ending: None,
        answered: false,
        now,
    };
    let mut notices = Vec::new();
    for event in [EventKind::Opened, EventKind::Reminder, EventKind::Recovered, EventKind::OpenedAndRecovered]
    {
        notices.extend(composer.tell(&told(event)).into_iter().map(|delivery| delivery.notice));
    }
    for notice in &notices {
        innkeeper_alerter::fuzz::write(std::slice::from_ref(notice));
    }
    innkeeper_alerter::fuzz::write(&notices);
    innkeeper_alerter::fuzz::write(&[&notices[..]; 4].concat());
}

/// A reservation with these texts; none if a text is invalid.
fn reservation(mut text: impl FnMut() -> String) -> Option<Reservation> {
    let names = text();
    let (app, component) = names.split_once('\n').unwrap_or((&names, "backup"));
    let (app, component) = (AppName::parse(app).ok()?, ComponentName::parse(component).ok()?);
    let patch = Patch {
        alert_msg: Some(text()),
        alert_subject: Some(text()),
        recovery_msg: Some(text()),
        description: Some(text()),
        owner: Some(text()),
        runbook: Some(text()),
        schedule: Some((Schedule::every(TimeDelta::minutes(5)).ok()?, None)),
        ..Patch::default()
    };
    let created_at = Time::UNIX_EPOCH + TimeDelta::days(19_000);
    Some(Reservation {
        id: 3,
        key: Uuid::nil(),
        spec: patch.checked().ok()?.into_spec(app, component).ok()?,
        created_at,
        facts: Facts::default(),
        conclusions: Conclusions::fresh(created_at),
    })
}
