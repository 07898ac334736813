//! `GET /peer`: the health of this instance, for another one that asks.

use std::sync::Arc;

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse, http::header};
use innkeeper_core::Clock;
use innkeeper_core::access::Permission;
use innkeeper_core::peer::PeerHealth;
use innkeeper_logging::Seldom;
use innkeeper_node::health::health;
use innkeeper_store::Store;
use serde_json::json;

use super::Routes;
use super::description::{Description, WATCHING};

const PEER: Description =
    Description::get("/peer", Permission::Nothing, WATCHING, "Ask, as another installation, how this one is");
pub(super) const ROUTES: [Description; 1] = [PEER];

/// The state of the route that answers peers.
#[derive(Clone)]
pub struct Peer {
    store: Store,
    clock: Arc<dyn Clock>,
    instance: String,
}

impl Peer {
    /// Answers for the installation `instance`.
    pub fn new(store: Store, clock: Arc<dyn Clock>, instance: &str) -> Self {
        Self { store, clock, instance: instance.to_owned() }
    }

    /// Registers `/peer`.
    pub fn mount(&self, routes: &mut Routes<'_>) {
        routes.app_data(Data::new(self.clone())).described(&PEER, peer);
    }

    /// Registers `/` for the requests of checker's peers.
    pub fn mount_for_checkers(&self, routes: &mut Routes<'_>) {
        routes.app_data(Data::new(self.clone())).get("/", Permission::Nothing, checkers_word);
    }

    /// The health of this installation. Without a database nobody watches the jobs, which is a
    /// problem.
    async fn health(self: Arc<Self>) -> PeerHealth {
        let asked = web::block(move || health(&self.store, self.clock.now())).await;
        match asked {
            Ok(Ok(health)) => health,
            Ok(Err(error)) => {
                // Logged seldom, because anybody may ask at any rate.
                static FAILURES: Seldom = Seldom::new();
                FAILURES.warn(format_args!("a peer asked for this node's condition: {error}"));
                PeerHealth::JobsProblem
            }
            Err(_) => PeerHealth::JobsProblem,
        }
    }
}

async fn peer(peer: Data<Peer>, request: HttpRequest) -> HttpResponse {
    let instance = peer.instance.clone();
    let health = peer.into_inner().health().await;
    let accept = request.headers().get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    if accept.is_some_and(|accept| accept.trim_start().starts_with("text/plain")) {
        return words(health.as_str());
    }
    HttpResponse::Ok().json(json!({ "success": true, "instance": instance, "answer": health }))
}

async fn checkers_word(peer: Data<Peer>) -> HttpResponse {
    words(peer.into_inner().health().await.checkers_word())
}

fn words(words: &'static str) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; charset=utf-8").body(words)
}
