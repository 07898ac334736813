//! Figures that the agent is given, and names for what others measure. What a figure is, and which lines of an
//! output name one: [`innkeeper_core::figures`].

use innkeeper_core::figures::{Figures, LONGEST_NAME, is_name, is_of_name};

/// Parses the figures that a command line gives with `option`.
///
/// # Errors
/// Which figure is invalid, and what is allowed.
pub fn given(option: &str, texts: &[String]) -> Result<Figures, String> {
    let mut figures = Figures::default();
    for text in texts {
        figures.set_text(text).map_err(|flaw| format!("{option}: {}", flaw.of(text).problem))?;
    }
    Ok(figures)
}

/// The valid figure name that is closest to `text`. Other characters become `_`.
pub fn near_name(text: &str) -> String {
    let mut name: String = text.chars().take(LONGEST_NAME).map(plain).collect();
    if !is_name(&name) {
        name.insert(0, '_');
        name.truncate(LONGEST_NAME);
    }
    name
}

fn plain(c: char) -> char {
    let byte = u8::try_from(c).unwrap_or(b'?');
    if is_of_name(byte) { c } else { '_' }
}

/// The name with a number appended, cut to the longest length that a name may have.
pub fn numbered(name: &str, n: usize) -> String {
    let ending = format!("_{n}");
    format!("{}{ending}", &name[..name.len().min(LONGEST_NAME - ending.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_an_option_is_told_with_it() {
        let of =
            |texts: &[&str]| given("--figure", &texts.iter().map(|&text| text.into()).collect::<Vec<_>>());
        assert_eq!(of(&["a=1", "b=2", "a=3"]).unwrap().json(), serde_json::json!({"a": 3, "b": 2}));
        assert_eq!(
            of(&["rows"]),
            Err("--figure: \"rows\" is no figure; give NAME=NUMBER, as in rows=1200".to_owned())
        );
    }

    #[test]
    fn a_label_becomes_the_name_that_is_nearest() {
        for (label, name) in [
            ("/var/log", "/var/log"),
            ("time taken", "time_taken"),
            ("it's", "it_s"),
            ("5min", "_5min"),
            ("größe", "gr__e"),
            ("a::b", "a::b"),
            ("%", "_"),
            ("", "_"),
        ] {
            assert_eq!(near_name(label), name, "{label}");
            assert!(is_name(name), "{name}");
        }
        assert_eq!(near_name(&"9".repeat(100)).len(), LONGEST_NAME);
        assert_eq!(numbered(&"a".repeat(64), 12).len(), LONGEST_NAME);
        assert_eq!(numbered("a", 2), "a_2");
    }
}
