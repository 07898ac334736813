//! Errors of the API, and their responses.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, HttpResponseBuilder, ResponseError};
use innkeeper_core::Invalid;
use innkeeper_store::StoreError;
use serde_json::json;

use innkeeper_logging::Seldom;

/// An error for a caller, sent as `{"success":false,"message":"…"}` with a fitting status.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400: a field is invalid. The body names it in `field`.
    #[error("{0}")]
    BadRequest(#[from] Invalid),
    /// 401: the caller is not authenticated.
    #[error("{0}")]
    Unauthorized(String),
    /// 403: the caller is known and lacks a permission.
    #[error("{0}")]
    Forbidden(String),
    /// 403: the user has to set up a second factor first.
    #[error("you must set up a second factor first; open /account/second-factor in the browser")]
    NeedsSecondFactor,
    /// 404: the requested item does not exist.
    #[error("{0}")]
    NotFound(String),
    /// 405, with all methods of the path.
    #[error("this path accepts only {allow}")]
    MethodNotAllowed {
        /// The `Allow` header.
        allow: String,
    },
    /// 408: the body did not arrive in time.
    #[error("the request's body did not arrive in time")]
    TooSlow,
    /// 409: the request is valid but conflicts with the present state.
    #[error("{0}")]
    Conflict(String),
    /// 412: the resource has changed since the caller read it.
    #[error("{0}")]
    Outdated(String),
    /// 428: the caller must name the version that they read.
    #[error("{0}")]
    NeedsVersion(String),
    /// 429 with `Retry-After`: too many wrong passwords.
    #[error(
        "too many passwords were tried; try again in {retry_after_s} s, or by a link that an admin makes, or `innkeeper invite NAME` \
         on the machine"
    )]
    TooMany {
        /// The seconds until the next password may be tried.
        retry_after_s: u32,
    },
    /// 429 with `Retry-After`, for codes of a second factor.
    #[error(
        "too many codes or passkeys were wrong; try again in {retry_after_s} s, or in a browser in which you have \
         logged in before; or an admin removes the second factor, or `innkeeper invite NAME --reset-second-factor` does \
         on the machine"
    )]
    TooManyCodes {
        /// The seconds until the next code may be tried.
        retry_after_s: u32,
    },
    /// 503 with `Retry-After`: the queue of login attempts is full.
    #[error("too many passwords are being checked just now; try again in {retry_after_s} s")]
    Crowded {
        /// The seconds after which trying again makes sense.
        retry_after_s: u32,
    },
    /// 429 with `Retry-After`: more than `ingest.rate_per_source`.
    #[error("too many requests from this address; try again in {retry_after_s} s")]
    TooFast {
        /// The seconds after which trying again makes sense.
        retry_after_s: u32,
    },
    /// 413: the body is too large.
    #[error("the body is larger than {most} bytes")]
    TooLarge {
        /// The most bytes that are allowed.
        most: usize,
    },
    /// 503 with `Retry-After`: the same request will work later.
    #[error("Innkeeper cannot do this just now; try again in {retry_after_s} s")]
    Unavailable {
        /// The seconds after which trying again makes sense.
        retry_after_s: u32,
    },
    /// 500: the requested item exists and cannot be read. The error names it; repeating the request does not help.
    #[error("{0}")]
    Unreadable(String),
    /// 500: the cause is logged and not shown.
    #[error("something went wrong inside Innkeeper; its log says what")]
    Internal(Box<dyn std::error::Error + Send + Sync>),
}

