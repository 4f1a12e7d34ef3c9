//! Patches: an image and what has changed since are the graph, byte for byte, and a patch that lies
//! is named and not believed.

use std::convert::Infallible;
use std::ops::ControlFlow;

use gannet_hnsw::{
    BuildScratch, Changed, Code, CodeChoice, Executor, Graph, GraphFault, GraphReader, Image,
    Metric, Params, PatchFault,
};

use crate::data::{Random, Vectors, image, pairs};
use crate::image::{HEADER_LEN, seal};
use crate::removal::{Live, some_of};

fn encode(graph: &Graph, changed: &Changed) -> Option<Vec<u8>> {
    let patch = graph.patch(changed)?;
    let mut bytes = Vec::new();
    let written = patch.encode_to(&mut |piece| {
        assert!(piece.len() <= 64 << 10);
        bytes.extend_from_slice(piece);
        Ok::<(), Infallible>(())
    });
    assert!(written.is_ok());
    assert_eq!(bytes.len() as u64, patch.encoded_len());
    Some(bytes)
}

fn read(base: &[u8], patches: &[Vec<u8>], rows: u32, expect: &Params) -> Result<Graph, GraphFault> {
    let mut reader = GraphReader::new(&Image::new(base.to_vec()), rows, expect)?;
    for patch in patches {
        reader = reader.patch(patch)?;
    }
    reader.finish(&Executor::Serial)
}

/// Rows join and leave, fill holes and leave gaps, and are numbered anew; after some steps the
/// graph is written, as a patch where it can be.
#[test]
fn an_image_and_its_patches_are_the_graph() {
    const ROWS: u32 = 260;
    let mut random = Random(11);
    let (mut patches_written, mut short) = (0, 0);
    for (seed, (metric, code)) in (0..).zip(pairs()) {
        let vectors = Vectors::clustered(seed, ROWS, 9, 7).coded(code).fit(metric);
        let m = [2, 3, 8][random.below(3) as usize];
        let params = Params { m, ef_construction: 12, seed, ..vectors.params(metric) };
        let mut live = Live::of(&vectors, Graph::new(params.clone()));
        live.join_all(&(0..150).collect::<Vec<u32>>());
        assert!(live.graph.take_changed().is_all(), "it was made");
        let (mut base, mut patches) = (image(&live.graph), Vec::new());
        let mut unsaved = Changed::none();
        for step in 0..60 {
            let told = format!("{metric} {code} {m}, step {step}");
            let most = 1 + random.below(6) as usize;
            match random.below(10) {
                0..4 => {
                    let end = ROWS.min(live.graph.len() + random.below(8));
                    let news = (0..end).filter(|row| !live.graph.contains(*row));
                    let joins = some_of(&mut random, news, most);
                    live.join(&joins);
                }
                4..7 => {
                    let members: Vec<u32> = live.graph.members().iter().collect();
                    let leaves = some_of(&mut random, members.into_iter(), most);
                    live.leave(&leaves);
                }
                // The highest rows, behind which rows come again.
                7 | 8 => {
                    let len = live.graph.len();
                    let low = len.saturating_sub(1 + random.below(12));
                    let leaves: Vec<u32> =
                        (low..len).filter(|row| live.graph.contains(*row)).collect();
                    live.leave(&leaves);
                }
                _ if step % 4 == 0 => {
                    let kept: Vec<u32> =
                        (0..live.graph.len()).filter(|row| live.graph.contains(*row)).collect();
                    // Vectors do not move with their rows: links are as good as any.
                    live.graph = live.graph.renumbered(&kept);
                }
                _ => {}
            }
            unsaved.add(&live.graph.take_changed());
            if random.below(3) > 0 {
                continue;
            }
            if let Some(patch) = encode(&live.graph, &unsaved) {
                assert!(!unsaved.is_all(), "{told}");
                short += u32::from(patch.len() * 4 < base.len());
                patches.push(patch);
                patches_written += 1;
            } else {
                assert!(unsaved.is_all(), "{told}");
                (base, patches) = (image(&live.graph), Vec::new());
            }
            unsaved = Changed::none();
            let mut found = read(&base, &patches, ROWS, &params).unwrap_or_else(|fault| {
                panic!("{told}: {fault}");
            });
            assert!(image(&found) == image(&live.graph), "{told}");
            let unchanged = found.take_changed();
            let empty = encode(&found, &unchanged).expect("a graph that was read");
            assert_eq!(empty.len(), HEADER_LEN, "{told}: it has not changed");
        }
    }
    assert!(patches_written > 150 && short > 50, "{patches_written} {short}");
}

