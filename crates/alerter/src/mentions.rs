//! Makes text by jobs and people safe for a chat, where words such as `@channel`, `@here` or a user name notify people.
//!
//! Slack itself recognises a mention by its `<`, which is escaped. The compatible services recognise it by its `@`,
//! each by its own rules. Mattermost also checks the parts of a word, so that `a-@channel.b` is a mention; Discord
//! finds `@everyone` and `@here` anywhere, even in a mail address. This module breaks everything that any of them could
//! take for a mention; the text still reads the same.

/// An invisible character (zero-width space), put between the `@` and the name.
const BREAK: char = '\u{200b}';
/// A mention of everybody, in one service or another, begins with one of these words.
const EVERYBODY: [&str; 4] = ["all", "channel", "everyone", "here"];

/// `text` without mentions. Mail addresses are unchanged where that is safe, and links keep their targets.
pub(crate) fn silenced(text: &str) -> String {
    let mut silenced = String::with_capacity(text.len());
    let mut word_begins = 0;
    // The end of the part of the text that is already written in percent-encoding.
    let mut said = 0;
    for (at, c) in text.char_indices() {
        if at < said {
            continue;
        }
        if c.is_whitespace() {
            word_begins = at + c.len_utf8();
        }
        silenced.push(c);
        if c != '@' {
            continue;
        }
        let (before, after) = (&text[word_begins..at], &text[at + 1..]);
        if is_of_an_address(before, after) {
            continue;
        }
        let Some((_, begun)) = before.rsplit_once("://") else {
            silenced.push(BREAK);
            continue;
        };
        let host_begins = after.chars().next().filter(|c| c.is_alphanumeric() && is_authority(begun));
        if let Some(letter) = host_begins {
            // Encoding this `@` would make it a part of the host name, so the first letter of the host is
            // percent-encoded instead.
            said = at + 1 + letter.len_utf8();
            percent(&mut silenced, letter);
        } else {
            silenced.pop();
            percent(&mut silenced, c);
        }
    }
    silenced
}

/// Whether an `@` between these texts belongs to a mail address or precedes the host of a link, so that no service
/// takes it for a mention.
fn is_of_an_address(before: &str, after: &str) -> bool {
    let is_everybody = EVERYBODY
        .iter()
        .any(|name| after.get(..name.len()).is_some_and(|begins| begins.eq_ignore_ascii_case(name)));
    // After any other character, for example a non-ASCII letter, a service may see the beginning of a word.
    before.ends_with(|c: char| c.is_ascii_alphanumeric()) && !is_everybody
}

/// Whether a link that begins like this, after its scheme, is still within its authority (user and host).
fn is_authority(begun: &str) -> bool {
    !begun.is_empty() && !begun.contains(['/', '?', '#', '\\'])
}

fn percent(text: &mut String, c: char) {
    text.extend(c.encode_utf8(&mut [0; 4]).bytes().map(|byte| format!("%{byte:02X}")));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_called() {
        for (text, said) in [
            ("@channel", "@\u{200b}channel"),
            ("see (@here), @ALL: @everyone!", "see (@\u{200b}here), @\u{200b}ALL: @\u{200b}everyone!"),
            ("@ada please", "@\u{200b}ada please"),
            (
                "a.@channel b-@here c:@all d_@everyone",
                "a.@\u{200b}channel b-@\u{200b}here c:@\u{200b}all d_@\u{200b}everyone",
            ),
            ("x@channel x@Here. \u{e9}@all", "x@\u{200b}channel x@\u{200b}Here. \u{e9}@\u{200b}all"),
            ("@@here", "@\u{200b}@\u{200b}here"),
            ("&lt;@channel&gt;", "&lt;@\u{200b}channel&gt;"),
            ("https://chat.example.org/@here", "https://chat.example.org/%40here"),
            ("https://chat.example.org/x-@channel.a", "https://chat.example.org/x-%40channel.a"),
            ("https://chat.example.org/x@everyone", "https://chat.example.org/x%40everyone"),
            // These links keep their targets, since a host is read after percent-decoding.
            ("https://ada@here.example.org/x", "https://ada@%68ere.example.org/x"),
            ("https://ada-@example.org/x@here", "https://ada-@%65xample.org/x%40here"),
            ("https://\u{e9}@\u{e9}.org", "https://\u{e9}@%C3%A9.org"),
        ] {
            assert_eq!(silenced(text), said);
        }
    }

    #[test]
    fn no_service_finds_a_call_whatever_stands_before_and_behind_it() {
        let before = [
            "", "x", "9", "p-", "a.", "q:", "d_", "r|", "q~", "z", "+", "=", "\\", "\u{e9}", "*", "\u{ad}",
            "a@b",
        ];
        let behind =
            ["", ".a", "_now", "-y", "x", "y", ".b", ".example.org", ".x.y", "s", "|", "\u{200d}", "1"];
        for name in ["all", "channel", "everyone", "here", "Here", "ALL", "eVeryone"] {
            for (before, behind) in before.iter().flat_map(|one| behind.map(|other| (one, other))) {
                for text in
                    [format!("{before}@{name}{behind}"), format!("https://x.org/{before}@{name}{behind}")]
                {
                    let said = silenced(&text);
                    assert!(!said.contains(&format!("@{name}")), "{text}: {said}");
                    let read = said.replace('\u{200b}', "").replace("%40", "@");
                    assert_eq!(read, text, "it reads as before");
                }
            }
        }
        // Mattermost also finds user names in the parts of a word between dots, hyphens and colons.
        for text in ["p-@ada.b", "a.@ada", "q:-@ada", "\u{e9}@ada", "_@ada", "(~@ada)", "a-@example.org"] {
            assert!(silenced(text).contains("@\u{200b}"), "{text}");
        }
    }

    #[test]
    fn addresses_stay_as_they_are() {
        for text in [
            "ops@example.org",
            "mail to <ops+night@example.org>, a_1@example.org and ada@localhost.",
            "channel@example.org, here@example.org, all@example.org",
            "https://user@example.org/path",
            "ssh://git@github.com:22/a",
            "git@github.com:innkeeper",
            "no at all",
        ] {
            assert_eq!(silenced(text), text);
        }
    }
}
