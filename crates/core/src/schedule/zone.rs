//! Names of time zones, as people write them.

use chrono_tz::{TZ_VARIANTS, Tz};

use crate::Invalid;

/// The greatest length at which an unknown name is compared with the known ones. No zone has a
/// longer name.
const LONGEST: usize = 40;
/// The least similarity, from 0 to 1, of an unknown name and the name that is suggested for it.
const ALIKE: f64 = 0.6;

/// Reads the name of a zone, whatever its case. `field` names it in an error.
pub fn parse(field: &'static str, text: &str) -> Result<Tz, Invalid> {
    let name = text.trim();
    crate::names::one_line(field, name, 100)?;
    // This is how nearly everybody writes the name, and how it is stored.
    if let Ok(zone) = name.parse() {
        return Ok(zone);
    }
    if let Some(zone) = TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name)) {
        return Ok(*zone);
    }
    let meant = match Some(name).filter(|name| name.len() <= LONGEST).and_then(nearest) {
        Some(zone) => format!("did you mean {zone}?"),
        None => "write one like UTC or Europe/Berlin".to_owned(),
    };
    Err(Invalid::new(field, format!("{name:?} is not a time zone; {meant}")))
}

/// The known name that is most similar to this one. The name of a city alone is enough.
fn nearest(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_lowercase().replace(' ', "_");
    let likeness = |zone: &str| {
        let zone = zone.to_ascii_lowercase();
        let place = zone.rsplit('/').next().unwrap_or_default();
        let whole = strsim::normalized_damerau_levenshtein(&zone, &name);
        whole.max(strsim::normalized_damerau_levenshtein(place, &name))
    };
    TZ_VARIANTS
        .iter()
        .map(|zone| (likeness(zone.name()), zone.name()))
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(text: &str) -> Result<&'static str, String> {
        parse("time_zone", text).map(|zone| zone.name()).map_err(|invalid| invalid.problem)
    }

    #[test]
    fn case_and_blanks_at_the_ends_do_not_matter() {
        for text in
            ["Europe/Berlin", "europe/berlin", "EUROPE/BERLIN", " Europe/Berlin ", "\tEurope/Berlin\n"]
        {
            assert_eq!(zone(text), Ok("Europe/Berlin"), "{text:?}");
        }
        assert_eq!(zone("utc"), Ok("UTC"));
        assert_eq!(zone("america/argentina/buenos_aires"), Ok("America/Argentina/Buenos_Aires"));
    }

    #[test]
    fn an_unknown_one_names_the_nearest() {
        for (text, meant) in [
            ("Europe/Berln", "Europe/Berlin"),
            ("Europe-Berlin", "Europe/Berlin"),
            ("Berlin", "Europe/Berlin"),
            ("New York", "America/New_York"),
            ("America/NewYork", "America/New_York"),
            ("Asia/Kolkatta", "Asia/Kolkata"),
        ] {
            assert_eq!(zone(text), Err(format!("{text:?} is not a time zone; did you mean {meant}?")));
        }
        assert_eq!(
            zone("x"),
            Err("\"x\" is not a time zone; write one like UTC or Europe/Berlin".to_owned())
        );
        assert!(zone("").is_err());
    }
}
