//! The reservations with the most alerts.

use actix_web::HttpResponse;
use actix_web::web::Data;
use askama::Template;
use chrono::TimeDelta;
use chrono_tz::Tz;
use innkeeper_core::Time;
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::BadGuest;

use super::frame::Frame;
use super::view::When;
use super::{ask, page};
use crate::AppState;

/// How far back bad guests are counted.
const BAD_DAYS: i64 = 30;

#[derive(Template)]
#[template(path = "badguests.html")]
struct BadGuestsPage<'a> {
    frame: Frame<'a>,
    days: i64,
    guests: Vec<GuestRow>,
}

/// The page.
pub async fn bad_guests(app_state: Data<AppState>, caller: Caller) -> Result<HttpResponse, ApiError> {
    let (guests, now) = ask(&app_state, |app_state, now| {
        Ok((app_state.store.bad_guests(now - TimeDelta::days(BAD_DAYS), 100)?, now))
    })
    .await?;
    let zone = caller.zone_or(chrono_tz::UTC);
    let guests = guests.iter().map(|guest| GuestRow::of(guest, zone, now)).collect();
    page(&BadGuestsPage { frame: Frame::of(&app_state, &caller, "/badguests"), days: BAD_DAYS, guests })
}

/// A reservation with many alerts.
pub struct GuestRow {
    pub id: i64,
    pub app: String,
    pub component: String,
    pub alerts: i64,
    pub latest: When,
}

impl GuestRow {
    pub fn of(guest: &BadGuest, zone: Tz, now: Time) -> Self {
        Self {
            id: guest.reservation_id,
            app: guest.app.clone(),
            component: guest.component.clone(),
            alerts: guest.alerts,
            latest: When::new(guest.latest_at, zone, now),
        }
    }
}
