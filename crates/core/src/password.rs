//! The rules for new passwords. Passwords chosen under earlier rules continue to work.
//!
//! Attackers try first what people choose most: words from lists of stolen passwords, with a year or `123!` appended,
//! with letters replaced by digits or by letters that look the same, words backwards, rows of the keyboard, dates, the
//! name of the user or of the program. [`check_new`] takes a password apart into such pieces, and refuses one with few
//! pieces.

mod fold;

use crate::Invalid;
use fold::folded;

/// The shortest password, in characters.
pub const SHORTEST: usize = 12;
/// The longest password, in bytes.
pub const LONGEST: usize = 500;

/// Common passwords: one word a line, in lower case.
const COMMON: &str = include_str!("common_passwords.txt");
/// Rows of the keyboard, and alphabets; used forwards and backwards.
const WALKS: [&str; 14] = [
    "abcdefghijklmnopqrstuvwxyz",
    "01234567890123456789",
    "`1234567890-=qwertyuiop[]asdfghjkl;'zxcvbnm,./",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "azertyuiopqsdfghjklmwxcvbn",
    "~!@#$%^&*()_+",
    "!\"§$%&/()=",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik9ol0p",
    "qazwsxedcrfvtgbyhnujmikolp",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
    "zaq12wsxcde34rfvbgt56yhnmju78ik",
    "1a2b3c4d5e6f7g8h9i0j",
];
/// A password of at most this many pieces is refused.
const FEW_PIECES: usize = 4;
/// A password of at most this many different characters is refused.
const FEW_CHARACTERS: usize = 4;
/// A password that repeats a unit of at most this many characters is refused.
const SHORT_UNIT: usize = 5;
/// The shortest word that is also recognised backwards.
const SHORTEST_BACKWARDS: usize = 5;
/// Only this many characters are examined; a longer password cannot be guessed by its pieces.
const LOOKED_AT: usize = 64;

/// Checks a new password: long enough, not a common one, and not made of `names` (the user's, the program's).
pub fn check_new(field: &'static str, text: &str, names: &[&str]) -> Result<(), Invalid> {
    if text.chars().count() < SHORTEST {
        return Err(Invalid::new(field, format!("is too short; choose at least {SHORTEST} characters")));
    }
    if text.len() > LONGEST {
        return Err(Invalid::new(field, format!("is too long; at most {LONGEST} bytes")));
    }
    if is_guessed(text, names) {
        return Err(Invalid::new(
            field,
            "is one of the first that an attacker tries: a common word or name, a row of keys, a repetition; take \
             several words that do not belong together, or have your browser propose one",
        ));
    }
    Ok(())
}

fn is_guessed(text: &str, names: &[&str]) -> bool {
    let text: Vec<char> = folded(text).chars().collect();
    if text.len() > LOOKED_AT {
        return unit(&text).len() < SHORTEST;
    }
    let mut different = text.clone();
    different.sort_unstable();
    different.dedup();
    let unit = unit(&text);
    // Without the separators between words.
    let bare: Vec<char> = unit.iter().copied().filter(|c| c.is_alphanumeric()).collect();
    let has_letters = text.iter().any(|c| c.is_alphabetic());
    different.len() <= FEW_CHARACTERS
        || unit.len() <= SHORT_UNIT
        || !has_letters && text.iter().filter(|c| c.is_ascii_digit()).count() * 2 > text.len()
        || pieces(unit, names) <= FEW_PIECES
        || pieces(&bare, names) <= FEW_PIECES
}

/// The shortest prefix whose repetition gives the text; the whole text if there is none.
fn unit(text: &[char]) -> &[char] {
    let repeats =
        |length: &usize| text.iter().zip(text.iter().skip(*length)).all(|(one, other)| one == other);
    let length = (1..=text.len() / 2).find(repeats).unwrap_or(text.len());
    &text[..length]
}

/// The least number of pieces that make up the text: common words, names, keyboard walks, years, dates, repetitions of
/// one character. A character in none of these counts as one piece.
fn pieces(text: &[char], names: &[&str]) -> usize {
    let names: Vec<String> = names
        .iter()
        .map(|name| folded(name))
        .flat_map(|name| name.split(|c: char| !c.is_alphanumeric()).map(str::to_owned).collect::<Vec<_>>())
        .filter(|part| part.chars().count() >= 3)
        .collect();
    // `least[n]` is the number of pieces of the first n characters.
    let mut least = vec![usize::MAX; text.len() + 1];
    least[0] = 0;
    for from in 0..text.len() {
        let here = least[from];
        let rest = &text[from..];
        let mut reach = |length: usize| {
            let at = &mut least[from + length];
            *at = (*at).min(here + 1);
        };
        reach(1);
        (2..=same(rest)).for_each(&mut reach);
        WALKS.iter().flat_map(|walk| walked(rest, walk)).for_each(&mut reach);
        if is_year(rest) {
            reach(4);
        }
        dates(rest).for_each(&mut reach);
        for word in COMMON.lines().chain(names.iter().map(String::as_str)) {
            let length = word.chars().count();
            if begins_with(rest, word.chars())
                || length >= SHORTEST_BACKWARDS && begins_with(rest, word.chars().rev())
            {
                reach(length);
            }
        }
    }
    least[text.len()]
}

