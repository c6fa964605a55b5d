//! What a call of the program says when its caller alone shall read it.

use std::cell::RefCell;

/// What was said, in place of what would be written to standard output and standard error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// The result, for people.
    pub text: String,
    /// The result as JSON, of a report that has both forms.
    pub json: Option<String>,
    /// What is wrong.
    pub error: Option<String>,
    /// What may help.
    pub hint: Option<String>,
    /// What to look at.
    pub warnings: Vec<String>,
}

thread_local! {
    static KEPT: RefCell<Option<Kept>> = const { RefCell::new(None) };
}

/// Keeps what is said on this thread until the work is done.
pub fn keep<T>(work: impl FnOnce() -> T) -> (T, Kept) {
    KEPT.set(Some(Kept::default()));
    let done = work();
    (done, KEPT.take().unwrap_or_default())
}

/// Adds to what is kept, and tells whether anything is.
pub fn add(say: impl FnOnce(&mut Kept)) -> bool {
    KEPT.with_borrow_mut(|kept| kept.as_mut().map(say).is_some())
}

/// Whether what is said is kept.
pub fn is_on() -> bool {
    KEPT.with_borrow(Option::is_some)
}
