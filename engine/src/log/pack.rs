//! Bodies of frames made shorter: lz4 blocks (`docs/FORMAT.md`, chapter Frame).
//!
//! Keeps when that is worth it, and the memory it takes. Lengths stand in the frame's header, which
//! bounds them; checksums are of the bytes as they are stored.

/// Shorter bodies are stored as they are.
const LEN_BYTES_MIN: usize = 4096;
/// Longer memory is not kept after use.
const KEPT_BYTES: usize = 4 << 20;

/// Makes bodies shorter, one after another.
#[derive(Debug, Default)]
pub(crate) struct Packer {
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Packer {
    /// The bodies of a group as one lz4 block; `None` where it is to be stored as it is: it is
    /// short, or would become shorter by less than an eighth. Cost: a copy of it, and the time
    /// that compressing takes.
    pub(crate) fn pack<'b>(
        &mut self,
        bodies: impl Iterator<Item = &'b [u8]> + Clone,
    ) -> Option<&[u8]> {
        let len: usize = bodies.clone().map(<[u8]>::len).sum();
        if len <= LEN_BYTES_MIN {
            return None;
        }
        if self.packed.len() > KEPT_BYTES {
            *self = Self::default();
        }
        self.plain.clear();
        bodies.for_each(|body| self.plain.extend_from_slice(body));
        let room = lz4_flex::block::get_maximum_output_size(len);
        if self.packed.len() < room {
            self.packed.resize(room, 0);
        }
        let packed = lz4_flex::block::compress_into(&self.plain, &mut self.packed);
        let packed = packed.expect("there is room for the longest block");
        (packed <= len - len / 8).then(|| &self.packed[..packed])
    }
}

/// The body that was packed, of `len` bytes, in `out`, which is made longer if need be.
///
/// # Errors
/// The field that is damaged, where it is no lz4 block of that length.
pub(crate) fn unpack<'o>(
    packed: &[u8],
    len: u32,
    out: &'o mut Vec<u8>,
) -> Result<&'o [u8], &'static str> {
    const FIELD: &str = "compressed body";
    let len = usize::try_from(len).map_err(|_| FIELD)?;
    if out.len() < len {
        out.resize(len, 0);
    }
    let out = &mut out[..len];
    match lz4_flex::block::decompress_into(packed, out) {
        Ok(found) if found == len => Ok(out),
        _ => Err(FIELD),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that look random.
    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888);
            state.to_le_bytes()[7]
        };
        (0..len).map(|_| next()).collect()
    }

    /// As much as is asked for of a phrase, then noise.
    fn text(len: usize, noisy: usize) -> Vec<u8> {
        let mut text: Vec<u8> = b"the gannet dives ".iter().copied().cycle().take(len).collect();
        text.extend(noise(noisy));
        text
    }

    #[test]
    fn a_body_comes_back_and_a_short_or_noisy_one_stays_as_it_is() {
        let mut maker = Packer::default();
        let mut out = Vec::new();
        for (plain, packs) in [
            (text(4096, 0), false),
            (text(4097, 0), true),
            (text(3_000_000, 0), true),
            (text(9_000_000, 10), true),
            (noise(100_000), false),
            (text(1000, 9000), false),
            (text(2000, 9000), true),
            (text(5000, 0), true),
        ] {
            let halves = plain.split_at(plain.len() / 3);
            let packed = maker.pack([halves.0, halves.1].into_iter());
            assert_eq!(packed.is_some(), packs, "{} bytes", plain.len());
            let Some(packed) = packed else { continue };
            assert!(packed.len() <= plain.len() / 8 * 7 + 7);
            assert!(plain.len() <= 255 * packed.len(), "the reader believes no more");
            let len = u32::try_from(plain.len()).expect("short");
            assert!(unpack(packed, len, &mut out) == Ok(&plain[..]));
        }
    }

    #[test]
    fn another_length_or_a_cut_is_refused_and_no_byte_makes_it_panic() {
        let plain = text(5000, 300);
        let mut maker = Packer::default();
        let packed = maker.pack(std::iter::once(&plain[..])).expect("shorter").to_vec();
        let mut out = Vec::new();
        for len in [0, 1, 5299, 5301, 100_000] {
            assert!(unpack(&packed, len, &mut out).is_err(), "{len}");
        }
        for cut in 0..packed.len() {
            assert!(unpack(&packed[..cut], 5300, &mut out).is_err(), "{cut}");
        }
        for at in 0..packed.len() {
            let mut bad = packed.clone();
            bad[at] ^= 0xff;
            if let Ok(out) = unpack(&bad, 5300, &mut out) {
                assert_eq!(out.len(), 5300, "byte {at}");
            }
        }
    }
}
