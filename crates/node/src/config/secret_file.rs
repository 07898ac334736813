//! Secrets that lie in files, as systemd credentials and container secrets do.

use std::io::Read;

use innkeeper_core::secret::Secret;

/// More than this is not a secret but a mistake, bytes.
const LONGEST: u64 = 64 * 1024;

/// Reads the secret in the file `path`, without the line break at its end. The error names the file.
pub(crate) fn read(path: &str) -> Result<Secret, String> {
    let failed = |error: std::io::Error| format!("cannot read the secret from {path:?}: {error}");
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(LONGEST + 1).read_to_string(&mut text).map_err(failed)?;
    if text.len() as u64 > LONGEST {
        return Err(format!("the file {path:?} is larger than 64 KiB; it is no secret"));
    }
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        return Err(format!("the file {path:?} is empty; it holds no secret"));
    }
    Ok(Secret::new(secret))
}
