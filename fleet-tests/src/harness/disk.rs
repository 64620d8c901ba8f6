//! Small disk that can be filled, for tests of a full disk.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Small file system of a test's own, unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts a file system of this size (`24m`).
    ///
    /// # Panics
    /// Panics if mounting is not permitted.
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

    /// Writes until the disk is full.
    ///
    /// # Panics
    /// Panics if no file can be created.
    pub fn fill(&self) {
        use std::io::Write as _;
        let mut file = std::fs::File::create(self.0.join("ballast")).unwrap();
        for size in [65536, 4096, 512, 1] {
            let piece = vec![0_u8; size];
            while file.write_all(&piece).is_ok() {}
        }
    }

    /// Creates files until no more can be created.
    ///
    /// # Panics
    /// Panics after 100,000 files.
    pub fn fill_inodes(&self) {
        let folder = self.0.join("many");
        std::fs::create_dir(&folder).unwrap();
        let made = (0..100_000)
            .find(|number| std::fs::File::create(folder.join(number.to_string())).is_err());
        assert!(made.is_some(), "the disk takes any number of files");
    }

    /// Removes the files of [`SmallDisk::fill_inodes`].
    ///
    /// # Panics
    /// Panics if there are none.
    pub fn free_inodes(&self) {
        std::fs::remove_dir_all(self.0.join("many")).unwrap();
    }

    /// Remounts the disk `ro`, as the kernel does with a failing disk, or `rw` again.
    ///
    /// # Panics
    /// Panics if remounting fails.
    pub fn remount(&self, mode: &str) {
        let options = format!("remount,{mode}");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.0).status();
        assert!(status.is_ok_and(|status| status.success()), "remounted {mode}");
    }

    /// Removes the file of [`SmallDisk::fill`].
    ///
    /// # Panics
    /// Panics if there is none.
    pub fn free(&self) {
        std::fs::remove_file(self.0.join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _left = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}