/// How many times the first character is repeated at the beginning.
fn same(text: &[char]) -> usize {
    text.iter().take_while(|c| Some(*c) == text.first()).count()
}

/// The lengths, from three on, for which the text follows `walk`, forwards or backwards.
fn walked(text: &[char], walk: &str) -> Vec<usize> {
    let forwards: Vec<char> = walk.chars().collect();
    let backwards: Vec<char> = walk.chars().rev().collect();
    let along = |walk: &[char]| {
        let from =
            |start: usize| walk[start..].iter().zip(text).take_while(|(one, other)| one == other).count();
        (0..walk.len()).map(from).max().unwrap_or_default()
    };
    (3..=along(&forwards).max(along(&backwards))).collect()
}

fn is_year(text: &[char]) -> bool {
    let year: String = text.iter().take(4).collect();
    matches!(year.parse(), Ok(1900..=2099)) && year.len() == 4
}

/// The lengths of dates at the beginning of the text: year, month and day in any usual order, with or without
/// separators.
fn dates(text: &[char]) -> impl Iterator<Item = usize> {
    const ORDERS: [[Part; 3]; 3] = [
        [Part::Year, Part::Month, Part::Day],
        [Part::Day, Part::Month, Part::Year],
        [Part::Month, Part::Day, Part::Year],
    ];
    ORDERS.into_iter().flat_map(|order| {
        order.into_iter().fold(vec![0], |ends, part| {
            let after = |at: usize| {
                let is_sign = at > 0 && text.get(at).is_some_and(|c| !c.is_alphanumeric());
                let from = at + usize::from(is_sign);
                // Without separators, months and days have leading zeros.
                part.lengths(&text[from..], is_sign || at == 0).into_iter().map(move |length| from + length)
            };
            ends.into_iter().flat_map(after).collect()
        })
    })
}

/// A part of a date.
#[derive(Clone, Copy)]
enum Part {
    Year,
    Month,
    Day,
}

impl Part {
    /// The possible lengths of this part at the beginning of the text.
    fn lengths(self, text: &[char], may_be_short: bool) -> Vec<usize> {
        const MONTHS: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        let number = |length: usize| {
            let digits: String = text.get(..length)?.iter().filter(|c| c.is_ascii_digit()).collect();
            digits.parse::<u32>().ok().filter(|_| digits.len() == length)
        };
        let short = 1..=if may_be_short { 1 } else { 0 };
        let within = |lengths: &mut dyn Iterator<Item = usize>, most: u32| -> Vec<usize> {
            lengths.filter(|length| number(*length).is_some_and(|n| (1..=most).contains(&n))).collect()
        };
        match self {
            Self::Year => [2, 4]
                .into_iter()
                .filter(|n| *n == 2 && number(2).is_some() || *n == 4 && is_year(text))
                .collect(),
            Self::Day => within(&mut short.chain([2]), 31),
            Self::Month => {
                let named = MONTHS.iter().flat_map(|month| [month.len(), 3].map(|length| &month[..length]));
                let named = named.filter(|name| begins_with(text, name.chars())).map(str::len);
                within(&mut short.chain([2]), 12).into_iter().chain(named).collect()
            }
        }
    }
}

