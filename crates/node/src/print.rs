//! Prints to standard output.

use std::io::Write as _;

/// Prints to standard output. A reader that went away (`| head`) is not an error.
pub fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Prints to standard output without waiting for a reader, for a process that continues.
pub fn announce(text: String) {
    let printing = std::thread::Builder::new().name("announce".to_owned()).spawn(move || print(&text));
    if let Err(error) = printing {
        log::warn!("nothing can be printed: {error}");
    }
}
