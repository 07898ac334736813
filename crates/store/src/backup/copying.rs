//! Lets another thread give up a copy that is being written.

use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::{refused, remove_written};
use crate::StoreError;

/// The state of a copy that is being made. Another thread may call [`abandon`](Self::abandon) at
/// any time, for example when the process is stopped.
#[derive(Debug, Default)]
pub struct Copying(Mutex<Stage>);

#[derive(Debug, Default)]
enum Stage {
    /// Nothing is written.
    #[default]
    Nothing,
    /// It is being written into this file.
    Writing(PathBuf),
    /// It is complete and gets its name.
    Finishing,
    Abandoned,
}

impl Copying {
    /// Gives the copy up, and removes what was written of it. Returns false if the copy is complete
    /// already and gets its name.
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

    /// Has `make` create the file at `path`, into which the copy is written.
    pub(super) fn begin<T>(
        &self,
        path: &Path,
        make: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.step(|| Ok((make()?, Stage::Writing(path.to_owned()))))
    }

    /// Marks the copy as complete. From then on it cannot be given up.
    pub(super) fn finish(&self) -> Result<(), StoreError> {
        self.step(|| Ok(((), Stage::Finishing)))
    }

    /// Marks that nothing is written any more, because the copy failed.
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
