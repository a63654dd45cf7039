//! A part of a processor for a process, by the kernel's control groups.
//!
//! Needs root and a mounted controller, of version 1 or 2. Never here: what the process does with it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// Time over which the part is counted, in microseconds: short, so that nobody stands still for long.
const PERIOD: u64 = 10_000;
const VERSION_1: &str = "/sys/fs/cgroup/cpu";
const VERSION_2: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// A group with at most so much of a processor. Removed when it is dropped.
pub(crate) struct Share(PathBuf);

impl Share {
    /// Gives a process so many per cent of one processor.
    pub(crate) fn give(pid: u32, per_cent: u64) -> io::Result<Self> {
        let name = format!("buswire-load-{pid}");
        let quota = PERIOD * per_cent / 100;
        let controls = |root: &&&str| {
            let path = Path::new(root).join("cgroup.controllers");
            fs::read_to_string(path).is_ok_and(|text| text.split_whitespace().any(|c| c == "cpu"))
        };
        let group = if let Some(root) = VERSION_2.iter().find(controls) {
            fs::write(Path::new(root).join("cgroup.subtree_control"), "+cpu")?;
            let group = Self::make(&Path::new(root).join(name))?;
            fs::write(group.0.join("cpu.max"), format!("{quota} {PERIOD}"))?;
            group
        } else {
            let group = Self::make(&Path::new(VERSION_1).join(name))?;
            fs::write(group.0.join("cpu.cfs_period_us"), PERIOD.to_string())?;
            fs::write(group.0.join("cpu.cfs_quota_us"), quota.to_string())?;
            group
        };
        fs::write(group.0.join("cgroup.procs"), pid.to_string())?;
        Ok(group)
    }

    fn make(path: &Path) -> io::Result<Self> {
        fs::create_dir(path)?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        // Only an empty group goes: move what is left, if it is there, back to the root.
        let root = self.0.parent().map(|root| root.join("cgroup.procs"));
        let left = fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default();
        for pid in left.lines() {
            if let Some(root) = &root {
                fs::write(root, pid).unwrap_or_default();
            }
        }
        fs::remove_dir(&self.0).unwrap_or_default();
    }
}
