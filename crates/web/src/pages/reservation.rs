//! One reservation: how it stands, how its runs went, what happened, and how its job checks in.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::access::Need;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::sla::{Evaluation, evaluate};
use innkeeper_core::uptime::{Trouble, uptime};
use innkeeper_core::{Time, duration};
use innkeeper_node::http::{ApiError, Caller};
use innkeeper_store::{Checkin, Listed, Share, Undelivered};

use super::frame::Frame;
use super::output::Output;
use super::plot::{self, Ended};
use super::snippets::snippets;
use super::strip::{self, Strip};
use super::timeline::{Entry, Place, Timeline};
use super::view::{self, Row, When};
use super::{actions, ask, checked_out, page};
use crate::Desk;

/// Check-ins that the plot is drawn from.
const PLOTTED: i64 = 100;
/// Expected times that are told.
const COMING: usize = 5;
/// The spans that uptime is told of.
const SPANS: [(&str, TimeDelta); 3] =
    [("24 hours", TimeDelta::hours(24)), ("7 days", TimeDelta::days(7)), ("30 days", TimeDelta::days(30))];

#[derive(Template)]
#[template(path = "reservation.html")]
struct ReservationPage<'a> {
    frame: Frame<'a>,
    said: &'static str,
    /// The path of its badge, where it has one.
    badge: Option<String>,
    row: Row,
    strip: Strip,
    sentence: String,
    /// What the job wrote before it failed, or fell silent.
    output: Option<Output>,
    description: String,
    notify: String,
    max_run: String,
    deadline: When,
    created: When,
    coming: Vec<When>,
    snoozed_until: Option<When>,
    checkins_count: i64,
    slug: String,
    /// The ping address that has the slug.
    slug_url: Option<String>,
    uptimes: Vec<UptimeRow>,
    plots: Vec<String>,
    plot_words: String,
    entries: Vec<Entry>,
    further: bool,
    next: Option<String>,
    snippets: Vec<(&'static str, String)>,
}

/// The uptime over a span.
struct UptimeRow {
    span: &'static str,
    percent: String,
    words: String,
}

