//! Configuration values as people write them: a number, truth value or list may also stand as text, because
//! environment variables override the file and know only text.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use innkeeper_core::duration;
use innkeeper_core::secret::Secret;
use serde::de::{self, Deserializer, MapAccess, SeqAccess, Visitor};

/// The shortest and the longest `timeout`.
const TIMEOUTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));

/// Names and values of HTTP headers; a value may be a secret.
pub(crate) type Headers = BTreeMap<String, Secret>;

macro_rules! reader {
    ($(#[$doc:meta])* $name:ident -> $type:ty, $expecting:literal, { $($visit:tt)* }) => {
        $(#[$doc])*
        pub(crate) fn $name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<$type, D::Error> {
            struct Reads;
            impl<'de> Visitor<'de> for Reads {
                type Value = $type;
                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str($expecting)
                }
                $($visit)*
            }
            deserializer.deserialize_any(Reads)
        }
    };
}

reader!(
    /// A TCP port.
    port -> Option<u16>, "a port from 1 to 65535", {
        fn visit_i64<E: de::Error>(self, n: i64) -> Result<Self::Value, E> {
            match u16::try_from(n) {
                Ok(port) if port > 0 => Ok(Some(port)),
                _ => Err(E::invalid_value(de::Unexpected::Signed(n), &self)),
            }
        }
        fn visit_u64<E: de::Error>(self, n: u64) -> Result<Self::Value, E> {
            self.visit_i64(i64::try_from(n).unwrap_or(-1))
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
            text.trim().parse().ok().filter(|port| *port > 0).map(Some).ok_or_else(wrong)
        }
    }
);

reader!(
    /// A truth value.
    truth -> bool, "true or false", {
        fn visit_bool<E: de::Error>(self, value: bool) -> Result<bool, E> {
            Ok(value)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<bool, E> {
            match text.trim() {
                "true" => Ok(true),
                "false" => Ok(false),
                _ => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
            }
        }
    }
);

reader!(
    /// How long to wait.
    timeout -> Option<Duration>, "a duration in quotes with its unit: \"300ms\", \"10s\", \"1m\"", {
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            let span = duration::parse("timeout", text).map_err(E::custom)?;
            let (shortest, longest) = TIMEOUTS;
            match span.to_std() {
                Ok(span) if (shortest..=longest).contains(&span) => Ok(Some(span)),
                _ => Err(E::custom(format_args!("timeout: {text:?} is out of bounds; from 100ms to 10m"))),
            }
        }
    }
);

reader!(
    /// A program and its arguments; as text a JSON array, or words between blanks.
    words -> Vec<String>, "a program and its arguments: [\"/path/prog\", \"arg\"]", {
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let mut words = Vec::new();
            while let Some(word) = list.next_element()? {
                words.push(word);
            }
            Ok(words)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            if text.trim_start().starts_with('[') {
                return serde_json::from_str(text).map_err(E::custom);
            }
            Ok(text.split_whitespace().map(str::to_owned).collect())
        }
    }
);

reader!(
    /// A text that no error may show. A number in its place is not shown either.
    secret -> Option<Secret>, "a text in quotes", {
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            Ok(Some(Secret::new(text)))
        }
        fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
            Err(not_text())
        }
        fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
            Err(not_text())
        }
        fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
            Err(not_text())
        }
        fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
            Err(not_text())
        }
    }
);

reader!(
    /// HTTP headers: a table, or as text one `Name: value` a line.
    headers -> Headers, "a table of names and values in quotes", {
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut headers = Headers::new();
            while let Some(name) = map.next_key::<String>()? {
                let Hushed(value) = map.next_value()?;
                headers.insert(name, value);
            }
            Ok(headers)
        }
        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            header_lines(text).map_err(E::custom)
        }
    }
);

/// A header's value within the table: read as [`secret`] reads.
struct Hushed(Secret);

impl<'de> de::Deserialize<'de> for Hushed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        secret(deserializer)?.map(Self).ok_or_else(not_text)
    }
}

/// Headers written one `Name: value` a line.
pub(crate) fn header_lines(text: &str) -> Result<Headers, &'static str> {
    text.lines()
        .filter(|line| !line.trim().is_empty())
        .map(|line| {
            let (name, value) =
                line.split_once(':').ok_or("a header is written `Name: value`, one a line")?;
            Ok((name.trim().to_owned(), Secret::new(value.trim())))
        })
        .collect()
}

fn not_text<E: de::Error>() -> E {
    E::custom("the value must be a text: put it in quotes")
}
