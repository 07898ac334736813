//! What went wrong, as a page; and the way to the login.

use actix_web::http::{StatusCode, header};
use actix_web::web::Data;
use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, ResponseError as _};
use askama::Template;
use innkeeper_http::{ApiError, Caller};

use super::frame::Frame;
use super::{POLICY, see_other};
use crate::AppState;

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage<'a> {
    frame: Frame<'a>,
    title: &'a str,
    detail: String,
}

/// The page of this error. Whoever is not logged in is sent to the login, and from there back.
pub fn error_page(error: &ApiError, request: &HttpRequest) -> HttpResponse {
    if let ApiError::Unauthorized(_) = error
        && request.headers().get(header::AUTHORIZATION).is_none()
    {
        let next = match request.method().is_safe() {
            true => request.uri().path_and_query().map_or("/", |path| path.as_str()),
            false => "/status",
        };
        let query = url::form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        return see_other(&format!("/login?{query}"));
    }
    if let ApiError::NeedsSecondFactor = error {
        return see_other("/account/second-factor");
    }
    let plain = || error.error_response();
    let Some(app_state) = request.app_data::<Data<AppState>>() else { return plain() };
    let known = request.extensions().get::<Caller>().cloned();
    let caller = known.unwrap_or_else(Caller::nobody);
    let title = match error.status_code() {
        _ if matches!(error, ApiError::Unreadable(_)) => "This cannot be read",
        StatusCode::NOT_FOUND => "Nothing here",
        StatusCode::FORBIDDEN => "Permission denied",
        StatusCode::BAD_REQUEST => "Invalid request",
        StatusCode::CONFLICT => "Conflict",
        StatusCode::TOO_MANY_REQUESTS => "Too many attempts",
        StatusCode::SERVICE_UNAVAILABLE => "Temporarily unavailable",
        StatusCode::METHOD_NOT_ALLOWED => "Method not allowed",
        _ => "Something went wrong",
    };
    let shown =
        ErrorPage { frame: Frame::of(app_state, &caller, "/error"), title, detail: error.to_string() }
            .render();
    match shown {
        Ok(text) => error
            .begin_response()
            .content_type("text/html; charset=utf-8")
            .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
            .body(text),
        Err(error) => {
            log::error!("the page of an error cannot be rendered: {error}");
            plain()
        }
    }
}
