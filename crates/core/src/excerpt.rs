//! The part of a body, a log or notes that is kept: all of it if it is short, otherwise its beginning and its end,
//! where the error usually is.

/// The most bytes that are kept of one check-in, including the mark for the omitted part.
pub const KEPT: usize = 10_000;
/// The bytes kept of the beginning, if something is omitted.
pub const BEGINNING: usize = 3_000;
/// The bytes of the end that are held: those that are kept, and the rest of a character that may be cut in two.
const END: usize = KEPT - BEGINNING + 3;

/// Takes a body piece by piece, and holds only what the excerpt can need of it.
#[derive(Debug, Clone, Default)]
pub struct Excerpt {
    /// The first [`KEPT`] bytes.
    start: Vec<u8>,
    /// The last of the bytes after `start`: at least [`END`] of them, if there were that many.
    end: Vec<u8>,
    /// How many bytes there were in all.
    length: u64,
    /// The body was cut off before its end.
    is_cut_off: bool,
}

impl Excerpt {
    /// The excerpt of a complete body.
    pub fn of(body: &[u8]) -> Self {
        let mut excerpt = Self::default();
        excerpt.push(body);
        excerpt
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.length += bytes.len() as u64;
        let (first, rest) = bytes.split_at(bytes.len().min(KEPT - self.start.len()));
        self.start.extend_from_slice(first);
        let rest = &rest[rest.len().saturating_sub(END)..];
        if self.end.len() + rest.len() > 4 * END {
            let over = self.end.len().saturating_sub(END);
            self.end.drain(..over);
        }
        self.end.extend_from_slice(rest);
    }

    /// Marks the body as incomplete: the text ends with a line that says so.
    pub fn cut_off(&mut self) {
        self.is_cut_off = true;
    }

    /// How many bytes came.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// At most [`KEPT`] bytes of text, cut between characters. Bytes that are not UTF-8, and NUL (which no text column
    /// takes), are replaced.
    pub fn text(&self) -> String {
        if !self.is_cut_off {
            return self.text_within(KEPT);
        }
        let last = format!("[... cut off after {} bytes ...]\n", self.length);
        let mut text = self.text_within(KEPT - last.len() - 1);
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text + &last
    }

    fn text_within(&self, most: usize) -> String {
        if self.end.is_empty() {
            let whole = replaced(&String::from_utf8_lossy(&self.start));
            if whole.len() <= most {
                return whole;
            }
        }
        let beginning = Taken::from_start(&self.start, BEGINNING);
        // If bytes are missing, they lie between the two parts; otherwise the two are contiguous.
        let is_all_held = self.length == (self.start.len() + self.end.len()) as u64;
        let held = if is_all_held { [&self.start[..], &self.end].concat() } else { self.end.clone() };
        let held = &held[held.len().saturating_sub(END)..];
        let with_mark_of = |left_out: u64| {
            let room = most.saturating_sub(beginning.text.len() + mark(left_out).len());
            let end = Taken::from_end(held, room);
            (self.length.saturating_sub((beginning.bytes + end.bytes) as u64), end)
        };
        // The mark contains the number of omitted bytes, and its length changes that number. In the second pass the
        // number has the same number of digits, or fewer.
        let (about, _) = with_mark_of(self.length);
        let (left_out, end) = with_mark_of(about);
        format!("{}{}{}", beginning.text, mark(left_out), end.text)
    }
}

/// The mark in the place of the omitted bytes.
fn mark(bytes: u64) -> String {
    format!("\n[... {bytes} bytes left out ...]\n")
}

/// A part of a body as text, and the number of its bytes that the text stands for.
struct Taken {
    text: String,
    bytes: usize,
}

impl Taken {
    /// The longest prefix of `bytes` that fits into `most` bytes of text.
    fn from_start(bytes: &[u8], most: usize) -> Self {
        let mut taken = Self { text: String::new(), bytes: 0 };
        for (c, length) in characters(bytes) {
            if taken.text.len() + c.len_utf8() > most {
                break;
            }
            taken.text.push(c);
            taken.bytes += length;
        }
        taken
    }

    /// The longest suffix of `bytes` that fits into `most` bytes of text; its first character may be cut.
    fn from_end(bytes: &[u8], most: usize) -> Self {
        let is_rest = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
        let cut = bytes.iter().take(3).take_while(is_rest).count();
        let all: Vec<(char, usize)> = characters(&bytes[cut..]).collect();
        let (mut length, mut from, mut taken) = (0, all.len(), 0);
        for (c, bytes) in all.iter().rev() {
            if length + c.len_utf8() > most {
                break;
            }
            (length, from, taken) = (length + c.len_utf8(), from - 1, taken + bytes);
        }
        Self { text: all[from..].iter().map(|(c, _)| c).collect(), bytes: taken }
    }
}

