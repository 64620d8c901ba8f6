//! Shared parts of the tests with other projects' programs: files for them, and running them.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use crate::world::{PATIENCE, World};

/// Files with the CA, the certificate and the key of one device.
pub struct Files {
    folder: tempfile::TempDir,
    pub port: u16,
    pub device: String,
}

impl Files {
    pub fn of(world: &World, device: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let credentials = world.pki.device(device);
        for (name, text) in [
            ("ca.pem", &world.pki.ca_pem),
            ("cert.pem", &credentials.cert_pem),
            ("key.pem", &credentials.key_pem),
        ] {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self { folder, port: world.address.port(), device: device.into() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Result of a program: exit code and output.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs a program to its end, beside the gateway's own tasks; kills it if it takes too long.
pub async fn run(mut command: Command) -> Said {
    let output = tokio::task::spawn_blocking(move || {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| {
            panic!("{command:?}: {error}; `make test` installs what is missing")
        });
        let deadline = Instant::now() + PATIENCE;
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                let output = child.wait_with_output().unwrap();
                panic!("{command:?} did not end: {output:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        child.wait_with_output().unwrap()
    });
    let Output { status, stdout, stderr } = output.await.unwrap();
    Said {
        code: status.code(),
        out: String::from_utf8_lossy(&stdout).into_owned(),
        err: String::from_utf8_lossy(&stderr).into_owned(),
    }
}
