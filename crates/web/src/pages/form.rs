//! What forms send: read only where it comes with what the page gave its form.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest};
use innkeeper_core::Invalid;
use innkeeper_http::{ApiError, Body, Caller};

/// The fields of a form. A form without the caller's own `csrf` is refused: another site may have had it sent.
pub struct Form(Vec<(String, String)>);

impl FromRequest for Form {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let caller = Caller::extract(request);
        let body = Body::from_request(request, payload);
        Box::pin(async move {
            let (caller, Body(body)) = (caller.await?, body.await?);
            let fields: Vec<(String, String)> =
                url::form_urlencoded::parse(&body).map(|(name, value)| (name.into(), value.into())).collect();
            let form = Self(fields);
            if caller.csrf.is_empty() || form.text("csrf") != caller.csrf {
                return Err(ApiError::Forbidden(
                    "this form is too old, or cookies are off; open the page again and send it from there"
                        .to_owned(),
                ));
            }
            Ok(form)
        })
    }
}

impl Form {
    /// A field without the blanks around it; empty where it is missing.
    pub fn text(&self, name: &str) -> &str {
        self.raw(name).trim()
    }

    /// A field as it was typed; empty where it is missing.
    pub fn raw(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// Every value of a field that may be there several times.
    pub fn all<'f>(&'f self, name: &'f str) -> impl Iterator<Item = &'f str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// Whether a box is ticked.
    pub fn is_ticked(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// A field that must say something.
    pub fn required(&self, name: &'static str) -> Result<&str, Invalid> {
        Some(self.text(name)).filter(|text| !text.is_empty()).ok_or_else(|| Invalid::new(name, "is empty"))
    }
}
