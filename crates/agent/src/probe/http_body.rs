//! Expectations for an HTTP response: its status and its body.

use std::fmt;

use innkeeper_settings::{Origin, Section};
use serde_json::Value;
use ureq_proto::http::StatusCode;

use super::exchange::ProbeAnswer;

/// Most entries per list.
const MOST: usize = 100;

/// The accepted statuses.
#[derive(Debug, Clone)]
pub(crate) struct Statuses {
    ranges: Vec<(u16, u16)>,
    /// Whether the configuration names the statuses. A redirect among them is then the expected answer.
    are_named: bool,
}

impl Statuses {
    /// Reads `status`: `["200-299", "401"]`, `["2xx"]`.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        let are_named = section.origin("status") != Origin::Default;
        let ranges = section.list("status", MOST, range);
        Self { ranges: if ranges.is_empty() { vec![(200, 299)] } else { ranges }, are_named }
    }

    pub(crate) fn has(&self, status: StatusCode) -> bool {
        self.ranges.iter().any(|(from, to)| (*from..=*to).contains(&status.as_u16()))
    }

    /// Whether the configuration names this status as accepted.
    pub(crate) fn names(&self, status: StatusCode) -> bool {
        self.are_named && self.has(status)
    }
}

impl fmt::Display for Statuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ranges: Vec<String> = self
            .ranges
            .iter()
            .map(|(from, to)| if from == to { from.to_string() } else { format!("{from}-{to}") })
            .collect();
        f.write_str(&ranges.join(", "))
    }
}

fn range(text: &str) -> Result<(u16, u16), String> {
    let wrong = || format!("{text:?} is no status; write 200, 200-299 or 2xx");
    let number = |text: &str| text.trim().parse::<u16>().ok().filter(|number| (100..=599).contains(number));
    if let Some(class) = text.to_ascii_lowercase().strip_suffix("xx") {
        let class = class.parse::<u16>().ok().filter(|class| (1..=5).contains(class)).ok_or_else(wrong)?;
        return Ok((class * 100, class * 100 + 99));
    }
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    match (number(from), number(to)) {
        (Some(from), Some(to)) if from <= to => Ok((from, to)),
        _ => Err(wrong()),
    }
}

/// Expectations for the body.
#[derive(Debug, Clone, Default)]
pub(crate) struct Body {
    texts: Vec<String>,
    not_texts: Vec<String>,
    /// JSON pointers (RFC 6901) into the body, each with the expected value.
    values: Vec<(String, String)>,
}

impl Body {
    /// Reads `text`, `not_text` and `json`.
    pub(crate) fn read(section: &mut Section<'_>) -> Self {
        Self {
            texts: texts(section, "text"),
            not_texts: texts(section, "not_text"),
            values: section.list("json", MOST, |line| {
                let (pointer, value) = line
                    .split_once(": ")
                    .ok_or_else(|| "is a list; write json = { \"/pointer\" = \"value\" }".to_owned())?;
                match pointer.is_empty() || pointer.starts_with('/') {
                    true => Ok((pointer.to_owned(), value.to_owned())),
                    false => {
                        Err(format!("{pointer:?} is no pointer into JSON; write \"/status\" or \"/a/0/b\""))
                    }
                }
            }),
        }
    }

    /// Checks the part of the body that was read.
    pub(crate) fn check(&self, answer: &ProbeAnswer) -> Result<(), String> {
        if self.texts.is_empty() && self.not_texts.is_empty() && self.values.is_empty() {
            return Ok(());
        }
        let encoding =
            answer.headers.get("content-encoding").map(|value| String::from_utf8_lossy(value.as_bytes()));
        if let Some(encoding) = encoding.filter(|encoding| !encoding.eq_ignore_ascii_case("identity")) {
            return Err(format!(
                "its body is encoded ({encoding}), which was not requested, so it cannot be checked"
            ));
        }
        let body = String::from_utf8_lossy(&answer.body);
        let cut = match answer.is_cut {
            true => format!(" in its first {} bytes", answer.body.len()),
            false => String::new(),
        };
        if let Some(text) = self.texts.iter().find(|text| !body.contains(*text)) {
            return Err(format!("{text:?} is not in its body{cut}"));
        }
        if let Some(text) = self.not_texts.iter().find(|text| body.contains(*text)) {
            return Err(format!("{text:?} is in its body"));
        }
        if self.values.is_empty() {
            return Ok(());
        }
        if answer.is_cut {
            return Err(format!(
                "its body is longer than the {} bytes that are read (body_limit)",
                answer.body.len()
            ));
        }
        let json: Value = serde_json::from_slice(&answer.body)
            .map_err(|error| format!("its body is not JSON ({error})"))?;
        self.values.iter().try_for_each(|(pointer, wanted)| check_value(&json, pointer, wanted))
    }
}

