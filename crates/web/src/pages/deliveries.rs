//! Messages that wait, and those that were given up.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use innkeeper_node::http::{ApiError, Caller};
use innkeeper_store::Topic;

use super::frame::Frame;
use super::view::DeliveryRow;
use super::{ask, page};
use crate::Desk;

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage<'a> {
    frame: Frame<'a>,
    groups: [(&'static str, &'static str, Vec<DeliveryRow>); 2],
}

/// The page.
pub async fn deliveries(desk: Data<Desk>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let (waiting, dead, now) = ask(&desk, |desk, now| {
        Ok((desk.store.deliveries("waiting", None, 200)?, desk.store.deliveries("dead", None, 200)?, now))
    })
    .await?;
    let zone = caller.zone_or(chrono_tz::UTC);
    let rows = |all: &[innkeeper_store::SentDelivery]| {
        all.iter().map(|one| DeliveryRow::of(one, zone, now)).collect::<Vec<_>>()
    };
    let groups = [
        ("Waiting", "Nothing waits: everything has gone out.", rows(&waiting)),
        ("Given up", "Nothing was given up.", rows(&dead)),
    ];
    page(&DeliveriesPage { frame: Frame::of(&desk, &caller, "/deliveries"), groups })
}
