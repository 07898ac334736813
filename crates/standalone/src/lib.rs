//! All roles in one process: the door, the night watch and the front desk over one database, SQLite by default.
//!
//! It has no logic of its own: it starts the same libraries that the split services are made of, serves ingest and web on
//! one address, and rings the sweeper's bell when a check-in may change a conclusion. Where to start: [`run`].

use std::net::SocketAddr;

use innkeeper_ingest::Ingest;
use innkeeper_node::config::{Auth, DatabaseKind};
use innkeeper_node::curl::{ASK, CHECK_IN, TOKEN};
use innkeeper_node::http::health::Health;
use innkeeper_node::http::metrics::Observed;
use innkeeper_node::http::nodes::Nodes;
use innkeeper_node::http::peer::Peer;
use innkeeper_node::http::{Gate, HttpService};
use innkeeper_node::invitation::first_admin;
use innkeeper_node::{Config, Heart, Role, Shutdown, Wake, descriptors, wait_for_database};
use innkeeper_sweeper::Sweeper;
use innkeeper_web::{LOOKS_END, Web};

/// The whole process: waits for the database, then does everything until it is asked to stop.
///
/// # Errors
/// What ended it before that: the death of any part ends all.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let store = wait_for_database(config, Role::Standalone, shutdown)?;
    let heart = Heart::start(&store, config, Role::Standalone, shutdown)?;
    let wake = Wake::new(shutdown);
    let web_wake = wake.clone();
    let sweeper = Sweeper::start(&store, config, &heart, wake.clone(), shutdown)?;
    let ingest = Ingest::start(store.clone(), config, &heart, Some(wake), shutdown)?;
    let nodes = Nodes::new(store.clone(), &heart, Some(sweeper.singleton().clone()));
    let observed = Observed::new(store.clone(), &heart);
    let peer = Peer::new(store.clone(), heart.clock(), &config.instance);
    let health = Health::new(store.clone(), env!("CARGO_PKG_VERSION"));
    let gate = Gate::new(&store, config, heart.clock());
    let setup = first_admin(&store, config, heart.clock().now());
    let web = Web::new(store, config, gate.clone(), &heart, Some(web_wake))?;
    let looking = web.start_looking(shutdown)?;
    let listening = heart.listening();
    let ingest_routes = ingest.routes();
    let (place, public_url, auth) = (place(config), config.public_url.clone(), config.auth);
    let served = HttpService::new("innkeeper", config.ingest.listen, gate, move |routes| {
        web.mount_pages(routes);
        ingest_routes(routes);
        web.mount(routes);
        health.mount(routes);
        nodes.mount(routes);
        peer.mount(routes);
        observed.mount(routes);
    })
    .workers(config.ingest.workers)
    .connections(descriptors::for_connections(config))
    .on_listening(move |address| {
        listening(address);
        greet(address, &place, &public_url, auth, setup.as_deref());
    })
    .run(shutdown);
    shutdown.request();
    let written = ingest.finish(served.is_ok());
    let watched = sweeper.finish();
    let looked = looking.join_within(LOOKS_END);
    let said_goodbye = heart.finish();
    served?;
    written?;
    watched?;
    looked?;
    said_goodbye
}

/// Where the data lies, without secrets.
fn place(config: &Config) -> String {
    match &config.database.kind {
        DatabaseKind::Sqlite { path } => path.display().to_string(),
        DatabaseKind::Postgres => config.database.masked_url(),
    }
}

/// Says where it is and what to do first.
fn greet(address: SocketAddr, place: &str, public_url: &str, auth: Auth, setup: Option<&str>) {
    // On all addresses at once is no place to send anybody to.
    let open =
        if address.ip().is_unspecified() { public_url.to_owned() } else { format!("http://{address}") };
    let setup =
        setup.map_or_else(String::new, |link| format!("\nMake the first admin, within a day: {link}\n"));
    let (token, shown) = match auth {
        Auth::Open => (String::new(), String::new()),
        Auth::Tokens => (
            format!(
                "
Programs show a token. Make one with the scopes manage, checkin and read
at {open}/settings#tokens, and put it here:

  TOKEN=ik_…
"
            ),
            format!(" {TOKEN}"),
        ),
    };
    let text = format!(
        "
Innkeeper is open at {open}
Its data is in {place}
{setup}{token}
Make a reservation: this job checks in every 5 minutes.

  {ASK} {open}/reservation{shown} -d '{{\"app\": \"shop\", \"component\": \"backup\", \"owner\": \"me\",
    \"notify\": \"\", \"frequency\": 5, \"time_units\": \"minutes\"}}'

Check in when its work is done, and see how it stands.

  {CHECK_IN} {open}/checkin{shown} -d '{{\"app\": \"shop\", \"component\": \"backup\"}}'
  {ASK} {open}/reservation{shown}

"
    );
    innkeeper_node::cli::announce(text);
}
