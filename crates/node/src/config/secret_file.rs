//! Secrets that lie in files, as systemd credentials and container secrets do.

use std::path::Path;

use innkeeper_alerter::{LARGEST_SECRET, read_file};
use innkeeper_core::secret::Secret;

/// Reads the secret in the file `path`, without the line break at its end. The error names the file.
pub(crate) fn read(path: &str) -> Result<Secret, String> {
    let failed = |problem: String| format!("cannot read the secret from {path:?}: {problem}");
    let content = read_file(Path::new(path), LARGEST_SECRET).map_err(failed)?;
    let text = String::from_utf8(content).map_err(|_| failed("it is no text in UTF-8".to_owned()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.trim().is_empty() {
        return Err(format!("the file {path:?} is empty; it holds no secret"));
    }
    Ok(Secret::new(secret))
}
