//! Parsing of requests into typed values. Every error names the field as the client wrote it.

use innkeeper_core::figures::Figures;
use innkeeper_core::names::{AppName, ComponentName};
use innkeeper_core::near::nearest;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::ReservationDocument;
use innkeeper_core::reservation::document::{FIELDS, ValueForm};
use innkeeper_core::schedule::{Frequency, TimeUnit};
use innkeeper_core::ways::DeadEnd;
use innkeeper_core::{Invalid, duration};
use innkeeper_http::{decoded, parameters};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// The fields of a request: a JSON object, or a query.
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// The names of fields that the request may contain.
    known: &'static [&'static str],
    /// The first of its unknown fields, as they were written.
    unknown: Vec<String>,
}

/// How the keys of a JSON object are compared with the known fields.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Keys {
    /// Ignoring case, as Go's servers do.
    InAnyCase,
    /// Exactly.
    Exact,
}

/// A JSON object that is read into the fields of a request. Values of unknown fields may be anything.
struct Object<'a> {
    fields: Fields,
    passed: &'a [&'a str],
    keys: Keys,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = Fields;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Fields, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = Fields;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields, A::Error> {
        let Self { mut fields, passed, keys } = self;
        while let Some(Key(written)) = object.next_key()? {
            let lower = written.to_lowercase();
            let name = if keys == Keys::Exact { &written } else { &lower };
            if fields.known.contains(&name.as_str()) {
                let value: Value = object.next_value()?;
                // As in Go, null leaves a field unset.
                if !value.is_null() {
                    fields.values.insert(name.clone(), value);
                }
                continue;
            }
            object.next_value::<IgnoredAny>()?;
            if !passed.contains(&lower.as_str()) {
                fields.is_unknown(written);
            }
        }
        Ok(fields)
    }
}

/// A key of a JSON object; an unpaired surrogate in it is tolerated.
struct Key(String);

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Key;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a key")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Key, E> {
                Ok(Key(String::from_utf8_lossy(bytes).into_owned()))
            }
        }
        deserializer.deserialize_bytes(Bytes)
    }
}

