//! What can be seen of the machine without asking anybody. Nothing here is needed; it is shown to people.

/// Processor cores this process may use.
pub(crate) fn cpu_cores() -> Option<u32> {
    std::thread::available_parallelism().ok().and_then(|cores| u32::try_from(cores.get()).ok())
}

/// Memory in MiB, where the system tells it in `/proc/meminfo`.
pub(crate) fn ram_mb() -> Option<u32> {
    total_mb(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

/// What the machine is called, where the system tells it.
pub(crate) fn host_name() -> Option<String> {
    let name = ["/proc/sys/kernel/hostname", "/etc/hostname"]
        .iter()
        .find_map(|path| std::fs::read_to_string(path).ok())
        .or_else(|| std::env::var("HOSTNAME").ok())?;
    let name: String = name.trim().chars().filter(|letter| !letter.is_control()).take(60).collect();
    (!name.is_empty()).then_some(name)
}

fn total_mb(meminfo: &str) -> Option<u32> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    u32::try_from(kib / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read() {
        let cases = [
            ("MemTotal:       16384000 kB\nMemFree: 1 kB\n", Some(16_000)),
            ("MemFree: 1 kB\nMemTotal: 1024 kB", Some(1)),
            ("MemTotal: lots\n", None),
            ("", None),
        ];
        for (text, expected) in cases {
            assert_eq!(total_mb(text), expected, "{text:?}");
        }
    }
}
