//! What the machine says about the processes that are measured: processor time, memory, the disk.

use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::Result;
use crate::report::Machine;

/// Processes that count as one, by name.
#[derive(Debug)]
pub struct Meters {
    groups: Vec<(&'static str, Vec<u32>)>,
}

/// Processor time used so far, in clock ticks.
#[derive(Debug)]
pub struct Sample {
    groups: Vec<u64>,
    /// By everything on this machine.
    machine: u64,
}

/// Processor time used between two samples.
#[derive(Debug)]
pub struct Used {
    /// By each group.
    pub groups: Vec<(&'static str, Duration)>,
    /// By whatever else ran on this machine.
    pub elsewhere: Duration,
}

/// Memory of a process, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// Now.
    pub now_mib: u64,
    /// The most so far.
    pub peak_mib: u64,
}

impl Meters {
    /// Meters for these processes and this one.
    pub fn new(mut groups: Vec<(&'static str, Vec<u32>)>) -> Self {
        groups.push(("bench", vec![std::process::id()]));
        Self { groups }
    }

    /// What they show now.
    pub fn sample(&self) -> Result<Sample> {
        let mut groups = Vec::with_capacity(self.groups.len());
        for (_, pids) in &self.groups {
            groups.push(pids.iter().map(|&pid| process_ticks(pid)).sum::<Result<u64>>()?);
        }
        Ok(Sample { groups, machine: machine_ticks()? })
    }

    /// What was used from one sample to another.
    pub fn used(&self, from: &Sample, to: &Sample) -> Used {
        let ticks: Vec<u64> =
            to.groups.iter().zip(&from.groups).map(|(to, from)| to.saturating_sub(*from)).collect();
        let machine = to.machine.saturating_sub(from.machine);
        let elsewhere = duration(machine.saturating_sub(ticks.iter().sum()));
        let groups =
            self.groups.iter().zip(ticks).map(|((name, _), ticks)| (*name, duration(ticks))).collect();
        Used { groups, elsewhere }
    }

    /// The most memory each group has used so far, in MiB.
    pub fn peak_memory_mib(&self) -> Result<Vec<(&'static str, u64)>> {
        let mut peaks = Vec::with_capacity(self.groups.len());
        for (name, pids) in &self.groups {
            let mib = pids.iter().map(|&pid| Ok(memory(pid)?.peak_mib)).sum::<Result<u64>>()?;
            peaks.push((*name, mib));
        }
        Ok(peaks)
    }
}

fn duration(ticks: u64) -> Duration {
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100)
}

fn process_ticks(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name of the program may have spaces and brackets in it; what follows it has none.
    let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: Vec<u64> = fields.split_whitespace().skip(11).take(2).flat_map(str::parse).collect();
    match ticks[..] {
        [user, system] => Ok(user + system),
        _ => Err("the processor time of a process cannot be read".into()),
    }
}

fn machine_ticks() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).flat_map(str::parse).collect();
    match ticks[..] {
        // Idle and waiting for the disk is not work.
        [user, nice, system, _idle, _wait, interrupt, soft, stolen, ..] => {
            Ok(user + nice + system + interrupt + soft + stolen)
        }
        _ => Err("the processor time of the machine cannot be read".into()),
    }
}

/// How much memory a process has.
pub fn memory(pid: u32) -> Result<Memory> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let mib = |name: &str| -> Result<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        Ok(kib.ok_or("the memory of a process cannot be read")? / 1024)
    };
    Ok(Memory { now_mib: mib("VmRSS:")?, peak_mib: mib("VmHWM:")? })
}

/// How many bytes are free on the disk under `folder`.
pub fn free_bytes(folder: &Path) -> Result<u64> {
    let disk = rustix::fs::statvfs(folder)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// How long the disk under `folder` takes to make 4 KiB durable: the median of many.
pub fn sync_latency(folder: &Path) -> Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..301 {
        let started = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    Ok(times[times.len() / 2])
}

/// How many processors there are, and how much memory in GiB.
pub fn machine() -> (usize, u64) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    (cores, kib.unwrap_or_default().div_ceil(1024 * 1024))
}

/// This machine, with the disk under `folder`.
pub fn described(folder: &Path) -> Result<Machine> {
    let (cores, memory_gib) = machine();
    Ok(Machine { cores, memory_gib, sync_ms: crate::stats::millis(sync_latency(folder)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_seen_to_work() {
        let meters = Meters::new(Vec::new());
        let before = meters.sample().unwrap();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(100) {
            std::hint::spin_loop();
        }
        let used = meters.used(&before, &meters.sample().unwrap());
        let (name, own) = used.groups[0];
        assert_eq!(name, "bench");
        assert!(own >= Duration::from_millis(20), "{own:?}");
        assert!(meters.peak_memory_mib().unwrap()[0].1 > 0);
    }
}
