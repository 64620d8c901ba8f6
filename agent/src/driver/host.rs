//! Host: the service manager, and the socket for `holdfast-agent status`.

use std::path::{Path, PathBuf};

use holdfast_protocol::problem::ProblemCode;
use tokio::net::{UnixListener, UnixStream};

use super::problems::Problems;
use crate::adapters::notify::Notifier;
use crate::adapters::status;

/// Everything that this machine is told of the agent.
pub(super) struct Host {
    data: PathBuf,
    pub(super) notifier: Notifier,
    /// Socket for `holdfast-agent status`; retried where it cannot be opened.
    listener: Option<UnixListener>,
    /// Text about a status socket that cannot be opened.
    trouble: Option<String>,
}

impl Host {
    /// Begins without a status socket.
    pub(super) fn new(data: &Path) -> Self {
        let notifier = Notifier::from_environment();
        Self { data: data.to_owned(), notifier, listener: None, trouble: None }
    }

    /// Opens the status socket if it is not open: an agent without one still runs workloads.
    pub(super) fn listen(&mut self) {
        if self.listener.is_some() {
            return;
        }
        match status::listen(&self.data) {
            Ok(listener) => {
                self.listener = Some(listener);
                self.trouble = None;
            }
            Err(error) => {
                let path = status::path(&self.data);
                let why = format!("status has no answer: {}: {error}", path.display());
                if self.trouble.as_ref() != Some(&why) {
                    tracing::error!("{why}");
                }
                self.trouble = Some(why);
            }
        }
    }

    /// Waits for somebody who asks for the status. None: the socket is not open, or one that asked
    /// is gone.
    pub(super) async fn asked(&self) -> Option<UnixStream> {
        status::accept(self.listener.as_ref()).await
    }

    /// Removes the status socket, because the agent ends.
    pub(super) fn leave(&self) {
        let _left_for_the_next_start = std::fs::remove_file(status::path(&self.data));
    }

    /// Adds the problem of the status socket.
    pub(super) fn problems(&self, list: &mut Problems) {
        list.say(ProblemCode::StatusSocket, self.trouble.clone());
    }
}
