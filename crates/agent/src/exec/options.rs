//! The options of `exec`, and the validated plan that they result in.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use innkeeper_core::duration;
use innkeeper_core::figures::Figures;
use serde_json::{Value, json};
use structopt::StructOpt;

use super::command::JobCommand;
use super::redact::OutputRedactor;
use crate::config;
use crate::figures;
use crate::report::Names;
use crate::spool::Destination;
use crate::terms::ScheduleFlags;

/// Default time between TERM and KILL.
const KILL_AFTER: Duration = Duration::from_secs(10);

// Each option's help is its doc comment. A doc comment on the struct would replace the help of the command.
#[allow(missing_docs)]
#[derive(Debug, Clone, StructOpt)]
pub struct Options {
    /// The job's reservation: APP/COMPONENT
    #[structopt(value_name = "APP/COMPONENT", required_unless = "ping")]
    pub name: Option<String>,

    /// Report to this ping address instead, without a name and a token
    #[structopt(long, value_name = "URL", conflicts_with = "name")]
    pub ping: Option<String>,

    /// Run this script with bash; a pipeline fails if any of its commands fails
    #[structopt(long, value_name = "SCRIPT", parse(from_os_str))]
    pub shell: Option<OsString>,

    /// Make or change the reservation: a run at this interval (15m, 1d)
    #[structopt(long, value_name = "PERIOD", conflicts_with_all = &["cron", "calendar"])]
    pub every: Option<String>,

    /// Make or change the reservation: a run at the times of this cron expression
    #[structopt(long, value_name = "EXPRESSION", conflicts_with = "calendar")]
    pub cron: Option<String>,

    /// Make or change the reservation: a run at the times of this systemd calendar expression
    #[structopt(long, value_name = "EXPRESSION")]
    pub calendar: Option<String>,

    /// The time zone of --cron or --calendar [default: this machine's]
    #[structopt(long, value_name = "ZONE")]
    pub tz: Option<String>,

    /// Make or change the reservation: how late a run may be (10m)
    #[structopt(long, value_name = "DURATION")]
    pub grace: Option<String>,

    /// Make or change the reservation: a condition for the figures ('rows > 0', 'bytes >= 0.5 * median(10)'): a success
    /// that breaks it counts as a failure; can be given several times; '' removes all conditions
    #[structopt(long, value_name = "CLAUSE", number_of_values = 1)]
    pub expect: Vec<String>,

    /// Make or change the reservation: how often reminders of an open alert are sent; 0s for none, each for one at each
    /// failed run
    #[structopt(long, value_name = "DURATION")]
    pub remind_every: Option<String>,

    /// The longest time that a run may take; a longer run is reported
    #[structopt(long, value_name = "DURATION")]
    pub max_run: Option<String>,

    /// End a run that takes longer than --max-run: all its processes get TERM, and later KILL
    #[structopt(long, requires = "max-run")]
    pub kill: bool,

    /// The time between TERM and KILL [default: 10s]
    #[structopt(long, value_name = "DURATION", requires = "kill")]
    pub kill_after: Option<String>,

    /// Run only if no other run of the same job is active; otherwise exit with 75
    #[structopt(long)]
    pub lock: bool,

    /// Wait for the other run up to this time [implies --lock]
    #[structopt(long, value_name = "DURATION")]
    pub lock_wait: Option<String>,

    /// Report a run that was skipped because of --lock as a failure and not only as a note [implies --lock]
    #[structopt(long)]
    pub lock_fail: bool,

    /// Write the job's output only if it fails
    #[structopt(long)]
    pub quiet_unless_fail: bool,

    /// Report no output; the job writes directly to the agent's output streams
    #[structopt(long, conflicts_with = "quiet-unless-fail")]
    pub no_output: bool,

    /// Mask what matches this regular expression in the reported output; can be given several times
    #[structopt(long, value_name = "PATTERN", number_of_values = 1)]
    pub redact: Vec<String>,

    /// Mask the value of this environment variable in the reported output; can be given several times
    #[structopt(long, value_name = "NAME", number_of_values = 1)]
    pub redact_env: Vec<String>,

    /// A figure of the run that is known before it starts; can be given several times. Lines ::figure NAME=VALUE in the
    /// output are figures, too
    #[structopt(long = "figure", value_name = "NAME=VALUE", number_of_values = 1)]
    pub figures: Vec<String>,

    /// Report only the figures of the output, not its text
    #[structopt(long, conflicts_with = "no-output")]
    pub figures_only: bool,

