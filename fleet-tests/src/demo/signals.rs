//! Signals that end the demo. Ctrl-C and a closed terminal reach the demo alone: the processes that
//! it starts are in process groups of their own.

use std::sync::mpsc::Sender;

use tokio::signal::unix::{SignalKind, signal};

use super::end::{End, Outcome};
use super::inbox::Happening;

/// Sends each signal to the demo from now on, until the program ends.
pub(super) fn listen(tell: Sender<Happening>) -> Outcome<()> {
    let trouble = |error: std::io::Error| End::Failed(format!("cannot listen to signals: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(trouble)?;
    let inside = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(trouble)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(trouble)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(trouble)?;
    drop(inside);
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                let name = tokio::select! {
                    _ = interrupt.recv() => "Ctrl-C",
                    _ = terminate.recv() => "SIGTERM",
                    _ = hangup.recv() => "SIGHUP",
                };
                if tell.send(Happening::Stop(name)).is_err() {
                    return;
                }
            }
        });
    });
    Ok(())
}
