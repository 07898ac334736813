//! The command line that all roles share, and the `main` that goes with it.
//!
//! A role flattens [`Options`], and [`Listen`] if it listens, into a `StructOpt` of its own, implements
//! [`RoleOptions`] for that, and its `main` is one call of [`run_role`].

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use innkeeper_logging as logging;
use structopt::StructOpt;
use structopt::clap;

use crate::clock::{self, NodeClock};
use crate::config::{Config, ConfigError, Live, Overrides};
pub use crate::print::{announce, print};
use crate::shutdown::Shutdown;
use crate::startup::{self, StartupError};
use crate::{Role, alerters, backup, descriptors, doubts, exposed, invitation, memory, token};

const SUCCESS: u8 = 0;
const FAILURE: u8 = 1;
/// The exit code for an invalid command line.
const USAGE: u8 = 2;

// Options of every role. A doc comment here would become the description of the role it is flattened into.
#[allow(missing_docs)]
#[derive(Debug, Clone, StructOpt)]
pub struct Options {
    /// Configuration file [default: ./innkeeper.toml, else /etc/innkeeper/innkeeper.toml, else none]
    #[structopt(long, value_name = "FILE", parse(from_os_str), global = true)]
    pub config: Option<PathBuf>,

    /// The database: sqlite://FILE or postgres://HOST/NAME. Everyone on this machine can read a command
    /// line, so put a password into INNKEEPER_DATABASE_URL or database.url_file
    #[structopt(long, value_name = "URL", global = true)]
    pub database_url: Option<String>,

    /// Directory of the SQLite file; created if missing [default: innkeeper-data]
    #[structopt(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,
}

// Options of the roles that listen, in addition to `Options`; no doc comment, for the same reason.
#[allow(missing_docs)]
#[derive(Debug, Clone, StructOpt)]
pub struct Listen {
    /// Address to listen on, as in 127.0.0.1:8080 (port 0: any free one)
    #[structopt(long, value_name = "ADDRESS", global = true)]
    pub listen: Option<String>,
}

// Commands that run instead of the role; no doc comment, for the same reason.
#[allow(missing_docs)]
#[derive(Debug, Clone, StructOpt)]
pub enum Command {
    /// Bring the database up to date, and exit (every start does this, too)
    Migrate,
    /// Check the configuration and every file it names, print it without secrets, and exit
    CheckConfig {
        /// Name every reservation whose messages would not reach everyone, not only the first fifty
        #[structopt(long)]
        all: bool,
    },
    /// Copy the SQLite database into a new file while Innkeeper runs, and exit
    Backup {
        /// The file to make
        #[structopt(parse(from_os_str))]
        file: PathBuf,
    },
    /// Replace the SQLite database with a backup, and exit; Innkeeper must be stopped
    Restore {
        /// A file that `backup` made
        #[structopt(parse(from_os_str))]
        file: PathBuf,
    },
    /// Print a link with which a user chooses a password, and exit; a missing user is created
    Invite {
        /// The user's name
        name: String,
        /// viewer, editor or admin; changes the role of an existing user
        #[structopt(long)]
        role: Option<String>,
        /// Remove the second factor of a user who has lost it, and end their sessions
        #[structopt(long)]
        reset_second_factor: bool,
    },
    /// Remove a user and their tokens
    RemoveUser {
        /// The user's name
        name: String,
        /// The user who gets the tokens instead: an editor or admin
        #[structopt(long, value_name = "NAME")]
        hand_tokens_to: Option<String>,
    },
    /// Make a token, with which programs identify themselves, print it, and exit
    Token {
        /// The name of the token
        name: String,
        /// What the token permits: checkin, read, manage; may be repeated [default: all of them]
        #[structopt(long = "scope", value_name = "SCOPE", number_of_values = 1)]
        scopes: Vec<String>,
        /// An app for which the token is valid; may be repeated [default: every app]
        #[structopt(long = "app", value_name = "APP", number_of_values = 1)]
        apps: Vec<String>,
        /// How long the token is valid, as in 90d [default: for ever]
        #[structopt(long, value_name = "TIME")]
        expires_in: Option<String>,
    },
    /// Print a completion script for a shell, and exit
    Completions {
        /// The shell
        #[structopt(possible_values = &clap::Shell::variants(), case_insensitive = true)]
        shell: clap::Shell,
    },
}

/// How long the process waits at its end for its last log lines to be written.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// A role's command line.
pub trait RoleOptions: StructOpt {
    /// The options that all roles share.
    fn options(&self) -> &Options;

    /// The command to run instead of the role, of those that every role has.
    fn command(&self) -> Option<&Command>;

    /// Whether the process runs until it is stopped, rather than ending by itself.
    fn is_service(&self) -> bool {
        self.command().is_none()
    }

    /// `--listen`, for a role that has it.
    fn listen(&self) -> Option<&str> {
        None
    }
}

