//! How much a second.

use std::time::{Duration, Instant};

/// Runs `act`, which says how much it did, until `window` has passed.
pub(crate) fn repeated(window: Duration, mut act: impl FnMut() -> u64) -> f64 {
    let begin = Instant::now();
    let mut done = 0;
    loop {
        done += act();
        let elapsed = begin.elapsed();
        if elapsed >= window {
            return a_second(done, elapsed);
        }
    }
}

/// Runs `act` once, which does `much`.
pub(crate) fn once<T>(much: u64, act: impl FnOnce() -> T) -> (f64, T) {
    let begin = Instant::now();
    let result = act();
    (a_second(much, begin.elapsed()), result)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52, and for reading")]
fn a_second(much: u64, elapsed: Duration) -> f64 {
    much as f64 / elapsed.as_secs_f64()
}
