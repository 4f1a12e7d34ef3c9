//! Lets tests be the kernel: answers and calls as hooks of the running thread change them.
//!
//! What a hook says must be something that the kernel may say of what it did: less than it did, or
//! that it failed, never more. Reads may be repeated, and so may writes of the same bytes.

use rustix::io::Errno;
use std::cell::RefCell;
use std::io;
use std::thread::LocalKey;

type Answer = Box<dyn FnMut(u64, i32) -> i32>;
type Entering = Box<dyn FnMut() -> Result<(), Errno>>;

thread_local! {
    static ANSWER: RefCell<Option<Answer>> = const { RefCell::new(None) };
    static ENTERING: RefCell<Option<Entering>> = const { RefCell::new(None) };
}

/// Takes a hook away again, also if the test panics.
struct Unhook<H: 'static>(&'static LocalKey<RefCell<Option<H>>>);

impl<H> Drop for Unhook<H> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// Runs `act` while each completion that this thread takes, with `user_data` and answer, is given
/// to `change`, whose answer counts. There is one completion a request.
pub(crate) fn with_answers<T>(
    change: impl FnMut(u64, i32) -> i32 + 'static,
    act: impl FnOnce() -> T,
) -> T {
    ANSWER.set(Some(Box::new(change)));
    let _unhook = Unhook(&ANSWER);
    act()
}

/// Runs `act` while each `io_uring_enter` of this thread that hands requests over asks `entering`
/// first, and fails as that says.
pub(crate) fn with_enters<T>(
    entering: impl FnMut() -> Result<(), Errno> + 'static,
    act: impl FnOnce() -> T,
) -> T {
    ENTERING.set(Some(Box::new(entering)));
    let _unhook = Unhook(&ENTERING);
    act()
}

pub(crate) fn changed(user_data: u64, answer: i32) -> i32 {
    ANSWER.with_borrow_mut(|hook| hook.as_mut().map_or(answer, |hook| hook(user_data, answer)))
}

pub(crate) fn entering() -> io::Result<()> {
    ENTERING.with_borrow_mut(|hook| hook.as_mut().map_or(Ok(()), |hook| hook()))?;
    Ok(())
}
