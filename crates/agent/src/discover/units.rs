//! Parses systemd unit files with their drop-ins.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use chrono::TimeDelta;

use super::files::read_bounded;

/// Directories of system units, in order of precedence.
pub const SYSTEM: [&str; 7] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/run/systemd/transient",
    "/run/systemd/generator",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// The settings of a unit file and its drop-ins, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unit {
    /// The unit file.
    pub path: PathBuf,
    settings: Vec<(String, String, String)>,
}

impl Unit {
    /// All values of a setting. An empty value removes those before it.
    pub fn all(&self, section: &str, key: &str) -> Vec<&str> {
        let mut values = Vec::new();
        for (_, _, value) in
            self.settings.iter().filter(|(in_section, name, _)| in_section == section && name == key)
        {
            match value.as_str() {
                "" => values.clear(),
                value => values.push(value),
            }
        }
        values
    }

    /// The last value of a setting.
    pub fn last(&self, section: &str, key: &str) -> Option<&str> {
        self.all(section, key).last().copied()
    }

    /// Whether a boolean setting is on.
    pub fn is_on(&self, section: &str, key: &str) -> bool {
        self.last(section, key).is_some_and(|value| matches!(value, "yes" | "true" | "on" | "1"))
    }

    /// Whether the unit has a condition (`ConditionACPower=`, …), because of which a run may be skipped.
    pub fn has_conditions(&self) -> bool {
        self.settings.iter().any(|(section, key, value)| {
            section == "Unit" && key.starts_with("Condition") && !value.is_empty()
        })
    }

    fn read(&mut self, text: &str) {
        let mut section = String::new();
        let mut line = String::new();
        for part in text.lines() {
            let trimmed = part.trim();
            // A comment may stand within a continued line.
            if trimmed.starts_with(['#', ';']) || (trimmed.is_empty() && line.is_empty()) {
                continue;
            }
            if let Some(continued) = part.strip_suffix('\\') {
                line.push_str(continued);
                line.push(' ');
                continue;
            }
            line.push_str(part);
            let whole = std::mem::take(&mut line);
            let whole = whole.trim();
            if let Some(name) = whole.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = whole.split_once('=') {
                self.settings.push((section.clone(), key.trim().to_owned(), value.trim().to_owned()));
            }
        }
    }
}

/// Directories of units, in order of precedence.
#[derive(Debug)]
pub struct Directories(Vec<PathBuf>);

impl Directories {
    /// Removes duplicates from the directories.
    pub fn new(directories: impl IntoIterator<Item = PathBuf>) -> Self {
        let mut known = BTreeSet::new();
        // `/lib` may be a link to `/usr/lib`.
        let real = |path: &PathBuf| fs::canonicalize(path).unwrap_or_else(|_| path.clone());
        Self(directories.into_iter().filter(|path| known.insert(real(path))).collect())
    }

    /// The unit with this name; none if it does not exist or is masked.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn unit(&self, name: &str) -> Result<Option<Unit>, String> {
        let template = template_of(name);
        let names = [Some(name), template.as_deref()];
        let files =
            names.into_iter().flatten().flat_map(|name| self.0.iter().map(move |place| place.join(name)));
        let Some(path) = files.into_iter().find(|path| fs::symlink_metadata(path).is_ok()) else {
            return Ok(None);
        };
        if fs::canonicalize(&path).is_ok_and(|real| real == Path::new("/dev/null")) {
            return Ok(None);
        }
        let wrong = |error: std::io::Error| format!("{} cannot be read: {error}", path.display());
        let text = read_bounded(&path).map_err(wrong)?;
        let mut unit = Unit { path: path.clone(), settings: Vec::new() };
        unit.read(&String::from_utf8_lossy(&text));
        for file in self.drop_ins(name) {
            let text =
                read_bounded(&file).map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
            unit.read(&String::from_utf8_lossy(&text));
        }
        Ok(Some(unit))
    }

    /// Drop-ins, in the order in which they apply.
    fn drop_ins(&self, name: &str) -> Vec<PathBuf> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for owner in [Some(name.to_owned()), template_of(name)].into_iter().flatten() {
            for directory in self.0.iter().map(|directory| directory.join(format!("{owner}.d"))) {
                for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                    let file = entry.file_name().to_string_lossy().into_owned();
                    if file.ends_with(".conf") {
                        files.entry(file).or_insert_with(|| entry.path());
                    }
                }
            }
        }
        files.into_values().filter(|path| path.is_file()).collect()
    }

    /// Units with this suffix that another unit wants or requires.
    pub fn wanted(&self, ending: &str) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for directory in &self.0 {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let group = entry.file_name().to_string_lossy().into_owned();
                if !group.ends_with(".wants") && !group.ends_with(".requires") {
                    continue;
                }
                let links = fs::read_dir(entry.path()).into_iter().flatten().flatten();
                names.extend(links.map(|link| link.file_name().to_string_lossy().into_owned()));
            }
        }
        names.retain(|name| name.ends_with(ending));
        names
    }
}

