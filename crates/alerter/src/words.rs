//! Makes external text safe for a line, a mail, a chat, or a log.
//!
//! Names and notes may contain any printable Unicode. Characters that could affect the surrounding text are replaced:
//! control characters, line separators, and marks that change the direction of text.

/// Whether `c` changes the direction of the text beyond the name that contains it.
fn turns(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// `text` on one line: each line break or control character becomes a space.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            _ if breaks(c) => ' ',
            _ if turns(c) => '\u{fffd}',
            _ => c,
        })
        .collect()
}

/// `text` with `\n` as its only line break, and with no other control characters but tabs.
pub(crate) fn lines(text: &str) -> String {
    text.replace("\r\n", "\n")
        .chars()
        .map(|c| match c {
            '\n' | '\t' => c,
            '\r' | '\u{2028}' | '\u{2029}' => '\n',
            _ if c.is_control() => ' ',
            _ if turns(c) => '\u{fffd}',
            _ => c,
        })
        .collect()
}

/// `text` on one line without loss: what [`one_line`] replaces is written as an escape.
pub(crate) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if breaks(c) || turns(c) { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// At most `longest` characters of `text`. If it was cut, the last one is `…`.
pub(crate) fn cut(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    let mut kept: String = text.chars().take(longest.saturating_sub(1)).collect();
    kept.push('…');
    kept
}

/// Splits an escaped `text` into pieces of at most `longest` characters without loss. It cuts at the end of a line or a
/// word if possible, and never within an escape such as `&amp;`.
pub(crate) fn pieces(text: &str, longest: usize) -> Vec<&str> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((end, _)) = rest.char_indices().nth(longest) {
        let head = &rest[..end];
        let after = |at: usize| Some(at + 1).filter(|at| *at > end / 2);
        let escape = head.rfind('&').filter(|at| *at > 0 && end - at < 10 && !head[*at..].contains(';'));
        let at = head.rfind('\n').and_then(after).or_else(|| head.rfind(' ').and_then(after));
        let (piece, others) = rest.split_at(at.or(escape).unwrap_or(end));
        pieces.push(piece);
        rest = others;
    }
    pieces.push(rest);
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_out_of_its_line() {
        let text = "a\r\nBcc: x\u{85}\u{2028}\u{202e}b\u{0}";
        assert_eq!(one_line(text), "a  Bcc: x  \u{fffd}b ");
        assert_eq!(escaped(text), r"a\r\nBcc: x\u{85}\u{2028}\u{202e}b\u{0}");
        assert_eq!(lines("a\r\nb\rc\u{2029}d\te\u{7}"), "a\nb\nc\nd\te ");
    }

    #[test]
    fn pieces_are_the_whole_text_and_end_between_words() {
        for (text, longest, expected) in [
            ("short", 5, vec!["short"]),
            ("one two three", 8, vec!["one two ", "three"]),
            ("first\nsecond third", 9, vec!["first\n", "second ", "third"]),
            ("日本語文字列", 4, vec!["日本語文", "字列"]),
            ("&amp;&amp;&amp;", 7, vec!["&amp;", "&amp;", "&amp;"]),
        ] {
            assert_eq!(pieces(text, longest), expected);
            assert_eq!(pieces(text, longest).concat(), text);
        }
    }

    #[test]
    fn a_cut_is_counted_in_characters_and_shown() {
        assert_eq!(cut("日本語", 3), "日本語");
        assert_eq!(cut("日本語文", 3), "日本…");
    }
}
