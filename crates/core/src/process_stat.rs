//! What Linux says of a process in `/proc/PID/stat` and `/proc/PID/status` (proc(5)). The caller
//! reads the files.

/// The content of `/proc/PID/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessStat {
    /// The state: `R`, `S`, `Z` …
    pub state: u8,
    /// The number of the parent process.
    pub parent: i32,
    /// The number of the process group.
    pub group: i32,
    /// User and system time together, in clock ticks.
    pub cpu_ticks: u64,
    /// How many threads it has.
    pub threads: u64,
    /// When it was started, in ticks after the machine's start. Together with the process's number
    /// this identifies the process.
    pub started_ticks: u64,
    /// The size of its virtual memory.
    pub virtual_bytes: u64,
    /// The size of its resident memory, in pages.
    pub resident_pages: u64,
}

impl ProcessStat {
    /// Reads the content of the file. `None` if it does not have the expected form.
    pub fn parse(content: &[u8]) -> Option<Self> {
        // The second field, the name in brackets, may contain anything, also brackets and blanks.
        // Fields are counted from 1.
        let end = content.iter().rposition(|byte| *byte == b')')?;
        let after_name = std::str::from_utf8(content.get(end + 1..)?).ok()?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3).copied();
        let count = |number: usize| field(number)?.parse::<u64>().ok();
        Some(Self {
            state: *field(3)?.as_bytes().first()?,
            parent: field(4)?.parse().ok()?,
            group: field(5)?.parse().ok()?,
            cpu_ticks: count(14)?.saturating_add(count(15)?),
            threads: count(20)?,
            started_ticks: count(22)?,
            virtual_bytes: count(23)?,
            resident_pages: count(24)?,
        })
    }

    /// Whether it still runs: it is neither a zombie nor dead.
    pub fn is_alive(&self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }
}

/// The signals that a process ignores, from the content of its `/proc/PID/status`: bit `n - 1`
/// stands for signal `n`. `None` if the content does not say.
pub fn ignored_signals(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"))?;
    u64::from_str_radix(mask.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_moves_no_field() {
        let content =
            b"4711 (x) y (z\xff) S 1 4710 4711 0 -1 4194560 100 0 0 0 70 30 0 0 20 0 9 0 555 1000000 2500 1844";
        let expected = ProcessStat {
            state: b'S',
            parent: 1,
            group: 4710,
            cpu_ticks: 100,
            threads: 9,
            started_ticks: 555,
            virtual_bytes: 1_000_000,
            resident_pages: 2500,
        };
        assert_eq!(ProcessStat::parse(content), Some(expected));
        assert!(expected.is_alive());
        for cut_off in ["", "4711 (x) S 1", "4711 (x"] {
            assert_eq!(ProcessStat::parse(cut_off.as_bytes()), None, "{cut_off}");
        }
    }

    #[test]
    fn ignored_signals_are_a_mask() {
        assert_eq!(ignored_signals("SigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n"), Some(0x1001));
        assert_eq!(ignored_signals("Name:\tx\n"), None);
    }
}
