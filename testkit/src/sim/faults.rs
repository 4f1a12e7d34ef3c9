//! Calls that fail because a test asked for it.

use crate::fault::Countdown;
use gannet_storage::ErrorKind;

/// The call that fails, and how.
#[derive(Debug)]
pub(super) struct Fault {
    countdown: Countdown,
    kind: ErrorKind,
}

impl Fault {
    /// The `nth` call from now on, from 1.
    pub(super) fn new(nth: u64, kind: ErrorKind, sticky: bool) -> Self {
        Self { countdown: Countdown::new(nth, sticky), kind }
    }

    /// Counts a call, and says how it fails.
    pub(super) fn next(&mut self) -> Option<ErrorKind> {
        self.countdown.is_due().then_some(self.kind)
    }
}
