//! Registers handlers behind the authenticator, and records their paths, so that a wrong method is answered with the
//! allowed ones.

use std::sync::Arc;

use actix_web::dev::ResourceDef;
use actix_web::guard::{self, Guard};
use actix_web::http::{Method, header};
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpMessage as _, HttpRequest, HttpResponse, Responder};
use innkeeper_core::access::Permission;

use super::description::Description;
use super::mount::Paths;
use super::{ApiError, Authenticator};

/// Renders an error as a page.
pub type ErrorPage = fn(&ApiError, &HttpRequest) -> HttpResponse;

/// The routes of one listener. Roles that share it register one after the other.
///
/// Each route has the [`Permission`] that its callers need; other callers do not reach its handler.
/// `GET` routes also take `HEAD`. `OPTIONS` is answered with the methods of the path, any other
/// method with 405 and the same in `Allow`, and an unknown path with 404.
pub struct Routes<'c> {
    actix: &'c mut ServiceConfig,
    authenticator: Authenticator,
    error_page: Option<ErrorPage>,
    known: Vec<Known>,
}

/// The arguments of a handler, extracted from a request.
pub trait Arguments: FromRequest + 'static {}

impl<A: FromRequest + 'static> Arguments for A {}

/// A handler of a route.
pub trait RouteHandler<A>: Handler<A, Output: Responder + 'static> {}

impl<A, H: Handler<A, Output: Responder + 'static>> RouteHandler<A> for H {}

/// A registered route.
struct Known {
    pattern: String,
    definition: ResourceDef,
    method: Method,
    permission: Permission,
    manner: Manner,
}

/// The audience of a route, which decides the form of its errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// Jobs and programs: `{"success":false,"message":"…"}`.
    Plain,
    /// Programs that manage: `application/problem+json`.
    Api,
    /// People: a page, with a link to the login.
    Page,
    /// Everybody who has the link: a page without forms and cookies.
    PublicPage,
}

/// The requests that a route takes, in addition to its path.
#[derive(Clone, Copy)]
enum Only {
    Always,
    /// Where the client accepts `text/html`.
    ForBrowsers,
    /// Where there is a query.
    WithQuery,
    /// Where there is a query, and a browser sent it by itself.
    WithQueryByBrowser,
}

impl<'c> Routes<'c> {
    pub(super) fn new(actix: &'c mut ServiceConfig, authenticator: Authenticator) -> Self {
        Self { actix, authenticator, error_page: None, known: Vec::new() }
    }

