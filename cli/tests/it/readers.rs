//! Vector files, good and hostile: what is read, and what each refusal says.

use std::fs;
use std::path::{Path, PathBuf};

use gannet_cli::vectors::{DIMS_MAX, NeighborLists, VectorFile, VectorFileError};
use tempfile::TempDir;

/// A file of that name and content in a directory of its own.
fn written(name: &str, bytes: &[u8]) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    fs::write(&path, bytes).unwrap();
    (dir, path)
}

/// Reads the whole file in batches of `batch` rows.
fn read_all(path: &Path, batch: usize) -> Result<(u64, u32, Vec<f32>), VectorFileError> {
    let mut file = VectorFile::open(path)?;
    let mut out = Vec::new();
    let dims = usize::try_from(file.dims()).unwrap();
    loop {
        let before = out.len();
        let read = file.read_rows(batch, &mut out)?;
        assert_eq!(out.len() - before, read * dims, "{}", path.display());
        if read == 0 {
            assert_eq!(file.next_row(), file.rows());
            return Ok((file.rows(), file.dims(), out));
        }
    }
}

/// The file reads as `rows` x `dims` of `expect`, in batches of any size, and after any skip.
#[track_caller]
fn check_good(name: &str, bytes: &[u8], rows: u64, dims: u32, expect: &[f32]) {
    let (_dir, path) = written(name, bytes);
    for batch in [1, 2, 3, 1000, usize::MAX] {
        let found = read_all(&path, batch).unwrap();
        assert_eq!(found, (rows, dims, expect.to_vec()), "{name} by {batch}");
    }
    for skip in 0..=rows + 2 {
        let mut file = VectorFile::open(&path).unwrap();
        let mut out = Vec::new();
        file.skip_rows(skip).unwrap();
        file.read_rows(usize::MAX, &mut out).unwrap();
        let start = usize::try_from(skip.min(rows) * u64::from(dims)).unwrap();
        assert_eq!(out, expect[start..], "{name} after {skip} rows");
    }
}

/// The file is refused, when it is opened or read, with this and nothing else.
#[track_caller]
fn check_refused(name: &str, bytes: &[u8], expect: &str) {
    let (_dir, path) = written(name, bytes);
    let error = read_all(&path, 2).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: {expect}", path.display()));
    assert!(!error.to_string().contains('\n'));
}

/// Header and rows of the big-ann layout.
fn bin(rows: u32, dims: u32, body: &[u8]) -> Vec<u8> {
    [&rows.to_le_bytes(), &dims.to_le_bytes(), body].concat()
}

/// A `.npy` file of version 1.0 around a dictionary.
fn npy(dictionary: &str, body: &[u8]) -> Vec<u8> {
    let len = u16::try_from(dictionary.len()).unwrap();
    [b"\x93NUMPY\x01\x00", &len.to_le_bytes()[..], dictionary.as_bytes(), body].concat()
}

/// The dictionary as NumPy writes it.
fn dictionary(descr: &str, fortran: bool, shape: &str) -> String {
    let fortran = if fortran { "True" } else { "False" };
    format!("{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}\n")
}