fn texts(section: &mut Section<'_>, key: &'static str) -> Vec<String> {
    section.list(key, MOST, |text| match text.is_empty() {
        true => Err("has an empty text, which every body contains".to_owned()),
        false => Ok(text.to_owned()),
    })
}

fn check_value(json: &Value, pointer: &str, wanted: &str) -> Result<(), String> {
    let found = json.pointer(pointer).ok_or_else(|| format!("its JSON has nothing at {pointer:?}"))?;
    let is_it = match found {
        Value::String(text) => text == wanted,
        // Numbers are compared by value: `1.0` equals `1`.
        Value::Number(number) => number.as_f64().is_some_and(|number| wanted.parse::<f64>() == Ok(number)),
        other => serde_json::from_str::<Value>(wanted).is_ok_and(|wanted| wanted == *other),
    };
    if is_it {
        return Ok(());
    }
    let mut found = found.to_string();
    if found.chars().count() > 80 {
        found = found.chars().take(80).collect::<String>() + "…";
    }
    Err(format!("its JSON has {found} at {pointer:?}, not {wanted:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ureq_proto::http::HeaderMap;

    fn answer(body: &str) -> ProbeAnswer {
        ProbeAnswer { status: StatusCode::OK, headers: HeaderMap::new(), body: body.into(), is_cut: false }
    }

    #[test]
    fn ranges_of_statuses() {
        assert_eq!(
            (range("200"), range("200-204"), range("3xx")),
            (Ok((200, 200)), Ok((200, 204)), Ok((300, 399)))
        );
        for bad in ["", "2", "600", "299-200", "6xx", "xx", "200-", "ok"] {
            range(bad).unwrap_err();
        }
    }

    #[test]
    fn values_in_json() {
        let body = answer(r#"{"status":"UP","n":1,"a":[{"b":true}],"x/y":null,"big":"…"}"#);
        let check = |pointer: &str, value: &str| {
            Body { values: vec![(pointer.into(), value.into())], ..Body::default() }.check(&body)
        };
        for (pointer, value) in
            [("/status", "UP"), ("/n", "1"), ("/n", "1.0"), ("/a/0/b", "true"), ("/x~1y", "null")]
        {
            assert_eq!(check(pointer, value), Ok(()), "{pointer}");
        }
        assert_eq!(check("/status", "up").unwrap_err(), "its JSON has \"UP\" at \"/status\", not \"up\"");
        assert!(check("/no", "1").unwrap_err().contains("has nothing at"));
        let page = Body { values: vec![("/a".into(), "1".into())], ..Body::default() };
        assert!(page.check(&answer("<html>502</html>")).unwrap_err().starts_with("its body is not JSON"));
    }

    #[test]
    fn texts_in_and_not_in_the_body() {
        let body = Body { texts: vec!["Welcome".into()], not_texts: vec!["Error".into()], ..Body::default() };
        assert_eq!(body.check(&answer("Welcome")), Ok(()));
        assert_eq!(body.check(&answer("welcome")).unwrap_err(), "\"Welcome\" is not in its body");
        assert_eq!(body.check(&answer("Welcome Error")).unwrap_err(), "\"Error\" is in its body");
        let cut = ProbeAnswer { is_cut: true, ..answer("Wel") };
        assert!(body.check(&cut).unwrap_err().ends_with("in its first 3 bytes"));
        let mut packed = answer("Welcome");
        packed.headers.insert("content-encoding", "gzip".parse().unwrap());
        assert!(body.check(&packed).unwrap_err().contains("encoded (gzip)"));
    }
}