#[test]
fn what_was_measured_is_in_a_patch_and_a_code_that_was_chosen_is_not() {
    let rows = 8192;
    let vectors = Vectors::clustered(5, rows, 2, 9);
    let code = CodeChoice::Auto;
    let params = Params { m: 2, ef_construction: 4, code, ..Params::new(2, Metric::L2) };
    let exec = Executor::threads(2).unwrap();
    let mut graph = vectors.graph_on(params.clone(), &exec);
    let (base, _) = (image(&graph), graph.take_changed());
    let proceed = &mut || ControlFlow::Continue(());
    let measured = vectors.with_rows(|all| graph.calibrate(all, &exec, proceed));
    graph.set_calibration(measured.continue_value().expect("nobody breaks"));
    let changed = graph.take_changed();
    let patch = encode(&graph, &changed).expect("lists are as they were");
    assert_eq!(patch.len(), HEADER_LEN);
    let found = read(&base, &[patch], rows, &params).unwrap();
    assert!(found.calibration().is_some() && image(&found) == image(&graph));

    let chosen = vectors.with_rows(|all| graph.choose_code(all, &exec, proceed));
    assert!(chosen.is_continue() && graph.take_changed().is_all());
    assert!(graph.patch(&Changed::all()).is_none());
}

/// The image of a graph with holes, a patch upon it with rows of every kind, and the graph then.
fn sample() -> (Params, Vec<u8>, Vec<u8>, Graph) {
    let vectors = Vectors::clustered(43, 120, 5, 4).coded(Code::Sq8);
    let params = Params { m: 3, ..vectors.params(Metric::L2) };
    let exec = Executor::Serial;
    let mut graph = vectors.graph_on(params.clone(), &exec);
    let scratch = &mut BuildScratch::new();
    vectors.with_rows(|rows| {
        graph.remove_batch(rows, &[5, 64, 116, 117, 118, 119], &exec, scratch);
        let base = image(&graph);
        drop(graph.take_changed());
        graph.remove_batch(rows, &[7, 90], &exec, scratch);
        graph.insert_batch(rows, &[5, 118], &exec, scratch);
        let changed = graph.take_changed();
        let patch = encode(&graph, &changed).expect("some rows");
        (params, base, patch, graph)
    })
}

#[test]
fn any_flip_and_any_cut_of_a_patch_is_noticed() {
    let (params, base, patch, graph) = sample();
    let of = |patch: Vec<u8>| read(&base, &[patch], 120, &params);
    assert!(image(&of(patch.clone()).unwrap()) == image(&graph));
    for at in 0..patch.len() {
        let mut flipped = patch.clone();
        flipped[at] ^= 1 << (at % 8);
        assert!(of(flipped).is_err(), "byte {at}");
        assert!(of(patch[..at].to_vec()).is_err(), "cut at {at}");
    }
    let longer = [&patch[..], &[0]].concat();
    let expected = patch.len() as u64;
    assert_eq!(of(longer).err(), Some(GraphFault::Oversized { expected, found: expected + 1 }));
    assert!(matches!(of(base.clone()), Err(GraphFault::Magic { .. })));
    let graph = read(&patch, &[], 120, &params);
    assert!(matches!(graph, Err(GraphFault::Magic { .. })));
}

