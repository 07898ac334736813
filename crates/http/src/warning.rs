//! A warning header for protocols whose responses cannot change although something is wrong.

use actix_web::HttpResponse;
use actix_web::http::header::{HeaderValue, WARNING};
use innkeeper_core::ways::DeadEnd;

/// The longest text of a header, in bytes.
const LONGEST: usize = 500;

/// Adds `Warning: 299 innkeeper "…"` with the dead ends; unchanged if there are none.
#[must_use]
pub fn with_warning(response: HttpResponse, dead_ends: &[DeadEnd]) -> HttpResponse {
    with_warnings(response, &dead_ends.iter().map(ToString::to_string).collect::<Vec<_>>())
}

/// Adds `Warning: 299 innkeeper "…"` with these sentences; unchanged if there are none.
#[must_use]
pub fn with_warnings(response: HttpResponse, sentences: &[String]) -> HttpResponse {
    if sentences.is_empty() {
        return response;
    }
    with_warning_of(response, &sentences.join("; "))
}

/// Adds `Warning: 299 innkeeper "…"` with this text.
#[must_use]
pub fn with_warning_of(mut response: HttpResponse, text: &str) -> HttpResponse {
    if let Some(value) = warning(text) {
        response.headers_mut().insert(WARNING, value);
    }
    response
}

fn warning(text: &str) -> Option<HeaderValue> {
    let mut quoted = String::with_capacity(LONGEST + 8);
    for c in text.chars() {
        if quoted.len() >= LONGEST {
            quoted.push_str("...");
            break;
        }
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            // An address may contain other characters; a header may not.
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
        let warned = |dead_ends: &[DeadEnd]| {
            let response = with_warning(HttpResponse::Ok().finish(), dead_ends);
            response.headers().get(WARNING).map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(warned(&[]), None);
        let address = |address: &str| DeadEnd::NoMail { field: "notify", address: address.to_owned() };
        let one = warned(&[address("jürgen\"\\\r\n@example.org")]).unwrap();
        assert!(one.starts_with("299 innkeeper \"notify: j?rgen\\\"\\\\??@example.org is a"));
        let many = warned(&vec![address("a@example.org"); 50]).unwrap();
        assert!(many.len() < 600 && many.ends_with("...\""), "{many:?}");
    }
}
