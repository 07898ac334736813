//! One listener: its bounds, its life, and its end.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix_web::dev::ServiceRequest;
use actix_web::middleware::{Condition, DefaultHeaders, Next, from_fn};
use actix_web::web::{PathConfig, PayloadConfig, QueryConfig};
use actix_web::{App, HttpServer};
use innkeeper_core::Invalid;

use super::{ApiError, Gate, LARGEST_BODY, Routes};
use crate::shutdown::Shutdown;

/// How long the head of a request may take to arrive.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);
/// How long an idle connection stays open; longer than load balancers keep theirs.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// Connections that may wait to be accepted.
const BACKLOG: u32 = 4096;
/// Connections per worker.
const CONNECTIONS: usize = 25_000;
/// How long requests may go on after a stop was asked for, seconds. Longer than a check-in waits to be committed.
const STOP_WITHIN: u64 = 10;

/// A listener that could not be, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The address cannot be listened on.
    #[error("{name}: cannot listen on {listen}")]
    Bind {
        /// The service.
        name: &'static str,
        /// The address as configured.
        listen: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// It had been listening, and ended.
    #[error("{name}: the HTTP server ended")]
    Ended {
        /// The service.
        name: &'static str,
        /// Why, if it said so.
        source: io::Error,
    },
}

/// One HTTP listener with the routes of one or more roles.
pub struct HttpService {
    name: &'static str,
    listen: SocketAddr,
    gate: Gate,
    workers: Option<usize>,
    configure: Arc<dyn Fn(&mut Routes<'_>) + Send + Sync>,
    on_listening: Option<Box<dyn FnOnce(SocketAddr) + Send>>,
}

impl HttpService {
    /// A service called `name` in logs, behind `gate`. `configure` is called once per worker thread: it registers routes, and
    /// clones what the handlers share, made outside of it.
    pub fn new(
        name: &'static str,
        listen: SocketAddr,
        gate: Gate,
        configure: impl Fn(&mut Routes<'_>) + Send + Sync + 'static,
    ) -> Self {
        Self { name, listen, gate, workers: None, configure: Arc::new(configure), on_listening: None }
    }

    /// How many threads serve; none for one per core.
    #[must_use]
    pub fn workers(mut self, workers: Option<usize>) -> Self {
        self.workers = workers;
        self
    }

    /// Calls `tell` with the real address once connections are taken (port 0 lets the system choose).
    #[must_use]
    pub fn on_listening(mut self, tell: impl FnOnce(SocketAddr) + Send + 'static) -> Self {
        self.on_listening = Some(Box::new(tell));
        self
    }

    /// Serves on this thread (and its workers) until `shutdown` is requested; then takes no more connections,
    /// answers what it has begun, closes idle ones, and returns, within ten seconds at most.
    ///
    /// # Errors
    /// The address cannot be had, or the server ended without being asked.
    pub fn run(self, shutdown: &Shutdown) -> Result<(), HttpError> {
        let Self { name, listen, gate, workers, configure, on_listening } = self;
        let told = Arc::new(AtomicBool::new(false));
        let mut server =
            HttpServer::new(move || {
                let configure = Arc::clone(&configure);
                let (gate, told) = (gate.clone(), Arc::clone(&told));
                let pacing = gate.clone();
                App::new()
                    .wrap(Condition::new(
                        gate.has_pace(),
                        from_fn(move |request: ServiceRequest, next: Next<_>| {
                            let kept = pacing.keep_pace(request.request());
                            async move {
                                kept?;
                                next.call(request).await
                            }
                        }),
                    ))
                    .wrap(
                        DefaultHeaders::new()
                            .add(("X-Content-Type-Options", "nosniff"))
                            .add(("Cache-Control", "no-store")),
                    )
                    .app_data(PayloadConfig::new(LARGEST_BODY))
                    .app_data(QueryConfig::default().error_handler(|error, _| {
                        ApiError::from(Invalid::new("query", error.to_string())).into()
                    }))
                    .app_data(PathConfig::default().error_handler(|error, _| {
                        ApiError::from(Invalid::new("path", error.to_string())).into()
                    }))
                    .configure(|actix| {
                        let mut routes = Routes::new(actix, gate);
                        configure(&mut routes);
                        routes.finish(!told.swap(true, Ordering::Relaxed));
                    })
            })
            .backlog(BACKLOG)
            .max_connections(CONNECTIONS)
            .keep_alive(KEEP_ALIVE)
            .client_request_timeout(REQUEST_PATIENCE)
            .shutdown_timeout(STOP_WITHIN)
            .disable_signals();
        if let Some(workers) = workers {
            server = server.workers(workers);
        }
        let server = server.bind(listen).map_err(|source| HttpError::Bind { name, listen, source })?;
        let address = server.addrs().first().copied().unwrap_or(listen);

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
            Ok(()) => Err(HttpError::Ended { name, source: io::Error::other("it was not asked to") }),
            Err(source) => Err(HttpError::Ended { name, source }),
        }
    }
}