impl Fields {
    fn new(known: &'static [&'static str]) -> Self {
        Self { values: Map::new(), known, unknown: Vec::new() }
    }

    /// Whether a field is unknown; if so, its name is kept, up to the number that is reported.
    fn is_unknown(&mut self, name: String) {
        if self.unknown.len() < MOST_TOLD {
            self.unknown.push(name);
        }
    }

    /// Reads a JSON object with the `known` fields, ignoring case; of equal names the last counts. Fields in `passed`
    /// are ignored.
    pub fn from_json(body: &[u8], known: &'static [&'static str], passed: &[&str]) -> Result<Self, Invalid> {
        Self::read(body, known, passed, Keys::InAnyCase)
    }

    /// Reads the object of a check-in. If a key in another case would make the check-in invalid according to `check`,
    /// that key is treated as unknown, so that it does not cost the job its check-in.
    pub fn from_checkin(
        body: &[u8],
        known: &'static [&'static str],
        passed: &[&str],
        check: impl Fn(&Self) -> Result<(), Invalid>,
    ) -> Result<Self, Invalid> {
        // Errors in the values are reported by the code that reads them, which may first authenticate the caller.
        let fields = Self::read(body, known, passed, Keys::InAnyCase);
        if fields.as_ref().is_ok_and(|fields| check(fields).is_ok()) {
            return fields;
        }
        let is_well = |read: &Result<Self, Invalid>| read.as_ref().is_ok_and(|fields| check(fields).is_ok());
        let exact = Self::read(body, known, passed, Keys::Exact);
        if is_well(&exact) {
            return exact;
        }
        let Some(whole) = mended(body) else { return fields };
        let mended = [Keys::InAnyCase, Keys::Exact].map(|keys| Self::read(&whole, known, passed, keys));
        mended
            .into_iter()
            .find(|read| is_well(read) && read.as_ref().is_ok_and(Self::is_named_whole))
            .unwrap_or(fields)
    }

    /// Whether no text except the notes contains a replacement character; names above all must be intact.
    fn is_named_whole(&self) -> bool {
        let is_broken = |(name, value): (&String, &Value)| {
            name != "notes" && value.as_str().is_some_and(|text| text.contains(char::REPLACEMENT_CHARACTER))
        };
        !self.values.iter().any(is_broken)
    }

    fn read(
        body: &[u8],
        known: &'static [&'static str],
        passed: &[&str],
        keys: Keys,
    ) -> Result<Self, Invalid> {
        let wrong = |problem: String| Invalid::new("body", problem);
        std::str::from_utf8(body).map_err(|error| wrong(format!("is not UTF-8: {error}")))?;
        let read = |body: &[u8]| {
            let mut json = serde_json::Deserializer::from_slice(body);
            let object = Object { fields: Self::new(known), passed, keys };
            object.deserialize(&mut json).and_then(|fields| json.end().map(|()| fields))
        };
        read(body).map_err(|error| match error.classify() {
            Category::Data => wrong("must be a JSON object".to_owned()),
            _ => wrong(format!("is not JSON: {error}")),
        })
    }

    /// Takes the `known` fields of a JSON object that was parsed already; other fields are not reported.
    pub fn of_object(values: Map<String, Value>, known: &'static [&'static str]) -> Self {
        Self { values, known, unknown: Vec::new() }
    }

    /// Reads the `known` fields of a query; of equal names the last counts. Other fields may be malformed.
    pub fn from_query(query: &str, known: &'static [&'static str]) -> Result<Self, Invalid> {
        let mut fields = Self::new(known);
        for (name, value) in parameters(query) {
            let written = decoded(name).unwrap_or_else(|_| name.to_owned());
            let Some(name) = known.iter().find(|known| **known == written) else {
                fields.is_unknown(written);
                continue;
            };
            let value = decoded(value).map_err(|problem| Invalid::new(*name, problem))?;
            fields.values.insert((*name).to_owned(), Value::String(value));
        }
        Ok(fields)
    }

    /// The figures in a field, an object of names and numbers; and the problems of invalid ones, as sentences.
    pub fn figures(&self, field: &'static str) -> (Figures, Vec<String>) {
        figures_of_object(self.get(field))
    }

    /// The unknown fields, as sentences.
    pub fn unknown(&self) -> Vec<String> {
        self.unknown.iter().map(|name| format!("{:?} is {}", cut(name), self.no_field(name))).collect()
    }

    /// Refuses unknown fields.
    pub fn refuse_unknown(&self) -> Result<(), Invalid> {
        match self.unknown.first() {
            None => Ok(()),
            Some(name) => Err(Invalid::new(cut(name), format!("is {}", self.no_field(name)))),
        }
    }

    fn no_field(&self, name: &str) -> String {
        match nearest(name, self.known.iter().copied()) {
            Some(meant) => format!("no field here; did you mean {meant}?"),
            None => format!("no field here; allowed: {}", self.known.join(", ")),
        }
    }

    /// The value, unless it is absent or null.
    pub fn get(&self, field: &str) -> Option<&Value> {
        debug_assert!(self.known.contains(&field), "{field} is read and not known");
        self.values.get(field).filter(|value| !value.is_null())
    }

    /// A text; `None` if the field is absent.
    pub fn text(&self, field: &'static str) -> Result<Option<&str>, Invalid> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(wrong_type(field, other, "a text")),
        }
    }

    fn required(&self, field: &'static str) -> Result<&str, Invalid> {
        let missing = || {
            let meant = |name: &&String| nearest(name, self.known.iter().copied()) == Some(field);
            let hint =
                self.unknown.iter().find(meant).map(|name| format!("; {:?} is no field here", cut(name)));
            Invalid::new(field, format!("is missing{}", hint.unwrap_or_default()))
        };
        self.text(field)?.ok_or_else(missing)
    }

    /// The app, from the field in which this protocol has it.
    pub fn app(&self, field: &'static str) -> Result<AppName, Invalid> {
        AppName::parse(self.required(field)?).map_err(|error| error.called(field))
    }

    /// The component, from the field in which this protocol has it.
    pub fn component(&self, field: &'static str) -> Result<ComponentName, Invalid> {
        ComponentName::parse(self.required(field)?).map_err(|error| error.called(field))
    }

    /// A whole number, or one as text.
    pub fn integer(&self, field: &'static str) -> Result<Option<i64>, Invalid> {
        let wrong =
            |shown: &str| Invalid::new(field, format!("{shown} is not a whole number that can be used"));
        match self.get(field) {
            None => Ok(None),
            Some(Value::Number(number)) => {
                number.as_i64().map(Some).ok_or_else(|| wrong(&number.to_string()))
            }
            Some(Value::String(text)) => {
                text.trim().parse().map(Some).map_err(|_| wrong(&format!("{text:?}")))
            }
            Some(other) => Err(wrong_type(field, other, "a whole number")),
        }
    }

    /// A boolean, `1`, `0`, or one of these as text.
    pub fn flag(&self, field: &'static str) -> Result<Option<bool>, Invalid> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(value) => {
                match value.as_str().map(str::to_owned).unwrap_or_else(|| value.to_string()).as_str() {
                    "1" | "true" => Ok(Some(true)),
                    "0" | "false" | "" => Ok(Some(false)),
                    other => Err(Invalid::new(field, format!("{other:?}; allowed: true, false, 1, 0"))),
                }
            }
        }
    }

    /// A duration as text, such as `5m`, or a number of seconds.
    fn duration(&self, field: &'static str, wanted: &str) -> Result<Option<String>, Invalid> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(seconds)) => seconds
                .as_i64()
                .filter(|seconds| (0..=duration::LONGEST.num_seconds()).contains(seconds))
                .map(|seconds| Some(format!("{seconds}s")))
                .ok_or_else(|| {
                    Invalid::new(field, format!("{seconds}; give whole seconds, or a text like \"5m\""))
                }),
            Some(other) => Err(wrong_type(field, other, wanted)),
        }
    }

    /// The reservation that the fields describe, in any form that the protocols have for its values. Missing names are
    /// empty.
    pub fn reservation(&self) -> Result<ReservationDocument, Invalid> {
        let mut document: Map<String, Value> =
            ["app", "component"].map(|name| (name.to_owned(), Value::from(""))).into_iter().collect();
        for (field, form) in FIELDS {
            let value = match form {
                ValueForm::Text => self.text(field)?.map(Value::from),
                ValueForm::Integer => self.integer(field)?.map(Value::from),
                ValueForm::Flag => self.flag(field)?.map(Value::from),
                ValueForm::List | ValueForm::Recipients => self.list(field)?.map(Value::from),
                ValueForm::Duration => self.duration(field, "a duration like \"5m\"")?.map(Value::from),
                ValueForm::Reminders => {
                    self.duration(field, "a duration like \"6h\", or \"each\"")?.map(Value::from)
                }
            };
            document.extend(value.map(|value| (field.to_owned(), value)));
        }
        serde_json::from_value(Value::Object(document))
            .map_err(|error| Invalid::new("body", error.to_string()))
    }

    /// A count and its unit; the count is in the first field of `counts` that is present.
    pub fn frequency(&self, counts: [&'static str; 2]) -> Result<Option<Frequency>, Invalid> {
        for field in counts {
            if let Some(count) = self.integer(field)? {
                return Frequency::parse(field, count, TimeUnit::parse(self.required("time_units")?)?)
                    .map(Some);
            }
        }
        Ok(None)
    }

    /// A list: a JSON list of texts, or one text with commas.
    pub fn list(&self, field: &'static str) -> Result<Option<Vec<String>>, Invalid> {
        let wrong = |value: &Value| wrong_type(field, value, "a list of texts, or one text with commas");
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(
                // Only blanks are trimmed: a line break is not a separator, and is invalid in an address.
                text.split(',')
                    .map(|part| part.trim_matches([' ', '\t']))
                    .filter(|part| !part.is_empty())
                    .map(str::to_owned)
                    .collect(),
            )),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().map(str::to_owned).ok_or_else(|| wrong(value)))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(other) => Err(wrong(other)),
        }
    }

    /// The recipients in any text, and the parts that are not recipients.
    pub fn any_recipients(&self, field: &'static str) -> Result<Option<(Recipients, Vec<DeadEnd>)>, Invalid> {
        let Some(list) = self.list(field)? else { return Ok(None) };
        let (recipients, others) = Recipients::among(field, &list);
        let others = others.iter().map(|text| DeadEnd::NoRecipient { field, text: cut(text) });
        Ok(Some((recipients, others.collect())))
    }
}

