//! Remembers which terms were sent to the server already. A reservation is not sent at each run, so what a person has
//! changed in it meanwhile stays.

use std::fs;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::lock::file_name;
use crate::logbook;
use crate::spool::write_whole;
use crate::state::StateDirectory;

/// The terms of one reservation, and the file that remembers that they were sent.
#[derive(Debug)]
pub struct ExecSpec {
    directory: PathBuf,
    name: String,
    content: String,
}

impl ExecSpec {
    /// The memory of `terms` at `server`; none if the state directory cannot be used.
    pub fn of(state: &StateDirectory, server: Option<&str>, terms: &Value) -> Option<Self> {
        let directory = state.within("terms").map_err(logbook::note).ok()?;
        let names = format!("{}/{}", terms["app"].as_str()?, terms["component"].as_str()?);
        Some(Self {
            directory,
            name: file_name(&names),
            content: json!({"server": server, "terms": terms}).to_string(),
        })
    }

    /// Whether exactly these terms were sent before.
    pub fn is_known(&self) -> bool {
        fs::read_to_string(self.directory.join(&self.name)).is_ok_and(|known| known == self.content)
    }

    /// Remembers that these terms were sent.
    pub fn note(&self) {
        if let Err(error) = write_whole(&self.directory, &self.name, self.content.as_bytes()) {
            logbook::note(format_args!("it cannot be stored that a reservation was made: {error}"));
        }
    }
}

/// The time zone of this machine, in which its crontabs are meant.
pub fn local_zone() -> Option<String> {
    let named = std::env::var("TZ").ok().map(|zone| zone.trim_start_matches(':').to_owned());
    let linked = || {
        let target = fs::read_link("/etc/localtime").ok()?;
        Some(target.to_str()?.split_once("zoneinfo/")?.1.to_owned())
    };
    let written = || Some(fs::read_to_string("/etc/timezone").ok()?.trim().to_owned());
    let known = |zone: &String| zone.parse::<chrono_tz::Tz>().is_ok();
    named.filter(known).or_else(|| linked().filter(known)).or_else(|| written().filter(known))
}

/// Writes a period as `frequency` and `time_units`, in the largest unit that divides it.
pub fn put_period(fields: &mut Map<String, Value>, seconds: i64) {
    let units = [(86_400, "days"), (3600, "hours"), (60, "minutes"), (1, "seconds")];
    let (length, unit) =
        units.into_iter().find(|(length, _)| seconds % length == 0).unwrap_or((1, "seconds"));
    fields.insert("frequency".to_owned(), json!(seconds / length));
    fields.insert("time_units".to_owned(), json!(unit));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_told_once_and_again_when_they_change() {
        let directory = tempfile::tempdir().unwrap();
        let state = StateDirectory::open(Some(directory.path())).unwrap();
        let of = |grace| {
            ExecSpec::of(&state, None, &json!({"app": "a", "component": "b/c", "grace": grace})).unwrap()
        };
        assert!(!of("1h").is_known());
        of("1h").note();
        assert!(of("1h").is_known() && !of("2h").is_known());
        of("2h").note();
        assert!(!of("1h").is_known());
    }

    #[test]
    fn periods_in_the_largest_unit() {
        let of = |seconds| {
            let mut fields = Map::new();
            put_period(&mut fields, seconds);
            format!("{} {}", fields["frequency"], fields["time_units"].as_str().unwrap())
        };
        assert_eq!(of(86_400), "1 days");
        assert_eq!(of(90 * 60), "90 minutes");
        assert_eq!(of(61), "61 seconds");
    }
}
