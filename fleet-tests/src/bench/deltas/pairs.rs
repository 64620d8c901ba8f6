//! Pairs of versions that are compared, out of public packages.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Two versions of a file.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) name: String,
    pub(super) old: PathBuf,
    pub(super) new: PathBuf,
    /// Folder of Python's modules, with HDiffPatch where it could be installed.
    pub(super) modules: PathBuf,
}

/// Programs in wheels of Python: package, old version, new version.
const WHEELS: [(&str, &str, &str); 3] =
    [("ruff", "0.6.1", "0.6.2"), ("ruff", "0.6.1", "0.6.9"), ("uv", "0.5.1", "0.5.2")];
/// Programs in packages of Node: name, package, versions, path inside. An empty path stands for the
/// whole tree as a tar.
const PACKAGES: [(&str, &str, &str, &str, &str); 4] = [
    ("biome arm64", "@biomejs/cli-linux-arm64", "1.9.3", "1.9.4", "biome"),
    ("esbuild arm64", "@esbuild/linux-arm64", "0.25.0", "0.25.1", "bin/esbuild"),
    ("esbuild x86-64", "@esbuild/linux-x64", "0.25.0", "0.25.1", "bin/esbuild"),
    ("typescript, tar", "typescript", "5.7.2", "5.7.3", ""),
];

/// Fetches what is not in the folder yet.
///
/// # Panics
/// When something cannot be fetched.
pub(super) fn fetch(folder: &Path) -> Vec<Pair> {
    let modules = folder.join("modules");
    if !modules.exists() {
        // Without it the peer is left out.
        let mut pip = Command::new("pip");
        pip.args(["install", "-q", "--no-deps", "--target"]).arg(&modules);
        let _installed = pip.args(["hdiffpatch", "attrs"]).status();
    }
    let pair = |name: &str, (old, new): (&str, &str), file: &dyn Fn(&str) -> PathBuf| Pair {
        name: format!("{name} {old} → {new}"),
        old: file(old),
        new: file(new),
        modules: modules.clone(),
    };
    let wheels = WHEELS.into_iter().map(|(package, old, new)| {
        pair(&format!("{package} x86-64"), (old, new), &|version| wheel(folder, package, version))
    });
    let packages = PACKAGES.into_iter().map(|(name, package, old, new, path)| {
        pair(name, (old, new), &|version| node(folder, (name, package), version, path))
    });
    wheels.chain(packages).collect()
}

fn run(command: &mut Command) {
    let status = command.status();
    assert!(status.is_ok_and(|status| status.success()), "{command:?} failed");
}

fn wheel(folder: &Path, package: &str, version: &str) -> PathBuf {
    let file = folder.join(format!("{package}-{version}"));
    if !file.exists() {
        let unpacked = folder.join(format!("{package}-{version}.unpacked"));
        std::fs::create_dir_all(&unpacked).expect("a folder");
        let mut pip = Command::new("pip");
        pip.args(["download", "-q", "--no-deps", "--only-binary=:all:", "--platform"]);
        pip.arg("manylinux_2_17_x86_64").arg("-d").arg(&unpacked);
        run(pip.arg(format!("{package}=={version}")));
        let wheel = only(&unpacked, ".whl");
        run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(wheel).arg(&unpacked));
        let scripts = format!("{package}-{version}.data/scripts/{package}");
        std::fs::rename(unpacked.join(scripts), &file).expect("the program in the wheel");
        std::fs::remove_dir_all(&unpacked).expect("cleaned up");
    }
    file
}

fn node(folder: &Path, (name, package): (&str, &str), version: &str, path: &str) -> PathBuf {
    let file = folder.join(format!("{}-{version}", name.replace([' ', ','], "-")));
    if !file.exists() {
        let unpacked = folder.join(format!("{}-{version}.unpacked", name.replace([' ', ','], "-")));
        std::fs::create_dir_all(&unpacked).expect("a folder");
        let mut npm = Command::new("npm");
        npm.args(["pack", "--silent"]).arg(format!("{package}@{version}"));
        run(npm.current_dir(&unpacked));
        let packed = only(&unpacked, ".tgz");
        run(Command::new("tar").arg("-xzf").arg(packed).arg("-C").arg(&unpacked));
        if path.is_empty() {
            let mut tar = Command::new("tar");
            tar.args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-C"]).arg(&unpacked);
            run(tar.arg("-cf").arg(&file).arg("package"));
        } else {
            let program = unpacked.join("package").join(path);
            std::fs::rename(program, &file).expect("the program in the package");
        }
        std::fs::remove_dir_all(&unpacked).expect("cleaned up");
    }
    file
}

fn only(folder: &Path, ending: &str) -> PathBuf {
    let mut entries = std::fs::read_dir(folder).expect("a folder").flatten();
    let found = entries.find(|entry| entry.file_name().to_string_lossy().ends_with(ending));
    found.expect("what was fetched").path()
}