/// A complete `main`: reads the command line, starts logging, reads the configuration, runs the requested command such
/// as `migrate` or `check-config`, and otherwise calls `run`.
///
/// Exit codes: 0, also after a requested stop; 1 for an error; 2 for an invalid command line.
pub fn run_role<O: RoleOptions>(
    role: Role,
    run: impl FnOnce(&O, Config, Shutdown) -> anyhow::Result<()>,
) -> ExitCode {
    run_command(role, None, run)
}

/// [`run_role`] for a role that listens and has no options of its own. `name` and `about` appear in its `--help`.
pub fn run_listening(
    role: Role,
    name: &'static str,
    about: &'static str,
    run: impl FnOnce(&Config, &Shutdown) -> anyhow::Result<()>,
) -> ExitCode {
    run_command(role, Some(Name { name, about }), |_: &Listening, config, shutdown| run(&config, &shutdown))
}

#[derive(StructOpt)]
struct Listening {
    #[structopt(flatten)]
    options: Options,
    #[structopt(flatten)]
    listen: Listen,
    /// What to do instead of running
    #[structopt(subcommand)]
    command: Option<Command>,
}

impl RoleOptions for Listening {
    fn options(&self) -> &Options {
        &self.options
    }

    fn command(&self) -> Option<&Command> {
        self.command.as_ref()
    }

    fn listen(&self) -> Option<&str> {
        self.listen.listen.as_deref()
    }
}

/// The command line of a role, with the role's name replaced.
#[derive(Clone, Copy)]
struct Name {
    name: &'static str,
    about: &'static str,
}

fn app<O: RoleOptions>(name: Option<Name>) -> clap::App<'static, 'static> {
    match name {
        Some(Name { name, about }) => O::clap().name(name).about(about),
        None => O::clap(),
    }
}

/// Prints the completion script for a shell.
fn complete(mut app: clap::App<'_, '_>, shell: clap::Shell) -> ExitCode {
    let (name, mut script) = (app.get_name().to_owned(), Vec::new());
    app.gen_completions_to(name, shell, &mut script);
    print(&String::from_utf8_lossy(&script));
    ExitCode::from(SUCCESS)
}

fn run_command<O: RoleOptions>(
    role: Role,
    name: Option<Name>,
    run: impl FnOnce(&O, Config, Shutdown) -> anyhow::Result<()>,
) -> ExitCode {
    let options = match parse::<O>(app::<O>(name), std::env::args_os()) {
        Ok(options) => options,
        Err(code) => return ExitCode::from(code),
    };
    if let Some(Command::Completions { shell }) = options.command() {
        return complete(app::<O>(name), *shell);
    }
    logging::init(innkeeper_alerter::tells_secrets);
    let code = match dispatch(role, &options, run) {
        Ok(()) => SUCCESS,
        Err(error) if matches!(error.downcast_ref(), Some(StartupError::Stopped)) => {
            log::info!("{error}");
            SUCCESS
        }
        Err(error) => {
            complain(&error);
            FAILURE
        }
    };
    logging::flush(LAST_WORDS);
    ExitCode::from(code)
}

fn dispatch<O: RoleOptions>(
    role: Role,
    options: &O,
    run: impl FnOnce(&O, Config, Shutdown) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let common = options.options();
    // This comes first: SIGHUP, which asks a service to reload its configuration, must not end it while it starts.
    let service = match options.is_service() {
        true => Shutdown::on_signals_of_a_service()?,
        false => Shutdown::on_signals()?,
    };
    let overrides = Overrides {
        config: common.config.clone(),
        listen: options.listen().map(str::to_owned),
        database_url: common.database_url.clone(),
        data_dir: common.data_dir.clone(),
    };
    let config = Config::load(role, &overrides)?;
    // The levels were checked when the configuration was read.
    logging::set_levels(&config.log).map_err(anyhow::Error::msg)?;
    logging::set_format(config.log_format);
    match options.command() {
        Some(Command::CheckConfig { all }) => {
            alerters::check(&config)?;
            let missing = config.database.require();
            if let Err(missing) = &missing {
                print(&format!("A start would be refused: {missing}\n"));
            }
            print(&config.summary().to_string());
            let is_taken = doubts::print_all(&config, *all) && missing.is_ok();
            print(match is_taken {
                true => "The configuration is good.\n",
                false => "The configuration can be read, but a start would be refused: see above.\n",
            });
            Ok(())
        }
        Some(Command::Migrate) => {
            let (_, applied) = startup::open(&config, &service, None)?;
            let done = match applied.len() {
                0 => "was up to date".to_owned(),
                n => format!("is up to date; applied {n}: {}", applied.join(", ")),
            };
            print(&format!("The database {} {done}.\n", config.database.masked_url()));
            Ok(())
        }
        Some(Command::Invite { name, role, reset_second_factor }) => {
            let (store, _) = startup::open(&config, &service, None)?;
            let now = clock::reference(&store)?;
            if *reset_second_factor {
                print(&invitation::reset_second_factor(&store, name, now)?);
            }
            let link = invitation::invite(&store, &config, name, role.as_deref(), now)?;
            print(&format!("{name} can choose a password at {link} within a day.\n"));
            Ok(())
        }
        Some(Command::RemoveUser { name, hand_tokens_to }) => {
            let (store, _) = startup::open(&config, &service, None)?;
            let now = clock::reference(&store)?;
            print(&invitation::remove(&store, name, hand_tokens_to.as_deref(), now)?);
            Ok(())
        }
        Some(Command::Token { name, scopes, apps, expires_in }) => {
            let (store, _) = startup::open(&config, &service, None)?;
            let now = clock::reference(&store)?;
            let wanted = token::NewTokenRequest { name, scopes, apps, expires_in: expires_in.as_deref() };
            print(&format!("{}\n", token::make(&store, &wanted, now)?));
            Ok(())
        }
        Some(Command::Backup { file }) => {
            print(&backup::back_up(&config, file, &service)?);
            Ok(())
        }
        Some(Command::Restore { file }) => {
            print(&backup::restore(&config, file, &service)?);
            Ok(())
        }
        // The script was printed before the configuration was read.
        Some(Command::Completions { .. }) => Ok(()),
        None => {
            let clock = Arc::new(NodeClock::default());
            let alerters = alerters::build(&config, clock.clone())?;
            for problem in exposed::unanswered(&config)
                .into_iter()
                .chain(alerters::useless_certificates(&config))
                .chain(alerters::parked(&config))
            {
                log::warn!("{problem}");
            }
            descriptors::raise_limit();
            memory::give_back();
            let config = config.reloadable(clock, alerters, alerters::build);
            let live = config.live();
            service.on_reload(move || reload(&live, role, &overrides))?;
            run(options, config, service)
        }
    }
}