    /// Makes `value` available to handlers (`web::Data<T>` is registered with its `clone()`).
    pub fn app_data<T: 'static>(&mut self, value: T) -> &mut Self {
        self.actix.app_data(value);
        self
    }

    /// Sets how errors are rendered on the pages that are registered after this.
    pub fn error_page(&mut self, page: ErrorPage) -> &mut Self {
        self.error_page = Some(page);
        self
    }

    /// Registers a handler for the route of this description.
    pub fn described<A: Arguments>(
        &mut self,
        description: &Description,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        let Description { method, path, permission, .. } = *description;
        self.register(&[method.into()], path, permission, Manner::Plain, Only::Always, handler)
    }

    /// Answers `GET` and `HEAD` of `pattern` (`/cron/{account}`).
    pub fn get<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::GET], pattern, permission, Manner::Plain, Only::Always, handler)
    }

    /// Like [`Self::get`], only for requests with a query. Other requests go to the handler that is
    /// registered next.
    pub fn get_with_query<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::GET], pattern, permission, Manner::Plain, Only::WithQuery, handler)
    }

    /// Like [`Self::get_with_query`], only for requests that a browser sent: somebody followed a
    /// link, or the page of another site triggered it.
    pub fn get_with_query_by_browser<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::GET], pattern, permission, Manner::Plain, Only::WithQueryByBrowser, handler)
    }

    /// Answers `POST` of `pattern`.
    pub fn post<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::POST], pattern, permission, Manner::Plain, Only::Always, handler)
    }

    /// Answers `method` of `pattern`; for `GET` also `HEAD`. The handler that was registered first
    /// wins.
    pub fn route<A: Arguments>(
        &mut self,
        method: Method,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[method], pattern, permission, Manner::Plain, Only::Always, handler)
    }

    /// Answers each of these methods of `pattern`. The router looks at one pattern after the other, so
    /// that a pattern which is registered once for all methods costs each request less.
    pub fn route_of_all<A: Arguments>(
        &mut self,
        methods: &[Method],
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(methods, pattern, permission, Manner::Plain, Only::Always, handler)
    }

    /// Answers `OPTIONS` of `pattern`, with which a browser asks whether a page of another site may
    /// send something there (CORS preflight). Other paths answer `OPTIONS` with their methods only.
    pub fn preflight<A: Arguments>(&mut self, pattern: &str, handler: impl RouteHandler<A>) -> &mut Self {
        self.actix.route(pattern, web::route().guard(guard::Options()).to(handler));
        self
    }

    /// Answers `method` of a path of the management API.
    pub fn api<A: Arguments>(
        &mut self,
        method: Method,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[method], pattern, permission, Manner::Api, Only::Always, handler)
    }

    /// Answers `GET` and `HEAD` of `pattern` with a page. A caller who must log in first is
    /// redirected to the login.
    pub fn page<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::GET], pattern, permission, Manner::Page, Only::Always, handler)
    }

    /// Answers `GET` and `HEAD` of `pattern` with a page that everybody may see, and that sets no cookie.
    pub fn public_page<A: Arguments>(&mut self, pattern: &str, handler: impl RouteHandler<A>) -> &mut Self {
        self.register(&[Method::GET], pattern, Permission::Nothing, Manner::PublicPage, Only::Always, handler)
    }

    /// Like [`Self::page`], only for clients whose `Accept` contains `text/html`. Other requests go
    /// to the handler that is registered next.
    pub fn page_for_browsers<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::GET], pattern, permission, Manner::Page, Only::ForBrowsers, handler)
    }

    /// Answers a `POST` of a page's form to `pattern`. The handler must check the CSRF token of the
    /// form ([`super::Caller::csrf`]).
    pub fn form<A: Arguments>(
        &mut self,
        pattern: &str,
        permission: Permission,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        self.register(&[Method::POST], pattern, permission, Manner::Page, Only::Always, handler)
    }

    fn register<A: Arguments>(
        &mut self,
        methods: &[Method],
        pattern: &str,
        permission: Permission,
        manner: Manner,
        only: Only,
        handler: impl RouteHandler<A>,
    ) -> &mut Self {
        // Without a method it would match nothing.
        let mut allowed = guard::Any(guard::fn_guard(|_| false));
        for method in methods {
            allowed = allowed.or(guard::Method(method.clone()));
            if *method == Method::GET {
                allowed = allowed.or(guard::Head());
            }
        }
        let mut route = web::route().guard(Boxed(Box::new(allowed)));
        match only {
            Only::Always => {}
            Only::ForBrowsers => {
                // A gocron check-in is left to the handler of gocron's address.
                let is_page = |context: &guard::GuardContext<'_>| {
                    accepts_pages(context)
                        && !context.head().uri.query().is_some_and(|query| query.contains("cronname="))
                };
                route = route.guard(guard::fn_guard(is_page));
            }
            Only::WithQuery => route = route.guard(guard::fn_guard(has_query)),
            Only::WithQueryByBrowser => {
                let by_browser = |context: &guard::GuardContext<'_>| {
                    has_query(context) && is_by_browser(context.head().headers())
                };
                route = route.guard(guard::fn_guard(by_browser));
            }
        }
        let passes = manner == Manner::Plain && permission == Permission::Nothing;
        let route = if passes {
            route.to(handler)
        } else {
            let (authenticator, error_page) = (self.authenticator.clone(), self.error_page);
            route.to(move |request: HttpRequest, payload: web::Payload| {
                let (authenticator, handler) = (authenticator.clone(), handler.clone());
                async move {
                    let answer =
                        admitted(&authenticator, permission, manner, &handler, &request, payload).await;
                    dressed(answer, manner, error_page, &request)
                }
            })
        };
        self.actix.route(pattern, route);
        self.known.extend(methods.iter().map(|method| Known {
            pattern: pattern.to_owned(),
            definition: ResourceDef::new(pattern),
            method: method.clone(),
            permission,
            manner,
        }));
        self
    }

    /// Registers the answer to all other requests; with `tell`, logs the routes.
    pub(super) fn finish(self, tell: bool) {
        let (known, error_page) = (Arc::new(self.known), self.error_page);
        for route in known.iter().filter(|_| tell) {
            let Known { pattern, method, permission, .. } = route;
            let manner = match route.manner {
                Manner::PublicPage => Manner::Page,
                manner => manner,
            };
            log::debug!("route {method} {pattern} needs {permission:?}, as {manner:?}");
        }
        let paths = known.iter().map(|route| route.definition.clone()).collect();
        self.actix.app_data(Paths(Arc::new(paths)));
        self.actix.default_service(web::to(move |request: HttpRequest| {
            let path = request.path();
            let manner = match path.starts_with("/api/") {
                true => Manner::Api,
                false if request.method().is_safe() && accepts(request.headers().get(header::ACCEPT)) => {
                    Manner::Page
                }
                false => Manner::Plain,
            };
            let answer = answer_rest(&known, &request)
                .unwrap_or_else(|error| HttpResponse::from_error(actix_web::Error::from(error)));
            let answer = dressed(answer, manner, error_page, &request);
            async move { answer }
        }));
    }
}

