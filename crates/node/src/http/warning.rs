//! A header for protocols whose answers stay as they are, though not all is well.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderValue, WARNING};
use innkeeper_core::ways::DeadEnd;

/// The longest text of a header, bytes.
const LONGEST: usize = 500;

/// Adds `Warning: 299 innkeeper "…"` that says what leads nowhere; nothing where all leads somewhere.
#[must_use]
pub fn with_warning(mut response: HttpResponse, dead_ends: &[DeadEnd]) -> HttpResponse {
    if let Some(value) = warning(dead_ends) {
        response.headers_mut().insert(WARNING, value);
    }
    response
}

fn warning(dead_ends: &[DeadEnd]) -> Option<HeaderValue> {
    if dead_ends.is_empty() {
        return None;
    }
    let text = dead_ends.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
    let mut quoted = String::with_capacity(LONGEST + 8);
    for c in text.chars() {
        if quoted.len() >= LONGEST {
            quoted.push_str("...");
            break;
        }
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            // An address may have other letters; a header may not.
            _ => quoted.push('?'),
        }
    }
    HeaderValue::from_str(&format!("299 innkeeper \"{quoted}\"")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_ascii_quoted_and_bounded() {
        assert_eq!(warning(&[]), None);
        let address = |address: &str| DeadEnd::NoMail { field: "notify", address: address.to_owned() };
        let one = warning(&[address("jürgen\"\\\r\n@example.org")]).unwrap();
        assert!(
            one.to_str().unwrap().starts_with("299 innkeeper \"notify: j?rgen\\\"\\\\??@example.org is a")
        );
        let many = warning(&vec![address("a@example.org"); 50]).unwrap();
        assert!(many.len() < 600 && many.to_str().unwrap().ends_with("...\""), "{many:?}");
    }
}