impl UptimeRow {
    fn of(
        span: (&'static str, TimeDelta),
        created_at: Time,
        history_begins: Time,
        troubles: &[Trouble],
        now: Time,
    ) -> Self {
        let Some(uptime) = uptime(span.1, created_at.max(history_begins), troubles, now) else {
            return Self {
                span: span.0, percent: "–".to_owned(), words: "it was only just made".to_owned()
            };
        };
        let down = match uptime.down.is_zero() {
            true => "never down".to_owned(),
            false => format!("down for {}", duration::words(uptime.down)),
        };
        let over = match (uptime.whole, created_at > history_begins) {
            (true, _) => String::new(),
            (false, true) => format!(" in the {} since it was made", duration::words(uptime.over)),
            (false, false) => format!(" in the {} that alerts are kept", duration::words(uptime.over)),
        };
        Self { span: span.0, percent: uptime.percent(), words: format!("{down}{over}") }
    }
}

/// What the page takes from the store.
struct Known {
    listed: Listed,
    evaluation: Evaluation,
    troubles: Vec<Trouble>,
    recent: Vec<Checkin>,
    timeline: Timeline,
    history_begins: Time,
    badge: Option<Share>,
    undelivered: Option<Undelivered>,
    now: Time,
}

fn know(desk: &Desk, id: i64, place: Place, now: Time) -> Result<Option<Known>, innkeeper_store::StoreError> {
    let Some(listed) = desk.store.listed(id, now)? else { return Ok(None) };
    let evaluation = evaluate(&listed.view(), now);
    let longest = SPANS.iter().filter_map(|(_, span)| now.checked_sub_signed(*span)).min().unwrap_or(now);
    let since = strip::needed_since(&listed, &evaluation, now).min(longest);
    let troubles = desk.store.troubles(&[(id, since)])?.remove(&id).unwrap_or_default();
    Ok(Some(Known {
        recent: desk.store.checkins_of(id, PLOTTED)?,
        timeline: Timeline::load(&desk.store, id, place)?,
        history_begins: desk.history_begins(now),
        badge: desk.store.share_of("badge", "reservation", &id.to_string())?,
        undelivered: desk.store.undelivered(&[id], now)?.remove(&id),
        listed,
        evaluation,
        troubles,
        now,
    }))
}

/// The runs among these check-ins whose length is known, oldest first.
fn ended(checkins: &[Checkin]) -> Vec<Ended> {
    let run = |checkin: &Checkin| {
        let well = checkin.kind != CheckInKind::Fail;
        Some(Ended { at: checkin.at, took: checkin.duration?, well })
    };
    checkins.iter().rev().filter_map(run).collect()
}

/// What was done before the page was shown.
#[derive(serde::Deserialize)]
pub struct Said {
    #[serde(default)]
    said: String,
}

/// The page.
pub async fn reservation(
    desk: Data<Desk>,
    caller: Caller,
    id: Path<i64>,
    place: Query<Place>,
    query: Query<Said>,
) -> Result<HttpResponse, ApiError> {
    let (id, place) = (id.into_inner(), place.into_inner());
    let known = ask(&desk, move |desk, now| know(desk, id, place, now)).await?;
    let Some(known) = known else { return checked_out::show(&desk, &caller, id).await };
    let Known { undelivered, listed, evaluation, troubles, recent, timeline, history_begins, badge, now } =
        &known;
    let (now, history_begins) = (*now, *history_begins);
    let reservation = &listed.reservation;
    let terms = &reservation.terms;
    let zone = caller.zone_or(terms.schedule.zone());
    let may_check_in = caller.may(Need::CheckIn);
    let when = |at: Time| When::new(at, zone, now);
    let runs = ended(recent);
    let plots = plot::SIZES.iter().filter_map(|size| {
        plot::draw(&runs, terms.max_run, zone, *size).unwrap_or_else(|error| {
            log::error!("the runs of reservation {id} are not drawn: {error}");
            None
        })
    });
    let uptimes =
        SPANS.iter().map(|span| UptimeRow::of(*span, reservation.created_at, history_begins, troubles, now));
    let warnings = view::warnings(&desk.dead_ends(terms), undelivered.as_ref());
    let snoozed_until = reservation.conclusions.snoozed_until(now);
    let output = Output::of(listed, recent, zone, now);
    let above = output.as_ref().map(|output| output.checkin_id);
    page(&ReservationPage {
        frame: Frame::of(&desk, &caller, ""),
        said: actions::said(&query.said),
        badge: badge.as_ref().map(|share| format!("/badge/{}.svg", share.key)),
        row: Row::of(listed, evaluation, warnings, caller.zone, now),
        strip: Strip::of(listed, evaluation, troubles, history_begins, now),
        sentence: view::sentence(listed, evaluation, zone, now),
        output,
        description: terms.description.clone(),
        notify: terms.notify.to_string(),
        max_run: terms.max_run.map(duration::words).unwrap_or_default(),
        deadline: when(evaluation.deadline),
        created: when(reservation.created_at),
        coming: terms.schedule.coming(evaluation.expected_at, now, COMING).into_iter().map(when).collect(),
        snoozed_until: snoozed_until.map(when),
        checkins_count: reservation.facts.checkins,
        slug: reservation.terms.slug.clone(),
        slug_url: listed
            .ping_key
            .as_ref()
            .filter(|_| may_check_in)
            .map(|key| format!("{}/ping/{key}/{}", desk.public_url, reservation.terms.slug)),
        uptimes: uptimes.collect(),
        plots: plots.collect(),
        plot_words: plot::words(&runs, terms.max_run),
        entries: timeline.rows(above, zone, now),
        further: place.is_further(),
        next: timeline.next.map(|place| format!("/status/{id}?{}", place.query())),
        snippets: if may_check_in { snippets(&desk.public_url, listed) } else { Vec::new() },
    })
}
