//! Messages that wait, and those that were given up.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use innkeeper_http::nodes::Parked;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::Topic;

use super::frame::Frame;
use super::view::DeliveryRow;
use super::{ask, page};
use crate::AppState;
use innkeeper_core::notice::DeliveryState;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage<'a> {
    frame: Frame<'a>,
    parked: Vec<Parked>,
    groups: [(&'static str, &'static str, Vec<DeliveryRow>); 2],
}

/// The page.
pub async fn deliveries(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let (waiting, dead, parked, now) = ask(&app_state, |app_state, now| {
        let (waiting, dead) = (
            app_state.store.deliveries(DeliveryState::Waiting, None, 200)?,
            app_state.store.deliveries(DeliveryState::Dead, None, 200)?,
        );
        Ok((waiting, dead, app_state.parked()?, now))
    })
    .await?;
    let zone = caller.zone_or(chrono_tz::UTC);
    let row = |one: &innkeeper_store::SentDelivery| {
        let mut row = DeliveryRow::of(one, zone, now);
        if one.state == DeliveryState::Waiting && parked.iter().any(|parked| parked.alerter == one.alerter) {
            row.problem = format!("{} is parked", one.alerter);
            row.next = None;
        }
        row
    };
    let rows = |all: &[innkeeper_store::SentDelivery]| all.iter().map(row).collect::<Vec<_>>();
    let groups = [
        ("Waiting", "Nothing waits: everything has gone out.", rows(&waiting)),
        ("Given up", "Nothing was given up.", rows(&dead)),
    ];
    page(&DeliveriesPage { frame: Frame::of(&app_state, &caller, "/deliveries"), parked, groups })
}