    /// Exit statuses besides 0 that count as a success, such as 1,24 or 1-3
    #[structopt(long, value_name = "STATUSES", number_of_values = 1)]
    pub ok: Vec<String>,

    /// The command and its arguments
    #[structopt(value_name = "COMMAND", last = true, parse(from_os_str), required_unless = "shell")]
    pub command: Vec<OsString>,
}

/// A validated command line of `exec`.
#[derive(Debug)]
pub struct ExecPlan {
    /// The name of the job, for locks and messages.
    pub what: String,
    /// The job's reservation; none with `--ping`.
    pub names: Option<Names>,
    /// Where the reports are sent.
    pub destination: Destination,
    /// Fields of the reservation that is made or changed before the start is reported.
    pub terms: Option<Value>,
    /// The command.
    pub job: JobCommand,
    /// The run time after which the run is reported as too long.
    pub max_run: Option<Duration>,
    /// If set, such a run is ended, with this time between TERM and KILL.
    pub kill_after: Option<Duration>,
    /// If set, only one run is active at a time. A second run waits this long for the first.
    pub lock: Option<Duration>,
    /// Whether a skipped run is reported as a failure.
    pub lock_fail: bool,
    /// Whether the job's output is written only if the job fails.
    pub quiet_unless_fail: bool,
    /// Whether no output is reported.
    pub no_output: bool,
    /// Whether only the figures of the output are reported.
    pub figures_only: bool,
    /// Figures from the command line.
    pub figures: Figures,
    /// Masks secrets in the reported output.
    pub redactor: Arc<OutputRedactor>,
    /// Exit statuses beside 0 that count as a success.
    pub ok: Vec<u8>,
}

impl Options {
    /// Validates the options. `server` is the value of `--server`.
    ///
    /// # Errors
    /// What is wrong with the options, and what is allowed.
    pub fn plan(self, server: Option<&str>) -> Result<ExecPlan, String> {
        if let Some(server) = server {
            config::server(server).map_err(|what| format!("--server: {what}"))?;
        }
        let names = self.name.as_deref().map(Names::parse).transpose()?;
        let terms = self.terms(names.as_ref())?;
        let (what, destination) = match (&self.ping, &names) {
            (Some(ping), _) => {
                config::server(ping).map_err(|what| format!("--ping: {what}"))?;
                (ping.clone(), Destination::Ping(ping.clone()))
            }
            (None, Some(names)) => (names.to_string(), Destination::Server(server.map(str::to_owned))),
            (None, None) => return Err("give the job's name, APP/COMPONENT, or --ping URL".to_owned()),
        };
        let values = self.redact_env.iter().filter_map(std::env::var_os);
        let values = values.map(|value| value.to_string_lossy().into_owned()).collect();
        let lock = self.lock_wait.as_deref().map(|text| span("--lock-wait", text)).transpose()?;
        Ok(ExecPlan {
            what,
            names,
            destination,
            terms,
            max_run: self.max_run.as_deref().map(|text| span("--max-run", text)).transpose()?,
            kill_after: match &self.kill_after {
                Some(text) => Some(span("--kill-after", text)?),
                None => self.kill.then_some(KILL_AFTER),
            },
            lock: lock.or((self.lock || self.lock_fail).then_some(Duration::ZERO)),
            lock_fail: self.lock_fail,
            quiet_unless_fail: self.quiet_unless_fail,
            no_output: self.no_output,
            figures_only: self.figures_only,
            figures: figures::given("--figure", &self.figures)?,
            redactor: Arc::new(OutputRedactor::new(&self.redact, values)?),
            ok: statuses(&self.ok)?,
            job: match self.shell {
                Some(script) => JobCommand::Shell(script, self.command),
                None => JobCommand::Direct(self.command),
            },
        })
    }

    /// The fields of the reservation that the command line names, and no others.
    fn terms(&self, names: Option<&Names>) -> Result<Option<Value>, String> {
        let flags = ScheduleFlags {
            every: self.every.as_deref(),
            cron: self.cron.as_deref(),
            calendar: self.calendar.as_deref(),
            tz: self.tz.as_deref(),
            grace: self.grace.as_deref(),
            expect: &self.expect,
            remind_every: self.remind_every.as_deref(),
        };
        let mut fields = flags.fields()?;
        if fields.is_empty() {
            return Ok(None);
        }
        if let Some(max_run) = &self.max_run {
            fields.insert("max_run".to_owned(), json!(max_run));
        }
        let Some(names) = names else {
            return Err(
                "--every, --cron, --calendar, --grace, --expect and --remind-every need the job's name, APP/COMPONENT"
                    .to_owned()
            );
        };
        fields.insert("app".to_owned(), json!(names.app));
        fields.insert("component".to_owned(), json!(names.component));
        Ok(Some(Value::Object(fields)))
    }
}

