//! Composes what people read: turns an event into messages, one for each recipient.

use chrono::TimeDelta;
use innkeeper_core::alert::Reason;
use innkeeper_core::duration;
use innkeeper_core::notice::{AlertNotice, Details, EventKind, Notice, SubjectForm};
use innkeeper_core::recipient::Recipient;
use innkeeper_core::reservation::Spec;
use innkeeper_core::ways::{AlerterKind, DeadEnd, WaysOut, parked_words};
use innkeeper_core::wording::{self, SubjectWords};
use innkeeper_node::config::LOG_ALERTER;
use innkeeper_node::{Config, KnownWays, Seldom};
use innkeeper_store::{AlertEvent, NewDelivery, Reached};

use crate::own;

/// The most other recipients that a message names.
const NAMED: usize = 5;

/// Composes messages: the sender's identity, and the routes.
#[derive(Debug, Clone)]
pub struct MessageComposer {
    /// The installation's name.
    pub instance: String,
    /// The address of the pages for people.
    pub public_url: String,
    /// The machine that sends, for placeholders.
    pub sender: own::SendingMachine,
    /// The wording of subjects.
    pub subjects: SubjectWords,
    /// The known alerters.
    pub ways: KnownWays,
    /// The recipients of messages that reach nobody else.
    pub operator: Vec<Recipient>,
    /// The alerters that keep an incident open until it is resolved. They get a recovery even where people do not.
    pub keep_incidents: Vec<String>,
}

impl MessageComposer {
    /// The composer of this configuration.
    pub fn new(config: &Config, ways: &KnownWays) -> Self {
        Self {
            instance: config.instance.clone(),
            public_url: config.pages_url.clone(),
            sender: own::SendingMachine::this_machine(),
            subjects: config.subjects,
            ways: ways.clone(),
            operator: config.operator.clone(),
            keep_incidents: config
                .alerters
                .iter()
                .filter(|(_, alerter)| alerter.keeps_incidents())
                .map(|(name, _)| name.to_string())
                .collect(),
        }
    }

    /// The messages about an event: one for each recipient, and one for the log. If a recipient cannot be reached, the
    /// operator also gets the message, with the reason.
    pub fn tell(&self, event: &AlertEvent<'_>) -> Vec<NewDelivery> {
        let notice = self.notice(event);
        let spec = &event.reservation.spec;
        let spared = event.kind == EventKind::Recovered && !spec.notify_recovery;
        let mut deliveries = match event.kind {
            EventKind::Recovered => self.back(event, &notice),
            _ => self.out(spec, notice),
        };
        deliveries.retain(|one| {
            !spared || one.alerter == LOG_ALERTER || self.keep_incidents.contains(&one.alerter)
        });
        name_the_others(&mut deliveries, &self.ways.get());
        deliveries
    }

    /// The messages for an alert that has reached nobody: one for each current recipient, or for the operator if there
    /// is none. The log already has it.
    pub fn tell_anew(&self, event: &AlertEvent<'_>) -> Vec<NewDelivery> {
        let notice = self.notice(event);
        let mut deliveries = self.out(&event.reservation.spec, notice.clone());
        deliveries.retain(|one| one.alerter != LOG_ALERTER);
        if deliveries.is_empty() {
            let ways = self.ways.get();
            let notice = for_operator(notice, &ways.of_terms(&event.reservation.spec).dead_ends);
            let operator = ways.route("operator", &self.operator, &[]).ways;
            deliveries.extend(operator.iter().map(|way| NewDelivery::through(way, notice.clone())));
        }
        name_the_others(&mut deliveries, &self.ways.get());
        deliveries
    }

