//! A suggestion for an unknown word: the known word that is most like it.

/// The least similarity of two words, from 0 to 1.
const ALIKE: f64 = 0.7;
/// The longest word that is compared, in bytes.
const LONGEST: usize = 100;

/// Words that mean the same although they are not alike.
const MEANT: [(&str, &str); 12] = [
    ("tz", "time_zone"),
    ("zone", "time_zone"),
    ("interval", "frequency"),
    ("period", "frequency"),
    ("every", "frequency"),
    ("unit", "time_units"),
    ("email", "notify"),
    ("recipients", "notify"),
    ("message", "alert_msg"),
    ("note", "notes"),
    ("timeout", "max_run"),
    ("desc", "description"),
];

/// The word of `known` that is most like `word`, if any is similar enough. Case, `_` and `-` do not matter.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str> + Clone) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let plain = |word: &str| word.replace(['_', '-', ' '], "").to_lowercase();
    let word = plain(word);
    if let Some((_, meant)) = MEANT.iter().find(|(other, _)| *other == word)
        && let Some(known) = known.clone().into_iter().find(|known| known == meant)
    {
        return Some(known);
    }
    known
        .into_iter()
        .map(|known| (plain(known), known))
        .filter(|(plain, _)| may_be_alike(plain, &word))
        .map(|(plain, known)| (strsim::normalized_damerau_levenshtein(&plain, &word), known))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, known)| known)
}

/// Whether words of these lengths can be similar enough at all; each additional letter is a difference.
fn may_be_alike(one: &str, other: &str) -> bool {
    let (one, other) = (one.chars().count(), other.chars().count());
    one.min(other) as f64 >= ALIKE * one.max(other) as f64 - 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_meant() {
        let known =
            ["app", "component", "frequency", "time_units", "time_zone", "notify", "alert_after", "notes"];
        for (word, meant) in [
            ("timezone", Some("time_zone")),
            ("TimeZone", Some("time_zone")),
            ("time-units", Some("time_units")),
            ("timeunit", Some("time_units")),
            ("freqency", Some("frequency")),
            ("alertafter", Some("alert_after")),
            ("componnet", Some("component")),
            ("tz", Some("time_zone")),
            ("interval", Some("frequency")),
            ("email", Some("notify")),
            ("note", Some("notes")),
            ("timeout", None),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }
}
