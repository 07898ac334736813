//! Returning freed memory to the system.

/// Allocations of at least this many bytes get pages of their own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const PAGES_OF_ITS_OWN: i32 = 256 * 1024;

/// Makes the GNU C library return the memory of large allocations when they are freed.
///
/// By default glibc raises its threshold for these to the largest allocation ever freed, up to 32 MiB. From then on
/// such blocks come from the heap of the calling thread, which cannot shrink while anything small lies behind them:
/// each list of a million reservations would leave its 16 MB of keys behind. A threshold set explicitly stays
/// (`mallopt(3)`, `M_MMAP_THRESHOLD`).
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code, reason = "the C library has no safe call for it; it takes two numbers")]
        // SAFETY: mallopt accesses no memory of this program.
        let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, PAGES_OF_ITS_OWN) };
        if set == 0 {
            log::debug!("memory that was freed may stay with this process");
        }
    }
}
