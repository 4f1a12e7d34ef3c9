//! The name of a round, by which it is tried again.

use std::fmt;
use std::str::FromStr;

use gannet_testkit::campaign::Trail;

/// One round; as text `kill-3`, `fault-7`, `flip-2`, or a trail of the simulator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    Kill(u64),
    Fault(u64),
    Flip(u64),
    State(Box<Trail>),
}

impl fmt::Display for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill(number) => write!(f, "kill-{number}"),
            Self::Fault(number) => write!(f, "fault-{number}"),
            Self::Flip(number) => write!(f, "flip-{number}"),
            Self::State(trail) => write!(f, "{trail}"),
        }
    }
}

impl FromStr for Round {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let of = |kind: &str| text.strip_prefix(kind)?.parse().ok();
        if let Some(number) = of("kill-") {
            return Ok(Self::Kill(number));
        }
        if let Some(number) = of("fault-") {
            return Ok(Self::Fault(number));
        }
        if let Some(number) = of("flip-") {
            return Ok(Self::Flip(number));
        }
        text.parse().map(|trail| Self::State(Box::new(trail)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_can_be_read_back() {
        for text in ["kill-0", "fault-12", "flip-3", "seed 7: put,close; 3 kill"] {
            assert_eq!(text.parse::<Round>().unwrap().to_string(), text);
        }
        for bad in ["kill", "kill-", "kill-x", "burn-1", ""] {
            assert!(bad.parse::<Round>().is_err(), "{bad}");
        }
    }
}
