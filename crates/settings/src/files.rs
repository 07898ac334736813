//! Reads the files that the configuration names, completely and up to a maximum size.

use std::fs::{self, File};
use std::io::Read as _;
use std::path::Path;

/// Largest file with a secret, in bytes. A larger one must be the wrong file.
pub const LARGEST_SECRET: u64 = 64 * 1024;
/// Largest file with certificates of authorities, in bytes: many times the size of a system's own.
pub const LARGEST_CERTIFICATES: u64 = 4 * 1024 * 1024;

/// Reads `path`, a regular file of at most `largest` bytes. A device or a pipe, named by mistake, is an error, so
/// that nothing waits for it.
///
/// # Errors
/// What is wrong, for people. The text does not contain the path.
pub fn read_file(path: &Path, largest: u64) -> Result<Vec<u8>, String> {
    let found = fs::metadata(path).map_err(|error| error.to_string())?;
    if !found.is_file() {
        let kind = if found.is_dir() { "a directory" } else { "a device, a pipe or a socket" };
        return Err(format!("it is {kind}; give a regular file"));
    }
    let mut content = Vec::new();
    // The bytes count and not the file's reported length: files in /proc report none.
    let read = File::open(path).and_then(|file| file.take(largest + 1).read_to_end(&mut content));
    read.map_err(|error| error.to_string())?;
    if content.len() as u64 > largest {
        return Err(format!("it is larger than {}", size(largest)));
    }
    Ok(content)
}

/// A size for people.
fn size(bytes: u64) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mebibytes => format!("{mebibytes} MiB"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_of_a_sensible_size_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, [b'x'; 1024]).unwrap();
        assert_eq!(read_file(&file, 1024).unwrap().len(), 1024);
        fs::write(&file, [b'x'; 1025]).unwrap();
        assert_eq!(read_file(&file, 1024).unwrap_err(), "it is larger than 1 KiB");
        assert!(read_file(directory.path(), 1024).unwrap_err().contains("a directory"));
        for path in ["/dev/zero", "/dev/null"] {
            read_file(Path::new(path), 1024).unwrap_err();
        }
        assert!(read_file(Path::new("/proc/self/mountinfo"), 10).unwrap_err().contains("larger than"));
        assert_eq!(size(4 << 20), "4 MiB");
    }
}
