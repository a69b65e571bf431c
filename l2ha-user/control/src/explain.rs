//! What `explain` answers.

use serde::{Deserialize, Serialize};

use crate::problem::{Problem, Subject};

/// Everything that decides about a tunnel, a service or an address, in the order in which it does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// What it is about.
    pub about: String,
    /// The tunnels and services that it concerns.
    pub subjects: Vec<Subject>,
    /// What decides, from the underlay upwards.
    pub steps: Vec<Step>,
    /// What is wrong with it, the worst first.
    pub problems: Vec<Problem>,
}

/// One thing that decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// What it is.
    pub what: String,
    /// What it comes to.
    pub verdict: Verdict,
    /// What is so.
    pub text: String,
}

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// It goes on from here.
    Fine,
    /// It stops here.
    Stops,
    /// It does not matter here, or cannot be told.
    Open,
}

impl Verdict {
    /// Fine, or that it stops.
    #[must_use]
    pub const fn fine_if(fine: bool) -> Self {
        if fine { Self::Fine } else { Self::Stops }
    }
}