/// Repairs invalid JSON that programs write. An unpaired surrogate becomes U+FFFD (Python and JavaScript write these
/// for bytes that are not text), and an invalid number (`NaN`, `Infinity`, `1e999`) becomes null. `None` if neither
/// occurs. What a job printed or counted must not cost it its check-in.
pub(crate) fn mended(json: &[u8]) -> Option<Vec<u8>> {
    let half = |at: usize| {
        let digits = std::str::from_utf8(json.get(at..at + 6)?.strip_prefix(b"\\u")?).ok()?;
        u16::from_str_radix(digits, 16).ok().filter(|unit| (0xd800..=0xdfff).contains(unit))
    };
    let (mut whole, mut at) = (Vec::with_capacity(json.len()), 0);
    let (mut is_changed, mut in_text) = (false, false);
    while let Some(byte) = json.get(at) {
        let word = if in_text { &[][..] } else { word_at(json, at) };
        let (taken, instead): (usize, Option<&[u8]>) = match (byte, half(at), half(at + 6)) {
            _ if !word.is_empty() => (word.len(), is_no_number(word).then_some(b"null")),
            (b'\\', Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => (12, None),
            (b'\\', Some(_), _) => (6, Some(b"\\ufffd")),
            // Any other escaped character, such as a quote or a backslash, does not begin another escape.
            (b'\\', None, _) => (2, None),
            (b'"', ..) => {
                in_text = !in_text;
                (1, None)
            }
            _ => (1, None),
        };
        let end = (at + taken).min(json.len());
        is_changed |= instead.is_some();
        whole.extend_from_slice(instead.unwrap_or(&json[at..end]));
        at = end;
    }
    is_changed.then_some(whole)
}

/// The number or word at this position.
fn word_at(json: &[u8], at: usize) -> &[u8] {
    let length =
        json[at..].iter().take_while(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte)).count();
    &json[at..at + length]
}

