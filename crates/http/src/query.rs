//! Percent-decoding of queries.

/// The parameters of a query as they are written, each a name and a value; without `=` the value is empty.
pub fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decodes a part of a query: `+` is a blank, `%41` a byte. Invalid encoding is an error rather than being repaired:
/// two names must not become one.
///
/// # Errors
/// The invalid part, as a sentence.
pub fn decoded(part: &str) -> Result<String, String> {
    let is_byte = |after: &str| {
        after.as_bytes().get(..2).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !part.split('%').skip(1).all(is_byte) {
        return Err(format!("{part:?} has a % that begins no byte; write % itself as %25"));
    }
    let spaced = part.replace('+', " ");
    match percent_encoding::percent_decode_str(&spaced).decode_utf8() {
        Ok(text) => Ok(text.into_owned()),
        Err(error) => Err(format!("{part:?} is not UTF-8: {error}")),
    }
}