/// Handles SIGHUP. An invalid configuration is refused and changes nothing.
fn reload(live: &Live, role: Role, overrides: &Overrides) {
    log::info!("SIGHUP: reading the configuration again");
    match live.reload(role, overrides) {
        Err(error) => {
            for problem in error.to_string().lines() {
                log::error!("the new configuration is refused: {problem}");
            }
            log::error!("the configuration stays as it was");
        }
        Ok(done) => {
            if let Err(error) = logging::set_levels(&live.get().log) {
                log::error!("log: {error}");
            }
            logging::set_format(live.get().log_format);
            for key in &done.changed {
                log::info!("{key} changed");
            }
            for key in &done.waiting {
                log::warn!("{key} needs a restart");
            }
            log::info!(
                "the configuration is read: {} changed, {} wait for a restart",
                done.changed.len(),
                done.waiting.len()
            );
        }
    }
}

/// Parses a command line. For help, version and errors it prints the text and returns the exit code.
fn parse<O: StructOpt>(
    command: clap::App<'_, '_>,
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<O, u8> {
    let error = match command.get_matches_from_safe(arguments) {
        Ok(matches) => return Ok(O::from_clap(&matches)),
        Err(error) => error,
    };
    if error.use_stderr() {
        // If standard error is closed, the message cannot be shown anywhere.
        let _ = writeln!(std::io::stderr(), "{}", error.message);
        return Err(USAGE);
    }
    if error.kind == clap::ErrorKind::HelpDisplayed {
        print(&format!("{}\n", error.message));
    } else {
        // clap has printed the version, without a line break.
        print("\n");
    }
    Err(SUCCESS)
}

/// The command line that runs `command` of this program with the same database, ready to be pasted into a shell in
/// this directory.
pub fn line_of(command: &str) -> String {
    let mut given = std::env::args();
    let mut words = vec![given.next().unwrap_or_else(|| "innkeeper".to_owned())];
    words.extend(command.split(' ').map(str::to_owned));
    while let Some(argument) = given.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag.to_owned(), value.to_owned()),
            None => (argument, given.next().unwrap_or_default()),
        };
        // A password must not appear in a log.
        let is_told = ["--config", "--data-dir"].contains(&flag.as_str())
            || (flag == "--database-url" && !value.contains('@'));
        if is_told {
            words.extend([flag, value]);
        }
    }
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word quoted for a shell.
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
    match word.chars().all(is_plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

/// Prints the error, and its causes below it.
fn complain(error: &anyhow::Error) {
    let mut text = String::new();
    if error.is::<ConfigError>() {
        text.push_str("innkeeper: the configuration cannot be used\n");
        for problem in error.to_string().lines() {
            text.push_str(&format!("  {}\n", logging::escape(problem)));
        }
    } else {
        text.push_str(&format!("innkeeper: {}\n", logging::escape(&error.to_string())));
        let mut cause = error.source();
        while let Some(inner) = cause {
            text.push_str(&format!("  because: {}\n", logging::escape(&inner.to_string())));
            cause = inner.source();
        }
    }
    logging::say(&text, LAST_WORDS);
}