/// Whether a word is what programs write for a number that JSON cannot represent.
fn is_no_number(word: &[u8]) -> bool {
    let is_numeric = word.iter().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(byte));
    match std::str::from_utf8(word) {
        Ok("NaN" | "-NaN" | "Infinity" | "-Infinity") => true,
        Ok(text) => is_numeric && text.parse().is_ok_and(f64::is_infinite),
        Err(_) => false,
    }
}

/// The figures in an object of names and numbers, if there is one; and the problems of invalid ones, as sentences.
pub(crate) fn figures_of_object(value: Option<&Value>) -> (Figures, Vec<String>) {
    let (figures, problems) = value.map(Figures::from_json).unwrap_or_default();
    (figures, problems.iter().take(MOST_TOLD).map(ToString::to_string).collect())
}

/// How a figure begins in a query.
const FIGURE: &str = "figure=";

/// The figures in a query, one per `figure=rows=1200`; and the problems of invalid ones, as sentences.
pub(crate) fn figures_of_query(query: &str) -> (Figures, Vec<String>) {
    let (mut figures, mut problems) = (Figures::default(), Vec::new());
    let figures_said = query.split('&').filter_map(|pair| pair.strip_prefix(FIGURE));
    for text in figures_said {
        // A figure contains no blanks, and a large number may be written 5.4e+09, so `+` is not a blank here.
        let decoded = decoded(&text.replace('+', "%2B")).map_err(|problem| Invalid::new("figure", problem));
        let set = decoded.and_then(|text| figures.set_text(&text).map_err(|flaw| flaw.of(&text)));
        if let Some(error) = set.err().filter(|_| problems.len() < MOST_TOLD) {
            problems.push(error.to_string());
        }
    }
    (figures, problems)
}

