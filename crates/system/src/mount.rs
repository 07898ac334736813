//! File systems for a single test, which can be filled or frozen.

use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

/// A file system. Unmounted when dropped.
pub struct Mount {
    directory: TempDir,
    image: TempDir,
}

/// While this value exists, writes to the file system block.
pub struct Frozen(String);

impl Mount {
    /// Mounts a small file system in memory.
    pub fn memory(size: &str) -> Self {
        let mount = Self::nothing();
        run("mount", &["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs", &mount.place()]);
        mount
    }

    /// Mounts a disk file system from an image file.
    pub fn disk() -> Self {
        let mount = Self::nothing();
        File::create(mount.image()).expect("a file").set_len(32 << 20).expect("it can be grown");
        run("mkfs.ext4", &["-q", &mount.image()]);
        mount.mount();
        mount
    }

    fn nothing() -> Self {
        let directory = || TempDir::new().expect("a temporary directory");
        Self { directory: directory(), image: directory() }
    }

    /// Mounts the disk file system again.
    pub fn mount(&self) {
        run("mount", &["-o", "loop", &self.image(), &self.place()]);
    }

    /// Fills the remaining space.
    pub fn fill(&self) {
        let filler = File::create(self.path("filler")).expect("a file");
        let mut size = 0;
        for step in [1 << 20, 1 << 12] {
            while filler.write_all_at(&vec![1; step], size).is_ok() {
                size += step as u64;
            }
        }
    }

    /// Frees the space that [`Self::fill`] has taken.
    pub fn make_room(&self) {
        fs::remove_file(self.path("filler")).expect("it is there");
    }

    /// Freezes the disk file system.
    pub fn freeze(&self) -> Frozen {
        run("fsfreeze", &["--freeze", &self.place()]);
        Frozen(self.place())
    }

    fn image(&self) -> String {
        self.image.path().join("image").display().to_string()
    }

    /// The path of the mount point.
    pub fn place(&self) -> String {
        self.directory.path().display().to_string()
    }

    /// A path in the file system.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["--lazy", &self.place()]).status();
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let _ = Command::new("fsfreeze").args(["--unfreeze", &self.0]).status();
    }
}

/// Runs a program. Panics if it fails.
pub fn run(program: &str, arguments: &[&str]) {
    let done =
        Command::new(program).args(arguments).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(done.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
}
