//! What this process holds, as the kernel counts it, and whether anything in it has panicked.

use std::fs;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What must be back where it was after every case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    pub threads: usize,
    pub open_files: usize,
    /// Memory as a component begins with it: a file each, held by the component and by the sandbox that had it last.
    pub images: usize,
    pub resident_kib: u64,
}

pub fn held() -> Held {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten();
    // The one for the folder itself is gone by the time that it is asked about.
    let files = links.filter_map(|link| fs::read_link(link.path()).ok());
    let (images, others): (Vec<_>, Vec<_>) =
        files.partition(|file| file.to_string_lossy().starts_with("/memfd:wasm"));
    Held {
        threads: fs::read_dir("/proc/self/task").unwrap().count(),
        open_files: others.len(),
        images: images.len(),
        resident_kib: status("VmRSS:"),
    }
}

/// The most memory that was resident since [`forget_peak`].
pub fn peak_kib() -> u64 {
    status("VmHWM:")
}

/// Begins to look for the peak anew.
pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

/// The most address space that this process ever had. An allocation shows here even when nobody touches it.
pub fn address_space_kib() -> u64 {
    status("VmPeak:")
}

fn status(line: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let value = status.lines().find_map(|found| found.strip_prefix(line)).unwrap();
    value.trim().trim_end_matches(" kB").parse().unwrap()
}

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// Counts the panics from now on, caught or not.
pub fn watch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            PANICS.fetch_add(1, Ordering::Relaxed);
            usual(panic);
        }));
    });
}

pub fn panics() -> usize {
    PANICS.load(Ordering::Relaxed)
}
