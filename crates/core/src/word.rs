//! Enums whose values are single words, in SQL, JSON, the configuration and pages.
//!
//! The words are written once, at the enum: `strum` derives reading, writing and the list of
//! allowed words from it.

use std::str::FromStr;

use strum::VariantArray;

use crate::Invalid;

/// An enum whose values are single words: any type that derives `IntoStaticStr`, `EnumString` and
/// `VariantArray` of `strum`.
pub trait Word: Copy + FromStr + VariantArray + Into<&'static str> {}

impl<W: Copy + FromStr + VariantArray + Into<&'static str>> Word for W {}

/// The words of `W`, in the order of its declaration: `success, start, fail, log`.
pub fn allowed<W: Word>() -> String {
    W::VARIANTS.iter().map(|&value| value.into()).collect::<Vec<&str>>().join(", ")
}

/// The words of `W` as a choice in a sentence: `waiting, delivered or dead`.
pub fn one_of<W: Word>() -> String {
    let words = allowed::<W>();
    words.rsplit_once(", ").map_or(words.clone(), |(others, last)| format!("{others} or {last}"))
}

/// The words of `W` as an error names them: `"text" or "json"`.
pub fn quoted<W: Word>() -> String {
    W::VARIANTS
        .iter()
        .map(|&value| format!("{:?}", Into::<&str>::into(value)))
        .collect::<Vec<_>>()
        .join(" or ")
}

/// Reads a word of `W`.
///
/// # Errors
/// The `field`, with the unknown word and the allowed words.
pub fn parse<W: Word>(field: &'static str, word: &str) -> Result<W, Invalid> {
    word.parse().map_err(|_| Invalid::new(field, format!("{word:?}; allowed: {}", allowed::<W>())))
}
