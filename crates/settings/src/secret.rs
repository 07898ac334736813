//! Secrets. They are written in the configuration, or in a file that it names, such as a systemd credential or a
//! container secret.

use std::path::Path;

use innkeeper_core::Invalid;
use innkeeper_core::secret::Secret;

use crate::files::{LARGEST_SECRET, read_file};
use crate::problem::Origin;
use crate::section::Section;
use crate::setting::Value;

/// The source of a secret: the value itself or a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretSource {
    /// The key that was set: `password`, or `password_file`.
    key: &'static str,
    origin: Origin,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Value(Secret),
    File(String),
}

impl SecretSource {
    /// The secret. A file is read again at each call.
    ///
    /// # Errors
    /// The file cannot be read or is empty. The error names the key and the file.
    pub fn read(&self) -> Result<Secret, Invalid> {
        match &self.place {
            Place::Value(secret) => Ok(secret.clone()),
            Place::File(path) => read(path).map_err(|problem| Invalid::new(self.key, problem)),
        }
    }
}

impl Section<'_> {
    /// A secret, given as `key` or in the file that `key_file` names. The file is read at once.
    pub fn secret(&mut self, key: &'static str, key_file: &'static str) -> Option<(Secret, Origin)> {
        let source = self.source(key, key_file)?;
        match source.read() {
            Ok(secret) => Some((secret, source.origin)),
            Err(Invalid { problem, .. }) => {
                self.refuse(source.key, source.origin, problem);
                None
            }
        }
    }

    /// Like [`Self::secret`], but the file is read only when the secret is used, so that other commands need no
    /// access to it. An empty value is a problem.
    pub fn secret_source(&mut self, key: &'static str, key_file: &'static str) -> Option<SecretSource> {
        let source = self.source(key, key_file)?;
        if matches!(&source.place, Place::Value(secret) if secret.reveal().trim().is_empty()) {
            self.refuse(key, source.origin, "is empty; leave the key out or give a value");
            return None;
        }
        Some(source)
    }

    fn source(&mut self, key: &'static str, key_file: &'static str) -> Option<SecretSource> {
        let here = self.read(key, None, |value| match value {
            Value::Text(text) => Ok(Some(Place::Value(Secret::new(text.clone())))),
            other => Err(format!("is {}; write a text in quotes", other.kind())),
        });
        let in_file = self.parsed(key_file, None, |path| Ok::<_, String>(Some(Place::File(path.to_owned()))));
        if here.is_some() && in_file.is_some() {
            let what = format!("cannot be combined with {key}; give one of the two");
            self.refuse(key_file, self.origin(key_file), what);
        }
        let of = |key, place| SecretSource { key, origin: self.origin(key), place };
        here.map(|place| of(key, place)).or_else(|| in_file.map(|place| of(key_file, place)))
    }
}

/// Reads the secret in the file `path`, without a trailing line break. The error names the file.
fn read(path: &str) -> Result<Secret, String> {
    let failed = |problem: String| format!("cannot read the secret from {path:?}: {problem}");
    let content = read_file(Path::new(path), LARGEST_SECRET).map_err(failed)?;
    let text = String::from_utf8(content).map_err(|_| failed("it is no text in UTF-8".to_owned()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        return Err(format!("the file {path:?} is empty; it holds no secret"));
    }
    Ok(Secret::new(secret))
}
