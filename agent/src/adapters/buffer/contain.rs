//! Containment of panics on the buffer's thread (redb may panic on a file whose damage it does not
//! notice in time). The agent aborts on panics, so the panic hook, which runs on the thread that
//! panics, sets the file aside, starts another thread and never returns. Nothing of redb's state is
//! touched again.
//!
//! See decision 0046.

use std::cell::RefCell;
use std::sync::{Arc, Once};

use super::aside;
use super::queue::Queue;

thread_local! {
    static CONTAINED: RefCell<Option<Arc<Queue>>> = const { RefCell::new(None) };
}

/// Contains panics on the current thread from now on.
pub(super) fn this_thread(queue: &Arc<Queue>) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let former = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            former(info);
            let contained = CONTAINED.try_with(|it| it.try_borrow_mut().ok()?.take());
            if let Ok(Some(queue)) = contained {
                aside::suspect(&queue.data, &info.to_string());
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
