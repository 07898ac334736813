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
use innkeeper_node::invitation::{self, first_admin};
use innkeeper_node::{Config, Heart, Role, Shutdown, Wake, descriptors, is_unused, wait_for_database};
use innkeeper_sweeper::Sweeper;
use innkeeper_web::{LOOKS_END, Web};

/// The whole process: waits for the database, then does everything until it is asked to stop.
///
/// # Errors
/// What ended it before that: the death of any part ends all.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let store = wait_for_database(config, Role::Standalone, shutdown)?;
    let is_first = is_unused(&store);
    let heart = Heart::start(&store, config, Role::Standalone, shutdown)?;
    let wake = Wake::new(shutdown);
    let web_wake = wake.clone();
    let sweeper = Sweeper::start(&store, config, &heart, wake.clone(), shutdown)?;
    let ingest = Ingest::start(store.clone(), config, &heart, Some(wake), shutdown)?;
    let nodes = Nodes::new(store.clone(), &heart, Some(sweeper.singleton().clone()));
    let observed = Observed::new(store.clone(), &heart);
    let peer = Peer::new(store.clone(), heart.clock(), &config.instance);
    let health = Health::new(store.clone(), env!("CARGO_PKG_VERSION"));
    let gate = Gate::new(&store, config, heart.clock()).telling(heart.operator());
    let setup = first_admin(&store, config, heart.clock().now());
    invitation::tell_unconfirmed(&store, config);
    let web = Web::new(store, config, gate.clone(), &heart, Some(web_wake))?;
    let looking = web.start_looking(shutdown)?;
    let listening = heart.listening();
    let ingest_routes = ingest.routes();
    let (place, own, pages) = (place(config), config.clone(), web.clone());
    let served = HttpService::new("innkeeper", config.ingest.listen, gate, move |routes| {
        pages.mount_pages(routes);
        ingest_routes(routes);
        pages.mount(routes);
        health.mount(routes);
        nodes.mount(routes);
        peer.mount(routes);
        observed.mount(routes);
    })
    .workers(config.ingest.workers)
    .connections(descriptors::for_connections(config))
    .on_listening(move |address| {
        listening(address);
        greet(address, &place, &own, setup.as_deref(), is_first);
    })
    .run(shutdown);
    shutdown.request();
    let written = ingest.finish(served.is_ok());
    let watched = sweeper.finish();
    web.finish();
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

/// Says where it is; at the first start also what to do first.
fn greet(address: SocketAddr, place: &str, config: &Config, setup: Option<&str>, is_first: bool) {
    // On all addresses at once is no place to send anybody to.
    let here = match address.ip().is_unspecified() {
        true => config.public_url.clone(),
        false => format!("http://{address}"),
    };
    let setup = setup.map_or_else(String::new, |secret| {
        format!("\n{}", invitation::announcement(config, address, secret))
    });
    let first = if is_first { first_lines(&here, config.auth) } else { String::new() };
    innkeeper_node::cli::announce(format!(
        "\nInnkeeper listens at {here}\nIts data is in {place}\n{setup}{first}\n"
    ));
}

/// Lines to paste that make a reservation and check in.
fn first_lines(here: &str, auth: Auth) -> String {
    let (token, shown) = match auth {
        Auth::Open => (String::new(), String::new()),
        Auth::Tokens => {
            let make = innkeeper_node::cli::line_of("token first");
            let token =
                format!("\nPrograms show a token. This makes one:\n\n  export INNKEEPER_TOKEN=$({make})\n");
            (token, format!(" {TOKEN}"))
        }
    };
    format!(
        "{token}
Make a reservation: this job checks in every 5 minutes.

  {ASK} {here}/reservation{shown} -d '{{\"app\": \"shop\", \"component\": \"backup\", \"owner\": \"me\",
    \"notify\": \"\", \"frequency\": 5, \"time_units\": \"minutes\"}}'

Check in when its work is done, and see how it stands.

  {CHECK_IN} {here}/checkin{shown} -d '{{\"app\": \"shop\", \"component\": \"backup\"}}'
  {ASK} {here}/reservation{shown}
"
    )
}
