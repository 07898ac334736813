//! Hands an alerter's section to `serde`, so that each alerter owns the shape of its configuration.
//!
//! Errors carry the place of the setting they are about, and never its value. What the environment sets is a
//! text whatever its key wants; the alerters' types read a number or truth value from a text too.

use std::fmt;

use serde::de::value::{SeqDeserializer, StringDeserializer};
use serde::de::{self, DeserializeSeed, IntoDeserializer, MapAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::problem::Origin;
use super::setting::{Setting, Table, Value};

/// A section or value that did not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Misfit {
    /// The setting it is about, innermost; none when it is about the section as a whole.
    pub(crate) origin: Option<Origin>,
    /// The key, when it is about one.
    pub(crate) key: Option<String>,
    /// What is wrong and what is allowed.
    pub(crate) what: String,
}

impl Misfit {
    fn at(mut self, key: Option<&str>, origin: &Origin) -> Self {
        if self.origin.is_none() {
            self.origin = Some(origin.clone());
            self.key = key.map(str::to_owned);
        }
        self
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Misfit {}

impl de::Error for Misfit {
    fn custom<T: fmt::Display>(what: T) -> Self {
        Self { origin: None, key: None, what: what.to_string() }
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        let kind = match found {
            Unexpected::Bool(_) => "true or false",
            Unexpected::Unsigned(_) | Unexpected::Signed(_) => "a whole number",
            Unexpected::Float(_) => "a fraction",
            Unexpected::Str(_) | Unexpected::Char(_) => "a text",
            Unexpected::Seq => "a list",
            Unexpected::Map => "a section",
            _ => "something else",
        };
        Self::custom(format_args!("is {kind}; it takes {expected}"))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        match found {
            Unexpected::Unsigned(number) => {
                Self::custom(format_args!("{number} is out of bounds; it takes {expected}"))
            }
            Unexpected::Signed(number) => {
                Self::custom(format_args!("{number} is out of bounds; it takes {expected}"))
            }
            _ => Self::custom(format_args!("is not allowed; it takes {expected}")),
        }
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        let mut allowed = expected.to_vec();
        allowed.sort_unstable();
        Self::custom(format_args!("unknown key; allowed: {}", allowed.join(", ")))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::custom(format_args!("{variant:?} is not known; allowed: {}", expected.join(", ")))
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom(format_args!("the key {field} is missing"))
    }
}

/// A deserializer over the whole of a section.
pub(crate) fn section(table: Table) -> impl for<'de> serde::Deserializer<'de, Error = Misfit> {
    ValueDeserializer(Value::Table(table))
}

struct ValueDeserializer(Value);

impl<'de> serde::Deserializer<'de> for ValueDeserializer {
    type Error = Misfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Text(text) => visitor.visit_string(text),
            Value::Integer(number) => match u64::try_from(number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_i64(number),
            },
            Value::Float(number) => visitor.visit_f64(number),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Date => Err(de::Error::custom("is a date; write it in quotes")),
            Value::List(list) => visitor.visit_seq(SeqDeserializer::new(list.into_iter().map(Entry))),
            Value::Table(table) => visitor.visit_map(Sections { rest: table.into_iter(), value: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Misfit> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Misfit> {
        match self.0 {
            Value::Text(text) => {
                let text: StringDeserializer<Misfit> = text.into_deserializer();
                text.deserialize_enum(name, variants, visitor)
            }
            other => Err(de::Error::custom(format_args!(
                "is {}; it takes one of {}",
                other.kind(),
                variants.join(", ")
            ))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct
        identifier ignored_any
    }
}

/// An entry of a list, which knows its own line.
struct Entry(Setting);

impl<'de> IntoDeserializer<'de, Misfit> for Entry {
    type Deserializer = ValueDeserializer;

    fn into_deserializer(self) -> ValueDeserializer {
        ValueDeserializer(self.0.value)
    }
}

/// The keys of a section one after the other. Each error is marked with the key and place it arose at.
struct Sections {
    rest: std::collections::btree_map::IntoIter<String, Setting>,
    value: Option<(String, Setting)>,
}

impl<'de> MapAccess<'de> for Sections {
    type Error = Misfit;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Misfit> {
        let Some((key, setting)) = self.rest.next() else { return Ok(None) };
        let origin = setting.origin.clone();
        let text: StringDeserializer<Misfit> = key.clone().into_deserializer();
        let read = seed.deserialize(text).map(Some).map_err(|error| error.at(Some(&key), &origin));
        self.value = Some((key, setting));
        read
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Misfit> {
        let Some((key, setting)) = self.value.take() else {
            return Err(de::Error::custom("a value was asked for before its key"));
        };
        let origin = setting.origin.clone();
        seed.deserialize(ValueDeserializer(setting.value)).map_err(|error| error.at(Some(&key), &origin))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use innkeeper_core::secret::Secret;
    use serde::Deserialize;

    use super::super::setting;
    use super::*;

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(default, deny_unknown_fields)]
    struct Sample {
        port: u16,
        offset: i32,
        tls: Option<bool>,
        to: Vec<String>,
        password: Option<Secret>,
        mode: Mode,
        headers: BTreeMap<String, String>,
    }

    #[derive(Debug, Default, Deserialize, PartialEq)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        #[default]
        Plain,
        StartTls,
    }

    fn read(text: &str) -> Result<Sample, Misfit> {
        Sample::deserialize(section(setting::parse("f", text).unwrap()))
    }

    #[test]
    fn every_kind_of_value_is_handed_on() {
        let text = "port = 25\noffset = -3\ntls = true\nto = ['a', 'b']\npassword = '123'\nmode = 'start-tls'\n[headers]\na = 'b'";
        let sample = read(text).unwrap();
        assert_eq!(
            (sample.port, sample.offset, sample.tls, sample.mode),
            (25, -3, Some(true), Mode::StartTls)
        );
        assert_eq!((sample.to, sample.headers["a"].as_str()), (vec!["a".to_owned(), "b".to_owned()], "b"));
        assert_eq!(sample.password.unwrap().reveal(), "123");
    }

    #[test]
    fn a_misfit_names_its_line_and_key_but_not_the_value() {
        for (text, line, key, what) in [
            ("port = 1\nprot = 2", 2, "prot", "allowed: headers, mode, offset, password, port, tls, to"),
            ("port = 'hunter2'", 1, "port", "is a text; it takes u16"),
            ("port = 70000", 1, "port", "70000 is out of bounds"),
            ("\npassword = 12345", 2, "password", "is a whole number; it takes a string"),
            ("tls = 'hunter2'", 1, "tls", "is a text; it takes a boolean"),
            ("mode = 'x'", 1, "mode", "allowed: plain, start-tls"),
            ("mode = 3", 1, "mode", "it takes one of plain, start-tls"),
            ("password = 1979-05-27", 1, "password", "is a date"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.origin, Some(Origin::File { file: "f".into(), line }), "{text}");
            assert_eq!(error.key.as_deref(), Some(key), "{text}");
            assert!(error.what.contains(what), "{text}: {error}");
            assert!(!error.what.contains("hunter2") && !error.what.contains("12345"), "{error}");
        }
    }
}
