//! Images that lie: each lie has its name, and none is believed.

use gannet_hnsw::{
    Allowed, BuildScratch, Code, CodeChoice, Executor, Graph, GraphFault, Image, LinkFault, Metric,
    Params, ParamsError,
};
use proptest::prelude::*;
use proptest::sample::Index;

use crate::data::{Vectors, cases, image, params};
use crate::image::{HEADER_LEN, seal};

const ROWS: u32 = 200;

fn sample() -> (Vectors, Params, Vec<u8>) {
    let vectors = Vectors::clustered(41, ROWS, 5, 4);
    let params = Params { m: 3, ..params(5, Metric::L2) };
    let bytes = image(&vectors.graph_on(params.clone(), &Executor::Serial));
    (vectors, params, bytes)
}

/// Where slot `slot` of the list of `row` on layer 0 stands.
fn base_at(row: u32, slot: usize) -> usize {
    let starts_end = HEADER_LEN + 4 * (ROWS as usize + 1);
    starts_end.next_multiple_of(64) + (row as usize * 6 + slot) * 4
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

/// The fault of the sample after `change` and new checksums.
#[track_caller]
fn fault(change: impl FnOnce(&mut Vec<u8>)) -> GraphFault {
    let (_, params, mut bytes) = sample();
    change(&mut bytes);
    if bytes.len() >= HEADER_LEN {
        seal(&mut bytes);
    }
    let fault = Graph::decode(&bytes, ROWS, &params).expect_err("a lie");
    let text = fault.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
    for image in [Image::new(bytes.clone()), Image::verified(bytes)] {
        for threads in [1, 2] {
            let executor = Executor::threads(threads).unwrap();
            assert_eq!(Graph::view(&image, ROWS, &params, &executor).expect_err("a lie"), fault);
        }
    }
    fault
}

#[test]
fn any_cut_is_noticed() {
    let (_, params, bytes) = sample();
    let needed = bytes.len() as u64;
    for len in (0..bytes.len()).step_by(13).chain([127, 128, bytes.len() - 1]) {
        let found = len as u64;
        let needed = if len < HEADER_LEN { HEADER_LEN as u64 } else { needed };
        let fault = Graph::decode(&bytes[..len], ROWS, &params).unwrap_err();
        assert_eq!(fault, GraphFault::Truncated { needed, found });
    }
}

#[test]
fn any_flipped_bit_is_noticed() {
    let (_, params, mut bytes) = sample();
    for at in 0..bytes.len() {
        bytes[at] ^= 1 << (at % 8);
        assert!(Graph::decode(&bytes, ROWS, &params).is_err(), "byte {at}");
        bytes[at] ^= 1 << (at % 8);
    }
    assert!(Graph::decode(&bytes, ROWS, &params).is_ok());
}

#[test]
fn the_outside_is_checked_first() {
    let len = sample().2.len() as u64;
    let oversized = GraphFault::Oversized { expected: len, found: len + 64 };
    assert_eq!(fault(|b| b.extend([0; 64])), oversized);
    assert!(matches!(fault(|b| b[7] = b'X'), GraphFault::Magic { .. }));
    assert!(matches!(fault(|b| b.fill(0)), GraphFault::Magic { found: [0, 0, 0, 0, 0, 0, 0, 0] }));
    assert_eq!(fault(|b| b[8] = 2), GraphFault::Version { found: 2 });
    assert_eq!(fault(|b| b[47] = 9), GraphFault::Padding { offset: 47, found: 9 });
    assert_eq!(fault(|b| b[100] = 1), GraphFault::Padding { offset: 100, found: 1 });
    assert_eq!(
        fault(|b| b[base_at(0, 0) - 1] = 7),
        GraphFault::Padding { offset: base_at(0, 0) as u64 - 1, found: 7 },
    );
    let padded = GraphFault::Padding { offset: len - 1, found: 1 };
    assert_eq!(fault(|b| *b.last_mut().unwrap() = 1), padded);
    assert_eq!(fault(|b| b[48] ^= 1), GraphFault::Length { found: len ^ 1, expected: len });
    for huge in [u32::MAX, 1 << 31, ROWS + 1] {
        let expect = GraphFault::Rows { found: huge, max: ROWS };
        assert_eq!(fault(|b| set(b, 36, huge)), expect);
        assert!(matches!(fault(|b| set(b, 40, huge)), GraphFault::Length { .. }));
    }
}

#[test]
fn checksums_cover_header_and_body() {
    let (_, params, bytes) = sample();
    let fault = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 16;
        match Graph::decode(&bytes, ROWS, &params) {
            Err(GraphFault::Checksum { part, .. }) => part,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((fault(12), fault(60), fault(127)), ("header", "header", "header"));
    assert_eq!((fault(HEADER_LEN), fault(bytes.len() - 1)), ("body", "body"));
    // Who says that the bytes were verified is believed of the body: another checksum covers it.
    let view = |at: usize| {
        let mut bytes = bytes.clone();
        bytes[at] ^= 16;
        Graph::view(&Image::verified(bytes), ROWS, &params, &Executor::Serial).map(drop)
    };
    assert!(matches!(view(60), Err(GraphFault::Checksum { part: "header", .. })));
    let is_of_body = |at| matches!(view(at), Err(GraphFault::Checksum { part: "body", .. }));
    assert!(!(HEADER_LEN..bytes.len()).step_by(97).any(is_of_body));
}

#[test]
fn parameters_must_be_valid_and_those_expected() {
    let (_, params, bytes) = sample();
    let mut others = vec![params; 5];
    others[0].dims = 6;
    others[1].metric = Metric::Dot;
    others[2].m = 4;
    others[3].ef_construction += 1;
    others[4].seed ^= 1 << 63;
    let names = ["dims", "metric", "m", "ef_construction", "seed"];
    for (other, name) in others.iter().zip(names) {
        match Graph::decode(&bytes, ROWS, other) {
            Err(GraphFault::ParamsDiffer { field, found, expected }) => {
                assert_eq!(field, name);
                assert_ne!(found, expected);
            }
            found => panic!("{name}: {found:?}"),
        }
    }
    assert_eq!(fault(|b| b[30] = 0), GraphFault::Metric { found: 0 });
    assert_eq!(fault(|b| b[30] = 5), GraphFault::Metric { found: 5 });
    assert_eq!(fault(|b| b[44] = 5), GraphFault::Code { found: 5 });
    let chosen =
        |choice: CodeChoice, code, is_measured| GraphFault::Chosen { choice, code, is_measured };
    let none = Code::None;
    assert_eq!(fault(|b| b[45] = 1), chosen(none.into(), Code::Sq8, 0));
    assert_eq!(fault(|b| b[45] = 5), GraphFault::Code { found: 5 });
    assert_eq!(fault(|b| b[46] = 1), chosen(none.into(), none, 1));
    assert_eq!(fault(|b| b[44] = 255), chosen(CodeChoice::Auto, none, 0));
    assert_eq!(
        fault(|b| (b[44], b[45], b[46]) = (255, 3, 2)),
        chosen(CodeChoice::Auto, Code::Sq4, 2)
    );
    let source = ParamsError::Code { code: Code::Sq8, metric: Metric::Hamming };
    assert_eq!(fault(|b| (b[30], b[44]) = (4, 1)), GraphFault::Params { source });
    let source = ParamsError::Dims { found: 0 };
    assert_eq!(fault(|b| set(b, 12, 0)), GraphFault::Params { source });
}

/// Rows of a calibration, and its beam for a half.
type Measured = Option<(u32, Option<usize>)>;

#[test]
fn readings_are_of_rows_there_are_and_never_fall() {
    // Of 2,050 rows the first list is read, and the second is zero.
    let rows = 2050;
    let vectors = Vectors::clustered(42, rows, 2, 4);
    let params = Params { m: 2, ..params(2, Metric::L2) };
    let graph = vectors.graph_on(params.clone(), &Executor::Serial);
    let bytes = image(&graph);
    let decoded = |calibrated: u32, readings: &[(usize, u16)]| -> Result<Measured, GraphFault> {
        let mut bytes = bytes.clone();
        set(&mut bytes, 60, calibrated);
        for &(at, reading) in readings {
            bytes[at..at + 2].copy_from_slice(&reading.to_le_bytes());
        }
        seal(&mut bytes);
        let read = Graph::decode(&bytes, rows, &params)?;
        assert!(image(&read) == bytes);
        Ok(read.calibration().map(|found| (found.rows(), found.ef(10, 0.5))))
    };
    let fault = |calibrated, readings| decoded(calibrated, readings).expect_err("a lie");
    assert_eq!(decoded(0, &[]), Ok(None));
    assert_eq!(decoded(2048, &[]), Ok(Some((2048, None))));
    assert_eq!(decoded(2050, &[(86, 40_000)]), Ok(Some((2050, Some(489)))));
    // Rows that have left were there when it was measured.
    assert_eq!(decoded(2051, &[]), Ok(Some((2051, None))));
    for found in [1, 2047, (1 << 31) + 1, u32::MAX] {
        assert_eq!(fault(found, &[]), GraphFault::CalibratedRows { found, rows });
    }
    assert_eq!(fault(0, &[(86, 1)]), GraphFault::Padding { offset: 86, found: 1 });
    assert_eq!(fault(2048, &[(100, 1)]), GraphFault::Padding { offset: 100, found: 1 });
    assert_eq!(fault(2048, &[(106, 1)]), GraphFault::Padding { offset: 106, found: 1 });
    let falls = GraphFault::Readings { offset: 64, found: 2, next: 0 };
    assert_eq!(fault(2048, &[(64, 2)]), falls);
    let text = falls.to_string();
    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
}

#[test]
fn upper_lists_follow_one_another_on_layers_there_are() {
    let start_at = |row: u32| HEADER_LEN + 4 * row as usize;
    let (_, _, bytes) = sample();
    let start = |row: u32| word(&bytes, start_at(row));
    let layers = |row, found, (least, most)| GraphFault::Layers { row, found, least, most };
    assert_eq!(fault(|b| set(b, start_at(0), 1)), layers(0, 1, (0, 0)));
    // A row that begins later than the next one.
    let row = (0..ROWS).find(|&row| start(row) > 0 && start(row) == start(row + 1)).unwrap();
    let (found, later) = (start(row + 1), start(row) + 1);
    let falls = fault(|b| set(b, start_at(row), later));
    assert_eq!(falls, layers(row + 1, found, (later, later + 15)));
    // A row of 16 layers above the lowest, of 15, and of as many as can be written.
    let (least, most) = (start(row), start(row) + 15);
    for found in [most + 1, u32::MAX] {
        let high = fault(|b| set(b, start_at(row + 1), found));
        assert_eq!(high, layers(row + 1, found, (least, most)));
    }
    let highest = fault(|b| set(b, start_at(row + 1), most));
    assert_eq!(highest, layers(row + 2, start(row + 2), (most, most + 15)));
    // The last row has fewer lists, or more, than the header leaves it.
    let end = start(ROWS);
    for found in [end - 1, end + 1] {
        // No row falls.
        let mut rows = (0..=ROWS).rev().take_while(|&row| start(row) > found);
        let wrong = fault(|b| {
            rows.by_ref().for_each(|row| set(b, start_at(row), found));
            set(b, start_at(ROWS), found);
        });
        assert_eq!(wrong, layers(ROWS, found, (end, end)));
    }
    let more = fault(|b| {
        // One upper list more than there are, with the length to match.
        set(b, 40, end + 1);
        let end = base_at(ROWS, 0).next_multiple_of(64) + 12 * (end as usize + 1);
        b.resize(end.next_multiple_of(64), 0);
        let len = u32::try_from(b.len()).unwrap();
        set(b, 48, len);
    });
    assert_eq!(more, layers(ROWS, end, (end + 1, end + 1)));
}

#[test]
fn the_entry_point_is_the_lowest_row_of_the_top_layer() {
    let (_, _, bytes) = sample();
    let (row, layer) = (word(&bytes, 32), bytes[31]);
    for (found_row, found_layer) in [(row + 1, layer), (row, layer + 1), (u32::MAX, 0), (0, 255)] {
        let found = fault(|b| {
            set(b, 32, found_row);
            b[31] = found_layer;
        });
        let (expected_row, expected_layer) = (row, layer);
        let expect = GraphFault::Entry { found_row, found_layer, expected_row, expected_layer };
        assert_eq!(found, expect);
    }
}

#[test]
fn links_must_be_to_other_rows_of_the_layer_once_each() {
    #[track_caller]
    fn check(slot: usize, link: u32, why: LinkFault) {
        let found = fault(|b| set(b, base_at(7, slot), link));
        assert_eq!(found, GraphFault::Link { row: 7, layer: 0, slot, link, why });
    }
    let (_, _, bytes) = sample();
    let links: Vec<u32> = (0..6).map(|slot| word(&bytes, base_at(7, slot))).collect();
    assert!(links[0] < ROWS && links[1] < ROWS, "{links:?}");
    check(0, ROWS, LinkFault::OutOfRange);
    check(1, u32::MAX - 1, LinkFault::OutOfRange);
    check(0, 7, LinkFault::ToItself);
    check(1, links[0], LinkFault::Duplicate);
    let after = fault(|b| set(b, base_at(7, 0), u32::MAX));
    let (link, why) = (links[1], LinkFault::AfterEnd);
    assert_eq!(after, GraphFault::Link { row: 7, layer: 0, slot: 1, link, why });
}

#[test]
fn upper_links_stay_on_their_layer() {
    let (_, _, bytes) = sample();
    let start = |row: u32| word(&bytes, HEADER_LEN + 4 * row as usize);
    let low = (0..ROWS).find(|&row| start(row) == start(row + 1)).expect("a row of layer 0");
    let high = (0..ROWS).find(|&row| start(row) < start(row + 1)).expect("a row of layer 1");
    let at = base_at(ROWS, 0).next_multiple_of(64) + 12 * start(high) as usize;
    let found = fault(|b| set(b, at, low));
    let why = LinkFault::OffLayer;
    assert_eq!(found, GraphFault::Link { row: high, layer: 1, slot: 0, link: low, why });
}

/// Row numbers of [`holed`] that are of no row.
const HOLES: [u32; 3] = [5, 64, 130];

/// A graph of codes from which some rows have left: the last section says which.
fn holed() -> (Params, Vec<u8>) {
    let vectors = Vectors::clustered(43, ROWS, 5, 4).coded(Code::Sq8);
    let params = Params { m: 3, ..vectors.params(Metric::L2) };
    let exec = Executor::Serial;
    let mut graph = vectors.graph_on(params.clone(), &exec);
    vectors.with_rows(|rows| graph.remove_batch(rows, &HOLES, &exec, &mut BuildScratch::new()));
    (params, image(&graph))
}

#[test]
fn holes_are_as_many_as_said_and_empty() {
    let (params, bytes) = holed();
    let fault = |change: &dyn Fn(&mut [u8])| {
        let mut bytes = bytes.clone();
        change(&mut bytes);
        seal(&mut bytes);
        let fault = Graph::decode(&bytes, ROWS, &params).expect_err("a lie");
        let text = fault.to_string();
        assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
        fault
    };
    // The section is the last one, of one cache line.
    let members_at = bytes.len() - 64;
    let code_len = Code::Sq8.len_bytes(5);
    let codes_at = members_at - (code_len * ROWS as usize).next_multiple_of(64);
    assert_eq!((word(&bytes, 102), bytes[members_at]), (3, 0b1101_1111));

    let len = bytes.len() as u64;
    let length = GraphFault::Length { found: len, expected: len - 64 };
    assert_eq!(fault(&|b| set(b, 102, 0)), length);
    for expected in [1, 2, 4, ROWS, u32::MAX] {
        let holes = GraphFault::Holes { found: 3, expected };
        assert_eq!(fault(&|b| set(b, 102, expected)), holes);
    }
    assert_eq!(fault(&|b| b[members_at] |= 1 << 5), GraphFault::Holes { found: 2, expected: 3 });
    assert_eq!(
        fault(&|b| b[members_at + 25] = 1),
        GraphFault::LastMember { found: Some(ROWS), rows: ROWS },
    );
    assert_eq!(
        fault(&|b| b[members_at + 24] = 0x7f),
        GraphFault::LastMember { found: Some(ROWS - 2), rows: ROWS },
    );
    let none = GraphFault::LastMember { found: None, rows: ROWS };
    assert_eq!(fault(&|b| b[members_at..members_at + 32].fill(0)), none);
    let padding = GraphFault::Padding { offset: members_at as u64 + 32, found: 1 };
    assert_eq!(fault(&|b| b[members_at + 32] = 1), padding);

    for row in HOLES {
        let (slot, link, layer) = (0, 7, 0);
        let why = LinkFault::FromHole;
        let from = fault(&|b| set(b, base_at(row, slot), link));
        assert_eq!(from, GraphFault::Link { row, layer, slot, link, why });
        let why = LinkFault::ToHole;
        let to = fault(&|b| set(b, base_at(7, slot), row));
        assert_eq!(to, GraphFault::Link { row: 7, layer, slot, link: row, why });
        let at = codes_at + code_len * row as usize + 3;
        let code = fault(&|b| b[at] = 9);
        assert_eq!(code, GraphFault::HoleCode { row, offset: at as u64, found: 9 });
    }
    // Of an entry point that has left, the next one stands in.
    let entry = word(&bytes, 32);
    let found = fault(&|b| b[members_at + entry as usize / 8] &= !(1 << (entry % 8)));
    assert!(matches!(found, GraphFault::Holes { found: 4, .. }), "{found:?}");
    let found = fault(&|b| {
        b[members_at + entry as usize / 8] &= !(1 << (entry % 8));
        set(b, 102, 4);
    });
    assert!(matches!(found, GraphFault::Entry { found_row, .. } if found_row == entry));
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn whatever_is_accepted_can_be_searched(
        changes in prop::collection::vec((any::<Index>(), any::<u32>(), 0..4u8), 1..6),
        cut in prop::option::of(any::<Index>()),
        is_sealed: bool,
    ) {
        let (vectors, params, mut bytes) = sample();
        for (index, value, kind) in changes {
            let at = index.index(bytes.len() / 4) * 4;
            match kind {
                0 => set(&mut bytes, at, value),
                // A row number, or the end of a list: likely to be accepted.
                1 | 2 => set(&mut bytes, at, value % ROWS),
                _ => set(&mut bytes, at, u32::MAX),
            }
        }
        if let Some(cut) = cut.filter(|_| !is_sealed) {
            bytes.truncate(cut.index(bytes.len()));
        }
        if is_sealed {
            seal(&mut bytes);
        }
        if let Ok(graph) = Graph::decode(&bytes, ROWS, &params) {
            prop_assert_eq!(image(&graph), bytes);
            for query in [0, 50, ROWS - 1] {
                let query = vectors.row(query);
                let third = (0..ROWS).step_by(3).collect();
                for allowed in [Allowed::All, Allowed::Only(&third)] {
                    let (_, found) = vectors.search_by(&graph, query, 10, 30, allowed);
                    prop_assert!(found.iter().all(|found| found.row < ROWS));
                }
            }
        }
    }

    #[test]
    fn any_bytes_give_a_fault(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        prop_assert!(Graph::decode(&bytes, u32::MAX, &params(5, Metric::L2)).is_err());
    }
}
