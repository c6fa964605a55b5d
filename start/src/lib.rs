//! What was open when the program began. Before `main` Rust opens /dev/null in place of a standard stream that is closed
//! (`>&-`), and later nothing tells it from one that somebody chose. So this looks before Rust does.

#[cfg(unix)]
mod look {
    use std::sync::atomic::{AtomicBool, Ordering};

    static STDOUT_WAS_CLOSED: AtomicBool = AtomicBool::new(false);

    ctor::declarative::ctor! {
        #[ctor(unsafe)]
        fn look() {
            let is_open = rustix::io::fcntl_getfd(rustix::stdio::stdout()).is_ok();
            STDOUT_WAS_CLOSED.store(!is_open, Ordering::Relaxed);
        }
    }

    pub fn stdout_was_closed() -> bool {
        STDOUT_WAS_CLOSED.load(Ordering::Relaxed)
    }
}

/// Whether standard output was closed when the program began.
pub fn stdout_was_closed() -> bool {
    #[cfg(unix)]
    return look::stdout_was_closed();
    #[cfg(not(unix))]
    false
}
