//! One reservation: how it stands, its check-ins, its alerts, and how its job checks in.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};
use askama::Template;
use innkeeper_core::sla::evaluate;
use innkeeper_node::http::ApiError;

use super::checkins::{Bar, CheckinRow, bars};
use super::frame::Frame;
use super::snippets::snippets;
use super::view::{self, AlertRow, Row, When};
use super::{ENTRIES, ask, page};
use crate::Desk;

#[derive(Template)]
#[template(path = "reservation.html")]
struct ReservationPage<'a> {
    frame: Frame<'a>,
    row: Row,
    sentence: String,
    description: String,
    notify: String,
    deadline: When,
    snoozed_until: Option<When>,
    checkins_count: i64,
    checkins: Vec<CheckinRow>,
    bars: Vec<Bar>,
    bars_words: &'static str,
    alerts: Vec<AlertRow>,
    snippets: Vec<(&'static str, String)>,
}

/// The page.
pub async fn reservation(desk: Data<Desk>, id: Path<i64>) -> Result<HttpResponse, ApiError> {
    let id = id.into_inner();
    let (listed, checkins, alerts, deliveries, now) = ask(&desk, move |desk, now| {
        let listed = desk.store.listed(id, now)?;
        let checkins = if listed.is_some() { desk.store.checkins_of(id, ENTRIES)? } else { Vec::new() };
        let alerts = desk.store.alerts(Some(id), None, None, ENTRIES)?;
        let ids: Vec<i64> = alerts.iter().map(|alert| alert.id).collect();
        let deliveries = desk.store.deliveries_of(&ids)?;
        Ok((listed, checkins, alerts, deliveries, now))
    })
    .await?;
    let listed = listed.ok_or_else(|| ApiError::NotFound("there is no such reservation".to_owned()))?;
    let evaluation = evaluate(&listed.view(), now);
    let terms = &listed.reservation.terms;
    let zone = terms.schedule.zone();
    let (bars, bars_words) = bars(&checkins, terms.max_run, zone);
    page(&ReservationPage {
        frame: Frame::of(&desk, ""),
        sentence: view::sentence(&listed, &evaluation, now),
        description: terms.description.clone(),
        notify: terms.notify.to_string(),
        deadline: When::new(evaluation.deadline, zone, now),
        snoozed_until: listed
            .reservation
            .conclusions
            .snoozed_until
            .filter(|until| *until > now)
            .map(|until| When::new(until, zone, now)),
        checkins_count: listed.reservation.facts.checkins,
        checkins: checkins.iter().map(|checkin| CheckinRow::of(checkin, zone, now)).collect(),
        bars,
        bars_words,
        alerts: alerts.iter().map(|alert| AlertRow::of(alert, &deliveries, zone, now)).collect(),
        snippets: snippets(&desk.public_url, &listed),
        row: Row::of(&listed, &evaluation, now),
    })
}
