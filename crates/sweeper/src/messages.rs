//! What people read: from what happened to messages, one for each recipient.

use chrono::TimeDelta;
use innkeeper_core::alert::{Cause, stamp};
use innkeeper_core::notice::{AlertNotice, EventKind, Notice};
use innkeeper_core::recipient::Recipient;
use innkeeper_core::reservation::Terms;
use innkeeper_core::ways::DeadEnd;
use innkeeper_core::{duration, template};
use innkeeper_node::config::LOG_ALERTER;
use innkeeper_node::{Config, KnownWays, Seldom};
use innkeeper_store::{NewDelivery, Reached, Told};

/// Characters of notes in a message.
const NOTES_SHOWN: usize = 1000;

/// Who speaks, and through what.
#[derive(Debug, Clone)]
pub struct Speaker {
    /// The installation's name.
    pub instance: String,
    /// Where people reach it.
    pub public_url: String,
    /// The machine that sends: `{srv}` of GoTel's messages.
    pub server: String,
    /// The ways out that there are.
    pub ways: KnownWays,
    /// Who hears of what reaches nobody else.
    pub operator: Vec<Recipient>,
    /// Alerters that keep an incident open until it is resolved: they hear of a recovery that people are spared.
    pub keep_incidents: Vec<String>,
}

impl Speaker {
    /// The speaker of this configuration.
    pub fn new(config: &Config, ways: &KnownWays) -> Self {
        Self {
            instance: config.instance.clone(),
            public_url: config.pages_url.clone(),
            server: gethostname::gethostname().to_string_lossy().into_owned(),
            ways: ways.clone(),
            operator: config.operator.clone(),
            keep_incidents: config
                .alerters
                .iter()
                .filter(|(_, alerter)| alerter.kind() == "pagerduty")
                .map(|(name, _)| name.to_string())
                .collect(),
        }
    }

    /// The messages about what happened: one to each recipient, and one to the log. Where a recipient leads nowhere, the operator gets
    /// the message, too, and reads why.
    pub fn tell(&self, told: &Told<'_>) -> Vec<NewDelivery> {
        let notice = self.notice(told);
        let terms = &told.reservation.terms;
        let spared = told.event == EventKind::Recovered && !terms.notify_recovery;
        let mut deliveries = match told.event {
            EventKind::Recovered => self.back(told, &notice),
            _ => self.out(terms, notice),
        };
        deliveries.retain(|one| {
            !spared || one.alerter == LOG_ALERTER || self.keep_incidents.contains(&one.alerter)
        });
        deliveries
    }

    /// An alert of which nobody has heard, to each who is to be told of it now; where that is nobody, to the operator. The log has it.
    pub fn tell_anew(&self, told: &Told<'_>) -> Vec<NewDelivery> {
        let notice = self.notice(told);
        let mut deliveries = self.out(&told.reservation.terms, notice.clone());
        deliveries.retain(|one| one.alerter != LOG_ALERTER);
        if deliveries.is_empty() {
            let ways = self.ways.get();
            let notice = for_operator(notice, &ways.of_terms(&told.reservation.terms).dead_ends);
            let operator = ways.route("operator", &self.operator, &[]).ways;
            deliveries.extend(operator.iter().map(|way| NewDelivery::through(way, notice.clone())));
        }
        deliveries
    }

    /// To each whom the terms name, and the log. Where that leads nowhere, to the operator with the reason.
    fn out(&self, terms: &Terms, notice: Notice) -> Vec<NewDelivery> {
        let ways = self.ways.get();
        let route = ways.of_terms(terms);
        let mut deliveries: Vec<NewDelivery> =
            route.ways.iter().map(|way| NewDelivery::through(way, notice.clone())).collect();
        if route.dead_ends.is_empty() {
            return deliveries;
        }
        // The operator gets each message with its reason; the log need not have it thousands of times.
        static DEAD_ENDS: Seldom = Seldom::new();
        for dead_end in &route.dead_ends {
            DEAD_ENDS.error(format_args!(
                "{}/{}: a message does not go out: {dead_end}",
                terms.app, terms.component
            ));
        }
        let notice = for_operator(notice, &route.dead_ends);
        for way in ways.route("operator", &self.operator, &[]).ways {
            let delivery = NewDelivery::through(&way, notice.clone());
            let same = |known: &&mut NewDelivery| {
                (&known.alerter, &known.recipient) == (&delivery.alerter, &delivery.recipient)
            };
            match deliveries.iter_mut().find(same) {
                Some(known) => *known = delivery,
                None => deliveries.push(delivery),
            }
        }
        deliveries
    }

