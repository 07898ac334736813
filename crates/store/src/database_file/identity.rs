//! The identity of a file, independent of its name.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device and inode, which identify a file independent of its name.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The identity of the file with this name. `None` if there is no such file.
pub(super) fn named(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().as_ref().map(identity)
}