/// The query without its figures, which are read separately.
pub(crate) fn without_figures(query: &str) -> String {
    let others: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with(FIGURE)).collect();
    others.join("&")
}

/// The most unknown fields that are reported.
const MOST_TOLD: usize = 5;

/// The beginning of a client's text, as much as errors repeat.
pub(crate) fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

fn wrong_type(field: &'static str, value: &Value, wanted: &str) -> Invalid {
    let got = match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    Invalid::new(field, format!("must be {wanted}, not {got}"))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by it")]
mod tests {
    use super::*;

    #[test]
    fn what_json_has_no_word_for_is_replaced_and_all_else_stays() {
        let of = |json: &str| mended(json.as_bytes()).map(|whole| String::from_utf8(whole).unwrap());
        for (json, whole) in [
            (r#"{"a":"x\udc80y"}"#, Some(r#"{"a":"x\ufffdy"}"#)),
            (r#"["\ud83d\ude00","\uD83D!"]"#, Some(r#"["\ud83d\ude00","\ufffd!"]"#)),
            (r#"["\ude00\ud83d"]"#, Some(r#"["\ufffd\ufffd"]"#)),
            (r#"["\ud83d\ud83d\ude00"]"#, Some(r#"["\ufffd\ud83d\ude00"]"#)),
            (r#"["\\udc80"]"#, None),
            (r#"["\u00e9","\ud83d\ude00"]"#, None),
            (r#"["\udc8"]"#, None),
            ("\\", None),
            (r#"{"a":NaN,"b":-Infinity,"c":[1e999,1e9]}"#, Some(r#"{"a":null,"b":null,"c":[null,1e9]}"#)),
            (r#"{"NaN":"NaN, \"1e999","b":true}"#, None),
        ] {
            assert_eq!(of(json).as_deref(), whole, "{json}");
        }
        let read = |json: &str| Fields::from_checkin(json.as_bytes(), &["app", "notes"], &[], |_| Ok(()));
        assert_eq!(read(r#"{"notes":"\udcff!"}"#).unwrap().text("notes").unwrap(), Some("\u{fffd}!"));
        for json in [r#"{"notes":"\udcff"#, r#"{"app":"\udcff","notes":""}"#] {
            assert!(read(json).is_err(), "{json}");
        }
    }

    /// Only the unknown fields that are reported are compared with the known ones, however many are sent.
    #[test]
    fn unknown_fields_cost_no_more_than_those_that_are_told_of() {
        let many =
            |between: &str, of: &dyn Fn(usize) -> String| (0..9000).map(of).collect::<Vec<_>>().join(between);
        let query = many("&", &|n| format!("app{n}"));
        let json = format!("{{{}}}", many(",", &|n| format!("\"app{n}\":1")));
        for fields in [
            Fields::from_query(&query, &["app", "component"]).unwrap(),
            Fields::from_json(json.as_bytes(), &["app", "component"], &[]).unwrap(),
        ] {
            assert_eq!(fields.unknown.len(), MOST_TOLD);
            assert_eq!(fields.unknown().len(), MOST_TOLD);
            assert_eq!(fields.app("app").unwrap_err().problem, "is missing; \"app0\" is no field here");
        }
    }
}
