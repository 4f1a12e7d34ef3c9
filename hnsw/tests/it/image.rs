//! Images: what is written comes back, byte for byte, and the bytes never change.

use std::ops::Range;

use gannet_hnsw::{Code, Graph, Image, Metric, Params};
use proptest::prelude::*;

use crate::data::{Vectors, cases, image, params};

/// Offsets of the header, as documented.
pub(crate) const LEN_AT: Range<usize> = 48..56;
pub(crate) const HEADER_LEN: usize = 128;

/// Makes the checksums of an image right again.
pub(crate) fn seal(bytes: &mut [u8]) {
    let body = crc32fast::hash(&bytes[HEADER_LEN..]).to_le_bytes();
    bytes[56..60].copy_from_slice(&body);
    let header = crc32fast::hash(&bytes[..124]).to_le_bytes();
    bytes[124..128].copy_from_slice(&header);
}

/// Written by hand from the documented layout: rows 1 and 2 stand on layer 1, row 0 is between
/// them.
#[test]
fn the_bytes_of_a_small_graph_are_pinned() {
    let vectors = Vectors::new(&[&[0.0, 0.0], &[1.0, 0.0], &[0.0, 2.0]]);
    let code = Code::None.into();
    let params = Params { m: 2, ef_construction: 9, seed: 17, code, ..Params::new(2, Metric::L2) };
    let bytes = image(&vectors.graph_on(params, &gannet_hnsw::Executor::Serial));

    let none = u32::MAX;
    let mut expect = b"GANNETGR".to_vec();
    let mut words = |words: &[u32]| {
        expect.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        expect.resize(expect.len().next_multiple_of(64), 0);
    };
    let m_metric_layer = 2 | 1 << 16 | 1 << 24;
    words(&[1, 2, 17, 0, 9, m_metric_layer, 1, 3, 2, 0, 320, 0, 0, 0]);
    words(&[0; 16]);
    words(&[0, 0, 1, 2]);
    words(&[1, 2, none, none, 0, none, none, none, 0, none, none, none]);
    words(&[2, none, 1, none]);
    seal(&mut expect);
    assert_eq!(bytes, expect);
    assert_eq!(crc32fast::hash(&bytes), 1_754_668_010);
}

#[test]
fn an_empty_graph_has_an_image() {
    let params = params(7, Metric::Cosine);
    let bytes = image(&Graph::new(params.clone()));
    assert_eq!(bytes.len(), 192);
    let graph = Graph::decode(&bytes, 0, &params).unwrap();
    assert!(graph.is_empty());
    assert_eq!(image(&graph), bytes);
}

#[test]
fn an_image_is_appended_and_as_long_as_announced() {
    let graph = Vectors::clustered(31, 200, 5, 4).graph(Metric::L2);
    let mut bytes = b"before".to_vec();
    graph.encode(&mut bytes);
    assert_eq!(bytes[..6], *b"before");
    assert_eq!(bytes[6..], image(&graph));
    assert_eq!((bytes.len() - 6) as u64, graph.encoded_len());
    let stored = u64::from_le_bytes(bytes[6..][LEN_AT].try_into().unwrap());
    assert_eq!(stored, graph.encoded_len());
}

#[test]
fn a_graph_goes_on_growing_after_it_was_read() {
    let vectors = Vectors::clustered(32, 1500, 6, 9);
    let exec = gannet_hnsw::Executor::Serial;
    let mut graph = Graph::new(params(6, Metric::L2));
    vectors.insert_until(&mut graph, 700, &exec);
    let mut read = Graph::decode(&image(&graph), 1500, graph.params()).unwrap();
    let mut viewed = view(&image(&graph), 1500, graph.params());
    let was = (image(&graph), viewed.clone());
    for graph in [&mut graph, &mut read, &mut viewed] {
        vectors.insert_until(graph, 1500, &exec);
    }
    assert!(image(&read) == image(&graph));
    assert!(image(&viewed) == image(&graph));
    assert!(image(&was.1) == was.0, "a clone stays as it was");
    let memory = viewed.memory();
    let seen = memory.viewed_links + memory.viewed_upper_links + memory.viewed_codes;
    assert_eq!(seen, 0, "what has changed is no image's");
}

fn view(bytes: &[u8], rows_len_max: u32, params: &Params) -> Graph {
    let image = Image::new(bytes.to_vec());
    Graph::view(&image, rows_len_max, params, &gannet_hnsw::Executor::Serial).unwrap()
}

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn what_is_written_comes_back(
        len in 1u32..300,
        dims in 1u32..20,
        m in 2u16..20,
        ef_construction in 1u32..50,
        seed: u64,
        metric in prop::sample::select(&Metric::ALL),
    ) {
        let vectors = Vectors::clustered(seed, len, dims, 5);
        let code = Code::ALL[usize::try_from(seed % 5).unwrap()];
        let code = if code.fits(metric) { code } else { Code::None }.into();
        let params = Params { dims, metric, m, ef_construction, seed, code };
        let graph = vectors.graph_on(params.clone(), &gannet_hnsw::Executor::Serial);
        let bytes = image(&graph);
        let read = Graph::decode(&bytes, len, &params).unwrap();
        let mut viewed = view(&bytes, len, &params);
        let memory = viewed.memory();
        let code_len = graph.code().len_bytes(dims) * len as usize;
        prop_assert_eq!(memory.viewed_links, 8 * usize::from(m) * len as usize);
        prop_assert_eq!((memory.codes, memory.viewed_codes), (0, code_len));
        for _ in 0..2 {
            prop_assert_eq!(&image(&viewed), &bytes);
            prop_assert_eq!(
                vectors.search(&viewed, vectors.row(len / 2), 10, 20),
                vectors.search(&graph, vectors.row(len / 2), 10, 20)
            );
            viewed.detach();
            prop_assert_eq!(viewed.memory().viewed_links, 0);
        }
        prop_assert_eq!(read.len(), len);
        prop_assert_eq!(read.params(), &params);
        prop_assert_eq!(image(&read), bytes);
        let query = vectors.row(len / 2);
        prop_assert_eq!(
            vectors.search(&read, query, 10, 20),
            vectors.search(&graph, query, 10, 20)
        );
    }
}
