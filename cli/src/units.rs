//! Counts and bytes as people read them.

/// `count` per second; 0 in no time.
pub(crate) fn per_second(count: u64, seconds: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts of rows and queries are below 2^52")]
    let count = count as f64;
    if seconds > 0.0 { count / seconds } else { 0.0 }
}

/// Bytes in MiB.
pub(crate) fn mebibytes(bytes: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    let bytes = bytes as f64;
    bytes / f64::from(1 << 20)
}

/// `part` of `whole`; nothing of nothing has no share.
pub(crate) fn share(part: usize, whole: usize) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "counts of answers are below 2^52")]
    let (part, of) = (part as f64, whole as f64);
    (whole > 0).then(|| part / of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_divided_by_zero() {
        assert_eq!((share(1, 4), share(0, 0)), (Some(0.25), None));
        assert_eq!(per_second(10, 0.0).to_bits(), 0.0_f64.to_bits());
    }

    #[test]
    fn rates_and_sizes_are_what_they_say() {
        assert_eq!(
            (per_second(10, 4.0).to_bits(), mebibytes(3 << 19).to_bits()),
            (2.5_f64.to_bits(), 1.5_f64.to_bits())
        );
    }
}
