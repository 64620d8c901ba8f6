//! A small disk that can be filled, for what happens when nothing goes in any more.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A small file system of its own; unmounted at the end.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many bytes (`24m`).
    ///
    /// # Panics
    /// When that is not allowed.
    pub fn mount(at: &Path, size: &str) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let options = format!("size={size},mode=755");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "tmpfs"])
            .arg(at)
            .status()
            .is_ok_and(|status| status.success());
        assert!(mounted, "this test mounts a small disk: run the suite as root");
        Self(at.to_path_buf())
    }

    /// Writes until nothing goes in any more.
    ///
    /// # Panics
    /// When nothing can even be begun.
    pub fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        for size in [65536, 4096, 512, 1] {
            let piece = vec![0_u8; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Makes files until there can be no more.
    ///
    /// # Panics
    /// When there is no end of them.
    pub fn fill_inodes(&self) {
        let folder = self.0.join("many");
        std::fs::create_dir(&folder).unwrap();
        let made = (0..100_000)
            .find(|number| std::fs::File::create(folder.join(number.to_string())).is_err());
        assert!(made.is_some(), "the disk takes any number of files");
    }

    /// Takes away what [`SmallDisk::fill_inodes`] made.
    ///
    /// # Panics
    /// When nothing was.
    pub fn free_inodes(&self) {
        std::fs::remove_dir_all(self.0.join("many")).unwrap();
    }

    /// As the kernel does with a disk that fails: `ro`; or back again: `rw`.
    ///
    /// # Panics
    /// When it does not work.
    pub fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "remounted {mode}");
    }

    /// Takes away what [`SmallDisk::fill`] wrote.
    ///
    /// # Panics
    /// When nothing was.
    pub fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
