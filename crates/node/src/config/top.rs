//! The keys outside of sections, and the location of the file.

use std::fs::File;
use std::io::{Error, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use innkeeper_core::names::one_line;
use url::Url;

use super::Auth;
use innkeeper_settings::{ConfigError, Origin};

const PLACES: [&str; 2] = ["./innkeeper.toml", "/etc/innkeeper/innkeeper.toml"];

/// The largest configuration file, in bytes.
const LARGEST: u64 = 8 * 1024 * 1024;

/// The file to read and its text: the named file, otherwise the first that exists in the usual places, otherwise none.
///
/// An unreadable file in a usual place is skipped with a warning if a later place has one: the service may have been
/// started in somebody's home directory. Otherwise it is an error, because the defaults are not what the file says.
pub(crate) fn find_file(named: Option<&Path>) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let from_environment =
        std::env::var_os("INNKEEPER_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    if let Some(path) = named.map(Path::to_path_buf).or(from_environment) {
        return match read_text(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) => Err(unreadable(&path, &error)),
        };
    }
    let places = PLACES.map(Path::new);
    let mut passed_over: Vec<(&Path, Error)> = Vec::new();
    for path in places {
        match read_text(path) {
            Ok(text) => {
                for (other, error) in &passed_over {
                    log::warn!(
                        "cannot read the configuration file {}: {error}; {} is used in its place. Name another by --config",
                        other.display(),
                        path.display()
                    );
                }
                return Ok(Some((path.to_path_buf(), text)));
            }
            Err(error) if is_missing(path, &error) => {}
            Err(error) if is_out_of_reach(&error) => passed_over.push((path, error)),
            // The file is readable, but it is not a configuration.
            Err(error) => return Err(unreadable(path, &error)),
        }
    }
    let first = passed_over.into_iter().next();
    first.map_or(Ok(None), |(path, error)| Err(unreadable(path, &error)))
}

/// Whether a file may exist that this process cannot read: permission is denied on it or on a directory above, it is a
/// directory, or it is a dangling symbolic link.
fn is_out_of_reach(error: &Error) -> bool {
    use ErrorKind::{IsADirectory, NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), PermissionDenied | IsADirectory | NotFound | NotADirectory)
}

/// Whether nothing exists at `path`. A dangling symbolic link counts as existing.
fn is_missing(path: &Path, error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
        && !std::fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink())
}

/// Reads no more than the largest configuration, so that a device given by mistake does not block the start.
fn read_text(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(LARGEST + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LARGEST {
        return Err(std::io::Error::other("it is larger than 8 MiB"));
    }
    Ok(text)
}

fn unreadable(path: &Path, error: &Error) -> ConfigError {
    let what = format!("cannot read the configuration file {}: {error}", path.display());
    ConfigError::about(Origin::Default, what)
}

pub(crate) fn instance(text: &str) -> Result<String, String> {
    one_line("instance", text, 100).map_err(|invalid| invalid.problem)?;
    if text.trim().is_empty() {
        return Err("is empty; give a name of 1 to 100 characters".to_owned());
    }
    Ok(text.trim().to_owned())
}

/// The URL of a listener for jobs on this machine.
pub(crate) fn url_of(listen: SocketAddr) -> String {
    match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("http://127.0.0.1:{}", listen.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("http://[::1]:{}", listen.port()),
        _ => format!("http://{listen}"),
    }
}

pub(crate) fn public_url(text: &str) -> Result<String, String> {
    let allowed = "write http://host:port or https://host, with a path if it has one";
    let url = Url::parse(text).map_err(|error| format!("{text:?} is not a URL ({error}); {allowed}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(format!("{text:?} is no web address; {allowed}"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(format!("has a user or password, which everyone would be shown; {allowed}"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(format!("{text:?} has a query or fragment; {allowed}"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// The most names of `allowed_hosts`.
pub(crate) const MOST_HOSTS: usize = 50;

/// A host name without its port.
pub(crate) fn host_name(text: &str) -> Result<String, String> {
    let is_name = |text: &str| {
        text.len() <= 253
            && text.split('.').all(|label| {
                !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
            })
    };
    match Url::parse(&format!("http://{text}")) {
        Ok(url) if is_name(text) => Ok(url.host_str().unwrap_or(text).to_owned()),
        _ => Err(format!(
            "{text:?} is no name of a host; write it as in \"inn.example.org\", without scheme, port or path"
        )),
    }
}

pub(crate) fn auth(text: &str) -> Result<Auth, String> {
    match text {
        "open" => Ok(Auth::Open),
        "tokens" => Ok(Auth::Tokens),
        other => Err(format!("{other:?} is not known; write \"open\" or \"tokens\"")),
    }
}

pub(crate) fn default_data_dir() -> PathBuf {
    let relative = PathBuf::from("innkeeper-data");
    std::path::absolute(&relative).unwrap_or(relative)
}

pub(crate) fn data_dir(text: &str) -> Result<PathBuf, String> {
    if text.chars().any(char::is_control) {
        return Err("has a control character; write the path of a directory".to_owned());
    }
    std::path::absolute(text).map_err(|error| format!("{text:?} is not the path of a directory: {error}"))
}