/// `x@.timer` for `x@y.timer`.
fn template_of(name: &str) -> Option<String> {
    let (before, rest) = name.split_once('@')?;
    let (instance, ending) = rest.rsplit_once('.')?;
    (!instance.is_empty()).then(|| format!("{before}@.{ending}"))
}

/// Parses a time span in systemd's notation (`1h 30min`, `90`, `500ms`), rounded up to whole seconds; none if it is
/// invalid or infinite.
pub fn span(text: &str) -> Option<TimeDelta> {
    let mut total = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (amount, after) = rest.split_at(number);
        let after = after.trim_start();
        let letters = after.find(|c: char| !c.is_alphabetic()).unwrap_or(after.len());
        let (unit, behind) = after.split_at(letters);
        let seconds = match unit {
            "us" | "usec" | "µs" | "μs" => 1e-6,
            "ms" | "msec" => 1e-3,
            "" | "s" | "sec" | "second" | "seconds" => 1.0,
            "m" | "min" | "minute" | "minutes" => 60.0,
            "h" | "hr" | "hour" | "hours" => 3600.0,
            "d" | "day" | "days" => 86_400.0,
            "w" | "week" | "weeks" => 604_800.0,
            "M" | "month" | "months" => 2_629_800.0,
            "y" | "year" | "years" => 31_557_600.0,
            _ => return None,
        };
        total += amount.parse::<f64>().ok()? * seconds;
        rest = behind.trim_start();
    }
    let bounded = (0.0..1e10).contains(&total);
    // The value was checked to be within the bounds of the type.
    #[allow(clippy::cast_possible_truncation)]
    bounded.then(|| TimeDelta::seconds((total - 1e-9).ceil().max(0.0) as i64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_of_systemd() {
        for (text, seconds) in [
            ("90", 90),
            ("1h 30min", 5400),
            ("1h30m", 5400),
            ("12h", 43_200),
            ("1week 2d", 777_600),
            ("500ms", 1),
            ("0", 0),
            ("1.5min", 90),
            ("1M", 2_629_800),
            ("100us", 1),
        ] {
            assert_eq!(span(text), Some(TimeDelta::seconds(seconds)), "{text}");
        }
        for text in ["", "infinity", "x", "1 parsec", "-5", "1h x", "99999999999999"] {
            assert_eq!(span(text), None, "{text}");
        }
    }

    #[test]
    fn files_drop_ins_masks_and_templates() {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put(
            "lib/a.timer",
            "[Unit]\n# OnCalendar=x\n[Timer]\nOnCalendar=daily\nOnCalendar=Mon \\\n; c\n  10:00\n",
        );
        put("lib/a.timer.d/20.conf", "[Timer]\nOnCalendar=\nOnCalendar=weekly\nPersistent=yes\n");
        put("etc/a.timer.d/10.conf", "[Timer]\nAccuracySec=1h\n");
        put("lib/b@.timer", "[Timer]\nOnCalendar=monthly\n");
        put("etc/b@x.timer.d/1.conf", "[Timer]\nOnCalendar=yearly\n");
        put("lib/gone.timer", "[Timer]\nOnCalendar=daily\n");
        std::os::unix::fs::symlink("/dev/null", root.path().join("etc/gone.timer")).unwrap();
        put("etc/timers.target.wants/a.timer", "");
        put("etc/timers.target.wants/a.service", "");
        let directories = Directories::new([root.path().join("etc"), root.path().join("lib")]);
        let unit = directories.unit("a.timer").unwrap().unwrap();
        assert_eq!(unit.all("Timer", "OnCalendar"), ["weekly"]);
        assert!(unit.is_on("Timer", "Persistent"));
        assert_eq!(unit.last("Timer", "AccuracySec"), Some("1h"));
        let instance = directories.unit("b@x.timer").unwrap().unwrap();
        assert_eq!(instance.all("Timer", "OnCalendar"), ["monthly", "yearly"]);
        assert_eq!(directories.unit("gone.timer"), Ok(None));
        assert_eq!(directories.unit("never.timer"), Ok(None));
        assert_eq!(directories.wanted(".timer").into_iter().collect::<Vec<_>>(), ["a.timer"]);
        let plain = Directories::new([root.path().join("lib")]).unit("a.timer").unwrap().unwrap();
        assert_eq!(plain.all("Timer", "OnCalendar"), ["weekly"]);
    }
}
