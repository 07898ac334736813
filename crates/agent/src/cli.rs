//! The command line.

use std::ffi::OsString;
use std::io::Write as _;
use std::path::PathBuf;

use structopt::StructOpt;
use structopt::clap::{AppSettings, Error, ErrorKind, Shell};

use crate::config::Overrides;
use crate::exec::{self, drain};
use crate::{commands, logbook, service, status};

/// Exit status if the command line is invalid.
pub const USAGE: u8 = 125;

/// Added to the error if the command of `exec` is missing.
const MARK_IT: &str =
    "\n\nPut the job's command after --, as in: innkeeper-agent exec shop/backup -- backup --all";

/// Runs jobs and reports how they ended, without changing how they behave.
#[derive(Debug, StructOpt)]
#[structopt(name = "innkeeper-agent", settings = &[AppSettings::SubcommandRequiredElseHelp, AppSettings::VersionlessSubcommands])]
struct Cli {
    /// Configuration file [default: /etc/innkeeper/agent.toml, and ~/.config/innkeeper/agent.toml over it]
    #[structopt(long, value_name = "FILE", parse(from_os_str), global = true)]
    config: Option<PathBuf>,

    /// Innkeeper's address [default: server in the configuration, or INNKEEPER_SERVER]. A token goes into the
    /// configuration, INNKEEPER_TOKEN or INNKEEPER_TOKEN_FILE: everybody on this machine can read a command line
    #[structopt(long, value_name = "URL", global = true)]
    server: Option<String>,

    /// Also print the agent's own problems to standard error
    #[structopt(long, short, global = true)]
    verbose: bool,

    #[structopt(subcommand)]
    command: Command,
}

#[derive(Debug, StructOpt)]
enum Command {
    /// Run a job, report how it ended, and exit with its status
    Exec(Box<exec::options::Options>),
    #[structopt(flatten)]
    People(commands::Command),
    /// Run the configured probes and report their results
    Probe(service::Options),
    /// Send the reports that wait on disk
    Flush(status::FlushOptions),
    /// Show the agent's configuration, its waiting reports and its latest problems
    Status,
    /// Print a completion script for a shell
    Completions {
        /// The shell
        #[structopt(possible_values = &Shell::variants(), case_insensitive = true)]
        shell: Shell,
    },
    /// Pass on the output of processes that a job left behind
    #[structopt(name = drain::SUBCOMMAND, setting = AppSettings::Hidden)]
    Drain,
}

/// Runs the command line and returns the exit status of the program.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::from_iter_safe(&arguments) {
        Ok(cli) => cli,
        Err(error) if error.use_stderr() => {
            let hint = if is_command_unmarked(&arguments, &error) { MARK_IT } else { "" };
            return misused(&format!("{}{hint}", error.message));
        }
        Err(error) => {
            let _ = writeln!(std::io::stdout(), "{}", error.message);
            return 0;
        }
    };
    if cli.verbose {
        logbook::aloud();
    }
    let overrides = Overrides { config: cli.config, server: cli.server };
    match cli.command {
        Command::Exec(options) => match options.plan(overrides.server.as_deref()) {
            Ok(plan) => exec::run(plan, overrides),
            Err(problem) => misused(&format!("error: {problem}")),
        },
        Command::People(commands::Command::Checkin(options)) if options.is_unattended() => {
            options.check_in_unattended(&overrides)
        }
        Command::People(command) => commands::run(command, &overrides),
        Command::Probe(options) => match service::run(&options, &overrides) {
            Ok(status) => status,
            Err(problem) => misused(&format!("error: {problem}")),
        },
        Command::Flush(options) => match options.plan() {
            Ok(patience) => status::flush(&overrides, patience),
            Err(problem) => misused(&format!("error: {problem}")),
        },
        Command::Status => status::show(&overrides),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            Cli::clap().gen_completions_to("innkeeper-agent", shell, &mut script);
            let _ = std::io::stdout().write_all(&script);
            0
        }
        Command::Drain => drain::run(),
    }
}

/// Whether the error may come from a missing `--` before the job's command.
fn is_command_unmarked(arguments: &[OsString], error: &Error) -> bool {
    let Some(exec) = arguments.iter().position(|argument| argument == "exec") else { return false };
    let has_mark = arguments[exec..].iter().any(|argument| argument == "--");
    let is_word =
        error.info.as_ref().and_then(|info| info.first()).is_some_and(|word| !word.starts_with('-'));
    match error.kind {
        ErrorKind::UnknownArgument => is_word || !has_mark,
        ErrorKind::MissingRequiredArgument | ErrorKind::ArgumentConflict | ErrorKind::TooManyValues => {
            !has_mark
        }
        _ => false,
    }
}

fn misused(problem: &str) -> u8 {
    let _ = writeln!(std::io::stderr(), "{problem}");
    USAGE
}
