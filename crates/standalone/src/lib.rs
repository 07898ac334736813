//! All roles in one process: ingest, the sweeper and the pages over one database, SQLite by default.
//!
//! It has no logic of its own: it starts the same libraries that the split services are made of, serves ingest and web on
//! one address, and wakes the sweeper when a check-in may change a conclusion. Where to start: [`run`].

use std::net::SocketAddr;

use innkeeper_http::Listener;
use innkeeper_http::curl::{ASK, CHECK_IN, TOKEN};
use innkeeper_ingest::Ingest;
use innkeeper_node::config::{Auth, DatabasePlace};
use innkeeper_node::{Config, Process, Role, Shutdown, Wake};
use innkeeper_sweeper::Sweeper;
use innkeeper_web::Web;

/// The whole process: waits for the database, then does everything until it is asked to stop.
///
/// # Errors
/// What ended it before that: the death of any part ends all.
pub fn run(config: &Config, shutdown: &Shutdown) -> anyhow::Result<()> {
    let process = Process::start(Role::Standalone, config, shutdown)?;
    let wake = Wake::new(shutdown);
    let sweeper = Sweeper::start(&process, wake.clone())?;
    let ingest = Ingest::start(&process, Some(wake.clone()))?;
    let listener = Listener::new(&process, "innkeeper", config.ingest.listen)
        .workers(config.ingest.workers)
        .lease(sweeper.singleton());
    let web = Web::start(&process, listener.authenticator(), Some(wake))?;
    let (place, own, setup) = (place(config), config.clone(), web.setup_announcement(config));
    let is_first = process.is_first_start();
    let listener = listener
        .routes(web.pages())
        .routes(ingest.routes())
        .routes(web.routes())
        .on_listening(move |address| greet(address, &place, &own, setup(address).as_deref(), is_first));
    process.run(|stop| listener.run(stop), vec![Box::new(ingest), Box::new(sweeper), Box::new(web)])
}

/// Where the data lies, without secrets.
fn place(config: &Config) -> String {
    match &config.database.kind {
        DatabasePlace::Sqlite { path } => path.display().to_string(),
        DatabasePlace::Postgres => config.database.masked_url(),
    }
}

/// Says where it is; at the first start also what to do first.
fn greet(address: SocketAddr, place: &str, config: &Config, setup: Option<&str>, is_first: bool) {
    // On all addresses at once is no place to send anybody to.
    let here = match address.ip().is_unspecified() {
        true => config.public_url.clone(),
        false => format!("http://{address}"),
    };
    let setup = setup.map_or_else(String::new, |setup| format!("\n{setup}"));
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