/// The characters of a body, each with the number of bytes that it stands for.
fn characters(bytes: &[u8]) -> impl Iterator<Item = (char, usize)> {
    bytes.utf8_chunks().flat_map(|chunk| {
        let valid = chunk.valid().chars().map(|c| (if c == '\0' { '\u{fffd}' } else { c }, c.len_utf8()));
        let invalid = Some(chunk.invalid().len()).filter(|length| *length > 0);
        valid.chain(invalid.map(|length| ('\u{fffd}', length)))
    })
}

fn replaced(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(body: impl AsRef<[u8]>) -> String {
        Excerpt::of(body.as_ref()).text()
    }

    /// Beginning, count and end.
    fn parts(text: &str) -> (&str, u64, &str) {
        let (beginning, rest) = text.split_once("\n[... ").unwrap();
        let (count, end) = rest.split_once(" bytes left out ...]\n").unwrap();
        (beginning, count.parse().unwrap(), end)
    }

    #[test]
    fn what_is_short_is_kept_whole() {
        assert_eq!(text("done"), "done");
        assert_eq!(text(b"a\xffb\0c"), "a\u{fffd}b\u{fffd}c");
        let longest = "é".repeat(5000);
        assert_eq!(text(&longest), longest);
        assert_eq!(text(""), "");
    }

    #[test]
    fn of_what_is_long_the_beginning_and_the_end_are_kept() {
        for length in [10_001, 10_500, 13_000, 17_004, 20_000, 65_537, 2_000_000_usize] {
            let body: String = (0..)
                .flat_map(|n: usize| format!("{n} ").into_bytes())
                .map(char::from)
                .take(length)
                .collect();
            let kept = text(&body);
            let (beginning, left_out, end) = parts(&kept);
            assert_eq!(beginning, &body[..3000], "{length}");
            assert!(
                body.ends_with(end) && kept.len() <= KEPT && kept.len() > KEPT - 2,
                "{length}: {}",
                kept.len()
            );
            assert_eq!(beginning.len() as u64 + left_out + end.len() as u64, length as u64);
        }
    }

    #[test]
    fn no_character_is_cut_and_every_byte_is_counted() {
        for first in ["", "x", "xx", "xxx"] {
            for unit in ["🐙", "é", "日"] {
                let body = format!("{first}{}", unit.repeat(9000));
                let kept = text(&body);
                let (beginning, left_out, end) = parts(&kept);
                assert!(body.starts_with(beginning) && body.ends_with(end) && kept.len() <= KEPT);
                assert!(beginning.len() > BEGINNING - 4, "{first}{unit}");
                assert_eq!(beginning.len() as u64 + left_out + end.len() as u64, body.len() as u64);
            }
        }
        let odd = [0xff; 20_000];
        let kept = text(odd);
        let (beginning, left_out, end) = parts(&kept);
        assert!(kept.len() <= KEPT && kept.chars().filter(|c| *c == '\u{fffd}').count() > 3000);
        assert_eq!((beginning.chars().count() + end.chars().count()) as u64 + left_out, 20_000);
        // The body is short enough, but its text is not.
        let kept = text([0xff; 9_000]);
        let (beginning, left_out, end) = parts(&kept);
        assert_eq!((beginning.chars().count() + end.chars().count()) as u64 + left_out, 9_000);
    }

    #[test]
    fn one_that_was_cut_off_says_so_in_its_last_line() {
        for (body, kept) in [
            ("", "[... cut off after 0 bytes ...]\n"),
            ("half a li", "half a li\n[... cut off after 9 bytes ...]\n"),
            ("a line\n", "a line\n[... cut off after 7 bytes ...]\n"),
        ] {
            let mut excerpt = Excerpt::of(body.as_bytes());
            excerpt.cut_off();
            assert_eq!(excerpt.text(), kept);
        }
        for length in [9_960, 9_970, 9_999, 10_000, 10_001, 2_000_000_u64] {
            let mut excerpt = Excerpt::of(&vec![b'x'; usize::try_from(length).unwrap()]);
            excerpt.cut_off();
            let text = excerpt.text();
            let body = text.strip_suffix(&format!("\n[... cut off after {length} bytes ...]\n")).unwrap();
            assert!(text.len() <= KEPT, "{length}: {}", text.len());
            if body.contains("[...") {
                let (beginning, left_out, end) = parts(body);
                assert_eq!(beginning.len() as u64 + left_out + end.len() as u64, length);
                assert!(text.len() > KEPT - 3, "{length}: {}", text.len());
            } else {
                assert_eq!(body.len() as u64, length);
            }
        }
    }

    #[test]
    fn the_pieces_in_which_it_came_do_not_matter() {
        let body: Vec<u8> = "zeile é 🐙\n".repeat(30_000).into_bytes();
        let whole = text(&body);
        for piece in [1, 7, 1000, 4096, 7003, 65_536] {
            let mut excerpt = Excerpt::default();
            body.chunks(piece).for_each(|piece| excerpt.push(piece));
            assert_eq!((excerpt.text(), excerpt.length()), (whole.clone(), body.len() as u64), "{piece}");
            assert!(excerpt.end.len() <= 5 * END);
        }
    }
}
