//! A panic on the buffer's thread (redb on a file whose structure is damaged in a way that it does
//! not notice in time) must not end the agent, which aborts on panics: the hook runs on the
//! thread that panics, sets the file aside, has another thread take over and never returns. Nothing of
//! redb's state is touched again.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use super::queue::Queue;
use super::worker;

/// How often a thread may be lost: each leaves its stack and a file behind.
pub(super) const MOST: u32 = 3;

thread_local! {
    static CONTAINED: RefCell<Option<Arc<Queue>>> = const { RefCell::new(None) };
}

/// Panics on this thread are contained from now on.
pub(super) fn this_thread(queue: &Arc<Queue>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            former(info);
            let contained = CONTAINED.try_with(|it| it.try_borrow_mut().ok()?.take());
            if let Ok(Some(queue)) = contained {
                worker::suspect(&queue.data, &info.to_string());
                queue.lost();
                drop(queue);
                // Where panics unwind, the thread ends by itself.
                #[cfg(panic = "abort")]
                loop {
                    std::thread::park();
                }
            }
        }));
    });
    CONTAINED.with(|it| *it.borrow_mut() = Some(Arc::clone(queue)));
}
