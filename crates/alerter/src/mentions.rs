//! Text of jobs and people made fit for a chat that rings for a word: `@channel`, `@here`, somebody's name.
//!
//! Slack itself knows a mention by its `<`, which is escaped; Mattermost, Rocket.Chat and Discord know it by its `@`.

/// Stands between the `@` and the name, and is not seen.
const BREAK: char = '\u{200b}';
/// What rings for everybody, in one service or another; such a word is found within others, too.
const EVERYBODY: [&str; 4] = ["all", "channel", "everyone", "here"];

/// `text` in which no `@` calls anybody. Mail addresses stay as they are, and links lead where they led.
pub(crate) fn silenced(text: &str) -> String {
    let mut silenced = String::with_capacity(text.len());
    let mut word_begins = 0;
    for (at, c) in text.char_indices() {
        if c.is_whitespace() {
            word_begins = at + c.len_utf8();
        }
        if c != '@' || is_of_an_address(&text[word_begins..at], &text[at + 1..]) {
            silenced.push(c);
        } else if text[word_begins..at].contains("://") {
            silenced.push_str("%40");
        } else {
            silenced.push(c);
            silenced.push(BREAK);
        }
    }
    silenced
}

/// Whether an `@` between these stands in a mail address, or before the host of a link, and not before a name.
fn is_of_an_address(before: &str, after: &str) -> bool {
    let name: &str =
        after.split(|c: char| !c.is_alphanumeric() && !"-_.".contains(c)).next().unwrap_or_default();
    let name = name.trim_end_matches(['.', '-', '_']);
    match before.chars().next_back() {
        // `ops@here` is no address, but a name may be meant; `ops@here.example.org` is one.
        Some(c) if c.is_alphanumeric() => !EVERYBODY.contains(&name.to_lowercase().as_str()),
        // The other characters that may end the part before an `@`.
        Some(c) if "+-_=~$!#%&*?^{}|'`".contains(c) => {
            name.split('.').count() > 1 && before.chars().any(char::is_alphanumeric)
        }
        _ => false,
    }
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
        ] {
            assert_eq!(silenced(text), said);
        }
    }

    #[test]
    fn addresses_stay_as_they_are() {
        for text in [
            "ops@example.org",
            "mail to <ops+night@example.org>, a-@example.org and ada@localhost.",
            "channel@example.org, here@here.example.org, all@all.org",
            "all@channel.example.org",
            "https://user@example.org/path",
            "ssh://git@github.com:22/a",
            "git@github.com:innkeeper",
            "no at all",
        ] {
            assert_eq!(silenced(text), text);
        }
    }
}