/// The handler's answer, if the authenticator lets the request through to it.
async fn admitted<A: Arguments>(
    authenticator: &Authenticator,
    permission: Permission,
    manner: Manner,
    handler: &impl RouteHandler<A>,
    request: &HttpRequest,
    payload: web::Payload,
) -> HttpResponse {
    // No stored name contains NUL, and Postgres refuses to search for it.
    if request.path().contains("%00") {
        let error = ApiError::NotFound("there is nothing at this path".to_owned());
        return HttpResponse::from_error(actix_web::Error::from(error));
    }
    let caller = match authenticator.admit(request, permission, manner == Manner::Page).await {
        Ok(caller) => caller,
        Err(error) => return HttpResponse::from_error(actix_web::Error::from(error)),
    };
    let cookie = authenticator.missing_cookie(request, &caller);
    request.extensions_mut().insert(caller);
    let mut answer = match A::from_request(request, &mut payload.into_inner()).await {
        Ok(arguments) => handler.call(arguments).await.respond_to(request).map_into_boxed_body(),
        Err(error) => HttpResponse::from_error(error.into()),
    };
    if let Some(cookie) = cookie
        && let Err(error) = answer.add_cookie(&cookie)
    {
        log::error!("a cookie cannot be set: {error}");
    }
    answer
}

/// Renders an error for the audience of the route; other answers stay as they are.
fn dressed(
    answer: HttpResponse,
    manner: Manner,
    error_page: Option<ErrorPage>,
    request: &HttpRequest,
) -> HttpResponse {
    let Some(error) = answer.error().and_then(|error| error.as_error::<ApiError>()) else { return answer };
    match (manner, error_page) {
        (Manner::Api, _) => error.problem(),
        (Manner::Page | Manner::PublicPage, Some(page)) => page(error, request),
        _ => answer,
    }
}

fn has_query(context: &guard::GuardContext<'_>) -> bool {
    context.head().uri.query().is_some_and(|query| !query.is_empty())
}

/// Whether a request has headers that browsers add and programs do not.
fn is_by_browser(headers: &header::HeaderMap) -> bool {
    let named = |name: &header::HeaderName| {
        ["origin", "referer", "accept-language"].contains(&name.as_str())
            || ["sec-fetch-", "sec-ch-"].iter().any(|begin| name.as_str().starts_with(begin))
    };
    headers.keys().any(named)
        || headers.get_all(header::ACCEPT).any(|accept| {
            let accept = accept.as_bytes().to_ascii_lowercase();
            [&b"text/html"[..], b"image/"]
                .iter()
                .any(|kind| accept.windows(kind.len()).any(|part| part == *kind))
        })
}

fn accepts_pages(context: &guard::GuardContext<'_>) -> bool {
    accepts(context.head().headers().get(header::ACCEPT))
}

fn accepts(accept: Option<&header::HeaderValue>) -> bool {
    accept.and_then(|accept| accept.to_str().ok()).is_some_and(|accept| accept.contains("text/html"))
}

fn answer_rest(known: &[Known], request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let path = request.match_info().as_str();
    let mut methods: Vec<&str> = Vec::new();
    for Known { method, .. } in known.iter().filter(|route| route.definition.is_match(path)) {
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
