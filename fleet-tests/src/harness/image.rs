//! Images of tests, built without any engine: layers of one file each, and the project's own static
//! test program.

use std::path::PathBuf;
use std::process::Command;

use holdfast_base::ids::Digest;
use holdfast_protocol::container::{Image, Platform};
use holdfast_protocol::workload::Artifact;
use ring::digest::{SHA256, digest};
use serde_json::json;

use super::target_dir;

/// Source of the program of test images.
const PROGRAM: &str = include_str!("../../fixtures/container/program.rs");

/// Returns the test program, compiled once for each version of its source.
///
/// # Panics
/// Panics if it cannot be compiled.
pub fn program() -> Vec<u8> {
    let hash = sha256(PROGRAM.as_bytes()).hex();
    let folder = target_dir().join("container-program");
    std::fs::create_dir_all(&folder).expect("the target folder can be written");
    let program = folder.join(hash.get(..16).expect("a digest is longer"));
    if !program.exists() {
        let source = folder.join(format!("{}.rs", std::process::id()));
        let made = source.with_extension("out");
        std::fs::write(&source, PROGRAM).expect("the target folder can be written");
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let output = Command::new(rustc)
            .args(["--edition", "2021", "-O", "-C", "target-feature=+crt-static"])
            .args(["-C", "panic=abort", "-C", "strip=symbols", "-o"])
            .args([&made, &source])
            .output()
            .expect("rustc can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        std::fs::rename(&made, &program).expect("the target folder can be written");
        let _left = std::fs::remove_file(source);
    }
    std::fs::read(program).expect("it was just made")
}

/// Digest of bytes.
pub fn sha256(bytes: &[u8]) -> Digest {
    Digest(digest(&SHA256, bytes).as_ref().try_into().expect("it has 32 bytes"))
}

/// Image with its files.
#[derive(Debug, Clone)]
pub struct TestImage {
    /// Image as a desired state has it.
    pub image: Image,
    /// Configuration, then the layers.
    pub files: Vec<Vec<u8>>,
}

impl TestImage {
    /// Builds an image of the test program at `/t`, which runs as `user`. Each of `more` is a further
    /// layer with one file of that name and content.
    pub fn new(name: &str, user: &str, more: &[(&str, &[u8])]) -> Self {
        let mut layers = vec![tar(&[("t", 0o755, &program())])];
        layers.extend(more.iter().map(|(path, bytes)| tar(&[(path, 0o644, bytes)])));
        let arch = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        let ids: Vec<String> = layers.iter().map(|it| sha256(it).to_string()).collect();
        let config = json!({
            "architecture": arch,
            "os": "linux",
            "config": { "Entrypoint": ["/t"], "User": user, "Env": ["OF_THE_IMAGE=yes"] },
            "rootfs": { "type": "layers", "diff_ids": ids },
            "history": ids.iter().map(|_| json!({ "created_by": "a test" })).collect::<Vec<_>>(),
        });
        let config = serde_json::to_vec(&config).expect("a value is JSON");
        let artifact = |bytes: &[u8]| Artifact { digest: sha256(bytes), size: bytes.len() as u64 };
        let platform = Platform {
            arch: arch.into(),
            config: artifact(&config),
            layers: layers.iter().map(|it| artifact(it)).collect(),
        };
        // The digest of a manifest, which no test has.
        let digest = sha256(format!("manifest of {}", platform.config.digest).as_bytes());
        let image = Image { name: name.into(), digest, platforms: vec![platform] };
        let files = std::iter::once(config).chain(layers).collect();
        Self { image, files }
    }

    /// Content of this machine's platform.
    pub fn platform(&self) -> &Platform {
        &self.image.platforms[0]
    }

    /// Id that the image has at Docker and Podman.
    pub fn id(&self) -> String {
        self.platform().config.digest.to_string()
    }

    /// Archive as `docker save` writes it, under this name.
    pub fn archive(&self) -> Vec<u8> {
        let config = format!("{}.json", self.platform().config.digest.hex());
        let path = |at: usize| format!("{at}.tar");
        let layers: Vec<String> = (1..self.files.len()).map(path).collect();
        let manifest =
            json!([{ "Config": config, "RepoTags": [self.image.name], "Layers": layers }]);
        let manifest = serde_json::to_vec(&manifest).expect("a value is JSON");
        let mut files: Vec<(&str, u32, &[u8])> =
            vec![("manifest.json", 0o644, &manifest), (&config, 0o644, &self.files[0])];
        for (path, bytes) in layers.iter().zip(&self.files[1..]) {
            files.push((path, 0o644, bytes));
        }
        tar(&files)
    }

    /// Puts the files into an agent's folder of artifacts, as if they had been downloaded.
    pub fn put_into(&self, data: &std::path::Path) -> Vec<PathBuf> {
        let folder = data.join("artifacts/sha256");
        std::fs::create_dir_all(&folder).expect("the folder can be made");
        let mut paths = Vec::new();
        for bytes in &self.files {
            let path = folder.join(sha256(bytes).hex());
            std::fs::write(&path, bytes).expect("the file can be written");
            paths.push(path);
        }
        paths
    }
}

/// Builds a tar archive of files: path, mode and content.
pub fn tar(files: &[(&str, u32, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (path, mode, bytes) in files {
        let mut header = [0_u8; 512];
        let mut put = |at: usize, text: &[u8]| header[at..at + text.len()].copy_from_slice(text);
        put(0, path.as_bytes());
        put(100, format!("{mode:07o}\0").as_bytes());
        put(108, b"0000000\0");
        put(116, b"0000000\0");
        put(124, format!("{:011o}\0", bytes.len()).as_bytes());
        put(136, b"00000000000\0");
        put(148, b"        ");
        put(156, b"0");
        put(257, b"ustar\x0000");
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        archive.extend(header);
        archive.extend(*bytes);
        archive.resize(archive.len().next_multiple_of(512), 0);
    }
    archive.resize(archive.len() + 1_024, 0);
    archive
}
