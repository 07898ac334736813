//! Folds texts, so that texts that look the same become the same.

use unicode_normalization::UnicodeNormalization as _;

/// Non-ASCII letters, listed by the ASCII letter that they look like: Cyrillic, Greek, small
/// capitals, and others.
const LOOK_ALIKE: [(char, &str); 26] = [
    ('a', "\u{430}\u{3b1}\u{251}\u{1d00}"),
    ('b', "\u{44c}\u{432}\u{3b2}\u{299}"),
    ('c', "\u{441}\u{3f2}\u{1d04}"),
    ('d', "\u{501}\u{1d05}"),
    ('e', "\u{435}\u{454}\u{3b5}\u{1d07}\u{259}"),
    ('f', "\u{192}\u{a730}"),
    ('g', "\u{261}\u{262}"),
    ('h', "\u{4bb}\u{43d}\u{29c}"),
    ('i', "\u{456}\u{3b9}\u{131}\u{26a}"),
    ('j', "\u{458}\u{1d0a}"),
    ('k', "\u{43a}\u{3ba}\u{1d0b}"),
    ('l', "\u{4cf}\u{29f}\u{142}"),
    ('m', "\u{43c}\u{1d0d}"),
    ('n', "\u{43f}\u{3b7}\u{274}"),
    ('o', "\u{43e}\u{3bf}\u{1d0f}\u{f8}\u{3c3}"),
    ('p', "\u{440}\u{3c1}\u{1d18}"),
    ('q', "\u{51b}"),
    ('r', "\u{433}\u{280}"),
    ('s', "\u{455}\u{a731}\u{17f}"),
    ('t', "\u{442}\u{3c4}\u{1d1b}"),
    ('u', "\u{3c5}\u{1d1c}"),
    ('v', "\u{3bd}\u{475}\u{1d20}"),
    ('w', "\u{51d}\u{461}\u{3c9}\u{1d21}"),
    ('x', "\u{445}\u{3c7}"),
    ('y', "\u{443}\u{4af}\u{28f}"),
    ('z', "\u{1d22}"),
];

/// `text` in its plainest form: in lower case, without marks on letters and invisible characters,
/// and with look-alike letters replaced by those of ASCII.
pub(super) fn folded(text: &str) -> String {
    let plain = text.nfkd().flat_map(char::to_lowercase).nfkd();
    plain.filter(|c| !is_mark(*c) && !is_unseen(*c)).map(look_alike).collect()
}

fn look_alike(c: char) -> char {
    // White letters in black circles and squares, and the regional indicators of which flags
    // consist.
    let letters = [0x1f150_u32, 0x1f170, 0x1f1e6];
    let of_row = letters.iter().find_map(|first| u32::from(c).checked_sub(*first).filter(|n| *n < 26));
    if let Some(n) = of_row.and_then(|n| u8::try_from(n).ok()) {
        return char::from(b'a' + n);
    }
    LOOK_ALIKE.iter().find(|(_, others)| others.contains(c)).map_or(c, |(letter, _)| *letter)
}

/// Whether it is a combining mark on a letter. The vowel signs of scripts that write vowels as
/// marks are not included.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}')
}

fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
        | '\u{e0000}'..='\u{e0fff}')
}
