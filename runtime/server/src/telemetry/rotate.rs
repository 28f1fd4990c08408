//! A log file that never grows past a size: when it would, it is put aside as `name.1`, `name.1` as `name.2`, and the
//! oldest is removed.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing_subscriber::fmt::MakeWriter;

/// The file, shared by all threads that log.
#[derive(Clone, Debug)]
pub(super) struct Rotated(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    path: PathBuf,
    file: File,
    bytes: u64,
    most_bytes: u64,
    keep: u32,
}

impl Rotated {
    /// Opens the file, or goes on with the one that is there.
    pub(super) fn open(path: PathBuf, most_bytes: u64, keep: u32) -> io::Result<Rotated> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (file, bytes) = append_to(&path)?;
        Ok(Rotated(Arc::new(Mutex::new(Open { path, file, bytes, most_bytes, keep }))))
    }
}

fn append_to(path: &Path) -> io::Result<(File, u64)> {
    let file = OpenOptions::new().create(true).append(true).open(path)?;
    let bytes = file.metadata()?.len();
    Ok((file, bytes))
}

impl Open {
    fn aside(&self, number: u32) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    }
    fn rotate(&mut self) -> io::Result<()> {
        for number in (1..self.keep).rev() {
            match std::fs::rename(self.aside(number), self.aside(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.aside(1))?;
        (self.file, self.bytes) = append_to(&self.path)?;
        Ok(())
    }
}

impl Write for Rotated {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // A line is written whole by its formatter, so a poisoned lock guards nothing half done.
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.bytes > 0 && open.bytes + line.len() as u64 > open.most_bytes {
            open.rotate()?;
        }
        open.file.write_all(line)?;
        open.bytes += line.len() as u64;
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Rotated {
    type Writer = Rotated;
    fn make_writer(&'a self) -> Rotated {
        self.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("logs/heddle.log");
        let mut log = Rotated::open(path.clone(), 10, 2).unwrap();
        for line in ["one----\n", "two----\n", "three--\n", "four---\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |name: &str| std::fs::read_to_string(folder.path().join("logs").join(name)).unwrap();
        assert_eq!(read("heddle.log"), "four---\n");
        assert_eq!(
            (read("heddle.log.1").as_str(), read("heddle.log.2").as_str()),
            ("three--\n", "two----\n")
        );
        assert!(!folder.path().join("logs/heddle.log.3").exists());
    }
}