    /// The messages to each recipient that the spec names, and to the log. If that reaches nobody, the operator gets
    /// the message with the reason.
    fn out(&self, spec: &Spec, notice: Notice) -> Vec<NewDelivery> {
        let ways = self.ways.get();
        let route = ways.of_terms(spec);
        let mut deliveries: Vec<NewDelivery> =
            route.ways.iter().map(|way| NewDelivery::through(way, notice.clone())).collect();
        static PARKED: Seldom = Seldom::new();
        for name in route.parked(&ways) {
            PARKED.warn(format_args!(
                "{}/{}: a message waits: {}",
                spec.app,
                spec.component,
                parked_words(name)
            ));
        }
        if route.dead_ends.is_empty() {
            return deliveries;
        }
        // The operator gets each message with its reason, so the log line is rate-limited.
        static DEAD_ENDS: Seldom = Seldom::new();
        for dead_end in &route.dead_ends {
            DEAD_ENDS.error(format_args!(
                "{}/{}: a message does not go out: {dead_end}",
                spec.app, spec.component
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

    /// The messages to everybody who got the alert, whoever would get it now; and to the log.
    fn back(&self, event: &AlertEvent<'_>, notice: &Notice) -> Vec<NewDelivery> {
        let known = self.ways.get();
        let mut ways = vec![(LOG_ALERTER, "")];
        for Reached { alerter, recipient, waits } in event.reached {
            // If the alert itself still waits for this alerter, the recovery waits behind it.
            let is_there = *waits || known.has(alerter);
            let way = match known.mail() {
                _ if is_there => (alerter.as_str(), recipient.as_str()),
                Some(mail) if !recipient.is_empty() => (mail, recipient.as_str()),
                _ => {
                    let name = format!("{}/{}", event.reservation.spec.app, event.reservation.spec.component);
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

    fn notice(&self, event: &AlertEvent<'_>) -> Notice {
        let AlertEvent { reservation, reason, now, kind, .. } = event;
        let spec = &reservation.spec;
        let zone = spec.schedule.zone();
        let over = matches!(kind, EventKind::Recovered | EventKind::OpenedAndRecovered);
        let mut alert = AlertNotice {
            id: event.alert_id,
            dedup_key: event.dedup_key.to_owned(),
            cause: reason.cause(),
            reason: reason.sentence(zone),
            exit_code: match reason {
                Reason::Failed { exit_code, .. } => *exit_code,
                _ => None,
            },
            opened_at: event.opened_at,
            closed_at: over.then_some(*now),
            since: event.since,
            reservation_id: reservation.id,
            app: spec.app.to_string(),
            component: spec.component.to_string(),
            owner: spec.owner.clone(),
            description: spec.description.clone(),
            tags: spec.tags.clone(),
            notify: spec.notify.to_string(),
            schedule: schedule(spec),
            last_checkin_at: reservation.facts.last_checkin_at,
            checkins: reservation.facts.checkins,
            notes: wording::last_lines(event.notes),
            details: Details {
                why: Some((*reason).clone()),
                own_text: String::new(),
                time_zone: zone.to_string(),
                expected: wording::expected(spec),
                source: reservation.facts.last_source.clone(),
                took_ms: event.took.map(|span| span.num_milliseconds()),
                usual_ms: event.usual.map(|span| span.num_milliseconds()),
                runbook: spec.runbook.clone(),
                also_told: Vec::new(),
                others_down: event.others_down,
                jobs: event.jobs,
                behind: if spec.is_site { event.behind } else { 0 },
                undelivered: Vec::new(),
                checked_out: false,
                ending: event.ending.unwrap_or_default().to_owned(),
                answered: event.answered,
            },
        };
        let url = job_page(&self.public_url, reservation.id);
        let own = own::MessageValues {
            event,
            alert: &alert,
            url: &url,
            sender: &self.sender,
            instance: &self.instance,
        };
        let own_text = if event.ending.is_some() && !event.answered { String::new() } else { own.text() };
        let (subject, subject_form) = match own.subject().filter(|_| event.ending.is_none()) {
            Some(subject) => (subject, SubjectForm::Own),
            None => {
                let job = format!("{}/{}", spec.app, spec.component);
                let subject = match event.ending {
                    Some(ending) if event.answered => self.subjects.answered(&job, ending),
                    Some(ending) => self.subjects.withdrawn(&job, ending),
                    None => self.subjects.subject(*kind, reason, &job, own::lasted(event)),
                };
                (subject, self.subjects.form())
            }
        };
        alert.details.own_text = own_text;
        Notice {
            event: *kind,
            instance: self.instance.clone(),
            subject,
            subject_form,
            // The alerters compose the text, each in its own format.
            text: String::new(),
            at: *now,
            url: Some(url),
            alert: Some(alert),
            summary: None,
        }
    }
}

/// The page of a reservation. Every message about it links to this page.
fn job_page(public_url: &str, id: i64) -> String {
    format!("{}/status/{id}", public_url.trim_end_matches('/'))
}

/// Adds to each message about an incident who else gets it.
fn name_the_others(deliveries: &mut [NewDelivery], ways: &WaysOut) {
    let names: Vec<Option<String>> = deliveries
        .iter()
        .map(|one| match (one.alerter.as_str(), one.recipient.as_str()) {
            (LOG_ALERTER, _) => None,
            (name, "") => {
                let parked = ways.is_parked(name).then(|| "parked".to_owned());
                let kind = ways.kind(name).and_then(AlerterKind::in_words).map(str::to_owned);
                let beside: Vec<String> = kind.into_iter().chain(parked).collect();
                Some(match beside.is_empty() {
                    true => name.to_owned(),
                    false => format!("{name} ({})", beside.join(", ")),
                })
            }
            (name, address) if ways.is_parked(name) => Some(format!("{address} ({name} is parked)")),
            (_, address) => Some(address.to_owned()),
        })
        .collect();
    for (n, delivery) in deliveries.iter_mut().enumerate() {
        let others =
            names.iter().enumerate().filter(|(other, _)| *other != n).filter_map(|(_, name)| name.clone());
        let mut others: Vec<String> = others.collect();
        if others.len() > NAMED {
            let more = others.len() - NAMED;
            others.truncate(NAMED);
            others.push(format!("and {more} more"));
        }
        if let Some(alert) = &mut delivery.notice.alert {
            alert.details.also_told = others;
        }
    }
}

/// The notice for the operator, who gets it because another recipient cannot be reached.
fn for_operator(mut notice: Notice, dead_ends: &[DeadEnd]) -> Notice {
    let mut lines: Vec<String> = dead_ends.iter().map(ToString::to_string).collect();
    if lines.is_empty() {
        lines.push("notify: names nobody".to_owned());
    }
    if let Some(alert) = &mut notice.alert {
        alert.details.undelivered = lines;
    }
    notice
}

/// For example "every 5 minutes, grace 1 minute".
fn schedule(spec: &Spec) -> String {
    let mut text = spec.schedule.to_string();
    if spec.grace > TimeDelta::zero() {
        text.push_str(&format!(", grace {}", duration::words(spec.grace)));
    }
    text
}

/// A notice that belongs to no alert.
pub(crate) fn plain(
    event: EventKind,
    composer: &MessageComposer,
    subject: String,
    text: String,
    at: innkeeper_core::Time,
) -> Notice {
    let url = Some(format!("{}/status", composer.public_url.trim_end_matches('/')));
    let subject_form = composer.subjects.form();
    Notice {
        event,
        instance: composer.instance.clone(),
        subject,
        subject_form,
        text,
        at,
        url,
        alert: None,
        summary: None,
    }
}