fn f32s(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Rows of a `*vecs` file: each its dimension and its bytes.
fn vecs(rows: &[(i32, &[u8])]) -> Vec<u8> {
    rows.iter().flat_map(|(dims, body)| [&dims.to_le_bytes(), *body].concat()).collect()
}

#[test]
fn the_big_ann_layouts_are_read() {
    let values = [1.0, -2.5, 0.0, 3.25e30, -0.0, 7.0];
    check_good("a.fbin", &bin(3, 2, &f32s(&values)), 3, 2, &values);
    check_good("a.fbin", &bin(1, 6, &f32s(&values)), 1, 6, &values);
    check_good("a.U8BIN", &bin(2, 2, &[0, 255, 7, 128]), 2, 2, &[0.0, 255.0, 7.0, 128.0]);
}

#[test]
fn the_texmex_layouts_are_read() {
    let (one, two) = (f32s(&[1.0, 2.0]), f32s(&[-3.0, 4.5]));
    check_good("a.fvecs", &vecs(&[(2, &one), (2, &two)]), 2, 2, &[1.0, 2.0, -3.0, 4.5]);
    check_good("a.bvecs", &vecs(&[(3, &[1, 2, 3])]), 1, 3, &[1.0, 2.0, 3.0]);
    let ints: Vec<u8> = [-7_i32, 1 << 24].iter().flat_map(|value| value.to_le_bytes()).collect();
    check_good(
        "a.ivecs",
        &vecs(&[(2, &ints), (2, &ints)]),
        2,
        2,
        &[-7., 16_777_216., -7., 16_777_216.],
    );
}

#[test]
fn a_numpy_matrix_is_read_whatever_numbers_it_holds() {
    let expect = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let body = |wide: fn(u8) -> Vec<u8>| (1..=6).flat_map(wide).collect::<Vec<u8>>();
    let kinds: [(&str, Vec<u8>); 10] = [
        ("<f4", body(|v| f32::from(v).to_le_bytes().to_vec())),
        ("<f8", body(|v| f64::from(v).to_le_bytes().to_vec())),
        ("|u1", body(|v| vec![v])),
        ("|i1", body(|v| vec![v])),
        ("<u2", body(|v| u16::from(v).to_le_bytes().to_vec())),
        ("<i2", body(|v| i16::from(v).to_le_bytes().to_vec())),
        ("<u4", body(|v| u32::from(v).to_le_bytes().to_vec())),
        ("<i4", body(|v| i32::from(v).to_le_bytes().to_vec())),
        ("<u8", body(|v| u64::from(v).to_le_bytes().to_vec())),
        ("<i8", body(|v| i64::from(v).to_le_bytes().to_vec())),
    ];
    for (descr, body) in kinds {
        let file = npy(&dictionary(descr, false, "(2, 3)"), &body);
        check_good("a.npy", &file, 2, 3, &expect);
    }
}

#[test]
fn every_version_of_the_numpy_header_is_read() {
    let text = dictionary("<f4", false, "(1, 2)");
    for version in [2, 3] {
        let len = u32::try_from(text.len()).unwrap().to_le_bytes();
        let head = [b"\x93NUMPY", &[version, 0][..], &len, text.as_bytes()].concat();
        check_good("a.npy", &[head, f32s(&[1.0, 2.0])].concat(), 1, 2, &[1.0, 2.0]);
    }
}

#[test]
fn a_numpy_header_made_by_another_library_is_read() {
    use npyz::WriterBuilder;
    let mut file = Vec::new();
    let mut writer = npyz::WriteOptions::new()
        .default_dtype()
        .shape(&[2, 2])
        .writer(&mut file)
        .begin_nd()
        .unwrap();
    writer.extend([1.0_f32, 2.0, 3.0, 4.0]).unwrap();
    writer.finish().unwrap();
    check_good("a.npy", &file, 2, 2, &[1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn fortran_order_is_refused_unless_it_makes_no_difference() {
    let body = f32s(&[1.0, 2.0, 3.0, 4.0]);
    let file = npy(&dictionary("<f4", true, "(2, 2)"), &body);
    let refusal = "the .npy array is in Fortran order; save it with numpy.ascontiguousarray";
    check_refused("a.npy", &file, refusal);
    check_good("a.npy", &npy(&dictionary("<f4", true, "(4, 1)"), &body), 4, 1, &[1., 2., 3., 4.]);
    check_good("a.npy", &npy(&dictionary("<f4", true, "(1, 4)"), &body), 1, 4, &[1., 2., 3., 4.]);
}

#[test]
fn numpy_arrays_that_are_no_matrix_of_numbers_are_refused() {
    let check = |descr: &str, shape: &str, expect: &str| {
        check_refused("a.npy", &npy(&dictionary(descr, false, shape), &[0; 8]), expect);
    };
    let types = "floats of 4 or 8 bytes and integers can be read";
    let big = "the .npy array is big-endian; save it with .astype(array.dtype.newbyteorder('<'))";
    check(">f4", "(1, 2)", big);
    check("<f2", "(2, 2)", &format!("the .npy array holds '<f2'; {types}"));
    check("|b1", "(2, 2)", &format!("the .npy array holds '|b1'; {types}"));
    check("<c8", "(1, 1)", &format!("the .npy array holds '<c8'; {types}"));
    check("|O", "(1, 1)", &format!("the .npy array holds '|O'; {types}"));
    check("<f4", "(2,)", "the .npy array has 1 axes, two are needed (rows, dimensions)");
    check("<f4", "()", "the .npy array has 0 axes, two are needed (rows, dimensions)");
    check("<f4", "(2, 1, 1)", "the .npy array has 3 axes, two are needed (rows, dimensions)");
    check("nonsense", "(2, 1)", "not a .npy header");
    check("<f4", "2", "not a .npy header");
}

#[test]
fn a_hostile_numpy_header_is_refused_before_it_costs_anything() {
    let plain = |reason| format!("the .npy header is not that of a plain matrix: {reason}");
    let nested = plain("it describes structured or nested data");
    let check = |text: &str, expect: &str| check_refused("a.npy", &npy(text, &[0; 8]), expect);
    check(&"[".repeat(200), &nested);
    check(&"{".repeat(200), &nested);
    check(&"(".repeat(200), &nested);
    check("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (1,), }", &nested);
    let digits = plain("its shape is larger than any file");
    check(&dictionary("<f4", false, "(18446744073709551615, 2)"), &digits);
    check(&dictionary("<f4", false, &format!("({}, 2)", "9".repeat(9_000))), &digits);
    let tuple = plain("its shape is not a tuple of decimal numbers");
    check(&dictionary("<f4", false, "(-1, 2)"), &tuple);
    check(&dictionary("<f4", false, "(0xFFFFFFFFFFFFFFFF, 0xFF)"), &tuple);
    check("", "not a .npy header");
    check("{}", "not a .npy header");
    check("\u{ff}\u{fe}", "not a .npy header");

    let long = [b"\x93NUMPY\x02\x00", &u32::MAX.to_le_bytes()[..], &[b' '; 64]].concat();
    check_refused("a.npy", &long, &plain("it is longer than 16 KiB"));
    let cut = [b"\x93NUMPY\x02\x00", &1000_u32.to_le_bytes()[..], &[b' '; 64]].concat();
    let short = "ends inside its header: 76 bytes where at least 1012 are needed";
    check_refused("a.npy", &cut, short);
    check_refused("a.npy", b"\x93NUMPZ\x01\x00\x00\x00", "not a .npy header");
    check_refused("a.npy", b"\x93NUMPY\x09\x00\x00\x00\x00\x00", "not a .npy header");
}

#[test]
fn a_header_that_promises_more_than_the_file_holds_is_refused() {
    let check = |name: &str, bytes: &[u8], rows: u64, dims: u64, promised: u128| {
        let expect = format!(
            "header promises {rows} rows of {dims} dimensions, {promised} bytes in all, \
             but the file has {} bytes",
            bytes.len()
        );
        check_refused(name, bytes, &expect);
    };
    check("a.fbin", &bin(3, 2, &f32s(&[1.0; 5])), 3, 2, 32);
    check(
        "a.u8bin",
        &bin(u32::MAX, 65_536, &[0; 100]),
        u32::MAX.into(),
        65_536,
        281_474_976_645_128,
    );
    let huge = npy(&dictionary("<f8", false, "(99999999999999, 65536)"), &[0; 16]);
    let head = huge.len() as u128 - 16;
    check("a.npy", &huge, 99_999_999_999_999, 65_536, head + 99_999_999_999_999 * 65_536 * 8);
}

#[test]
fn a_file_longer_than_its_header_is_refused() {
    let expect = "header promises 12 bytes in all, but the file has 13: 2 rows";
    check_refused("a.u8bin", &bin(2, 2, &[0; 5]), expect);
}

#[test]
fn a_truncated_file_is_refused_at_every_length() {
    let good: [(&str, Vec<u8>); 4] = [
        ("a.fbin", bin(2, 2, &f32s(&[1.0; 4]))),
        ("a.u8bin", bin(2, 3, &[1; 6])),
        ("a.npy", npy(&dictionary("<f4", false, "(2, 2)"), &f32s(&[1.0; 4]))),
        ("a.fvecs", vecs(&[(2, &f32s(&[1.0; 2]))])),
    ];
    for (name, bytes) in good {
        for len in 0..bytes.len() {
            let (_dir, path) = written(name, &bytes[..len]);
            assert!(read_all(&path, 10).is_err(), "{name} cut to {len} bytes");
        }
    }
    let two = vecs(&[(2, &f32s(&[1.0; 2])), (2, &f32s(&[1.0; 2]))]);
    check_refused("a.fvecs", &two[..23], "ends inside row 1: 1 bytes are missing");
    check_refused(
        "a.fvecs",
        &two[..3],
        "ends inside its header: 3 bytes where at least 4 are needed",
    );
}

#[test]
fn a_file_of_no_rows_is_refused() {
    for name in ["a.fvecs", "a.bvecs", "a.ivecs"] {
        check_refused(name, &[], "holds no rows");
    }
    check_refused("a.fbin", &bin(0, 16, &[]), "holds no rows");
    check_refused("a.npy", &npy(&dictionary("<f4", false, "(0, 16)"), &[]), "holds no rows");
    let short = "ends inside its header: 0 bytes where at least 8 are needed";
    check_refused("a.u8bin", &[], short);
}

#[test]
fn impossible_dimensions_are_refused() {
    let dims = |found: i64| {
        format!("says that its rows have {found} dimensions; 1 to {DIMS_MAX} are possible")
    };
    check_refused("a.fbin", &bin(1, 0, &[]), &dims(0));
    check_refused("a.fbin", &bin(1, 65_537, &[]), &dims(65_537));
    check_refused("a.u8bin", &bin(1, u32::MAX, &[]), &dims(u32::MAX.into()));
    check_refused("a.fvecs", &vecs(&[(0, &[])]), &dims(0));
    check_refused("a.fvecs", &vecs(&[(-3, &[])]), &dims(-3));
    check_refused("a.ivecs", &vecs(&[(i32::MAX, &[0; 64])]), &dims(i32::MAX.into()));
    let wide = npy(&dictionary("|u1", false, "(1, 9999999999999999999)"), &[0; 64]);
    check_refused(
        "a.npy",
        &wide,
        "the .npy header is not that of a plain matrix: \
        its shape is larger than any file",
    );
    let wide = npy(&dictionary("|u1", false, "(1, 999999999999999999)"), &[0; 64]);
    check_refused("a.npy", &wide, &dims(999_999_999_999_999_999));
}

#[test]
fn the_widest_row_is_read() {
    let dims = DIMS_MAX;
    let values = vec![2.0; dims as usize * 3];
    check_good("a.fbin", &bin(3, dims, &f32s(&values)), 3, dims, &values);
}

#[test]
fn a_row_of_another_dimension_is_named() {
    let one = f32s(&[1.0, 2.0]);
    let file = vecs(&[(2, &one), (3, &one), (2, &one)]);
    check_refused("a.fvecs", &file, "row 1 has 3 dimensions, row 0 has 2");
    let file = vecs(&[(2, &one), (2, &one), (-1, &one)]);
    check_refused("a.fvecs", &file, "row 2 has -1 dimensions, row 0 has 2");
}

#[test]
fn a_number_that_f32_cannot_hold_is_named() {
    let ints: Vec<u8> = [0_i32, 16_777_217].iter().flat_map(|value| value.to_le_bytes()).collect();
    let expect = "row 1, component 1: the value does not fit a 32-bit float";
    check_refused("a.ivecs", &vecs(&[(2, &[0; 8]), (2, &ints)]), expect);
    let body = [0.0_f64, 0.0, 0.0, 1e39].map(f64::to_le_bytes).concat();
    check_refused("a.npy", &npy(&dictionary("<f8", false, "(2, 2)"), &body), expect);
}

#[test]
fn values_that_are_not_finite_pass_the_reader_for_the_engine_to_refuse() {
    let (_dir, path) = written("a.fbin", &bin(1, 2, &f32s(&[f32::NAN, f32::INFINITY])));
    let (_, _, values) = read_all(&path, 1).unwrap();
    assert!(values[0].is_nan() && values[1].is_infinite());
}

#[test]
fn unknown_extensions_and_things_that_are_no_files_are_refused() {
    let unknown = "unknown extension (known: .npy .fvecs .bvecs .ivecs .fbin .u8bin)";
    for name in ["a.csv", "a", "npy", "a.npy.gz", ".fbin"] {
        check_refused(name, &bin(1, 1, &[0; 4]), unknown);
    }
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.npy");
    let error = VectorFile::open(&missing).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: cannot open", missing.display()));
    assert!(std::error::Error::source(&error).is_some(), "the system's reason is kept");
    let folder = dir.path().join("folder.npy");
    fs::create_dir(&folder).unwrap();
    let error = VectorFile::open(&folder).unwrap_err();
    assert_eq!(error.to_string(), format!("{}: not a regular file", folder.display()));
}

#[test]
fn a_file_that_shrinks_under_the_reader_is_refused() {
    let (_dir, path) = written("a.fbin", &bin(3, 2, &f32s(&[1.0; 6])));
    let mut file = VectorFile::open(&path).unwrap();
    let mut out = Vec::new();
    assert_eq!(file.read_rows(1, &mut out).unwrap(), 1);
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(20).unwrap();
    let error = file.read_rows(2, &mut out).unwrap_err();
    let expect = format!("{}: became shorter while it was read, at row 1", path.display());
    assert_eq!(error.to_string(), expect);
}

#[test]
fn neighbor_lists_come_back_as_they_were_written() {
    let mut lists = NeighborLists::new();
    assert!(lists.is_empty());
    for list in [&[3, 1, 2][..], &[], &[i32::MAX as u64]] {
        lists.push(list.iter().copied()).unwrap();
    }
    assert_eq!(lists.push([5, 1 << 31]), Err(1 << 31));
    assert_eq!(lists.len(), 3);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("found.ivecs");
    lists.write(&path).unwrap();
    let back = NeighborLists::read(&path).unwrap();
    assert_eq!(back, lists);
    assert_eq!((back.list(0), back.list(1)), (&[3, 1, 2][..], &[][..]));
}

#[test]
fn hostile_neighbor_lists_are_refused() {
    let check = |bytes: &[u8], expect: &str| {
        let (_dir, path) = written("truth.ivecs", bytes);
        let error = NeighborLists::read(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: {expect}", path.display()));
    };
    check(&[], "holds no rows");
    check(&vecs(&[(1, &[0; 4]), (-1, &[])]), "row 1 says that it has -1 ids");
    check(&vecs(&[(i32::MAX, &[0; 4])]), "ends inside row 0: 8589934584 bytes are missing");
    check(&vecs(&[(1, &[0; 4]), (1, &[])]), "ends inside row 1: 4 bytes are missing");
    check(&[0, 0, 0], "ends inside row 0: 1 bytes are missing");
    let negative = vecs(&[(1, &(-2_i32).to_le_bytes())]);
    check(&negative, "row 0 names the id -2; ids are row numbers from 0");
    let (_dir, path) = written("truth.fvecs", &[]);
    let error = NeighborLists::read(&path).unwrap_err();
    assert!(error.to_string().ends_with("neighbour lists are read from .ivecs files only"));
}
