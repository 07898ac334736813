//! From what clients send to typed values. Every error names the field as the client wrote it.

use chrono::TimeDelta;
use innkeeper_core::names::{AlerterName, AppName, ComponentName};
use innkeeper_core::recipient::Recipients;
use innkeeper_core::reservation::{Frequency, TimeUnit};
use innkeeper_core::{Invalid, duration};
use innkeeper_node::http::decoded;
use serde_json::{Map, Value};

/// The fields of a request: a JSON object, or a query.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    /// Reads a JSON object.
    pub fn from_json(body: &[u8]) -> Result<Self, Invalid> {
        let wrong = |problem: String| Invalid::new("body", problem);
        std::str::from_utf8(body).map_err(|error| wrong(format!("is not UTF-8: {error}")))?;
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(wrong("must be a JSON object".to_owned())),
            Err(error) => Err(wrong(format!("is not JSON: {error}"))),
        }
    }

    /// Reads the `wanted` fields of a query; the last of equal names counts. The others are nobody's business, and may be
    /// broken.
    pub fn from_query(query: &str, wanted: &[&'static str]) -> Result<Self, Invalid> {
        let mut fields = Map::new();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Some(name) = wanted.iter().find(|wanted| decoded(name).is_ok_and(|name| name == **wanted))
            else {
                continue;
            };
            let value = decoded(value).map_err(|problem| Invalid::new(*name, problem))?;
            fields.insert((*name).to_owned(), Value::String(value));
        }
        Ok(Self(fields))
    }

    /// The value, unless it is absent or null.
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
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
        self.text(field)?.ok_or_else(|| Invalid::new(field, "is missing"))
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

    /// Names of alerters, known or not.
    pub fn alerters(&self, field: &'static str) -> Result<Option<Vec<AlerterName>>, Invalid> {
        self.list(field)?.map(|list| AlerterName::any_list(field, &list)).transpose()
    }
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
