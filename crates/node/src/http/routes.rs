//! Registers handlers and remembers their paths, so that a wrong method is told which ones there are.

use actix_web::dev::ResourceDef;
use actix_web::guard::{self, Guard};
use actix_web::http::{Method, header};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpRequest, HttpResponse, Responder};

use super::ApiError;

/// The routes of one listener. Roles that share it register one after the other.
///
/// `HEAD` is taken wherever `GET` is; `OPTIONS` is answered with the methods of the path, another method with
/// 405 and the same in `Allow`, an unknown path with 404.
pub struct Routes<'c> {
    actix: &'c mut ServiceConfig,
    known: Vec<(ResourceDef, Method)>,
}

impl<'c> Routes<'c> {
    pub(super) fn new(actix: &'c mut ServiceConfig) -> Self {
        Self { actix, known: Vec::new() }
    }

    /// Makes `value` available to handlers (`web::Data<T>` is registered with its `clone()`).
    pub fn app_data<T: 'static>(&mut self, value: T) -> &mut Self {
        self.actix.app_data(value);
        self
    }

    /// Answers `GET` and `HEAD` of `pattern` (`/cron/{account}`).
    pub fn get<F, Args>(&mut self, pattern: &str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route(Method::GET, pattern, handler)
    }

    /// Answers `GET` and `HEAD` of `pattern` where the client asks for a page: `Accept` has `text/html`. Others are left to what is
    /// registered next.
    pub fn get_page<F, Args>(&mut self, pattern: &str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let page = guard::fn_guard(|context| {
            let accept = context.head().headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
            accept.is_some_and(|accept| accept.contains("text/html"))
        });
        let get = guard::Any(guard::Get()).or(guard::Head());
        self.actix.route(pattern, web::route().guard(Boxed(Box::new(get))).guard(page).to(handler));
        self.known.push((ResourceDef::new(pattern), Method::GET));
        self
    }

    /// Answers `POST` of `pattern`.
    pub fn post<F, Args>(&mut self, pattern: &str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.route(Method::POST, pattern, handler)
    }

    /// Answers `method` of `pattern`; for `GET` also `HEAD`. What was registered first wins.
    pub fn route<F, Args>(&mut self, method: Method, pattern: &str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        let mut allowed = guard::Any(guard::Method(method.clone()));
        if method == Method::GET {
            allowed = allowed.or(guard::Head());
        }
        self.actix.route(pattern, web::route().guard(Boxed(Box::new(allowed))).to(handler));
        self.known.push((ResourceDef::new(pattern), method));
        self
    }

    /// Registers the answer to everything else.
    pub(super) fn finish(self) {
        let known = self.known;
        self.actix.default_service(web::to(move |request: HttpRequest| {
            let answer = answer_rest(&known, &request);
            async move { answer }
        }));
    }
}

fn answer_rest(known: &[(ResourceDef, Method)], request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.match_info().as_str();
    let mut methods: Vec<&str> = Vec::new();
    for (_, method) in known.iter().filter(|(pattern, _)| pattern.is_match(path)) {
        let implied: &[&str] = if *method == Method::GET { &["GET", "HEAD"] } else { &[method.as_str()] };
        methods.extend(implied);
    }
    if methods.is_empty() {
        return Err(ApiError::NotFound("there is nothing at this path".to_owned()));
    }
    methods.push("OPTIONS");
    methods.sort_unstable();
    methods.dedup();
    let allow = methods.join(", ");
    if request.method() == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
    }
    Err(ApiError::MethodNotAllowed { allow })
}

struct Boxed(Box<dyn Guard>);

impl Guard for Boxed {
    fn check(&self, context: &guard::GuardContext<'_>) -> bool {
        self.0.check(context)
    }
}
