//! The process that is killed: commits batches and says which were acknowledged.

use std::collections::VecDeque;
use std::io::{self, Write as _};
use std::ops::ControlFlow;

use gannet::Database;

use super::ledger;
use crate::args::TortureChildArgs;
use crate::database::{self, Expect};
use crate::failure::Failure;
use crate::output::Output;

/// It ends by itself in the end, should nobody kill it.
const BATCHES_MAX: u64 = 2_000;
/// How far a child that tells what is not true yet runs ahead.
const EARLY: u64 = 4;

pub(crate) fn run(args: &TortureChildArgs, _: &mut Output) -> Result<(), Failure> {
    let storage = database::open_storage(&args.database, Expect::Anything)?;
    let config = ledger::config_for_kills(args.seed, args.tag);
    let db = Database::open(storage, config)
        .map_err(|source| Failure::open(args.database.db.clone(), source))?;
    let mut tickets = VecDeque::new();
    for number in args.first..args.first + BATCHES_MAX {
        if args.acknowledge_early && !tell(number + EARLY) {
            return Ok(());
        }
        let ticket = db.submit(ledger::batch(args.seed, number, args.tag))?;
        tickets.push_back((number, ticket));
        let saves = (number + args.seed).is_multiple_of(11);
        let window = if saves { 1 } else { args.window };
        while tickets.len() >= window {
            let Some((number, ticket)) = tickets.pop_front() else { break };
            ticket.wait()?;
            if !args.acknowledge_early && !tell(number) {
                return Ok(());
            }
        }
        if saves {
            db.checkpoint(&mut |_| ControlFlow::Continue(()))?;
        }
    }
    Ok(())
}

/// Says that a batch was acknowledged; false if nobody listens any more.
fn tell(number: u64) -> bool {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "acked {number} .").and_then(|()| stdout.flush()).is_ok()
}
