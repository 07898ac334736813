//! One reservation: how it stands, how its runs went, what happened, and how its job checks in.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path, Query};
use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::access::Permission;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::checkin::CheckInKind;
use innkeeper_core::expect::ClauseVerdict;
use innkeeper_core::reservation::Reservation;
use innkeeper_core::uptime::{DownTime, uptime};
use innkeeper_core::{Time, duration};
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Checkin, Recent, Share, Undelivered};

use super::figures::{self, ClauseRow, FigureRow};
use super::frame::Frame;
use super::output::Output;
use super::plot::{self, Ended, Plot};
use super::snippets::snippets;
use super::strip::{self, Strip};
use super::timeline::{Timeline, TimelineCursor, TimelineEntry};
use super::view::{self, Row, When};
use super::{actions, ask, checked_out, page};
use crate::AppState;

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
    reminders: String,
    deadline: When,
    created: When,
    coming: Vec<When>,
    snoozed_until: Option<When>,
    checkins_count: i64,
    slug: String,
    /// The ping address that has the slug.
    slug_url: Option<String>,
    uptimes: Vec<UptimeRow>,
    plots: Vec<Plot>,
    plot_words: String,
    figures: Vec<FigureRow>,
    clauses: Vec<ClauseRow>,
    /// Whether its latest success was other than expected in a way that a person may accept.
    acceptable: bool,
    entries: Vec<TimelineEntry>,
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
        troubles: &[DownTime],
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
    assessed: Assessed,
    troubles: Vec<DownTime>,
    recent: Vec<Checkin>,
    timeline: Timeline,
    history_begins: Time,
    badge: Option<Share>,
    undelivered: Option<Undelivered>,
    values: Recent,
    verdicts: Vec<Option<ClauseVerdict>>,
    now: Time,
}

fn know(
    app_state: &AppState,
    id: i64,
    place: TimelineCursor,
    now: Time,
) -> Result<Option<Known>, innkeeper_store::StoreError> {
    let Some(assessed) = app_state.store.listed(id, now)? else { return Ok(None) };
    let longest = SPANS.iter().filter_map(|(_, span)| now.checked_sub_signed(*span)).min().unwrap_or(now);
    let since = strip::needed_since(&assessed, now).min(longest);
    let troubles = app_state.store.troubles(&[(id, since)])?.remove(&id).unwrap_or_default();
    Ok(Some(Known {
        recent: app_state.store.checkins_of(id, PLOTTED)?,
        timeline: Timeline::load(&app_state.store, id, place)?,
        history_begins: app_state.history_begins(now),
        badge: app_state.store.share_of("badge", "reservation", &id.to_string())?,
        undelivered: app_state.store.undelivered(&[id], now)?.remove(&id),
        values: app_state.store.recent(id)?,
        verdicts: app_state.store.verdicts(&assessed.reservation)?,
        assessed,
        troubles,
        now,
    }))
}

/// Whether the latest success broke nothing but clauses with a median.
fn is_acceptable(assessed: &Assessed, verdicts: &[Option<ClauseVerdict>]) -> bool {
    let Reservation { spec, facts, conclusions, .. } = &assessed.reservation;
    let is_latest =
        conclusions.unexpected.as_ref().is_some_and(|last| Some(last.at) == facts.last_checkin_at);
    let mut broken = spec
        .expect
        .clauses()
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| matches!(verdict, Some(ClauseVerdict::Broken(_))))
        .peekable();
    is_latest && broken.peek().is_some() && broken.all(|(clause, _)| clause.median_of().is_some())
}

/// The runs among these check-ins whose length is known, oldest first.
fn ended(checkins: &[Checkin]) -> Vec<Ended> {
    let run = |checkin: &Checkin| {
        let well = checkin.kind != CheckInKind::Fail;
        Some(Ended { at: checkin.at, took: checkin.duration?, well })
    };
    let mut ended: Vec<Ended> = checkins.iter().rev().filter_map(run).collect();
    // What was reported late stands where it belongs.
    ended.sort_by_key(|run| run.at);
    ended
}

/// What was done before the page was shown.
#[derive(serde::Deserialize)]
pub struct DoneNotice {
    #[serde(default)]
    said: String,
}

/// The page.
pub async fn reservation(
    app_state: Data<AppState>,
    caller: Caller,
    id: Path<i64>,
    place: Query<TimelineCursor>,
    query: Query<DoneNotice>,
) -> Result<HttpResponse, ApiError> {
    let (id, place) = (id.into_inner(), place.into_inner());
    let known = ask(&app_state, move |app_state, now| know(app_state, id, place, now)).await?;
    let Some(known) = known else { return checked_out::show(&app_state, &caller, id).await };
    let Known { undelivered, assessed, troubles, recent, timeline, history_begins, badge, now, .. } = &known;
    let (now, history_begins) = (*now, *history_begins);
    let Assessed { reservation, ping_key, evaluation, .. } = assessed;
    let spec = &reservation.spec;
    let zone = caller.zone_or(spec.schedule.zone());
    let may_check_in = caller.may(Permission::CheckIn);
    let when = |at: Time| When::new(at, zone, now);
    let runs = ended(recent);
    let plots = plot::SIZES.into_iter().filter_map(|size| Plot::of(&runs, spec.max_run, zone, size));
    let uptimes =
        SPANS.iter().map(|span| UptimeRow::of(*span, reservation.created_at, history_begins, troubles, now));
    let warnings = view::warnings(app_state.warnings_of(spec), undelivered.as_ref());
    let snoozed_until = reservation.conclusions.snoozed_until(now);
    let output = Output::of(assessed, recent, zone, now);
    let above = output.as_ref().map(|output| output.checkin_id);
    page(&ReservationPage {
        frame: Frame::of(&app_state, &caller, ""),
        said: actions::said(&query.said),
        badge: badge.as_ref().map(|share| format!("/badge/{}.svg", share.key)),
        row: Row::of(assessed, warnings, caller.zone, now),
        strip: Strip::of(assessed, troubles, history_begins, now),
        sentence: view::sentence(assessed, zone, now),
        output,
        description: spec.description.clone(),
        notify: spec.notify.to_string(),
        max_run: spec.max_run.map(duration::words).unwrap_or_default(),
        reminders: spec.remind_every.words().unwrap_or_default(),
        deadline: when(evaluation.deadline),
        created: when(reservation.created_at),
        coming: spec.schedule.coming(evaluation.expected_at, now, COMING).into_iter().map(when).collect(),
        snoozed_until: snoozed_until.map(when),
        checkins_count: reservation.facts.checkins,
        slug: reservation.spec.slug.clone(),
        slug_url: ping_key
            .as_ref()
            .filter(|_| may_check_in)
            .map(|key| format!("{}/ping/{key}/{}", app_state.public_url, reservation.spec.slug)),
        uptimes: uptimes.collect(),
        plots: plots.collect(),
        plot_words: plot::words(&runs, spec.max_run),
        figures: figures::rows(&known.values),
        clauses: figures::clauses(&spec.expect, &known.verdicts),
        acceptable: is_acceptable(assessed, &known.verdicts),
        entries: timeline.rows(above, zone, now),
        further: place.is_further(),
        next: timeline.next.map(|place| format!("/status/{id}?{}", place.query())),
        snippets: if may_check_in { snippets(&app_state.public_url, assessed) } else { Vec::new() },
    })
}