fn span(option: &'static str, text: &str) -> Result<Duration, String> {
    let span = duration::parse(option, text).map_err(|invalid| invalid.to_string())?;
    match span.to_std() {
        Ok(span) if TimeDelta::from_std(span).is_ok_and(|span| span <= duration::LONGEST) => Ok(span),
        Ok(_) | Err(_) => Err(format!("{option}: {text:?} is out of bounds; at most 3650d")),
    }
}

fn statuses(lists: &[String]) -> Result<Vec<u8>, String> {
    let mut found = Vec::new();
    for part in lists.iter().flat_map(|list| list.split(',')).map(str::trim).filter(|part| !part.is_empty()) {
        let wrong =
            || format!("--ok: {part:?} is no exit status; write numbers from 1 to 255, as in 1,24 or 1-3");
        let number = |text: &str| text.trim().parse::<u8>().ok().filter(|n| *n > 0).ok_or_else(wrong);
        match part.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (number(from)?, number(to)?);
                if from > to {
                    return Err(wrong());
                }
                found.extend(from..=to);
            }
            None => found.push(number(part)?),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(arguments: &[&str]) -> Result<ExecPlan, String> {
        let all = ["exec"].iter().chain(arguments);
        let options = Options::from_iter_safe(all).map_err(|error| error.message)?;
        options.plan(None)
    }

    #[test]
    fn the_command_line_of_the_job_is_never_read() {
        let argv = ["a/b", "--", "exec", "--every", "1x", "--", "-v", "--kill"];
        let JobCommand::Direct(argv) = plan(&argv).unwrap().job else { panic!() };
        assert_eq!(argv, ["exec", "--every", "1x", "--", "-v", "--kill"]);
        for without in
            [&["a/b", "true"][..], &["a/b"], &["a/b", "--"], &["--", "true"], &["ab", "--", "true"]]
        {
            plan(without).unwrap_err();
        }
    }

    #[test]
    fn only_what_is_named_becomes_a_term() {
        let of = |arguments: &[&str]| {
            plan(&[&["a/b"], arguments, &["--", "true"]].concat()).map(|plan| plan.terms)
        };
        assert_eq!(of(&[]).unwrap(), None);
        let every = of(&["--every", "1d", "--grace", "1h", "--max-run", "2h"]).unwrap().unwrap();
        assert_eq!(
            every,
            json!({"app": "a", "component": "b", "frequency": 1, "time_units": "days", "grace": "1h", "max_run": "2h"})
        );
        let cron = of(&["--cron", "0 2 * * *", "--tz", "Europe/Berlin"]).unwrap().unwrap();
        assert_eq!(cron["time_zone"], "Europe/Berlin");
        let calendar = of(&["--calendar", "Mon..Fri 02:00", "--tz", "UTC"]).unwrap().unwrap();
        assert_eq!(
            calendar,
            json!({"app": "a", "component": "b", "calendar": "Mon..Fri 02:00", "time_zone": "UTC"})
        );
        for wrong in [
            &["--every", "soon"][..],
            &["--cron", "0 25 * * *"],
            &["--cron", "0 2 * * *", "--tz", "Nowhere"],
            &["--calendar", "Thurs"],
            &["--tz", "UTC"],
            &["--every", "1h", "--cron", "0 2 * * *"],
            &["--grace", "1x"],
            &["--kill"],
            &["--max-run", "x"],
            &["--redact", "a("],
            &["--ok", "0"],
            &["--ok", "1,300"],
            &["--ok", "3-1"],
        ] {
            let problem = of(wrong).unwrap_err();
            assert!(problem.contains("--"), "{wrong:?}: {problem}");
        }
    }

    #[test]
    fn statuses_that_are_fine() {
        let plan = plan(&["a/b", "--ok", "1,24", "--ok", "40-42", "--", "true"]).unwrap();
        assert_eq!(plan.ok, [1, 24, 40, 41, 42]);
    }

    #[test]
    fn a_ping_address_needs_no_name() {
        let plan = plan(&["--ping", "https://h.example/ping/1", "--", "true"]).unwrap();
        assert_eq!(plan.destination, Destination::Ping("https://h.example/ping/1".to_owned()));
        super::tests::plan(&["--ping", "x", "--", "true"]).unwrap_err();
        super::tests::plan(&["--ping", "https://h.example/1", "--every", "1d", "--", "true"]).unwrap_err();
    }
}
