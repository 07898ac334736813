//! One listener: its limits, its start and its stop.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::num::NonZero;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::available_parallelism;
use std::time::Duration;

use actix_http::{ConnectionType, HttpService as Protocol, KeepAlive};
use actix_server::Server;
use actix_service::{
    IntoServiceFactory as _, Service as _, ServiceFactoryExt as _, fn_factory, fn_service, map_config,
};
use actix_web::App;
use actix_web::dev::{AppConfig, ServiceRequest};
use actix_web::http::Uri;
use actix_web::http::uri::PathAndQuery;
use actix_web::middleware::{DefaultHeaders, Next, from_fn};
use actix_web::rt::net::TcpStream;
use actix_web::web::{self, PathConfig, PayloadConfig, QueryConfig};
use innkeeper_core::Invalid;
use innkeeper_logging::{LogScope, Numbers};
use innkeeper_node::Shutdown;

use super::connection::{Census, Connection, Usage};
use super::mount;
use super::{ApiError, Authenticator, LARGEST_BODY, Routes};

/// Numbers of requests, which connect the log lines of one request.
static REQUESTS: Numbers = Numbers::new();

/// How long the head of a request may take to arrive.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to close its side after a response that closes the connection.
const GOODBYE_PATIENCE: Duration = Duration::from_secs(1);
/// The default limit of open connections.
const CONNECTIONS: usize = 512;
/// How often the thread of [`keep_a_thread`] is used: a thread that is idle for ten seconds ends.
const THREAD_USED_EVERY: Duration = Duration::from_secs(4);
/// How long requests may continue after a stop was requested, in seconds. Longer than a check-in waits for its commit.
const STOP_WITHIN: u64 = 10;

/// A listener could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("cannot listen on {listen}")]
    Bind {
        /// The address as configured.
        listen: SocketAddr,
        /// The system's error.
        source: io::Error,
    },
    /// The server ended after it had been listening.
    #[error("the HTTP server ended")]
    Ended {
        /// The server's error, if there was one.
        source: io::Error,
    },
}

/// One HTTP listener with the routes of one or more roles.
pub struct HttpService {
    name: &'static str,
    listen: SocketAddr,
    authenticator: Authenticator,
    workers: Option<usize>,
    connections: usize,
    configure: Arc<dyn Fn(&mut Routes<'_>) + Send + Sync>,
    on_listening: Option<Box<dyn FnOnce(SocketAddr) + Send>>,
}

impl HttpService {
    /// A service called `name` in logs, behind `authenticator`. `configure` registers the routes
    /// and is called once per worker thread, so state that handlers share must be made outside of
    /// it and cloned.
    pub fn new(
        name: &'static str,
        listen: SocketAddr,
        authenticator: Authenticator,
        configure: impl Fn(&mut Routes<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            listen,
            authenticator,
            workers: None,
            connections: CONNECTIONS,
            configure: Arc::new(configure),
            on_listening: None,
        }
    }

    /// Sets the number of worker threads; none for one per core.
    #[must_use]
    pub fn workers(mut self, workers: Option<usize>) -> Self {
        self.workers = workers;
        self
    }

    /// Sets the most connections that are open at once. Further clients wait until one ends.
    #[must_use]
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Calls `tell` with the real address when the listener accepts connections. With port 0 the
    /// system chooses the port.
    #[must_use]
    pub fn on_listening(mut self, tell: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.on_listening = Some(Box::new(tell));
        self
    }

