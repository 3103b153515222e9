//! The kernel's table of this process's open files, made large before it is needed.
//!
//! It doubles whenever it is full. In a process of several threads that waits until no other core can
//! be looking into the old one (`synchronize_rcu` in Linux's `expand_files`): whoever opens the 256th,
//! 512th, … socket stands still for 10 to 20 ms, and all that its thread serves with it.

use std::fs::File;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, getrlimit};

/// Makes room for so many open files, or for as many as this process may have. It is never made
/// smaller again; where it cannot be made larger now, it is when it must.
pub fn make_room_for(files: u64) {
    let most = getrlimit(Resource::Nofile).current.unwrap_or(files);
    let last = i32::try_from(files.min(most).saturating_sub(1)).unwrap_or(i32::MAX);
    // A file of this number, closed at once.
    if let Ok(any) = File::open("/dev/null") {
        let _ = fcntl_dupfd_cloexec(&any, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_room_and_no_file_stays_open() {
        let size = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find_map(|it| it.strip_prefix("FDSize:"));
            size.unwrap().trim().parse::<u64>().unwrap()
        };
        make_room_for(700);
        assert!(size() >= 700, "{}", size());
        assert!(!std::path::Path::new("/proc/self/fd/699").exists());
    }
}
