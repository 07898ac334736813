//! From what clients send to typed values. Every error names the field as the client wrote it.

use chrono::TimeDelta;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::near::nearest;
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::{Frequency, TimeUnit};
use innkeeper_core::ways::DeadEnd;
use innkeeper_core::{Invalid, duration};
use innkeeper_node::http::decoded;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::{Map, Value};

/// The fields of a request: a JSON object, or a query.
pub(crate) struct Fields {
    values: Map<String, Value>,
    /// Those that the request may have.
    known: &'static [&'static str],
    /// Those that it has besides, as they were written.
    unknown: Vec<String>,
}

/// A JSON object, with its keys in their order and in lower case, as Go's servers match them; and as they were written.
struct Pairs(Vec<(String, String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = object.next_entry::<String, Value>()? {
                    pairs.push((key.to_lowercase(), key, value));
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Fields {
    /// Reads a JSON object with the `known` fields, in whatever case; the last of equal names counts. Those of `passed`
    /// are passed over.
    pub fn from_json(body: &[u8], known: &'static [&'static str], passed: &[&str]) -> Result<Self, Invalid> {
        let wrong = |problem: String| Invalid::new("body", problem);
        std::str::from_utf8(body).map_err(|error| wrong(format!("is not UTF-8: {error}")))?;
        let Pairs(pairs) = serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => wrong("must be a JSON object".to_owned()),
            _ => wrong(format!("is not JSON: {error}")),
        })?;
        let mut fields = Self { values: Map::new(), known, unknown: Vec::new() };
        for (name, written, value) in pairs {
            if known.contains(&name.as_str()) {
                fields.values.insert(name, value);
            } else if !passed.contains(&name.as_str()) {
                fields.unknown.push(written);
            }
        }
        Ok(fields)
    }

    /// Reads the `known` fields of a query; the last of equal names counts. The others may be broken.
    pub fn from_query(query: &str, known: &'static [&'static str]) -> Result<Self, Invalid> {
        let mut fields = Self { values: Map::new(), known, unknown: Vec::new() };
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = known.iter().find(|known| decoded(name).is_ok_and(|name| name == **known))
            else {
                fields.unknown.push(decoded(name).unwrap_or_else(|_| name.to_owned()));
                continue;
            };
            let value = decoded(value).map_err(|problem| Invalid::new(*name, problem))?;
            fields.values.insert((*name).to_owned(), Value::String(value));
        }
        Ok(fields)
    }

    /// What of it nobody reads, as sentences.
    pub fn unknown(&self) -> Vec<String> {
        self.unknown
            .iter()
            .take(MOST_TOLD)
            .map(|name| format!("{:?} is {}", cut(name), self.no_field(name)))
            .collect()
    }

    /// Refuses what nobody would read.
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
    fn get(&self, field: &str) -> Option<&Value> {
        debug_assert!(self.known.contains(&field), "{field} is read and not known");
        self.values.get(field).filter(|value| !value.is_null())
    }

    /// A text, where there is one.
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

    /// The app, under the name that this protocol gives it.
    pub fn app(&self, field: &'static str) -> Result<AppName, Invalid> {
        AppName::parse(self.required(field)?).map_err(|error| error.called(field))
    }

    /// The component, under the name that this protocol gives it.
    pub fn component(&self, field: &'static str) -> Result<ComponentName, Invalid> {
        ComponentName::parse(self.required(field)?).map_err(|error| error.called(field))
    }

    /// A whole number, also as a numeric text.
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

    /// Yes or no: a boolean, `1`, `0`, or one of these as text.
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

    /// A duration: a text like `5m`, or a number of seconds.
    pub fn duration(&self, field: &'static str) -> Result<Option<TimeDelta>, Invalid> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => duration::parse(field, text).map(Some),
            Some(Value::Number(seconds)) => seconds
                .as_i64()
                .filter(|seconds| (0..=duration::LONGEST.num_seconds()).contains(seconds))
                .map(|seconds| Some(TimeDelta::seconds(seconds)))
                .ok_or_else(|| {
                    Invalid::new(field, format!("{seconds}; give whole seconds, or a text like \"5m\""))
                }),
            Some(other) => Err(wrong_type(field, other, "a duration like \"5m\"")),
        }
    }

    /// A count and its unit; the count stands in the first of `counts` that is there.
    pub fn frequency(&self, counts: [&'static str; 2]) -> Result<Option<Frequency>, Invalid> {
        for field in counts {
            if let Some(count) = self.integer(field)? {
                return Frequency::parse(field, count, TimeUnit::parse(self.required("time_units")?)?)
                    .map(Some);
            }
        }
        Ok(None)
    }

    /// A list: of texts, or one text with commas.
    pub fn list(&self, field: &'static str) -> Result<Option<Vec<String>>, Invalid> {
        let wrong = |value: &Value| wrong_type(field, value, "a list of texts, or one text with commas");
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(
                // Only blanks: a line break is no separator, and has no business in an address.
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

    /// Recipients: mail addresses and names of alerters, known or not.
    pub fn recipients(&self, field: &'static str) -> Result<Option<Recipients>, Invalid> {
        self.list(field)?.map(|list| Recipients::of_any_entries(field, &list)).transpose()
    }

    /// The recipients in whatever text there is, and what in it is none.
    pub fn any_recipients(&self, field: &'static str) -> Result<Option<(Recipients, Vec<DeadEnd>)>, Invalid> {
        let Some(list) = self.list(field)? else { return Ok(None) };
        let (recipients, others) = Recipients::among(field, &list);
        let others = others.iter().map(|text| DeadEnd::NoRecipient { field, text: cut(text) });
        Ok(Some((recipients, others.collect())))
    }

    /// Names of alerters, known or not.
    pub fn alerters(&self, field: &'static str) -> Result<Option<Vec<AlerterName>>, Invalid> {
        self.list(field)?.map(|list| AlerterName::any_list(field, &list)).transpose()
    }
}

/// Unknown fields that are told of.
const MOST_TOLD: usize = 5;

/// What somebody wrote, as far as it is told back.
fn cut(text: &str) -> String {
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