    /// Serves on this thread (and its workers) until `shutdown` is requested. Then it accepts no more connections,
    /// completes the requests in progress, closes idle connections, and returns within ten seconds.
    ///
    /// # Errors
    /// The address cannot be listened on, or the server ended without a request.
    pub fn run(self, shutdown: &Shutdown) -> Result<(), HttpError> {
        let Self { name, listen, authenticator, workers, connections, configure, on_listening } = self;
        if let Some(problem) = authenticator.mount().twin() {
            log::warn!("{problem}");
        }
        let told = Arc::new(AtomicBool::new(false));
        let workers = workers.unwrap_or_else(|| available_parallelism().map_or(2, NonZero::get));
        let per_worker = (connections / workers).max(1);
        let census = Arc::new(Census::new(per_worker * workers));
        let counted = Arc::clone(&census);
        let app =
            move || {
                let counted = Arc::clone(&counted);
                let configure = Arc::clone(&configure);
                let (authenticator, told) = (authenticator.clone(), Arc::clone(&told));
                let pacing = authenticator.clone();
                let mount = authenticator.mount().clone();
                App::new()
                    .wrap(from_fn(move |request: ServiceRequest, next: Next<_>| {
                        let used = request.conn_data::<Arc<Usage>>().map(Usage::busy);
                        let kept = pacing.keep_pace(request.request());
                        async move {
                            kept?;
                            let answer = next.call(request).await;
                            drop(used);
                            answer
                        }
                    }))
                    .wrap(
                        DefaultHeaders::new()
                            .add(("X-Content-Type-Options", "nosniff"))
                            .add(("Cache-Control", "no-store")),
                    )
                    // Outermost, so that refusals end their connections too.
                    .wrap_fn(move |mut request, service| {
                        let (counted, mount) = (Arc::clone(&counted), mount.clone());
                        merge_slashes(&mut request);
                        mount::enter(&mount, &mut request);
                        let scope = LogScope::new("request", REQUESTS.next());
                        let answer = scope.run(|| service.call(request));
                        scope.wrap(async move {
                            let mut answer = answer.await?;
                            mount::leave(&mount, &mut answer);
                            if counted.is_crowded() {
                                answer.response_mut().head_mut().set_connection_type(ConnectionType::Close);
                            }
                            Ok(answer)
                        })
                    })
                    .app_data(PayloadConfig::new(LARGEST_BODY))
                    .app_data(QueryConfig::default().error_handler(|error, _| {
                        ApiError::from(Invalid::new("query", error.to_string())).into()
                    }))
                    .app_data(PathConfig::default().error_handler(|error, _| {
                        ApiError::from(Invalid::new("path", error.to_string())).into()
                    }))
                    .configure(|actix| {
                        let mut routes = Routes::new(actix, authenticator);
                        configure(&mut routes);
                        routes.finish(!told.swap(true, Ordering::Relaxed));
                    })
            };
        let failed = |source| HttpError::Bind { listen, source };
        let listener = TcpListener::bind(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let server = Server::build()
            .workers(workers)
            .max_concurrent_connections(per_worker)
            .shutdown_timeout(STOP_WITHIN)
            .disable_signals();
        let stopping = server.graceful_shutdown_signal();
        // The same as `actix_web::HttpServer` does, with a `Connection` instead of a plain stream.
        let server = server.listen(name, listener, move || {
            let (census, stopping) = (Arc::clone(&census), stopping.clone());
            let app = app().into_factory().map_err(|error| error.error_response());
            let protocol = Protocol::build()
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .keep_alive(KeepAlive::Os)
                .client_request_timeout(REQUEST_PATIENCE)
                .client_disconnect_timeout(GOODBYE_PATIENCE)
                .local_addr(address)
                .on_connect_ext(|connection: &Connection, data| {
                    data.insert(connection.usage());
                })
                .h1(map_config(app, |()| AppConfig::default()));
            fn_factory(move || {
                let census = Arc::clone(&census);
                ready(keep_a_thread().map(|()| {
                    fn_service(move |stream: TcpStream| {
                        let client = stream.peer_addr().ok();
                        ready(Ok((Connection::new(stream, Arc::clone(&census), name), client)))
                    })
                }))
            })
            .and_then(protocol)
        });
        let server = server.map_err(failed)?;

        let ended = actix_web::rt::System::new().block_on(async move {
            let server = server.run();
            let handle = server.handle();
            // The command is sent when `stop` is called; its future only waits for the end, and so does `server`.
            shutdown.on_request(move || drop(handle.stop(true)));
            log::info!("{name}: listening on http://{address}");
            if let Some(tell) = on_listening {
                tell(address);
            }
            server.await
        });
        match ended {
            Ok(()) if shutdown.is_requested() => {
                log::info!("{name}: stopped listening on {address}");
                Ok(())
            }
            Ok(()) => Err(HttpError::Ended { source: io::Error::other("it was not asked to") }),
            Err(source) => {
                // Logged at once: the process may take a while to end.
                log::error!("{name}: the HTTP server ended: {source}");
                Err(HttpError::Ended { source })
            }
        }
    }
}

/// Merges several slashes in a row in the path: users write the base of addresses with a slash at
/// its end or without.
fn merge_slashes(request: &mut ServiceRequest) {
    if !request.path().contains("//") {
        return;
    }
    let mut merged = String::with_capacity(request.path().len());
    for c in request.path().chars() {
        if c != '/' || !merged.ends_with('/') {
            merged.push(c);
        }
    }
    if let Some(query) = request.uri().query() {
        merged.push('?');
        merged.push_str(query);
    }
    let mut parts = request.uri().clone().into_parts();
    // Does not fail, because it was a path before.
    let Ok(path) = PathAndQuery::try_from(merged) else { return };
    parts.path_and_query = Some(path);
    let Ok(uri) = Uri::from_parts(parts) else { return };
    request.match_info_mut().get_mut().update(&uri);
    request.head_mut().uri = uri;
}

/// Makes this worker keep a thread for blocking work (`web::block`). If the system provides no more
/// threads later, requests take turns on that one, and none is dropped. Fails if no thread can be
/// started; then the start of the service fails as well.
fn keep_a_thread() -> Result<(), ()> {
    // `web::block` panics if no thread can be started.
    let use_one = || catch_unwind(|| web::block(|| ())).map(drop);
    if use_one().is_err() {
        log::error!("no thread to be had for what requests ask of the database");
        return Err(());
    }
    actix_web::rt::spawn(async move {
        loop {
            actix_web::rt::time::sleep(THREAD_USED_EVERY).await;
            // A failure is in the log, and the next attempt may succeed.
            drop(use_one());
        }
    });
    Ok(())
}
