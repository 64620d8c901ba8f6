//! The master key: which one the control plane has, its rotation, and making one without a control
//! plane.

#![allow(clippy::disallowed_methods, reason = "the command line writes the file it is given")]

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::args::MasterKey;
use super::cells::read;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::text::{Output, clean, note};
use holdfast_api as api;

/// Shows or rotates the master key of the control plane.
pub(crate) async fn master_key(client: &Client, output: Output, wanted: MasterKey) -> Outcome {
    let answer = match wanted {
        MasterKey::Show => client.get(&["master-key"], &[]).await?,
        MasterKey::Rotate { file, data_keys } => {
            let wanted = api::RotateMasterKey { file, data_keys };
            let body = serde_json::to_value(&wanted);
            let body = body.map_err(|error| Failure::failed(error.to_string()))?;
            client.post(&["master-key", "rotate"], &body).await?
        }
        MasterKey::Generate(file) => return generate(output, &file.file),
    };
    let state: api::MasterKey = read(&answer)?;
    output.line(&format!("master key {} in {}", clean(&state.id), clean(&state.place)))?;
    output.line(&format!("data keys: {}", clean(&state.data_keys.join(", "))))?;
    for line in &state.notes {
        note(line);
    }
    Ok(())
}

/// Writes a new master key into a file that does not exist yet.
pub(crate) fn generate(output: Output, path: &Path) -> Outcome {
    let mut key = [0; 32];
    SystemRandom::new()
        .fill(&mut key)
        .map_err(|_| Failure::failed("the system gives no random numbers"))?;
    let mut options = OpenOptions::new();
    let written =
        options.write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
            let text = URL_SAFE_NO_PAD.encode(key);
            file.write_all(format!("{}{text}\n", api::MASTER_KEY_PREFIX).as_bytes())?;
            file.sync_all()
        });
    written.map_err(|error| Failure::file("write a master key to", path, error))?;
    output.line(&format!("a new master key is in {}: keep a copy of it apart", path.display()))
}
