//! Parses queries and bodies. Errors name the path of the invalid field: `reservations[3].cron`.

use std::collections::HashMap;

use actix_web::HttpRequest;
use innkeeper_core::names::one_line;
use innkeeper_core::{Invalid, Time};
use innkeeper_http::{decoded, parameters};
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The longest value in a query, in characters. Cursors are the longest values.
const LONGEST: usize = 4000;

/// The parameters of a query.
pub(crate) struct ReadQuery(HashMap<&'static str, String>);

impl ReadQuery {
    /// Parses a query with the parameters in `known` and no others: a filter with a misspelt name would otherwise match
    /// everything.
    pub fn of(request: &HttpRequest, known: &[&'static str]) -> Result<Self, Invalid> {
        Self::of_query(request.query_string(), known)
    }

    /// Parses the text of a query in the same way.
    pub fn of_query(query: &str, known: &[&'static str]) -> Result<Self, Invalid> {
        let mut asked = HashMap::new();
        for (name, value) in parameters(query) {
            let name = decoded(name).map_err(|problem| Invalid::new("query", problem))?;
            let Some(name) = known.iter().find(|known| **known == name) else {
                let allowed = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                return Err(Invalid::new(
                    "query",
                    format!("{name:?} is no parameter of this path; allowed: {allowed}"),
                ));
            };
            let value = decoded(value).map_err(|problem| Invalid::new(*name, problem))?;
            one_line(name, &value, LONGEST)?;
            if asked.insert(*name, value).is_some() {
                return Err(Invalid::new(*name, "stands twice"));
            }
        }
        asked.retain(|_, value| !value.is_empty());
        Ok(Self(asked))
    }

    /// A text; none if it is empty or absent.
    pub fn text(&self, name: &'static str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A value that must be one of `words`.
    pub fn word(&self, name: &'static str, words: &[&'static str]) -> Result<Option<&'static str>, Invalid> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let found = words.iter().find(|word| **word == text);
        found
            .map(|word| Some(*word))
            .ok_or_else(|| Invalid::new(name, format!("{text:?}; allowed: {}", words.join(", "))))
    }

    /// A value that must be `true` or `false`.
    pub fn flag(&self, name: &'static str) -> Result<Option<bool>, Invalid> {
        Ok(self.word(name, &["true", "false"])?.map(|word| word == "true"))
    }

    /// The parameter `before`: an id; the page begins below it.
    pub fn before(&self) -> Result<Option<i64>, Invalid> {
        let wrong =
            |text: &str| Invalid::new("before", format!("{text:?}; give the id of the last one you have"));
        self.text("before").map(|text| text.parse().map_err(|_| wrong(text))).transpose()
    }

    /// The parameter `limit`: 1 to 200, by default 50.
    pub fn limit(&self) -> Result<i64, Invalid> {
        let Some(text) = self.text("limit") else { return Ok(50) };
        let limit = text.parse().ok().filter(|limit| (1..=200).contains(limit));
        limit.ok_or_else(|| Invalid::new("limit", format!("{text:?}; allowed: 1 to 200")))
    }
}

/// Parses a JSON document.
pub(crate) fn json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    let text = utf8(body)?;
    if !text.trim_start().starts_with('{') {
        // serde would read a list as the fields in their order.
        return Err(Invalid::new("body", "must be a JSON object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let message = error.inner().to_string();
        wrong(error.path(), message)
    })?;
    deserializer.end().map_err(|error| Invalid::new("body", error.to_string()))?;
    Ok(read)
}

/// Parses a TOML document.
pub(crate) fn toml<T: DeserializeOwned>(body: &[u8]) -> Result<T, Invalid> {
    let text = utf8(body)?;
    let deserializer = toml::Deserializer::parse(text).map_err(|error| {
        Invalid::new("body", format!("is not TOML: {}{}", error.message(), line(text, error.span())))
    })?;
    serde_path_to_error::deserialize(deserializer).map_err(|error| {
        let inner = error.inner();
        wrong(error.path(), format!("{}{}", inner.message(), line(text, inner.span())))
    })
}

/// Converts a JSON value to a document.
pub(crate) fn value<T: DeserializeOwned>(value: Value) -> Result<T, Invalid> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let message = error.inner().to_string();
        wrong(error.path(), message)
    })
}

