//! The pages: rendered on the server, readable without JavaScript, with nothing from elsewhere.
//!
//! `view.rs` turns what the store knows into what templates show; each page is a template and a short handler here. What a reservation
//! is shown as comes from [`innkeeper_core::sla`].

mod view;

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{self, Data, Path, Query};
use askama::Template;
use chrono::TimeDelta;
use innkeeper_core::Time;
use innkeeper_core::access::Need;
use innkeeper_core::sla::evaluate;
use innkeeper_node::heart::{GONE_AFTER, LEASE, MISSING_AFTER};
use innkeeper_node::http::{ApiError, Routes};
use innkeeper_store::{Counts, Cursor, Filter, StoreError};
use serde::Deserialize;

use crate::Desk;
use view::{
    AlertRow, Bar, CheckRow, CheckinRow, DeliveryRow, GuestRow, NodeRow, Row, When, WindowRow, bars, snippets,
};

/// Reservations on a page.
const ROWS: i64 = 50;
/// Check-ins, alerts and messages on a page.
const ENTRIES: i64 = 50;
/// How far back bad guests are counted.
const BAD_DAYS: i64 = 30;
/// What a page may load: its own style and script.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; \
    form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Registers the pages. `/` and `/nodes` are pages for browsers alone: register them before what answers programs there.
pub(crate) fn mount(routes: &mut Routes<'_>) {
    routes
        .page_for_browsers("/", Need::ReadAll, status)
        .page_for_browsers("/nodes", Need::ReadAll, nodes)
        .page("/status", Need::ReadAll, status)
        .page("/status/{id}", Need::ReadAll, reservation)
        .page("/alerts", Need::ReadAll, alerts)
        .page("/deliveries", Need::ReadAll, deliveries)
        .page("/badguests", Need::ReadAll, bad_guests)
        .get("/assets/style.css", Need::Nothing, style)
        .get("/assets/live.js", Need::Nothing, script);
}

/// What every page shows around its content.
struct Frame<'a> {
    instance: &'a str,
    public_url: &'a str,
    path: &'static str,
}

impl<'a> Frame<'a> {
    fn of(desk: &'a Desk, path: &'static str) -> Self {
        Self { instance: &desk.instance, public_url: &desk.public_url, path }
    }

    fn is_current(&self, path: &str) -> bool {
        path == self.path
    }

    fn pages(&self) -> [(&'static str, &'static str); 5] {
        [
            ("/status", "Reservations"),
            ("/alerts", "Alerts"),
            ("/deliveries", "Deliveries"),
            ("/badguests", "Bad guests"),
            ("/nodes", "Nodes"),
        ]
    }
}

/// The filter and the place of a page of reservations, as they stand in its address.
#[derive(Debug, Default, Deserialize)]
struct StatusQuery {
    #[serde(default)]
    q: String,
    #[serde(default)]
    app: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    owner: String,
    after_app: Option<String>,
    after_component: Option<String>,
    after_down: Option<bool>,
}

impl StatusQuery {
    fn filter(&self) -> Filter {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Filter {
            text: given(&self.q),
            app: given(&self.app),
            tag: given(&self.tag),
            owner: given(&self.owner),
        }
    }

    fn cursor(&self) -> Cursor {
        match (&self.after_app, &self.after_component) {
            (Some(app), Some(component)) => Cursor {
                down: self.after_down.unwrap_or_default(),
                app: app.clone(),
                component: component.clone(),
            },
            _ => Cursor::begin(),
        }
    }

    fn is_filtered(&self) -> bool {
        self.filter() != Filter::default()
    }

    fn is_further(&self) -> bool {
        self.after_app.is_some()
    }

    /// The address of the first page.
    fn first(&self) -> String {
        self.address(None)
    }

    fn address(&self, cursor: Option<&Cursor>) -> String {
        let mut pairs: Vec<(&str, &str)> =
            [("q", &self.q), ("app", &self.app), ("tag", &self.tag), ("owner", &self.owner)]
                .into_iter()
                .filter(|(_, value)| !value.trim().is_empty())
                .map(|(key, value)| (key, value.as_str()))
                .collect();
        if let Some(cursor) = cursor {
            pairs.push(("after_down", if cursor.down { "true" } else { "false" }));
            pairs.push(("after_app", &cursor.app));
            pairs.push(("after_component", &cursor.component));
        }
        let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        if query.is_empty() { "/status".to_owned() } else { format!("/status?{query}") }
    }
}

#[derive(Template)]
#[template(path = "status.html")]
struct StatusPage<'a> {
    frame: Frame<'a>,
    query: StatusQuery,
    counts: Counts,
    rows: Vec<Row>,
    next: Option<String>,
}

async fn status(desk: Data<Desk>, query: Query<StatusQuery>) -> Result<HttpResponse, ApiError> {
    let query = query.into_inner();
    let (filter, cursor) = (query.filter(), query.cursor());
    let (shown, next, counts, now) = ask(&desk, move |desk, now| {
        let (listed, next) = desk.store.page(&filter, &cursor, ROWS, now)?;
        Ok((listed, next, desk.counts()?, now))
    })
    .await?;
    let next = next.map(|cursor| query.address(Some(&cursor)));
    let rows = shown.iter().map(|listed| Row::of(listed, &evaluate(&listed.view(), now), now)).collect();
    page(&StatusPage { frame: Frame::of(&desk, "/status"), query, counts, rows, next })
}

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

