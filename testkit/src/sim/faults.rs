//! Calls that fail because a test asked for it.

use gannet_storage::ErrorKind;

/// The call that fails, and how.
#[derive(Debug)]
pub(super) struct Fault {
    calls_left: u64,
    kind: ErrorKind,
    sticky: bool,
}

impl Fault {
    /// The `nth` call from now on, from 1.
    pub(super) fn new(nth: u64, kind: ErrorKind, sticky: bool) -> Self {
        assert!(nth > 0, "calls are counted from 1");
        Self { calls_left: nth, kind, sticky }
    }

    /// Counts a call, and says how it fails.
    pub(super) fn next(&mut self) -> Option<ErrorKind> {
        let failed_before = self.calls_left == 0;
        self.calls_left = self.calls_left.saturating_sub(1);
        let fails = self.calls_left == 0 && (self.sticky || !failed_before);
        fails.then_some(self.kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_fails_once_or_for_ever() {
        for (sticky, due) in
            [(false, [false, false, true, false, false]), (true, [false, false, true, true, true])]
        {
            let mut fault = Fault::new(3, ErrorKind::Io, sticky);
            assert_eq!([(); 5].map(|()| fault.next().is_some()), due, "sticky: {sticky}");
        }
    }
}
