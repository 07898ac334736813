//! What is shown to whoever has the link, without a login: status pages of an app or a tag, and badges. Names and states, nothing else.

use actix_web::HttpResponse;
use actix_web::http::header;
use actix_web::web::{Data, Path};
use askama::Template;
use innkeeper_core::assessed::Assessed;
use innkeeper_core::sla::State;
use innkeeper_core::{Time, duration};
use innkeeper_http::{ApiError, Caller};
use innkeeper_store::{Filter, ListCursor, Share, StoreError};

use super::frame::Frame;
use super::{ask, page};
use crate::AppState;

/// Reservations of a status page.
const ROWS: i64 = 500;
/// The width of a letter of a badge, in its units.
const LETTER: usize = 7;

#[derive(Template)]
#[template(path = "public.html")]
struct PublicPage<'a> {
    frame: Frame<'a>,
    title: String,
    /// How its jobs stand together, and what it means.
    state: &'static str,
    sentence: String,
    rows: Vec<PublicRow>,
    more: bool,
}

struct PublicRow {
    name: String,
    state: &'static str,
}

#[derive(Template)]
#[template(path = "badge.svg", escape = "html")]
struct Badge {
    title: String,
    state: &'static str,
    colour: &'static str,
    left: usize,
    right: usize,
}

/// What is shown of a share.
struct SharedView {
    share: Share,
    listed: Vec<Assessed>,
    more: bool,
}

/// Everything that a share covers, the worst first.
fn look(app_state: &AppState, key: &str, shape: &str, now: Time) -> Result<Option<SharedView>, StoreError> {
    if key.contains('\0') {
        return Ok(None);
    }
    let is_seen = |share: &Share| share.shape == shape && (share.confirmed || app_state.is_open);
    let Some(share) = app_state.store.share(key)?.filter(is_seen) else { return Ok(None) };
    let filter = match share.kind.as_str() {
        "app" => Filter { app: Some(share.subject.clone()), ..Filter::default() },
        "tag" => Filter { tag: Some(share.subject.clone()), ..Filter::default() },
        _ => {
            let listed = match share.subject.parse() {
                // What is wrong with a row is nothing for strangers: nothing is known of it.
                Ok(id) => match app_state.store.listed(id, now) {
                    Err(StoreError::Unreadable(_)) => None,
                    listed => listed?,
                },
                Err(_) => None,
            };
            return Ok(Some(SharedView { share, listed: listed.into_iter().collect(), more: false }));
        }
    };
    let found = app_state.store.page(&filter, &ListCursor::worst(), ROWS, now)?;
    Ok(Some(SharedView { share, listed: found.listed, more: found.next.is_some() }))
}

fn gone() -> ApiError {
    ApiError::NotFound("nothing is shown under this link".to_owned())
}

/// How they stand together: the worst that is bad, else up if any is, else what they are.
fn together(shown: &SharedView) -> Option<State> {
    let states: Vec<State> = shown.listed.iter().map(|one| one.evaluation.state).collect();
    let worst = states.iter().min_by_key(|state| state.severity()).copied();
    let bad = worst.filter(|state| state.severity() < State::Up.severity());
    let up = || [State::Up, State::Running].into_iter().find(|up| states.contains(up)).map(|_| State::Up);
    bad.or_else(up).or_else(|| states.first().copied())
}

/// The status page.
pub async fn status(app_state: Data<AppState>, key: Path<String>) -> Result<HttpResponse, ApiError> {
    let key = key.into_inner();
    let (shown, rows) = ask(&app_state, move |app_state, now| {
        let Some(shown) = look(app_state, &key, "page", now)? else { return Ok(None) };
        let by_tag = shown.share.kind == "tag";
        let row = |one: &Assessed| {
            let spec = &one.reservation.spec;
            PublicRow {
                name: if by_tag {
                    format!("{}/{}", spec.app, spec.component)
                } else {
                    spec.component.to_string()
                },
                state: one.evaluation.state.as_str(),
            }
        };
        let rows: Vec<PublicRow> = shown.listed.iter().map(row).collect();
        Ok(Some((shown, rows)))
    })
    .await?
    .ok_or_else(gone)?;
    let down = rows.iter().filter(|row| row.state == State::Down.as_str()).count();
    let sentence = match (rows.len(), down) {
        (0, _) => "Nothing is watched here yet.".to_owned(),
        (_, 0) => "Nothing is down.".to_owned(),
        (all, down) => format!("{} of {} down.", down, duration::counted(all as i64, "job")),
    };
    // Without the names of the instance's other pages, whoever looks.
    let mut frame = Frame::of(&app_state, &Caller::nobody(), "/public");
    frame.down_here = Some(down as i64);
    page(&PublicPage {
        frame,
        title: shown.share.title.clone(),
        state: together(&shown).map_or("new", State::as_str),
        sentence,
        rows,
        more: shown.more,
    })
}

/// The badge: a title, and how its jobs stand together.
pub async fn badge(app_state: Data<AppState>, key: Path<String>) -> Result<HttpResponse, ApiError> {
    let key = key.into_inner();
    let shown =
        ask(&app_state, move |app_state, now| look(app_state, &key, "badge", now)).await?.ok_or_else(gone)?;
    let state = together(&shown);
    let title = shown.share.title;
    let word = state.map_or("nothing", State::as_str);
    let badge = Badge {
        left: title.chars().count() * LETTER + 12,
        right: word.len() * LETTER + 12,
        colour: match state {
            Some(State::Down | State::Overdue) => "#b3261e",
            Some(State::Late | State::Held | State::Unobserved) => "#8a5a00",
            Some(State::Up | State::Running) => "#1f7a45",
            Some(State::New | State::Snoozed) | None => "#5b646e",
        },
        title,
        state: word,
    };
    Ok(HttpResponse::Ok()
        .content_type("image/svg+xml")
        // Pictures in other pages are cached by whoever shows them, unless they are told for how long.
        .insert_header((header::CACHE_CONTROL, "no-cache, max-age=0"))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'none'"))
        .body(badge.render().map_err(ApiError::internal)?))
}