/// Parses an instant in RFC 3339 form.
pub(crate) fn instant(field: &'static str, text: &str) -> Result<Time, Invalid> {
    let read = chrono::DateTime::parse_from_rfc3339(text);
    read.map(|at| at.to_utc()).map_err(|_| {
        Invalid::new(field, format!("{text:?} is not an instant; write one like 2026-11-20T18:00:00Z"))
    })
}

fn utf8(body: &[u8]) -> Result<&str, Invalid> {
    std::str::from_utf8(body).map_err(|error| Invalid::new("body", format!("is not UTF-8: {error}")))
}

fn line(text: &str, span: Option<std::ops::Range<usize>>) -> String {
    let before = span.and_then(|span| text.as_bytes().get(..span.start));
    before.map_or_else(String::new, |before| {
        format!(" at line {}", before.iter().filter(|byte| **byte == b'\n').count() + 1)
    })
}

/// The error with the path of its field. For missing or unknown fields, the name of the field is only in the message.
fn wrong(path: &serde_path_to_error::Path, message: String) -> Invalid {
    let mut field = path.to_string();
    let named = message
        .strip_prefix("missing field `")
        .or_else(|| message.strip_prefix("unknown field `"))
        .and_then(|rest| rest.split_once('`'))
        .map(|(name, _)| name);
    match (field.as_str(), named) {
        (".", Some(name)) => name.clone_into(&mut field),
        (".", None) => "body".clone_into(&mut field),
        (path, Some(name)) if !path.ends_with(&format!(".{name}")) && path != name => {
            field.push('.');
            field.push_str(name);
        }
        _ => {}
    }
    // A name from outside may be as long as the whole body, so it is cut.
    let field = field.chars().take(200).collect::<String>();
    Invalid::new(field, message.chars().take(2000).collect::<String>())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::super::declared::DeclaredDocument;
    use super::*;

    #[test]
    fn what_is_wrong_is_named_by_its_path() {
        let fields = |body: &str| json::<DeclaredDocument>(body.as_bytes()).unwrap_err().field.into_owned();
        assert_eq!(
            fields(r#"{"reservations":[{"app":"a","component":"b","grace":5}]}"#),
            "reservations[0].grace"
        );
        assert_eq!(fields(r#"{"reservations":[{"app":"a"}]}"#), "reservations[0].component");
        assert_eq!(fields(r#"{"reservations":[{"app":"a","component":"b","x":1}]}"#), "reservations[0].x");
        assert_eq!(fields(r#"{"reservation":[]}"#), "reservation");
        assert_eq!(fields("{}"), "reservations");
        assert_eq!(fields("[}"), "body");
        assert_eq!(fields(&"[".repeat(100_000)), "body");
        let fields = |body: &str| toml::<DeclaredDocument>(body.as_bytes()).unwrap_err();
        let error = fields("[[reservations]]\napp = \"a\"\ncomponent = \"b\"\ngrace = 5\n");
        assert_eq!(
            (error.field.as_ref(), error.problem.contains("line 4")),
            ("reservations[0].grace", true),
            "{error}"
        );
        assert_eq!(fields("[[reservations]]\napp = \"a\"\n").field, "reservations[0].component");
        assert_eq!(fields("a = [").field, "body");
        assert_eq!(fields(&format!("a = {}", "[".repeat(100_000))).field, "body");
    }

    #[test]
    fn a_query_says_what_it_may_say() {
        let of = |query: &str| {
            let request = TestRequest::with_uri(&format!("/x?{query}")).to_http_request();
            ReadQuery::of(&request, &["q", "limit", "before", "open"])
        };
        assert_eq!(of("q=a+b%2Fc&&limit=").unwrap().text("q"), Some("a b/c"));
        for (query, field) in
            [("w=1", "query"), ("q=%00", "q"), ("q=%FF", "q"), ("q=%", "q"), ("q=1&q=2", "q")]
        {
            assert_eq!(of(query).map(|_| ()).unwrap_err().field, field, "{query}");
        }
        for limit in ["0", "201", "-1", "x", "99999999999999999999"] {
            assert!(of(&format!("limit={limit}")).unwrap().limit().is_err(), "{limit}");
        }
        assert_eq!(of("limit=200").unwrap().limit().unwrap(), 200);
        assert!(of("before=x").unwrap().before().is_err() && of("open=1").unwrap().flag("open").is_err());
    }
}
