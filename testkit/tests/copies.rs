//! A backup copies what it began with, and what is cut off is no half of a database.

use gannet_testkit::copies::{beside, cut_off};

#[test]
fn a_backup_beside_checkpoints_is_whole_and_durable() {
    for seed in 1..4 {
        beside(seed).unwrap_or_else(|what| panic!("seed {seed}: {what}"));
    }
}

#[test]
fn a_backup_that_is_cut_off_is_no_database_or_all_of_one() {
    cut_off(1).unwrap_or_else(|what| panic!("{what}"));
}
