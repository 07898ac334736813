//! Memory of large blocks is given back, whatever was freed before.

#![cfg(all(target_os = "linux", target_env = "gnu"))]
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::hint::black_box;

const MB: usize = 1024 * 1024;

/// Memory of this process that is in use, bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_large_block_is_given_back_though_something_small_lies_behind_it() {
    innkeeper_node::memory::give_back();
    // What the C library takes for the size from which blocks should have pages of their own.
    drop(black_box(vec![1_u8; 24 * MB]));
    let before = resident();
    let mut behind = Vec::new();
    for _ in 0..4 {
        let large = black_box(vec![1_u8; 16 * MB]);
        assert!(resident() > before + 12 * MB, "the block was not used");
        behind.push(black_box(vec![1_u8; 1000]));
        drop(large);
        let kept = resident().saturating_sub(before);
        assert!(kept < 4 * MB, "{kept} bytes are kept");
    }
}