/// Checksums that match: each byte set to others. Whatever is accepted is a graph.
#[test]
fn a_patch_that_lies_gives_a_fault_or_a_graph() {
    let (params, base, patch, _) = sample();
    let (mut accepted, mut refused) = (0, 0);
    for at in (8..124).chain(HEADER_LEN..patch.len()) {
        for change in [1, 0x80, 0xff] {
            let mut patch = patch.clone();
            patch[at] ^= change;
            seal(&mut patch);
            match read(&base, &[patch], 120, &params) {
                Ok(found) => {
                    let bytes = image(&found);
                    assert!(image(&Graph::decode(&bytes, 120, &params).unwrap()) == bytes);
                    accepted += 1;
                }
                Err(fault) => {
                    let text = fault.to_string();
                    assert!(!text.is_empty() && !text.contains('\n'), "{text:?}");
                    refused += 1;
                }
            }
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}

/// The fault of the sample's patch after `change` and new checksums.
#[track_caller]
fn fault(change: impl FnOnce(&mut Vec<u8>)) -> GraphFault {
    let (params, base, mut patch, _) = sample();
    change(&mut patch);
    let len = patch.len() as u64;
    patch[48..56].copy_from_slice(&len.to_le_bytes());
    seal(&mut patch);
    read(&base, &[patch], 120, &params).expect_err("a lie")
}

fn set(bytes: &mut [u8], at: usize, value: u32) {
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
}

#[test]
fn each_lie_of_a_patch_has_its_name() {
    let (params, base, patch, _) = sample();
    let word = |at: usize| u32::from_le_bytes(patch[at..at + 4].try_into().unwrap());
    let (first, count) = (word(HEADER_LEN), word(106));
    let offset = HEADER_LEN as u64;
    let of_first = |row, why| GraphFault::Patch { row, offset, why };
    assert_eq!(fault(|b| b[HEADER_LEN + 4] = 3), of_first(first, PatchFault::Kind));
    assert_eq!(fault(|b| b[HEADER_LEN + 5] = 16), of_first(first, PatchFault::Layers));
    assert_eq!(fault(|b| b[HEADER_LEN + 6] = 7), of_first(first, PatchFault::Links));
    assert_eq!(fault(|b| set(b, HEADER_LEN, 119)), of_first(119, PatchFault::OutOfRange));
    let second = fault(|b| set(b, HEADER_LEN, 118));
    assert!(matches!(second, GraphFault::Patch { why: PatchFault::OutOfOrder, .. }), "{second}");
    let less = fault(|b| set(b, 106, count - 1));
    assert!(matches!(less, GraphFault::Length { .. }), "{less}");
    let end = patch.len() as u64;
    let more = GraphFault::Patch { row: u32::MAX, offset: end, why: PatchFault::CutOff };
    assert_eq!(fault(|b| set(b, 106, count + 1)), more);
    let cut = fault(|b| b.truncate(patch.len() - 1));
    assert!(matches!(cut, GraphFault::Patch { row: 118, why: PatchFault::CutOff, .. }), "{cut}");
    // Row 116 is a hole that the graph did not have before, of as many layers as it has.
    let row = (HEADER_LEN..patch.len() - 4).find(|&at| word(at) == 116).unwrap();
    let lacks = fault(|b| {
        drop(b.drain(row..row + 6));
        set(b, 106, count - 1);
    });
    assert_eq!(lacks, GraphFault::PatchLacks { row: 116 });
    // Row 5 was a hole.
    let row = (HEADER_LEN..patch.len() - 4).find(|&at| word(at) == 5 && patch[at + 4] == 2);
    let row = row.expect("it has joined");
    let code_at = (0..=patch[row + 5]).fold(row + 6, |at, _| {
        at + 2 + 4 * usize::from(u16::from_le_bytes([patch[at], patch[at + 1]]))
    });
    let without = fault(|b| {
        b[row + 4] = 1;
        drop(b.drain(code_at..code_at + Code::Sq8.len_bytes(5)));
    });
    let offset = row as u64;
    assert_eq!(without, GraphFault::Patch { row: 5, offset, why: PatchFault::NoCode });
    for (at, name) in [(102, "holes"), (40, "lists"), (36, "rows"), (32, "entry")] {
        let found = fault(|b| set(b, at, word(at) + 1));
        let is_named = match name {
            "holes" => matches!(found, GraphFault::Holes { .. }),
            "lists" => matches!(found, GraphFault::Layers { .. }),
            "rows" => matches!(found, GraphFault::PatchLacks { row: 119 }),
            _ => matches!(found, GraphFault::Entry { .. }),
        };
        assert!(is_named, "{name}: {found}");
    }
    let other = Params { seed: 1, ..params.clone() };
    let of_other = encode(&Graph::new(other), &Changed::none()).unwrap();
    let found = read(&base, &[of_other], 120, &params);
    assert!(matches!(found, Err(GraphFault::ParamsDiffer { field: "seed", .. })));
    let found = read(&base, &[patch], 118, &params);
    assert!(matches!(found, Err(GraphFault::Rows { found: 119, max: 118 })));
}
