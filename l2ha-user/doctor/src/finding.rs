//! What a check says.

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Good to know; nothing has to be done.
    Note,
    /// l2ha works, but not as well as it could, or not for long.
    Warning,
    /// l2ha cannot run like this.
    Error,
}

impl Severity {
    /// The word for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// A short name that does not change between versions.
    pub id: &'static str,
    /// What is so, and why it matters.
    pub text: String,
    /// The command that mends it, ready for a shell.
    pub command: Option<String>,
    /// What to do where no command is enough.
    pub remedy: Option<String>,
}

impl Finding {
    pub(crate) fn new(severity: Severity, id: &'static str, text: impl Into<String>) -> Self {
        Self {
            severity,
            id,
            text: text.into(),
            command: None,
            remedy: None,
        }
    }

    pub(crate) fn command(mut self, command: impl Into<String>) -> Self {
        self.command = Some(command.into());
        self
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
