//! Keeps the end of a job's output in a ring buffer of fixed size and turns it into the text of the report.

use std::collections::VecDeque;

use super::redact::OutputRedactor;

/// Bytes kept before the reported part, so that a secret which begins there is found.
const MARGIN: usize = 8 * 1024;

/// The last bytes of an output.
#[derive(Debug)]
pub struct Tail {
    kept: VecDeque<u8>,
    most: usize,
    total: u64,
}

impl Tail {
    /// Creates a buffer that can report up to `most` bytes.
    pub fn new(most: usize) -> Self {
        Self { kept: VecDeque::new(), most: most + MARGIN, total: 0 }
    }

    /// Appends bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        let bytes = &bytes[bytes.len().saturating_sub(self.most)..];
        let over = (self.kept.len() + bytes.len()).saturating_sub(self.most);
        self.kept.drain(..over);
        self.kept.extend(bytes);
    }

    /// The end of the output as text of at most `limit` bytes, without secrets, NUL and partial characters.
    pub fn text(&self, redactor: &OutputRedactor, limit: usize) -> String {
        let bytes: Vec<u8> = self.kept.iter().copied().collect();
        let is_cut = self.total > bytes.len() as u64;
        let text = String::from_utf8_lossy(&bytes).replace('\0', "\u{fffd}");
        let mut from = 0;
        if is_cut {
            // The margin may hold the rest of a secret whose beginning is gone, so it is not reported.
            from = MARGIN.min(text.len());
            while !text.is_char_boundary(from) {
                from += 1;
            }
        }
        let text = redactor.redact(&text, from);
        if !is_cut && text.len() <= limit {
            return text;
        }
        cut(&text, limit, self.total)
    }
}

/// The last `limit` bytes of `text`. They include a note of how many bytes were left out.
fn cut(text: &str, limit: usize, total: u64) -> String {
    // Room for the longest note that is possible.
    let note = |left_out: u64| format!("[{left_out} bytes before this are left out]\n");
    let room = limit.saturating_sub(note(total).len());
    let mut from = text.len().saturating_sub(room);
    while !text.is_char_boundary(from) {
        from += 1;
    }
    // Begin at the start of a line, if one is near.
    let near = &text[from..];
    if let Some(end) = near.find('\n').filter(|end| *end < room / 4 && from > 0) {
        from += end + 1;
    }
    let kept = &text[from..];
    match limit > note(total).len() {
        true => format!("{}{kept}", note(total.saturating_sub(kept.len() as u64))),
        false => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn none() -> OutputRedactor {
        OutputRedactor::new(&[], Vec::new()).unwrap()
    }

    #[test]
    fn a_short_output_is_whole() {
        let mut tail = Tail::new(100);
        tail.push(b"one\n");
        tail.push(b"two\n");
        assert_eq!(tail.text(&none(), 100), "one\ntwo\n");
        assert_eq!(tail.total, 8);
        assert_eq!(Tail::new(10).text(&none(), 10), "");
    }

    #[test]
    fn of_a_long_one_the_end_is_kept_within_the_limit() {
        let mut tail = Tail::new(10_000);
        for n in 0..100_000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        let text = tail.text(&none(), 1000);
        assert!(text.len() <= 1000 && text.len() > 900, "{}", text.len());
        assert!(text.ends_with("line 99999\n"));
        assert!(text.starts_with('[') && text.contains(" bytes before this are left out]\nline "), "{text}");
        assert!(tail.kept.capacity() < 64 * 1024);
        tail.push(&vec![b'x'; 5_000_000]);
        assert!(tail.kept.len() <= 10_000 + MARGIN);
        assert!(tail.text(&none(), 20).len() <= 20);
    }

    #[test]
    fn halves_of_characters_and_nul_do_no_harm() {
        let mut tail = Tail::new(1000);
        tail.push(b"a\0b\xff\xfe ");
        tail.push(&"ü".as_bytes()[..1]);
        tail.push(&"ü".as_bytes()[1..]);
        assert_eq!(tail.text(&none(), 1000), "a\u{fffd}b\u{fffd}\u{fffd} ü");
        let mut tail = Tail::new(100);
        tail.push("ü".repeat(10_000).as_bytes());
        assert!(tail.text(&none(), 99).len() <= 99);
    }

    #[test]
    fn a_secret_is_masked_across_the_borders_of_reads_and_of_the_ring() {
        let redactor =
            OutputRedactor::new(&["token=[a-z]+".to_owned()], vec!["hunter22".to_owned()]).unwrap();
        let mut tail = Tail::new(1000);
        for chunk in ["x tok", "en=abc", "def y hun", "ter22 z"] {
            tail.push(chunk.as_bytes());
        }
        assert_eq!(tail.text(&redactor, 1000), "x [redacted] y [redacted] z");
        // A mask that is shorter than its secret does not count as bytes left out.
        let mut tail = Tail::new(1000);
        tail.push(b"token=abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz end");
        assert_eq!(tail.text(&redactor, 1000), "[redacted] end");
        // Wherever the ring buffer cuts the secret.
        for shift in 0..40 {
            let mut tail = Tail::new(100);
            tail.push(&vec![b'.'; 50_000 + shift]);
            for _ in 0..2000 {
                tail.push(b"a hunter22 ");
            }
            let text = tail.text(&redactor, 100);
            assert!(!text.contains("unter22") && !text.contains("hunter"), "{text}");
            assert!(text.len() <= 100);
        }
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(48))]

        /// The report is the same however the output is chunked, and never contains the secret, wherever it stands.
        #[test]
        fn no_secret_gets_through(
            words in proptest::collection::vec("[a-z \n]{0,300}|hunter22|\u{fc}{1,40}", 0..200),
            chunk in 1_usize..5000,
            limit in 0_usize..3000,
        ) {
            let redactor = OutputRedactor::new(&[], vec!["hunter22".to_owned()]).unwrap();
            let text = words.concat();
            let (mut whole, mut pieces) = (Tail::new(3000), Tail::new(3000));
            whole.push(text.as_bytes());
            text.as_bytes().chunks(chunk).for_each(|piece| pieces.push(piece));
            let told = pieces.text(&redactor, limit);
            proptest::prop_assert_eq!(&told, &whole.text(&redactor, limit));
            proptest::prop_assert!(told.len() <= limit);
            proptest::prop_assert!(!told.contains("hunter2") && !told.contains("unter22"));
        }
    }
}
