//! What [`sign`](super::sign) gives: a signature as reports and sidecars have it, and
//! how it came about.

use serde::{Deserialize, Serialize};

/// The signature of a crash.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Signature {
    /// `s1`
    pub algorithm: String,
    /// The version of the lists that it was made with.
    pub lists: u32,
    /// `s1-` and 16 hex digits, over model, class and frames.
    pub id: String,
    /// Class and frames in one line.
    pub text: String,
    pub class: String,
    /// Innermost first.
    pub frames: Vec<String>,
    /// The same for crashes of one class in one function of the application.
    pub coarse: String,
    /// The same for crashes with the same stack, whole.
    pub variant: String,
    /// The blamed task.
    pub task: Option<String>,
    pub quality: Quality,
    /// What people should know beside it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How much a signature is worth.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase", from = "String")]
pub enum Quality {
    #[default]
    Good,
    /// A frame in it was found by searching the stack.
    Guessed,
    /// The blamed task may be the wrong one.
    Unsure,
}

impl Quality {
    /// The word in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Guessed => "guessed",
            Self::Unsure => "unsure",
        }
    }
}

impl From<String> for Quality {
    /// A word of a newer release is not trusted more than necessary.
    fn from(word: String) -> Self {
        match word.as_str() {
            "good" => Self::Good,
            "guessed" => Self::Guessed,
            _ => Self::Unsure,
        }
    }
}

/// A crash that went through all steps.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    pub signature: Option<Signature>,
    /// Why there is none.
    pub why_none: Option<String>,
    /// Known even without a signature, as far as the dump tells.
    pub class: String,
    pub explanation: Explanation,
}

/// How a signature came about.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct Explanation {
    /// The blamed task.
    pub task: Option<String>,
    /// Why that one.
    pub task_rule: String,
    /// Its frames, innermost first.
    pub frames: Vec<FrameVerdict>,
}

/// One frame of the blamed task, and what became of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default)]
pub struct FrameVerdict {
    /// The function's name as it is compared; null if it is not known.
    pub function: Option<String>,
    pub file: Option<String>,
    pub verdict: Verdict,
    /// The list entry or rule that decided, such as `throw: esp_system_abort`.
    pub rule: Option<String>,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", from = "String")]
pub enum Verdict {
    /// In the signature: the application's own code.
    Application,
    /// In the signature: what the application asked the SDK for.
    Prefix,
    /// Noise anywhere.
    Skipped,
    /// Below the application in every stack.
    Base,
    /// Of the panic itself.
    Cut,
    Rom,
    /// Found by searching the stack, and not confirmed.
    Guessed,
    /// No function is known there.
    Unnamed,
    /// Would count, but is not needed or does not belong to it.
    #[default]
    #[serde(rename = "not taken")]
    NotTaken,
}

impl Verdict {
    /// The word in explanations.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Application => "application",
            Self::Prefix => "prefix",
            Self::Skipped => "skipped",
            Self::Base => "base",
            Self::Cut => "cut",
            Self::Rom => "rom",
            Self::Guessed => "guessed",
            Self::Unnamed => "unnamed",
            Self::NotTaken => "not taken",
        }
    }
}

impl From<String> for Verdict {
    fn from(word: String) -> Self {
        const ALL: [Verdict; 9] = [
            Verdict::Application,
            Verdict::Prefix,
            Verdict::Skipped,
            Verdict::Base,
            Verdict::Cut,
            Verdict::Rom,
            Verdict::Guessed,
            Verdict::Unnamed,
            Verdict::NotTaken,
        ];
        let known = ALL.into_iter().find(|verdict| verdict.as_str() == word);
        known.unwrap_or_default()
    }
}
