//! Digits drawn in a terminal: each character is two pixels by two, dark or light.

/// Pixels of a digit along one side, and in all.
const SIDE: usize = 28;
pub(super) const PIXELS: usize = SIDE * SIDE;
/// Pixels at each edge that are left out: they are almost always empty, and six digits beside
/// each other are to fit 80 columns.
const MARGIN: usize = 2;
/// Characters along one side of a drawing.
const CELLS: usize = (SIDE - 2 * MARGIN) / 2;
/// Of 0 to 255; from here on a pixel is ink.
const INK: f32 = 90.0;

/// The block of each set of inked quarters: upper left 8, upper right 4, lower left 2, lower
/// right 1.
const BLOCKS: [char; 16] = [
    ' ', '\u{2597}', '\u{2596}', '\u{2584}', '\u{259d}', '\u{2590}', '\u{259e}', '\u{259f}',
    '\u{2598}', '\u{259a}', '\u{258c}', '\u{2599}', '\u{2580}', '\u{259c}', '\u{259b}', '\u{2588}',
];

/// Draws digits in one row, each under its caption, 13 columns each.
///
/// # Panics
/// If one has not [`PIXELS`] pixels.
pub(super) fn side_by_side(digits: &[(String, Vec<f32>)]) -> String {
    let mut text = String::new();
    let mut line = |cells: &dyn Fn(usize) -> String| {
        let line: Vec<String> = (0..digits.len()).map(cells).collect();
        text.push_str(line.join(" ").trim_end());
        text.push('\n');
    };
    line(&|digit| format!("{:^CELLS$}", digits[digit].0));
    for row in 0..CELLS {
        line(&|digit| (0..CELLS).map(|column| block(&digits[digit].1, row, column)).collect());
    }
    text
}

fn block(pixels: &[f32], row: usize, column: usize) -> char {
    assert_eq!(pixels.len(), PIXELS, "a digit has {SIDE} x {SIDE} pixels");
    let (top, left) = (MARGIN + 2 * row, MARGIN + 2 * column);
    let quarters = [(0, 0), (0, 1), (1, 0), (1, 1)];
    let set = quarters.iter().fold(0, |set, (down, right)| {
        let inked = pixels[(top + down) * SIDE + left + right] >= INK;
        set * 2 + usize::from(inked)
    });
    BLOCKS[set]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digit_is_drawn_in_quarters() {
        let mut pixels = vec![0.0; PIXELS];
        let at = |row: usize, column: usize| (MARGIN + row) * SIDE + MARGIN + column;
        for (row, column) in [(0, 0), (0, 3), (1, 2), (2, 0), (2, 1), (23, 23)] {
            pixels[at(row, column)] = 255.0;
        }
        let text = side_by_side(&[("a".into(), pixels.clone()), ("b".into(), pixels)]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 1 + CELLS);
        assert_eq!(lines[0], "     a            b");
        assert_eq!(lines[1], "\u{2598}\u{259e}           \u{2598}\u{259e}");
        assert_eq!(lines[2], "\u{2580}            \u{2580}");
        assert_eq!(lines[12], "           \u{2597}            \u{2597}");
    }

    #[test]
    fn six_digits_fit_eighty_columns() {
        let digits = vec![("id 9999".to_string(), vec![255.0; PIXELS]); 6];
        let widest = side_by_side(&digits).lines().map(|line| line.chars().count()).max();
        assert_eq!(widest, Some(77));
    }
}
