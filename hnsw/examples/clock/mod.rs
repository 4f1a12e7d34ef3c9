//! The time that a thread worked, for the examples.

#![expect(clippy::disallowed_methods, reason = "a program: it reads the clock")]

use std::fs;
use std::sync::LazyLock;
use std::time::Instant;

/// Seconds since some moment that this thread had a CPU; by the clock where no system tells.
pub(crate) fn seconds() -> f64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let stat = fs::read_to_string("/proc/thread-self/schedstat").ok();
    let nanos = stat.as_ref().and_then(|stat| stat.split(' ').next()?.parse::<f64>().ok());
    nanos.map_or_else(|| BEGAN.elapsed().as_secs_f64(), |nanos| nanos * 1e-9)
}
