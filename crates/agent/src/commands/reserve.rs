//! `reserve`: makes a reservation, or changes the fields that the command line names.

use innkeeper_core::duration;
use innkeeper_core::reminders::Reminders;
use serde_json::{Value, json};
use structopt::StructOpt;

use super::{CommandContext, Failure, PATIENCE, exit, say};
use crate::api::ApiTrouble;
use crate::report::Names;
use crate::sender::reserve;
use crate::terms::ScheduleFlags;

// See `exec::options::Options`.
#[allow(missing_docs)]
#[derive(Debug, StructOpt)]
pub struct Options {
    /// The reservation: APP/COMPONENT
    #[structopt(value_name = "APP/COMPONENT")]
    name: String,

    /// The job checks in at this interval (15m, 1d)
    #[structopt(long, value_name = "PERIOD", conflicts_with_all = &["cron", "calendar"])]
    every: Option<String>,

    /// The job checks in at the times of this cron expression
    #[structopt(long, value_name = "EXPRESSION", conflicts_with = "calendar")]
    cron: Option<String>,

    /// The job checks in at the times of this systemd calendar expression
    #[structopt(long, value_name = "EXPRESSION")]
    calendar: Option<String>,

    /// The time zone of --cron or --calendar [default: this machine's]
    #[structopt(long, value_name = "ZONE")]
    tz: Option<String>,

    /// How late a check-in may be (10m)
    #[structopt(long, value_name = "DURATION")]
    grace: Option<String>,

    /// Who receives its alerts: mail addresses and alerters, separated by commas
    #[structopt(long, value_name = "RECIPIENTS")]
    notify: Option<String>,

    /// Send its alerts only through these alerters, separated by commas
    #[structopt(long, value_name = "ALERTERS")]
    alerters: Option<String>,

    /// Who is responsible for the job
    #[structopt(long, value_name = "NAME")]
    owner: Option<String>,

    /// A description of the job
    #[structopt(long, value_name = "TEXT")]
    description: Option<String>,

    /// A tag; can be given several times
    #[structopt(long = "tag", value_name = "TAG", number_of_values = 1)]
    tags: Vec<String>,

    /// A link to instructions for when the job is down
    #[structopt(long, value_name = "URL")]
    runbook: Option<String>,

    /// The longest time that a run may take
    #[structopt(long, value_name = "DURATION")]
    max_run: Option<String>,

    /// A success sooner than this after its start is a failure
    #[structopt(long, value_name = "DURATION")]
    min_run: Option<String>,

    /// Misses and failures in a row before an alert opens, 1 to 50
    #[structopt(long, value_name = "NUMBER")]
    alert_after: Option<u8>,

    /// How often reminders of an open alert are sent; 0s for none, each for one at each failed run
    #[structopt(long, value_name = "DURATION")]
    remind_every: Option<String>,

    /// A condition for its figures ('rows > 0', 'bytes >= 0.5 * median(10)'): a success that breaks it counts as a
    /// failure; can be given several times; '' removes all conditions
    #[structopt(long, value_name = "CLAUSE", number_of_values = 1)]
    expect: Vec<String>,

    /// Whether its recovery is reported: true or false
    #[structopt(long, value_name = "BOOL")]
    notify_recovery: Option<bool>,
}

pub(super) fn run(desk: &CommandContext, options: &Options) -> Result<u8, Failure> {
    let names = Names::parse(&options.name)?;
    let terms = terms(&names, options)?;
    match reserve(&desk.api, None, &terms, PATIENCE) {
        Ok(reserved) => {
            reserved.changes.iter().for_each(|change| say(&format!("{names}: {change}")));
            reserved.warning.iter().for_each(|warning| say(&format!("warning: {warning}")));
            say(&format!("{names} is reserved"));
            // The server did not accept every field as requested.
            Ok(if reserved.changes.is_empty() { 0 } else { exit::WRONG })
        }
        Err(ApiTrouble::Refused { status: 400, why, .. }) if why.contains("is missing") => {
            Err(Failure::Wrong(format!("{why} (a new reservation needs --every, --cron or --calendar)")))
        }
        Err(trouble) => Err(trouble.into()),
    }
}

/// The fields that the command line names, and no others.
fn terms(names: &Names, options: &Options) -> Result<Value, String> {
    let flags = ScheduleFlags {
        every: options.every.as_deref(),
        cron: options.cron.as_deref(),
        calendar: options.calendar.as_deref(),
        tz: options.tz.as_deref(),
        grace: options.grace.as_deref(),
        expect: &options.expect,
        remind_every: options.remind_every.as_deref(),
    };
    let mut fields = flags.fields()?;
    let spans = [("--max-run", "max_run", &options.max_run), ("--min-run", "min_run", &options.min_run)];
    for (flag, key, given) in spans {
        if let Some(text) = given {
            duration::parse(flag, text).map_err(|invalid| invalid.to_string())?;
            fields.insert(key.to_owned(), json!(text));
        }
    }
    if let Some(text) = &options.remind_every {
        let reminders = Reminders::parse("--remind-every", text).map_err(|invalid| invalid.to_string())?;
        fields.insert("remind_every".to_owned(), json!(reminders.short()));
    }
    let texts = [
        ("notify", &options.notify),
        ("alerters", &options.alerters),
        ("owner", &options.owner),
        ("description", &options.description),
        ("runbook", &options.runbook),
    ];
    for (key, text) in texts {
        fields.extend(text.as_ref().map(|text| (key.to_owned(), json!(text))));
    }
    if !options.tags.is_empty() {
        fields.insert("tags".to_owned(), json!(options.tags));
    }
    fields.extend(options.alert_after.map(|n| ("alert_after".to_owned(), json!(n))));
    fields.extend(options.notify_recovery.map(|is_told| ("notify_recovery".to_owned(), json!(is_told))));
    fields.insert("app".to_owned(), json!(names.app));
    fields.insert("component".to_owned(), json!(names.component));
    Ok(Value::Object(fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Value, String> {
        let all = ["reserve", "shop/backup"].iter().chain(arguments);
        let options = Options::from_iter_safe(all).map_err(|error| error.message)?;
        terms(&Names::parse(&options.name)?, &options)
    }

    #[test]
    fn only_what_is_named_is_sent() {
        assert_eq!(of(&[]).unwrap(), json!({"app": "shop", "component": "backup"}));
        let said =
            of(&["--every", "90m", "--notify", "ops@example.org,hook", "--tag", "a", "--tag", "b"]).unwrap();
        assert_eq!(
            said,
            json!({"app": "shop", "component": "backup", "frequency": 90, "time_units": "minutes",
                "notify": "ops@example.org,hook", "tags": ["a", "b"]})
        );
        let said = of(&["--remind-every", "0s", "--alert-after", "3", "--notify-recovery", "false"]).unwrap();
        assert_eq!((&said["remind_every"], &said["alert_after"]), (&json!("0s"), &json!(3)));
        assert_eq!(said["notify_recovery"], json!(false));
        assert_eq!(of(&["--remind-every", "each"]).unwrap()["remind_every"], json!("each"));
        for wrong in [
            &["--every", "x"][..],
            &["--max-run", "soon"],
            &["--tz", "UTC"],
            &["--alert-after", "-1"],
            &["--remind-every", "often"],
        ] {
            of(wrong).unwrap_err();
        }
    }
}
