//! The reservations, page by page.

use actix_web::HttpResponse;
use actix_web::web::{Data, Query};
use askama::Template;
use innkeeper_core::sla::evaluate;
use innkeeper_node::http::ApiError;
use innkeeper_store::{Counts, Cursor, Filter};
use serde::Deserialize;

use super::frame::Frame;
use super::view::Row;
use super::{ask, page};
use crate::Desk;

/// Reservations on a page.
const ROWS: i64 = 50;

/// The filter and the place of a page of reservations, as they stand in its address.
#[derive(Debug, Default, Deserialize)]
pub struct StatusQuery {
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
            ..Filter::default()
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

/// The page.
pub async fn status(desk: Data<Desk>, query: Query<StatusQuery>) -> Result<HttpResponse, ApiError> {
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