    /// To each who was told of the trouble, whoever would be told of it now; and the log.
    fn back(&self, told: &Told<'_>, notice: &Notice) -> Vec<NewDelivery> {
        let known = self.ways.get();
        let mut ways = vec![(LOG_ALERTER, "")];
        for Reached { alerter, recipient, waits } in told.reached {
            // Where the bad news still waits for an alerter, the good news waits behind it.
            let is_there = *waits || known.has(alerter);
            let way = match known.mail() {
                _ if is_there => (alerter.as_str(), recipient.as_str()),
                Some(mail) if !recipient.is_empty() => (mail, recipient.as_str()),
                _ => {
                    let name = format!("{}/{}", told.reservation.terms.app, told.reservation.terms.component);
                    static UNHEARD: Seldom = Seldom::new();
                    UNHEARD.warn(format_args!(
                        "{name} is back, and {} does not hear of it: {alerter} told of the trouble, and is configured no more",
                        if recipient.is_empty() { alerter } else { recipient }
                    ));
                    continue;
                }
            };
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        let delivery = |(alerter, recipient): &(&str, &str)| NewDelivery {
            alerter: (*alerter).to_owned(),
            recipient: (*recipient).to_owned(),
            notice: notice.clone(),
        };
        ways.iter().map(delivery).collect()
    }

    fn notice(&self, told: &Told<'_>) -> Notice {
        let Told { reservation, reason, now, event, .. } = told;
        let terms = &reservation.terms;
        let zone = terms.schedule.zone();
        let over = matches!(event, EventKind::Recovered | EventKind::OpenedAndRecovered);
        let alert = AlertNotice {
            id: told.alert_id,
            dedup_key: told.dedup_key.to_owned(),
            cause: reason.cause(),
            reason: reason.sentence(zone),
            exit_code: match reason {
                innkeeper_core::alert::Reason::Failed { exit_code, .. } => *exit_code,
                _ => None,
            },
            opened_at: told.opened_at,
            closed_at: over.then_some(*now),
            since: reason.since(),
            reservation_id: reservation.id,
            app: terms.app.to_string(),
            component: terms.component.to_string(),
            owner: terms.owner.clone(),
            description: terms.description.clone(),
            tags: terms.tags.clone(),
            notify: terms.notify.to_string(),
            schedule: schedule(terms),
            last_checkin_at: reservation.facts.last_checkin_at,
            checkins: reservation.facts.checkins,
            notes: told.notes.chars().take(NOTES_SHOWN).collect(),
        };
        Notice {
            event: *event,
            instance: self.instance.clone(),
            subject: subject(*event, reason.cause(), terms),
            text: self.text(told, &alert),
            at: *now,
            url: Some(format!("{}/reservation", self.public_url)),
            alert: Some(alert),
        }
    }

    fn text(&self, told: &Told<'_>, alert: &AlertNotice) -> String {
        let terms = &told.reservation.terms;
        let zone = terms.schedule.zone();
        let name = format!("{}/{}", alert.app, alert.component);
        let mut text = match told.event {
            EventKind::Recovered => {
                format!("{name} is back online, after {}.\nIt was: {}\n", lasted(told), alert.reason)
            }
            EventKind::OpenedAndRecovered => {
                format!("{name} is back online, after a failure in between.\nIt was: {}\n", alert.reason)
            }
            _ if terms.alert_msg.is_empty() => {
                format!("{}\n{}\n", lead(told.reason.cause(), &name), alert.reason)
            }
            _ => format!("{}\n\n{}\n", self.filled(told, alert).trim_end(), alert.reason),
        };
        if told.event == EventKind::Reminder {
            text.push_str(&format!("Not back yet, after {}.\n", lasted(told)));
        }
        if terms.is_site && told.behind > 0 {
            let held = duration::counted(told.behind, "reservation");
            text.push_str(&match told.event {
                EventKind::Recovered => {
                    format!("The alerts of {held} behind this site are no longer held.\n")
                }
                _ => format!("The alerts of {held} behind this site are held until it is back.\n"),
            });
        }
        text.push('\n');
        let mut line = |label: &str, value: &str| {
            if !value.is_empty() {
                text.push_str(&format!("{label:<15}{value}\n"));
            }
        };
        let last = told.reservation.facts.last_checkin_at;
        line(
            "Last check-in:",
            &last.map_or("never".to_owned(), |at| {
                format!("{} ({})", stamp(at, zone), duration::ago(told.now - at))
            }),
        );
        line("Schedule:", &alert.schedule);
        line("Owner:", &alert.owner);
        line("About:", &alert.description);
        line("Tags:", &alert.tags.join(", "));
        line("Notes:", alert.notes.trim_end());
        line("Alert time:", &stamp(told.opened_at, zone));
        line("Notified:", &alert.notify);
        text
    }

    /// The reservation's own `alert_msg` with its placeholders filled.
    fn filled(&self, told: &Told<'_>, alert: &AlertNotice) -> String {
        let terms = &told.reservation.terms;
        let last = told.reservation.facts.last_checkin_at;
        template::fill(&terms.alert_msg, |name| {
            Some(match name {
                "jobid" => told.reservation.id.to_string(),
                "app" => alert.app.clone(),
                "component" => alert.component.clone(),
                "owner" => alert.owner.clone(),
                "notify" => alert.notify.clone(),
                "frequency" => {
                    terms.frequency.map_or_else(|| terms.schedule.to_string(), |every| every.to_string())
                }
                "last" => {
                    last.map_or("never".to_owned(), |at| at.format("%a, %d %b %Y %H:%M:%S UTC").to_string())
                }
                "since" => last.map_or("never".to_owned(), |at| duration::ago(told.now - at)),
                "checkins" => alert.checkins.to_string(),
                "srv" => self.server.clone(),
                "reason" => alert.reason.clone(),
                "deadline" => stamp(told.reason.since(), terms.schedule.zone()),
                "notes" => alert.notes.clone(),
                "url" => format!("{}/reservation", self.public_url),
                _ => return None,
            })
        })
    }
}

/// The notice for the operator, who hears of it since somebody else does not.
fn for_operator(mut notice: Notice, dead_ends: &[DeadEnd]) -> Notice {
    notice
        .text
        .push_str("\nThis comes to Innkeeper's operator, since it does not reach everyone it is for:\n");
    for dead_end in dead_ends {
        notice.text.push_str(&format!("- {dead_end}\n"));
    }
    if dead_ends.is_empty() {
        notice.text.push_str("- notify: names nobody\n");
    }
    notice
}

/// How long the incident has lasted, in words.
fn lasted(told: &Told<'_>) -> String {
    duration::words((told.now - told.reason.since()).max(TimeDelta::zero()))
}

/// "every 5 minutes, grace 1 minute"
fn schedule(terms: &Terms) -> String {
    let mut text = terms.schedule.to_string();
    if terms.grace > TimeDelta::zero() {
        text.push_str(&format!(", grace {}", duration::words(terms.grace)));
    }
    text
}

fn lead(cause: Cause, name: &str) -> String {
    match cause {
        Cause::Missed => format!("{name} has not checked in."),
        Cause::Overran => format!("{name} is still running."),
        Cause::Failed => format!("{name} failed."),
    }
}

/// One line; the words "Job Failed to checkin" and "back online" are those that filters of GoTel's and gocron's users know.
fn subject(event: EventKind, cause: Cause, terms: &Terms) -> String {
    let what = match cause {
        Cause::Missed => "Job Failed to checkin",
        Cause::Overran => "Job still running",
        Cause::Failed => "Job failed",
    };
    let what = match event {
        EventKind::Reminder => format!("Reminder: {what}"),
        EventKind::Recovered => "Back online".to_owned(),
        EventKind::OpenedAndRecovered => "Failed, and back online".to_owned(),
        _ => what.to_owned(),
    };
    format!("{what}: {}/{}", terms.app, terms.component)
}

/// A notice that belongs to no alert.
pub(crate) fn plain(
    event: EventKind,
    speaker: &Speaker,
    subject: String,
    text: String,
    at: innkeeper_core::Time,
) -> Notice {
    let url = Some(format!("{}/reservation", speaker.public_url));
    Notice { event, instance: speaker.instance.clone(), subject, text, at, url, alert: None }
}
