//! The numbers a vector file is made of, and how they become `f32`.

/// The type of one component in a file, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F64,
    I8,
    U8,
    I16,
    U16,
    I32,
    U32,
    I64,
    U64,
}

impl Element {
    /// Bytes of one component.
    pub(super) const fn size_bytes(self) -> usize {
        match self {
            Self::I8 | Self::U8 => 1,
            Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Appends the components in `bytes` to `out`.
    ///
    /// Integers must be held exactly by an `f32`; 64-bit floats are rounded to the nearest. `Err`
    /// is the index of the first component that does not fit; `out` then holds those before it.
    ///
    /// # Panics
    /// If `bytes` is not a whole number of components: the caller reads whole rows.
    pub(super) fn decode(self, bytes: &[u8], out: &mut Vec<f32>) -> Result<(), usize> {
        assert!(bytes.len().is_multiple_of(self.size_bytes()), "{} bytes of {self:?}", bytes.len());
        match self {
            Self::F32 => each(bytes, out, |b| Some(f32::from_le_bytes(b))),
            Self::F64 => each(bytes, out, |b| narrow(f64::from_le_bytes(b))),
            Self::I8 => each(bytes, out, |b| Some(f32::from(i8::from_le_bytes(b)))),
            Self::U8 => each(bytes, out, |b| Some(f32::from(u8::from_le_bytes(b)))),
            Self::I16 => each(bytes, out, |b| Some(f32::from(i16::from_le_bytes(b)))),
            Self::U16 => each(bytes, out, |b| Some(f32::from(u16::from_le_bytes(b)))),
            Self::I32 => each(bytes, out, |b| exact(i128::from(i32::from_le_bytes(b)))),
            Self::U32 => each(bytes, out, |b| exact(i128::from(u32::from_le_bytes(b)))),
            Self::I64 => each(bytes, out, |b| exact(i128::from(i64::from_le_bytes(b)))),
            Self::U64 => each(bytes, out, |b| exact(i128::from(u64::from_le_bytes(b)))),
        }
    }
}

/// Decodes every `N` bytes and stops at the first that do not fit, saying which they were.
fn each<const N: usize>(
    bytes: &[u8],
    out: &mut Vec<f32>,
    decode: impl Fn([u8; N]) -> Option<f32>,
) -> Result<(), usize> {
    let (components, _) = bytes.as_chunks::<N>();
    out.reserve(components.len());
    for (index, &component) in components.iter().enumerate() {
        out.push(decode(component).ok_or(index)?);
    }
    Ok(())
}

/// The nearest `f32`; none for a finite value that would become infinite.
fn narrow(wide: f64) -> Option<f32> {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to the nearest is what is meant")]
    let narrow = wide as f32;
    (narrow.is_finite() || !wide.is_finite()).then_some(narrow)
}

/// The same number as an `f32`, if there is one.
fn exact(integer: i128) -> Option<f32> {
    #[expect(clippy::cast_precision_loss, reason = "the way back shows whether anything was lost")]
    let float = integer as f32;
    #[expect(clippy::cast_possible_truncation, reason = "an f32 made of 64 bits fits in 128")]
    let back = float as i128;
    (back == integer).then_some(float)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(element: Element, bytes: &[u8]) -> Result<Vec<f32>, usize> {
        let mut out = Vec::new();
        element.decode(bytes, &mut out).map(|()| out)
    }

    #[test]
    fn every_type_decodes_its_extremes() {
        let check = |element, bytes: &[u8], expect: &[f32]| {
            assert_eq!(decoded(element, bytes).as_deref(), Ok(expect), "{element:?}");
        };
        check(
            Element::F32,
            &[1.5_f32.to_le_bytes(), (-0.0_f32).to_le_bytes()].concat(),
            &[1.5, -0.0],
        );
        check(
            Element::F64,
            &[0.1_f64.to_le_bytes(), (-2.0_f64).to_le_bytes()].concat(),
            &[0.1, -2.0],
        );
        check(Element::I8, &[0x80, 0x7f], &[-128.0, 127.0]);
        check(Element::U8, &[0, 255], &[0.0, 255.0]);
        check(Element::I16, &i16::MIN.to_le_bytes(), &[-32_768.0]);
        check(Element::U16, &u16::MAX.to_le_bytes(), &[65_535.0]);
        check(Element::I32, &(-16_777_216_i32).to_le_bytes(), &[-16_777_216.0]);
        check(Element::U32, &0x8000_0000_u32.to_le_bytes(), &[2_147_483_648.0]);
        check(Element::I64, &i64::MIN.to_le_bytes(), &[-9_223_372_036_854_775_808.0]);
        check(Element::U64, &(1_u64 << 63).to_le_bytes(), &[9_223_372_036_854_775_808.0]);
    }

    #[test]
    fn an_integer_that_would_be_rounded_is_refused_with_its_place() {
        let two = [1_i32.to_le_bytes(), 16_777_217_i32.to_le_bytes()].concat();
        assert_eq!(decoded(Element::I32, &two), Err(1));
        assert_eq!(decoded(Element::U64, &u64::MAX.to_le_bytes()), Err(0));
        assert_eq!(decoded(Element::I64, &(i64::MAX - 1).to_le_bytes()), Err(0));
    }

    #[test]
    fn a_wide_float_beyond_the_range_is_refused_and_infinity_stays_infinity() {
        assert_eq!(decoded(Element::F64, &1e300_f64.to_le_bytes()), Err(0));
        assert_eq!(decoded(Element::F64, &f64::INFINITY.to_le_bytes()), Ok(vec![f32::INFINITY]));
        let nan = decoded(Element::F64, &f64::NAN.to_le_bytes()).expect("a NaN is a float");
        assert!(nan[0].is_nan());
    }
}
