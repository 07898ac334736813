//! Giving up a copy that is being written.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{refused, remove_written};
use crate::StoreError;

/// A copy that is made: [`abandon`](Copying::abandon) may be called by another thread at any time, as when the process is stopped.
#[derive(Debug, Default)]
pub struct Copying(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    /// Nothing is written.
    #[default]
    Nothing,
    /// It is being written into this file.
    Writing(PathBuf),
    /// It is whole, and gets its name.
    Finishing,
    Abandoned,
}

impl Copying {
    /// Gives it up, and removes what is written of it. False where it is whole already: it gets its name in a moment.
    pub fn abandon(&self) -> bool {
        let mut stage = self.0.lock();
        match &*stage {
            Stage::Finishing => return false,
            Stage::Writing(path) => remove_written(path),
            Stage::Nothing | Stage::Abandoned => {}
        }
        *stage = Stage::Abandoned;
        true
    }

    /// Makes the file at `path`, into which it is written.
    pub(super) fn begin<T>(
        &self,
        path: &Path,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.step(|| Ok((make()?, Stage::Writing(path.to_owned()))))
    }

    /// From here on the copy cannot be given up any more.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        self.step(|| Ok(((), Stage::Finishing)))
    }

    /// The copy was given up; nothing is written any more.
    pub(super) fn end(&self) {
        let mut stage = self.0.lock();
        if let Stage::Writing(_) = &*stage {
            *stage = Stage::Nothing;
        }
    }

    fn step<T>(&self, step: impl FnOnce() -> Result<(T, Stage), StoreError>) -> Result<T, StoreError> {
        let mut stage = self.0.lock();
        if let Stage::Abandoned = &*stage {
            return Err(refused("it was stopped".to_owned()));
        }
        let (done, next) = step()?;
        *stage = next;
        Ok(done)
    }
}