/// Whether the text begins with the word, also if digits and signs replace some letters.
fn begins_with(text: &[char], word: impl Iterator<Item = char>) -> bool {
    let is_like = |c: char, letter: char| {
        c == letter
            || match letter {
                'a' => matches!(c, '4' | '@'),
                'b' => c == '8',
                'e' => matches!(c, '3' | '€'),
                'g' => c == '9',
                'i' => matches!(c, '1' | '!' | '|'),
                'l' => matches!(c, '1' | '|'),
                'o' => c == '0',
                's' => matches!(c, '5' | '$'),
                't' => matches!(c, '7' | '+'),
                'z' => c == '2',
                _ => false,
            }
    };
    let mut letters = 0;
    for (n, letter) in word.enumerate() {
        match text.get(n) {
            Some(c) if is_like(*c, letter) => letters += 1,
            _ => return false,
        }
    }
    letters > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        check_new("password", text, &["ada lovelace", "innkeeper"])
            .err()
            .map(|error| error.problem)
            .unwrap_or_default()
    }

    #[test]
    fn what_everybody_chooses_is_refused() {
        for text in [
            "password1234",
            "Password123!",
            "P@ssw0rd1234",
            "passwordpassword",
            "p4ssw0rd2024!",
            "iloveyou1234",
            "letmeinletmein",
            "welcome12345",
            "administrator",
            "Administrator1!",
            "changeme1234",
            "qwertyuiop12",
            "qwerty123456",
            "qwertyuiopasdf",
            "1q2w3e4r5t6y",
            "1qaz2wsx3edc",
            "zaq12wsxcde3",
            "asdfghjkl123",
            "abcdefghijkl",
            "123456789012",
            "987654321098",
            "12.05.1987-12",
            "aaaaaaaaaaaa",
            "abcabcabcabc",
            "ab12ab12ab12ab12",
            "trustno1trustno1",
            "football2023",
            "Summer2024!!",
            "correcthorsebatterystaple",
            "correct horse battery staple",
            "pass word 1234",
            "i-love-you-2024",
            "innkeeper2024",
            "Innkeeper123!",
            "lovelace-2015",
            "ada-lovelace!",
            "monkeydragon1",
            "thisismypassword",
            "drowssap4321",
            "Nimda-Drowssap",
            "2026-11-30-ada",
            "30.11.2026 ada",
            "ada20261130!",
            "lovelace301126",
            "1.2.1990lovelace",
            "30-nov-2026-ada",
            "ada-november-30-2026",
            "1990-01-02-1991-03-04",
            "\u{ff50}\u{ff41}\u{ff53}\u{ff53}\u{ff57}\u{ff4f}\u{ff52}\u{ff44}\u{ff11}\u{ff12}\u{ff13}\u{ff14}",
            "p\u{430}ssword1234",
            "\u{440}\u{430}\u{455}\u{455}w\u{43e}rd1234",
            "p\u{e4}ssw\u{f6}rd1234",
            "pass\u{200b}word\u{ad}1234",
            "l\u{43e}v\u{435}l\u{430}\u{441}\u{435}-2015",
            "\u{1d429}\u{1d41a}\u{1d42c}\u{1d42c}\u{1d430}\u{1d428}\u{1d42b}\u{1d41d}1234",
            "\u{3c1}\u{3b1}ssw\u{3bf}rd1234",
            "a\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}\u{200b}",
            "iamthebest123",
        ] {
            assert!(said(text).contains("an attacker tries"), "{text}: {}", said(text));
        }
    }

    #[test]
    fn what_nobody_guesses_is_taken() {
        for text in [
            "correct horse",
            "kettle-orbit-9-violin",
            "Xk7#pq!mZ2vT",
            "vier blaue Esel",
            "mein Hund frisst Zaunlatten",
            "passwords are a nuisance to me",
            "äöüßéèñçøåþð",
            "日本語のパスワードは長いです",
            "qv8ZrL-qv8ZrL-Mw4",
            "\u{43c}\u{43e}\u{439} \u{43a}\u{43e}\u{442} \u{43b}\u{44e}\u{431}\u{438}\u{442} \u{440}\u{44b}\u{431}\u{443}",
            "\u{3bf} \u{3b3}\u{3ac}\u{3c4}\u{3bf}\u{3c2} \u{3bc}\u{3bf}\u{3c5} \u{3c0}\u{3b5}\u{3b9}\u{3bd}\u{3ac}\u{3b5}\u{3b9}",
            "Gr\u{fc}\u{df}e an Tante \u{c4}nne",
            "kettle 2026 orbit violin",
            "\u{928}\u{92e}\u{938}\u{94d}\u{924}\u{947} \u{926}\u{941}\u{928}\u{93f}\u{92f}\u{93e}",
            "met her 30.11.2026 at dusk",
            "x7k311299qpzmw",
            "evolve godfather kiln",
        ] {
            assert_eq!(said(text), "", "{text}");
        }
    }

    #[test]
    fn what_was_drawn_is_taken() {
        // A xorshift generator: the same numbers in each run.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state % 1000).unwrap() % below
        };
        for alphabet in [
            "abcdefghijklmnopqrstuvwxyz0123456789",
            "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz23456789-_!",
            "\u{430}\u{431}\u{432}\u{433}\u{434}\u{435}\u{436}\u{437}\u{438}\u{43a}\u{43b}\u{43c}\u{43d}\u{43e}\u{43f}\u{440}\u{441}\u{442}\u{443}\u{444}\u{445}",
        ] {
            let letters: Vec<char> = alphabet.chars().collect();
            for _ in 0..60 {
                let text: String = (0..12).map(|_| letters[draw(letters.len())]).collect();
                assert_eq!(said(&text), "", "{text}");
            }
        }
    }

    #[test]
    fn too_short_and_too_long_are_said() {
        assert!(said("x7#Kq2!mZ9v").contains("at least 12"));
        assert!(said(&"ö".repeat(251)).contains("500 bytes"));
        assert!(said(&"ab".repeat(200)).contains("an attacker tries"));
    }
}