async fn reservation(desk: Data<Desk>, id: Path<i64>) -> Result<HttpResponse, ApiError> {
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

#[derive(Deserialize)]
struct Before {
    before: Option<i64>,
}

#[derive(Template)]
#[template(path = "alerts.html")]
struct AlertsPage<'a> {
    frame: Frame<'a>,
    open: Vec<AlertRow>,
    past: Vec<AlertRow>,
    next: Option<String>,
}

async fn alerts(desk: Data<Desk>, query: Query<Before>) -> Result<HttpResponse, ApiError> {
    let before = query.before;
    let (open, past, now) = ask(&desk, move |desk, now| {
        let open =
            if before.is_none() { desk.store.alerts(None, Some(true), None, 500)? } else { Vec::new() };
        Ok((open, desk.store.alerts(None, Some(false), before, ENTRIES)?, now))
    })
    .await?;
    let next = (past.len() as i64 == ENTRIES)
        .then(|| past.last().map(|alert| format!("/alerts?before={}", alert.id)))
        .flatten();
    let rows = |alerts: &[innkeeper_store::PastAlert]| {
        alerts.iter().map(|alert| AlertRow::of(alert, &[], chrono_tz::UTC, now)).collect()
    };
    page(&AlertsPage { frame: Frame::of(&desk, "/alerts"), open: rows(&open), past: rows(&past), next })
}

#[derive(Template)]
#[template(path = "deliveries.html")]
struct DeliveriesPage<'a> {
    frame: Frame<'a>,
    groups: [(&'static str, &'static str, Vec<DeliveryRow>); 2],
}

async fn deliveries(desk: Data<Desk>) -> Result<HttpResponse, ApiError> {
    let (waiting, dead, now) = ask(&desk, |desk, now| {
        Ok((desk.store.deliveries("waiting", None, 200)?, desk.store.deliveries("dead", None, 200)?, now))
    })
    .await?;
    let rows = |all: &[innkeeper_store::SentDelivery]| {
        all.iter().map(|one| DeliveryRow::of(one, chrono_tz::UTC, now)).collect::<Vec<_>>()
    };
    let groups = [
        ("Waiting", "Nothing waits: everything has gone out.", rows(&waiting)),
        ("Given up", "Nothing was given up.", rows(&dead)),
    ];
    page(&DeliveriesPage { frame: Frame::of(&desk, "/deliveries"), groups })
}

#[derive(Template)]
#[template(path = "badguests.html")]
struct BadGuestsPage<'a> {
    frame: Frame<'a>,
    days: i64,
    guests: Vec<GuestRow>,
}

async fn bad_guests(desk: Data<Desk>) -> Result<HttpResponse, ApiError> {
    let (guests, now) =
        ask(&desk, |desk, now| Ok((desk.store.bad_guests(now - TimeDelta::days(BAD_DAYS), 100)?, now)))
            .await?;
    let guests = guests.iter().map(|guest| GuestRow::of(guest, now)).collect();
    page(&BadGuestsPage { frame: Frame::of(&desk, "/badguests"), days: BAD_DAYS, guests })
}

#[derive(Template)]
#[template(path = "nodes.html")]
struct NodesPage<'a> {
    frame: Frame<'a>,
    nodes: Vec<NodeRow>,
    missing: Vec<String>,
    checks: Vec<CheckRow>,
    windows: Vec<WindowRow>,
}

async fn nodes(desk: Data<Desk>) -> Result<HttpResponse, ApiError> {
    let (nodes, duties, checks, windows, holder, now) = ask(&desk, |desk, now| {
        let store = &desk.store;
        let windows = store.blind_windows(now)?;
        Ok((store.nodes()?, store.duties()?, store.checks()?, windows, store.lease_holder(LEASE)?, now))
    })
    .await?;
    let node = |known| NodeRow::of(known, holder.as_deref(), GONE_AFTER, now);
    let missing =
        duties.iter().filter(|duty| now - duty.beat_at > MISSING_AFTER).map(|duty| duty.name.clone());
    page(&NodesPage {
        frame: Frame::of(&desk, "/nodes"),
        nodes: nodes.iter().map(node).collect(),
        missing: missing.collect(),
        checks: checks.iter().map(|check| CheckRow::of(check, now)).collect(),
        windows: windows.iter().rev().map(|window| WindowRow::of(window, now)).collect(),
    })
}

async fn style() -> HttpResponse {
    asset("text/css; charset=utf-8", include_str!("../../assets/style.css"))
}

async fn script() -> HttpResponse {
    asset("text/javascript; charset=utf-8", include_str!("../../assets/live.js"))
}

fn asset(kind: &'static str, text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type(kind)
        .insert_header((header::CACHE_CONTROL, "public, max-age=300"))
        .body(text)
}

/// Asks the store on a thread that may block.
async fn ask<T: Send + 'static>(
    desk: &Data<Desk>,
    question: impl FnOnce(&Desk, Time) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let desk = desk.clone();
    let answer = web::block(move || question(&desk, desk.clock.now())).await.map_err(ApiError::internal)?;
    Ok(answer?)
}

fn page(template: &impl Template) -> Result<HttpResponse, ApiError> {
    let text = template.render().map_err(ApiError::internal)?;
    Ok(HttpResponse::Ok()
        .content_type("text/html; charset=utf-8")
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::REFERRER_POLICY, "same-origin"))
        .insert_header((header::VARY, "Accept"))
        .body(text))
}
