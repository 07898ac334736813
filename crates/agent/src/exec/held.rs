//! The output under `--quiet-unless-fail`. It is held back until the result of the job is known, first in memory,
//! then in an unnamed file. If neither has room, the output is written after all, so that none of it is lost.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::writer::{Stream, StreamWriter};

/// Most bytes that are held in memory. More goes into the file.
const IN_MEMORY: usize = 256 * 1024;

/// The output so far, both streams in the order of arrival.
#[derive(Debug)]
pub struct HeldOutput {
    recent: Vec<u8>,
    file: Option<File>,
    directories: Vec<PathBuf>,
    is_passing: bool,
}

impl HeldOutput {
    /// Creates an empty buffer. The file is created in the first of `directories` that allows it.
    pub fn new(directories: Vec<PathBuf>) -> Self {
        Self { recent: Vec::new(), file: None, directories, is_passing: false }
    }

    /// Adds output of `stream`.
    pub fn push(&mut self, stream: Stream, bytes: &[u8], writer: &StreamWriter) {
        if self.is_passing {
            return writer.write(stream, bytes);
        }
        for piece in bytes.chunks(32 * 1024) {
            let length = u32::try_from(piece.len()).unwrap_or(0);
            self.recent.push(stream as u8);
            self.recent.extend_from_slice(&length.to_le_bytes());
            self.recent.extend_from_slice(piece);
        }
        if self.recent.len() > IN_MEMORY && self.spill().is_err() {
            self.write_all(writer);
            self.is_passing = true;
        }
    }

    /// Writes everything that was held back.
    pub fn write_all(&mut self, writer: &StreamWriter) {
        if let Some(mut file) = self.file.take() {
            // The file has no name, so data that cannot be read is lost.
            let read =
                file.seek(SeekFrom::Start(0)).and_then(|_| replay(&mut io::BufReader::new(file), writer));
            if let Err(error) = read {
                crate::logbook::note(format_args!("output that was held back cannot be read: {error}"));
            }
        }
        let recent = std::mem::take(&mut self.recent);
        if replay(&mut &recent[..], writer).is_err() {
            crate::logbook::note("a part of the output that was held back is lost");
        }
    }

    fn spill(&mut self) -> io::Result<()> {
        if self.file.is_none() {
            let opened = self.directories.iter().map(|directory| unnamed(directory)).find_map(Result::ok);
            self.file = Some(opened.ok_or_else(|| io::Error::other("no directory takes a file"))?);
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let before = file.stream_position()?;
        if let Err(error) = file.write_all(&self.recent) {
            // Removes the partly written record, which would be read back.
            file.set_len(before)?;
            return Err(error);
        }
        self.recent.clear();
        Ok(())
    }
}

/// Creates a file without a name, which disappears when it is closed.
fn unnamed(directory: &Path) -> io::Result<File> {
    let flags = rustix::fs::OFlags::TMPFILE.bits();
    let flags = i32::try_from(flags).map_err(io::Error::other)?;
    let mut options = File::options();
    options.read(true).write(true).mode(0o600);
    options.clone().custom_flags(flags).open(directory).or_else(|_| {
        let path = directory.join(format!(".held-{}", uuid::Uuid::new_v4()));
        let file = options.create_new(true).open(&path)?;
        std::fs::remove_file(path)?;
        Ok(file)
    })
}

fn replay(from: &mut impl io::Read, writer: &StreamWriter) -> io::Result<()> {
    let mut head = [0; 5];
    loop {
        match from.read_exact(&mut head) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
            other => other?,
        }
        let [stream, length @ ..] = head;
        let mut piece = Vec::new();
        let length = u64::from(u32::from_le_bytes(length));
        from.by_ref().take(length).read_to_end(&mut piece)?;
        writer.write(if stream == Stream::Out as u8 { Stream::Out } else { Stream::Err }, &piece);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pushes more than memory takes. Returns the bytes written at once, the bytes after the release, and the errors.
    fn written(directories: Vec<PathBuf>) -> (u64, u64, String) {
        let (out, err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        let writer = StreamWriter::over(out.try_clone().unwrap(), err.try_clone().unwrap());
        let mut held = HeldOutput::new(directories);
        for _ in 0..10 {
            held.push(Stream::Out, &[b'o'; 100_000], &writer);
            held.push(Stream::Err, b"e\n", &writer);
        }
        let at_once = out.metadata().unwrap().len();
        held.write_all(&writer);
        let mut errors = String::new();
        let mut err = err;
        err.seek(SeekFrom::Start(0)).unwrap();
        err.read_to_string(&mut errors).unwrap();
        (at_once, out.metadata().unwrap().len(), errors)
    }

    #[test]
    fn what_is_too_much_for_memory_goes_into_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let errors = "e\n".repeat(10);
        assert_eq!(written(vec![directory.path().to_owned()]), (0, 1_000_000, errors.clone()));
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0, "it has no name");
        // Without a place for the file the output is written at once.
        assert_eq!(written(vec![PathBuf::from("/proc/none")]), (1_000_000, 1_000_000, errors));
    }
}
