//! What the system counts about this process, under Prometheus' usual names.
//!
//! The collector of the `prometheus` crate would bring a second copy of four crates for these few lines.

use prometheus::core::{Collector, Desc};
use prometheus::{Counter, Gauge, proto::MetricFamily};
use rustix::param::{clock_ticks_per_second, page_size};

/// Reads `/proc` at each scrape; without it, nothing changes.
#[derive(Clone, Debug)]
pub struct ProcessStats {
    cpu_seconds: Counter,
    open_fds: Gauge,
    max_fds: Gauge,
    virtual_bytes: Gauge,
    resident_bytes: Gauge,
    start_seconds: Gauge,
    os_fd_used: Gauge,
    os_fd_limit: Gauge,
}

impl ProcessStats {
    pub fn new() -> prometheus::Result<ProcessStats> {
        Ok(ProcessStats {
            cpu_seconds: Counter::new(
                "process_cpu_seconds_total",
                "Total user and system CPU time spent in seconds.",
            )?,
            open_fds: Gauge::new("process_open_fds", "Number of open file descriptors.")?,
            max_fds: Gauge::new("process_max_fds", "Maximum number of open file descriptors.")?,
            virtual_bytes: Gauge::new("process_virtual_memory_bytes", "Virtual memory size in bytes.")?,
            resident_bytes: Gauge::new("process_resident_memory_bytes", "Resident memory size in bytes.")?,
            start_seconds: Gauge::new(
                "process_start_time_seconds",
                "Start time of the process since unix epoch in seconds.",
            )?,
            os_fd_used: Gauge::new("os_fd_used", "The number of used file descriptors.")?,
            os_fd_limit: Gauge::new("os_fd_limit", "The file descriptor limit.")?,
        })
    }

    fn all(&self) -> [&dyn Collector; 8] {
        [
            &self.cpu_seconds,
            &self.open_fds,
            &self.max_fds,
            &self.virtual_bytes,
            &self.resident_bytes,
            &self.start_seconds,
            &self.os_fd_used,
            &self.os_fd_limit,
        ]
    }

    fn read(&self) -> Option<()> {
        let (used, limit) = file_descriptors()?;
        self.open_fds.set(used as f64);
        self.os_fd_used.set(used as f64);
        self.max_fds.set(limit as f64);
        self.os_fd_limit.set(limit as f64);

        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name may hold anything; fields are counted from behind it (man 5 proc).
        let (_, behind) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = behind.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = clock_ticks_per_second() as f64;
        let cpu_seconds = (field(14)? + field(15)?) / ticks;
        self.cpu_seconds.inc_by((cpu_seconds - self.cpu_seconds.get()).max(0.0));
        self.virtual_bytes.set(field(23)?);
        self.resident_bytes.set(field(24)? * page_size() as f64);
        let since_boot = field(22)? / ticks;
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        let boot = system.lines().find_map(|line| line.strip_prefix("btime "))?.parse::<f64>().ok()?;
        self.start_seconds.set(boot + since_boot);
        Some(())
    }
}

impl Collector for ProcessStats {
    fn desc(&self) -> Vec<&Desc> {
        self.all().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // What cannot be read keeps its last value.
        self.read();
        self.all().into_iter().flat_map(Collector::collect).collect()
    }
}

/// Open file descriptors of this process, and how many it may open; `None` where the system has no `/proc`.
pub fn file_descriptors() -> Option<(u64, u64)> {
    let used = std::fs::read_dir("/proc/self/fd").ok()?.count() as u64;
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let limit = line.split_whitespace().next()?;
    Some((used, limit.parse().unwrap_or(u64::MAX)))
}
