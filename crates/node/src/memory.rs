//! What is freed goes back to the system.

/// Bytes from which an allocation gets pages of its own.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const PAGES_OF_ITS_OWN: i32 = 256 * 1024;

/// Has the GNU C library give the memory of large allocations back when they are freed.
///
/// By itself it raises its bound for these to the largest that was ever freed, 32 MiB at most. From then on such blocks are cut
/// from the heap of whichever thread asks, which cannot shrink while anything small lies behind them: each list of a million
/// reservations would leave its 16 MB of keys behind. A bound that is set stays (`mallopt(3)`, `M_MMAP_THRESHOLD`).
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        #[allow(unsafe_code, reason = "the C library has no safe call for it; it takes two numbers")]
        // SAFETY: it reads and writes nothing of ours.
        let set = unsafe { libc::mallopt(libc::M_MMAP_THRESHOLD, PAGES_OF_ITS_OWN) };
        if set == 0 {
            log::debug!("memory that was freed may stay with this process");
        }
    }
}
