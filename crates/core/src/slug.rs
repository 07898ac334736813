//! Slugs: the short names by which ping addresses call a reservation, unique in their app.

use unicode_normalization::UnicodeNormalization as _;

use crate::Invalid;
use crate::names::LONGEST_NAME;

/// Checks a slug that somebody chose.
pub fn check(text: &str) -> Result<(), Invalid> {
    if is_slug(text) {
        return Ok(());
    }
    let problem = format!("{text:?} is no slug; give 1 to {LONGEST_NAME} of a–z, 0–9, - and _");
    Err(Invalid::new("slug", problem))
}

/// Whether `text` can be part of a ping address: 1 to 150 of `a–z`, `0–9`, `-`, `_`.
pub fn is_slug(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    (1..=LONGEST_NAME).contains(&text.len()) && text.bytes().all(fits)
}

/// The slug of a name, as Healthchecks (Django's `slugify`) makes it. Letters lose their accents.
/// Characters other than ASCII letters, digits, `_`, `-` and blanks are left out. Each run of
/// blanks and `-` becomes one `-`. The slug is empty if nothing is left.
pub fn of(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.nfkd().filter(char::is_ascii) {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c.to_ascii_lowercase());
        } else if (c == '-' || c.is_ascii_whitespace()) && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    shortened(slug.trim_matches(ENDS), LONGEST_NAME).to_owned()
}

/// The slug of a name as versions before the database column for slugs made it: each run of
/// characters other than ASCII letters, digits and `_` becomes one `-`.
pub fn of_before(name: &str) -> String {
    let mut slug = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() || c == '_' {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.ends_with('-') && !slug.is_empty() {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

/// The slugs to try if `wanted` may be in use: `wanted`, `wanted-2`, `wanted-3`, …, without end.
pub fn candidates(wanted: &str) -> impl Iterator<Item = String> {
    let numbered = move |number: u64| {
        let end = format!("-{number}");
        format!("{}{end}", shortened(wanted, LONGEST_NAME - end.len()))
    };
    std::iter::once(wanted.to_owned()).chain((2..).map(numbered))
}

/// Characters with which no slug of Django's begins or ends.
const ENDS: [char; 2] = ['-', '_'];

/// The first `most` bytes of a slug, which is ASCII.
fn shortened(slug: &str, most: usize) -> &str {
    if slug.len() <= most { slug } else { slug[..most].trim_end_matches(ENDS) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_made_as_django_makes_them() {
        // Expected values from `django.utils.text.slugify`, version 5.1.
        for (name, slug) in [
            ("Nightly Backup", "nightly-backup"),
            ("Büro (v2)", "buro-v2"),
            ("a__b--C", "a__b-c"),
            ("a - b", "a-b"),
            ("-x-", "x"),
            ("_x_", "x"),
            ("-_-x", "x"),
            ("a/b.c", "abc"),
            ("Straße", "strae"),
            ("ﬁle №5 ½", "file-no5-12"),
            ("Ａ\u{3000}Ｂ", "a-b"),
            ("a\u{a0}b", "a-b"),
            ("İ", "i"),
            ("日本", ""),
            ("日本 - 5", "5"),
            ("🦀", ""),
        ] {
            assert_eq!(of(name), slug, "{name}");
        }
    }

    #[test]
    fn a_slug_is_never_too_long() {
        assert_eq!(of(&"⑽".repeat(150)).len(), 150);
        let long = "x".repeat(150);
        let three: Vec<String> = candidates(&long).take(3).collect();
        assert_eq!(three, [long.clone(), format!("{}-2", "x".repeat(148)), format!("{}-3", "x".repeat(148))]);
    }

    #[test]
    fn slugs_of_before_are_lower_case_and_single_dashed() {
        for (name, expected) in [
            ("Nightly Backup", "nightly-backup"),
            ("a__b--C", "a__b-c"),
            ("日本", ""),
            ("-x-", "x"),
            ("a.b", "a-b"),
        ] {
            assert_eq!(of_before(name), expected);
        }
    }

    #[test]
    fn a_slug_that_somebody_chose_is_checked() {
        for good in ["a", "backup--daily", "_x_", "0", &"x".repeat(150)] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in ["", "A", "a b", "é", "a/b", "a\0", &"x".repeat(151)] {
            assert_eq!(check(bad).unwrap_err().field, "slug", "{bad:?}");
        }
    }
}
