//! Turns the measurements of a run into the figures of a report, with valid names and within the maximum number.

use std::collections::HashSet;

use innkeeper_core::figures::{Figures, is_name};

use super::outcome::ProbeOutcome;
use crate::figures::{near_name, numbered};

/// The figures of an outcome, without units. Those in `wanted` come first. Also returns the number of figures that do
/// not fit.
pub(crate) fn of(outcome: &ProbeOutcome, wanted: &[&str]) -> (Figures, usize) {
    let mut named = named(outcome);
    named.sort_by_key(|(name, _)| !wanted.contains(&name.as_str()));
    let mut figures = Figures::default();
    let left_out = named.into_iter().filter(|(name, value)| figures.set(name, *value).is_err()).count();
    (figures, left_out)
}

/// All figures with valid names. A label that is a valid name already keeps it; the others must differ from it.
fn named(outcome: &ProbeOutcome) -> Vec<(String, f64)> {
    let mut taken: HashSet<String> = outcome.figures.keys().filter(|label| is_name(label)).cloned().collect();
    let mut name_of = |label: &str| {
        if is_name(label) {
            return label.to_owned();
        }
        let near = near_name(label);
        let others = (2..).map(|n| numbered(&near, n));
        let free = std::iter::once(near.clone()).chain(others).find(|name| !taken.contains(name));
        let name = free.unwrap_or(near);
        taken.insert(name.clone());
        name
    };
    let figures = outcome.figures.iter();
    figures.map(|(label, figure)| (name_of(label), figure.value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn outcome(labels: &[&str]) -> ProbeOutcome {
        labels
            .iter()
            .zip(1..)
            .fold(ProbeOutcome::ok("x"), |outcome, (label, n)| outcome.figure(label, f64::from(n), "MB"))
    }

    #[test]
    fn labels_become_names_and_no_two_the_same() {
        let (figures, left_out) = of(&outcome(&["a_b", "a b", "a'b", "/var", "9", "%"]), &[]);
        assert_eq!(left_out, 0);
        let wanted = json!({"a_b": 1, "a_b_2": 2, "a_b_3": 3, "/var": 4, "_9": 5, "_": 6});
        assert_eq!(figures.json(), wanted);
    }

    #[test]
    fn what_is_wanted_has_room_before_the_others() {
        let labels: Vec<String> = (0..30).map(|n| format!("f{n:02}")).collect();
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        let (figures, left_out) = of(&outcome(&labels), &["f29"]);
        assert_eq!((left_out, &figures.json()["f29"]), (10, &json!(30)));
        assert_eq!(figures.json()["f18"], 19);
        assert!(figures.json().get("f19").is_none());
    }
}
