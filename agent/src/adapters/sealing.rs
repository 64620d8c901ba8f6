//! Key of this device that secrets are sealed to: made here, never sent, and kept in a file of its
//! own, so that an older agent, which knows nothing of it, leaves it where it is.
//!
//! See decision 0162.

use std::io;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use holdfast_base::ids::{hex, unhex};
use holdfast_protocol::sealing::{KEY, SealingKey};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::files;

/// Name of the key's file in the data folder.
const FILE: &str = "sealing.key";
/// Largest file that is read, in bytes: the digits and white space.
const MOST: u64 = 80;

/// Returns the device's sealing key. Makes and stores one first where there is none; a damaged file
/// is set aside.
///
/// # Errors
/// The file system's error. Without a file there is no key: what was sealed to it could not be
/// opened after a reboot.
pub fn key(data: &Path) -> io::Result<SealingKey> {
    let path = data.join(FILE);
    for _ in 0..2 {
        match files::read(&path, MOST) {
            Ok(bytes) => {
                let text = String::from_utf8_lossy(&bytes);
                if let Some(key) = unhex::<KEY>(text.trim()).and_then(SealingKey::new) {
                    return Ok(key);
                }
                set_aside(&path)?;
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => set_aside(&path)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let mut bytes = [0; KEY];
        let drawn = SystemRandom::new().fill(&mut bytes);
        drawn.map_err(|_| io::Error::other("the system gives no random numbers"))?;
        // Another program of this agent may make one at the same time: the first one counts.
        files::create_once(&path, hex(&bytes).as_bytes(), 0o600)?;
    }
    Err(io::Error::other(format!("{} cannot be read", path.display())))
}

fn set_aside(path: &Path) -> io::Result<()> {
    let aside = path.with_extension("damaged");
    tracing::error!(
        path = %path.display(),
        "the sealing key is damaged: it is set aside and a new one made; secrets are sealed to it after the next renewal"
    );
    std::fs::rename(path, aside)
}

/// Returns the public half of the device's sealing key, as the control plane is told. None, with
/// a line in the log: there is no key.
pub fn public_key(data: &Path) -> Option<String> {
    let key = key(data).inspect_err(
        |error| tracing::error!(%error, "there is no sealing key: this device can get no secrets"),
    );
    key.ok().map(|key| STANDARD.encode(key.public()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_a_damaged_one_is_set_aside() {
        let scratch = tempfile::tempdir().unwrap();
        let first = key(scratch.path()).unwrap();
        let path = scratch.path().join(FILE);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(key(scratch.path()).unwrap().to_bytes(), first.to_bytes());
        let told = STANDARD.decode(public_key(scratch.path()).unwrap()).unwrap();
        assert_eq!(told, first.public());
        for damaged in [&b"no key"[..], &[b'0'; 200], b""] {
            std::fs::write(&path, damaged).unwrap();
            let made = key(scratch.path()).unwrap();
            assert_ne!(made.to_bytes(), first.to_bytes());
            assert_eq!(std::fs::read(scratch.path().join("sealing.damaged")).unwrap(), damaged);
        }
    }

    #[test]
    fn without_a_folder_there_is_no_key() {
        let scratch = tempfile::tempdir().unwrap();
        assert!(public_key(&scratch.path().join("none")).is_none());
    }
}
