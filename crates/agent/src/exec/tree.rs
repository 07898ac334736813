//! The processes of a job: all its descendants, including those that have left its process group.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;

use innkeeper_core::process_stat::ProcessStat;
use rustix::process::{Pid, PidfdFlags, Signal, getpid, kill_process, pidfd_open, pidfd_send_signal};

/// The content of `/proc/PID/stat`.
pub fn stat(pid: i32) -> Option<ProcessStat> {
    ProcessStat::parse(&fs::read(format!("/proc/{pid}/stat")).ok()?)
}

/// The children of this process that exist before the job is started. They do not belong to the job.
pub fn children() -> HashSet<i32> {
    // The list is read twice, because the kernel may omit an entry while another process ends.
    if let (Ok(first), Ok(second)) = (listed_children(), listed_children()) {
        return &first | &second;
    }
    let own = getpid().as_raw_nonzero().get();
    all().into_iter().filter(|(_, stat)| stat.parent == own).map(|(pid, _)| pid).collect()
}

/// The children as the kernel lists them, without reading other processes. Not every kernel provides this list.
fn listed_children() -> io::Result<HashSet<i32>> {
    let mut found = HashSet::new();
    for task in fs::read_dir("/proc/self/task")? {
        let path = task?.path();
        match fs::read_to_string(path.join("children")) {
            Ok(text) => found.extend(text.split_ascii_whitespace().filter_map(|pid| pid.parse::<i32>().ok())),
            // The thread has just ended, and its children belong to another one.
            Err(_) if !path.exists() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// The living processes of a job, including orphans that this process has adopted.
pub fn of_job(strangers: &HashSet<i32>) -> Vec<(i32, ProcessStat)> {
    let all = all();
    let own = getpid().as_raw_nonzero().get();
    let mut below: HashMap<i32, Vec<i32>> = HashMap::new();
    for (pid, stat) in &all {
        below.entry(stat.parent).or_default().push(*pid);
    }
    let mut found = Vec::new();
    let mut seen = HashSet::from([own]);
    let mut open: Vec<i32> = below.get(&own).into_iter().flatten().copied().collect();
    open.retain(|pid| !strangers.contains(pid));
    while let Some(pid) = open.pop() {
        if !seen.insert(pid) {
            continue;
        }
        open.extend(below.get(&pid).into_iter().flatten());
        if let Some(stat) = all.get(&pid).filter(|stat| stat.is_alive()) {
            found.push((pid, *stat));
        }
    }
    found
}

fn all() -> HashMap<i32, ProcessStat> {
    let Ok(entries) = fs::read_dir("/proc") else { return HashMap::new() };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    numbers.filter_map(|pid| Some((pid, stat(pid)?))).collect()
}

/// Sends `signal` to the process that `seen` was read from, but not to a newer process with the same id.
///
/// # Errors
/// The agent lacks the permission to send it.
pub fn send(pid: i32, seen: &ProcessStat, signal: Signal) -> io::Result<()> {
    let Some(number) = Pid::from_raw(pid) else { return Ok(()) };
    let sent = match pidfd_open(number, PidfdFlags::empty()) {
        Ok(process) => match stat(pid) {
            Some(now) if now.started_ticks == seen.started_ticks => pidfd_send_signal(process, signal),
            Some(_) | None => Ok(()),
        },
        Err(rustix::io::Errno::SRCH) => Ok(()),
        // Linux before 5.3, or an emulation of it, has no pidfd.
        Err(_) => kill_process(number, signal),
    };
    match sent {
        Err(rustix::io::Errno::SRCH) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn children_of_all_threads_are_listed() {
        let start = || std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let (go, wait) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            tell.send(start()).unwrap();
            // The thread stays alive, so that the child is listed under it.
            let _ = wait.recv();
        });
        let mut both = [start(), told.recv().unwrap()];
        let listed = listed_children();
        for child in &both {
            let pid = i32::try_from(child.id()).unwrap();
            assert!(children().contains(&pid));
            assert!(listed.as_ref().is_ok_and(|listed| listed.contains(&pid)), "{listed:?}");
        }
        drop(go);
        thread.join().unwrap();
        for child in &mut both {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    #[test]
    fn strangers_are_left_alone() {
        let mut stranger = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let strangers = children();
        assert!(strangers.contains(&i32::try_from(stranger.id()).unwrap()));
        let mut job = std::process::Command::new("sh").args(["-c", "sleep 100 & wait"]).spawn().unwrap();
        let pid = i32::try_from(job.id()).unwrap();
        let begun = std::time::Instant::now();
        let found = loop {
            let found: Vec<(i32, ProcessStat)> =
                of_job(&strangers).into_iter().filter(|(p, stat)| *p == pid || stat.parent == pid).collect();
            if found.len() == 2 {
                break found;
            }
            assert!(begun.elapsed().as_secs() < 60, "{found:?}");
        };
        for (pid, stat) in &found {
            send(*pid, stat, Signal::KILL).unwrap();
        }
        job.wait().unwrap();
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
