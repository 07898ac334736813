//! What a file is, whatever it is called.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Device and inode: what a file is, whatever it is called.
pub(super) type Identity = (u64, u64);

pub(super) fn identity(metadata: &Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

/// The identity of the file with this name; none if there is no file.
pub(super) fn named(path: &Path) -> Option<Identity> {
    fs::metadata(path).ok().as_ref().map(identity)
}
