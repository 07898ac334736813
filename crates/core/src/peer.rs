//! The health that instances report to each other.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The health of an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray)]
pub enum PeerHealth {
    /// All is well.
    #[serde(rename = "ok")]
    #[strum(serialize = "ok")]
    Ok,
    /// Mails that it sends to itself do not arrive.
    #[serde(rename = "mail problem")]
    #[strum(serialize = "mail problem")]
    MailProblem,
    /// Nobody watches its jobs.
    #[serde(rename = "jobs problem")]
    #[strum(serialize = "jobs problem")]
    JobsProblem,
}

impl PeerHealth {
    /// The words for it in answers.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The word for it in checker's protocol.
    pub fn checkers_word(self) -> &'static str {
        match self {
            Self::Ok => "True",
            Self::MailProblem => "MailProblem",
            Self::JobsProblem => "JobProblem",
        }
    }

    /// Reads an answer: JSON with `answer`, the words, or checker's word. `None` for anything else.
    pub fn read(body: &str) -> Option<Self> {
        #[derive(Deserialize)]
        struct PeerAnswer {
            answer: PeerHealth,
        }
        let text = body.trim();
        let in_words = Self::VARIANTS
            .iter()
            .copied()
            .find(|health| text == health.as_str() || text == health.checkers_word());
        in_words.or_else(|| Some(serde_json::from_str::<PeerAnswer>(text).ok()?.answer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_in_every_way_it_is_written() {
        for health in [PeerHealth::Ok, PeerHealth::MailProblem, PeerHealth::JobsProblem] {
            let json = serde_json::json!({ "success": true, "answer": health }).to_string();
            for text in [health.as_str(), health.checkers_word(), &json, &format!("{}\n", health.as_str())] {
                assert_eq!(PeerHealth::read(text), Some(health), "{text}");
            }
        }
        for text in ["", "true", "False", "<html>ok</html>", "{\"answer\":\"fine\"}", "okay"] {
            assert_eq!(PeerHealth::read(text), None, "{text}");
        }
    }
}
