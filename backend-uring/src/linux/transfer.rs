//! One transfer of at most [`CUT_BYTES`]: how far it got, and what a completion of it means.
//!
//! Keeps the rule that turns the kernel's partial answers into all or error. Who asks the kernel,
//! and who keeps the memory alive meanwhile, are left to the ring.

use rustix::io::Errno;
use std::io;

/// Longest request that is given to the kernel: longer ones are cut, so that one does not hold up
/// the others in the device.
pub(crate) const CUT_BYTES: usize = 1 << 20;

/// Answers that tell nothing of the file, in a row, after which a transfer is given up.
const PASSING_MAX: u32 = 1000;
/// Answers of less than one aligned piece, in a row, after which a transfer is given up: at the end
/// of a file that somebody has cut inside a block there will never be more.
const CRUMBS_MAX: u32 = 8;

/// Which way the bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Read,
    Write,
}

/// How far a transfer got.
#[derive(Debug)]
pub(crate) struct Progress {
    direction: Direction,
    len: usize,
    done: usize,
    /// A rest begins at a multiple of this: direct transfers cannot begin elsewhere.
    align: usize,
    passing: Passing,
    crumbs: u32,
}

/// Counts answers that tell nothing, so that they are not listened to for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Passing(u32);

/// What to do after a completion.
#[derive(Debug)]
pub(crate) enum Next {
    /// The whole is transferred.
    Done,
    /// Ask the kernel for the rest.
    Again,
    /// Never going to be whole.
    Failed(io::Error),
}

impl Progress {
    /// Of `len` bytes, none of which is transferred yet.
    pub(crate) fn new(direction: Direction, len: usize, align: usize) -> Self {
        Self { direction, len, done: 0, align, passing: Passing::default(), crumbs: 0 }
    }

    /// Bytes from the start that need not be asked for again.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Takes the kernel's answer: bytes, or a negative error number.
    pub(crate) fn completed(&mut self, answer: i32) -> Next {
        let left = self.len - self.done;
        let Ok(count) = usize::try_from(answer) else {
            return if self.passing.is_worth_another(answer) {
                Next::Again
            } else {
                Next::Failed(io::Error::from_raw_os_error(-answer))
            };
        };
        self.passing = Passing::default();
        if count > left {
            let what = format!("the kernel says that it transferred {count} bytes of {left}");
            return Next::Failed(io::Error::other(what));
        }
        if count == left {
            self.done = self.len;
            return Next::Done;
        }
        let whole = (self.done + count) / self.align * self.align;
        self.crumbs = if whole > self.done { 0 } else { self.crumbs + 1 };
        self.done = whole;
        if count == 0 || self.crumbs > CRUMBS_MAX {
            return Next::Failed(io::Error::from(match self.direction {
                Direction::Read => io::ErrorKind::UnexpectedEof,
                Direction::Write => io::ErrorKind::WriteZero,
            }));
        }
        Next::Again
    }
}

impl Passing {
    /// Whether to ask once more, for the answer says nothing about the file: a signal came, the
    /// kernel was short of requests, or the thread that had asked is gone, whose requests are
    /// cancelled or find no memory of theirs. After 1,000 of them it is believed.
    pub(crate) fn is_worth_another(&mut self, answer: i32) -> bool {
        let says_nothing = [Errno::INTR, Errno::AGAIN, Errno::CANCELED, Errno::FAULT]
            .iter()
            .any(|errno| errno.raw_os_error().checked_neg() == Some(answer));
        self.0 += u32::from(says_nothing);
        says_nothing && self.0 <= PASSING_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers of the kernel to a read or write of 16 KiB in blocks of 4 KiB, and what is due.
    fn check(answers: &[i32], due: Result<(), Option<i32>>) {
        for direction in [Direction::Read, Direction::Write] {
            let mut progress = Progress::new(direction, 16384, 4096);
            let mut last = None;
            for &answer in answers {
                assert!(matches!(last, None | Some(Next::Again)), "{answers:?}: {last:?}");
                last = Some(progress.completed(answer));
            }
            match (last.expect("one answer at least"), due) {
                (Next::Done, Ok(())) => assert_eq!(progress.done(), 16384, "{answers:?}"),
                (Next::Failed(error), Err(errno)) => {
                    assert_eq!(error.raw_os_error(), errno, "{answers:?}");
                }
                (last, due) => panic!("{answers:?}: {last:?}, expected {due:?}"),
            }
        }
    }

    #[test]
    fn partial_answers_are_finished() {
        check(&[16384], Ok(()));
        check(&[4096, 8192, 4096], Ok(()));
        check(&[-4, -11, -125, -14, 16384], Ok(()));
        check(&[12288, -4, 4096], Ok(()));
    }

    #[test]
    fn a_part_of_a_block_is_asked_for_again() {
        check(&[5000, 12288], Ok(()));
        check(&[100, 100, 16384], Ok(()));
        let mut progress = Progress::new(Direction::Read, 16384, 4096);
        assert!(matches!(progress.completed(8191), Next::Again));
        assert_eq!(progress.done(), 4096);
    }

    #[test]
    fn nothing_is_an_error_and_never_a_loop() {
        check(&[0], Err(None));
        check(&[8192, 0], Err(None));
        check(&[20000], Err(None));
        check(&[8192, 12288], Err(None));
    }

    #[test]
    fn other_errors_end_it_at_once() {
        check(&[-5], Err(Some(5)));
        check(&[8192, -28], Err(Some(28)));
    }

    #[test]
    fn a_kernel_that_never_gets_on_is_given_up() {
        for (answer, due) in [(-4, 1000), (-11, 1000), (-125, 1000), (1, 8), (4095, 8)] {
            let mut progress = Progress::new(Direction::Write, 16384, 4096);
            let answers =
                (0..2000).take_while(|_| matches!(progress.completed(answer), Next::Again));
            assert_eq!(answers.count(), due, "{answer}");
        }
    }
}