impl ApiError {
    /// An internal error with its cause, for the log.
    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            error if error.is_unavailable() => {
                log::debug!("answering 503: {error}");
                Self::Unavailable { retry_after_s: 1 }
            }
            StoreError::Invalid(invalid) => Self::BadRequest(invalid),
            StoreError::Unreadable(unreadable) => Self::Unreadable(unreadable.to_string()),
            error => Self::Internal(Box::new(error)),
        }
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::BadRequest(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized(_) => StatusCode::UNAUTHORIZED,
            Self::Forbidden(_) | Self::NeedsSecondFactor => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Outdated(_) => StatusCode::PRECONDITION_FAILED,
            Self::NeedsVersion(_) => StatusCode::PRECONDITION_REQUIRED,
            Self::TooMany { .. } | Self::TooManyCodes { .. } | Self::TooFast { .. } => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Unavailable { .. } | Self::Crowded { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Unreadable(_) | Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn error_response(&self) -> HttpResponse {
        let mut body = json!({ "success": false, "message": self.to_string() });
        if let Self::BadRequest(invalid) = self {
            body["field"] = json!(invalid.field);
        }
        self.begin_response().json(body)
    }
}

impl ApiError {
    /// The response as `application/problem+json` (RFC 9457), with the invalid `field`.
    pub fn problem(&self) -> HttpResponse {
        let status = self.status_code();
        let mut body = json!({
            "type": "about:blank",
            "title": status.canonical_reason().unwrap_or("Error"),
            "status": status.as_u16(),
            "detail": self.to_string(),
        });
        if let Self::BadRequest(invalid) = self {
            body["detail"] = json!(invalid.problem);
            body["field"] = json!(invalid.field);
        }
        self.begin_response().content_type("application/problem+json").body(body.to_string())
    }

    /// The status and headers for any body; internal causes are logged.
    pub fn begin_response(&self) -> HttpResponseBuilder {
        let mut response = HttpResponse::build(self.status_code());
        match self {
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, allow.as_str()));
            }
            Self::Unauthorized(_) => {
                response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"innkeeper\""));
            }
            Self::TooSlow | Self::TooLarge { .. } => {
                // The rest of the body is unread, so the connection cannot be used again.
                response.force_close();
            }
            Self::Unavailable { retry_after_s }
            | Self::Crowded { retry_after_s }
            | Self::TooMany { retry_after_s }
            | Self::TooManyCodes { retry_after_s }
            | Self::TooFast { retry_after_s } => {
                response.insert_header((header::RETRY_AFTER, *retry_after_s));
            }
            Self::Internal(cause) => {
                static ANSWERS: Seldom = Seldom::new();
                ANSWERS.error(format_args!("answering 500: {}", with_causes(cause.as_ref())));
            }
            Self::Unreadable(what) => {
                static UNREADABLE: Seldom = Seldom::new();
                UNREADABLE.error(format_args!("answering 500: {what}"));
            }
            Self::BadRequest(_)
            | Self::Forbidden(_)
            | Self::NeedsSecondFactor
            | Self::NotFound(_)
            | Self::Conflict(_)
            | Self::Outdated(_)
            | Self::NeedsVersion(_) => {}
        }
        response
    }
}

/// The text of `error` and its causes, in one line.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use actix_web::body::to_bytes;

    use super::*;

    async fn shown(error: ApiError) -> (u16, serde_json::Value, HttpResponse<()>) {
        let (head, body) = error.error_response().into_parts();
        let body = to_bytes(body).await.unwrap_or_default();
        (head.status().as_u16(), serde_json::from_slice(&body).unwrap(), head)
    }

    #[actix_web::test]
    async fn each_error_has_its_status_and_body() {
        let (status, body, _) = shown(Invalid::new("app", "is empty").into()).await;
        assert_eq!(status, 400);
        assert_eq!(body, json!({ "success": false, "message": "app: is empty", "field": "app" }));

        let (status, body, _) = shown(ApiError::NotFound("no such reservation".to_owned())).await;
        assert_eq!((status, &body["message"]), (404, &json!("no such reservation")));

        let (status, _, head) = shown(ApiError::Unavailable { retry_after_s: 3 }).await;
        assert_eq!(status, 503);
        assert_eq!(head.headers().get("retry-after").unwrap(), "3");
    }

    #[actix_web::test]
    async fn the_inside_stays_inside() {
        let (status, body, _) = shown(ApiError::internal("SELECT secret")).await;
        assert_eq!(status, 500);
        assert!(!body.to_string().contains("secret"), "{body}");
        let away: ApiError = StoreError::Unavailable("10.0.0.5 refused".to_owned()).into();
        let (status, body, _) = shown(away).await;
        assert_eq!(status, 503);
        assert!(!body.to_string().contains("10.0.0.5"), "{body}");
    }
}
