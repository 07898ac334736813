//! The output of programs as a terminal would finally show it.
//!
//! Jobs send what their programs wrote, and those write for a terminal: colours, titles, links, progress bars that
//! go back and overwrite themselves. Pages and messages show the text that remains.

use std::borrow::Cow;
use std::iter::Peekable;
use std::str::Chars;

/// The most blanks that a movement of the cursor leaves before the text that follows it.
const WIDEST_GAP: usize = 240;

/// Returns `text` as a terminal would show it, without any control character but line feeds and tabs.
///
/// Escape sequences are carried out where they move the cursor or erase (`\r`, backspace, `ESC [ K`, `ESC [ 2 A`,
/// …), and dropped otherwise (colours, titles, links: the text of a link stays). Nothing scrolls away: clearing the
/// screen begins a new line. An incomplete sequence removes at most the rest of its line.
///
/// ```
/// use innkeeper_core::terminal::plain;
/// assert_eq!(plain("\x1b[1;31mERROR\x1b[0m disk full\n"), "ERROR disk full\n");
/// assert_eq!(plain(" 10 %\r 50 %\r100 %\r\ndone\n"), "100 %\ndone\n");
/// ```
pub fn plain(text: &str) -> Cow<'_, str> {
    if !text.chars().any(|character| character.is_control() && !matches!(character, '\n' | '\t')) {
        return Cow::Borrowed(text);
    }
    let mut screen = Screen::default();
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\u{1b}' => screen.escape(&mut characters),
            '\u{9b}' => screen.control_sequence(&mut characters),
            '\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}' => skip_string(&mut characters),
            '\n' | '\u{b}' | '\u{c}' | '\u{85}' => screen.new_line(),
            '\r' => screen.column = 0,
            '\u{8}' => screen.left(1),
            '\t' => screen.tab(),
            other if other.is_control() => {}
            other => screen.put(other),
        }
    }
    Cow::Owned(screen.text())
}

/// The lines so far, and where the next character goes.
struct Screen {
    lines: Vec<Vec<char>>,
    row: usize,
    column: usize,
    saved: (usize, usize),
}

impl Default for Screen {
    fn default() -> Self {
        Self { lines: vec![Vec::new()], row: 0, column: 0, saved: (0, 0) }
    }
}

impl Screen {
    fn put(&mut self, character: char) {
        let line = &mut self.lines[self.row];
        if self.column > line.len() {
            self.column = self.column.min(line.len().max(WIDEST_GAP));
            line.resize(self.column, ' ');
        }
        match line.get_mut(self.column) {
            Some(place) => *place = character,
            None => line.push(character),
        }
        self.column += 1;
    }

    /// A tab stays one at the end of a line; within a line it moves on as on a terminal.
    fn tab(&mut self) {
        let length = self.lines[self.row].len();
        if self.column >= length {
            self.put('\t');
        } else {
            self.column = (self.column / 8 * 8 + 8).min(length);
        }
    }

    fn new_line(&mut self) {
        self.row += 1;
        self.column = 0;
        if self.row == self.lines.len() {
            self.lines.push(Vec::new());
        }
    }

    fn left(&mut self, count: usize) {
        // Beyond the end of a line the cursor stands where the next character would go.
        self.column = self.column.min(self.lines[self.row].len().max(WIDEST_GAP)).saturating_sub(count);
    }

    fn up(&mut self, count: usize) {
        self.row = self.row.saturating_sub(count);
    }

    fn down(&mut self, count: usize) {
        self.row = self.row.saturating_add(count).min(self.lines.len() - 1);
    }

    /// Moves the cursor below all existing lines.
    fn below(&mut self) {
        self.row = self.lines.len() - 1;
        self.column = 0;
        if !self.lines[self.row].is_empty() {
            self.new_line();
        }
    }

    /// Reads the rest of an escape sequence, after `ESC`.
    fn escape(&mut self, characters: &mut Peekable<Chars<'_>>) {
        let Some(character) = characters.next_if(|next| matches!(next, ' '..='~')) else { return };
        match character {
            '[' => self.control_sequence(characters),
            ']' | 'P' | 'X' | '^' | '_' => skip_string(characters),
            '7' => self.saved = (self.row, self.column),
            '8' => self.restore(),
            'D' | 'E' => self.new_line(),
            'M' => self.up(1),
            // Character sets and the like: `ESC ( B`.
            ' '..='/' => {
                while characters.next_if(|next| matches!(next, ' '..='/')).is_some() {}
                characters.next_if(|next| matches!(next, '0'..='~'));
            }
            _ => {}
        }
    }

    /// Reads the rest of a control sequence, after `ESC [`: parameters, intermediate characters, a final character.
    fn control_sequence(&mut self, characters: &mut Peekable<Chars<'_>>) {
        let mut parameters = String::new();
        while let Some(character) = characters.next_if(|next| matches!(next, ' '..='?')) {
            parameters.push(character);
        }
        let Some(command) = characters.next_if(|next| matches!(next, '@'..='~')) else { return };
        if parameters.contains(|other: char| !other.is_ascii_digit() && other != ';') {
            return;
        }
        let first = parameters.split(';').next().unwrap_or_default();
        // A number that overflows moves as far as possible.
        let number = if first.is_empty() { 0 } else { first.parse().unwrap_or(usize::MAX) };
        self.command(command, number);
    }

    fn command(&mut self, command: char, number: usize) {
        let count = number.max(1);
        match command {
            'A' => self.up(count),
            'B' => self.down(count),
            'C' | 'a' => self.column = self.column.saturating_add(count),
            'D' => self.left(count),
            'E' => {
                self.down(count);
                self.column = 0;
            }
            'F' => {
                self.up(count);
                self.column = 0;
            }
            'G' | '`' => self.column = count - 1,
            'H' | 'f' => self.below(),
            'J' if number == 0 => {
                self.lines.truncate(self.row + 1);
                self.lines[self.row].truncate(self.column);
            }
            'J' => self.below(),
            'K' => self.erase_in_line(number),
            'X' => self.erase(self.column, count),
            'P' => {
                let line = &mut self.lines[self.row];
                let start = self.column.min(line.len());
                line.drain(start..start.saturating_add(count).min(line.len()));
            }
            's' => self.saved = (self.row, self.column),
            'u' => self.restore(),
            _ => {}
        }
    }

    fn erase_in_line(&mut self, number: usize) {
        match number {
            0 => self.lines[self.row].truncate(self.column),
            1 => self.erase(0, self.column.saturating_add(1)),
            2 => self.lines[self.row].clear(),
            _ => {}
        }
    }

    fn erase(&mut self, start: usize, count: usize) {
        self.lines[self.row].iter_mut().skip(start).take(count).for_each(|place| *place = ' ');
    }

    fn restore(&mut self) {
        let (row, column) = self.saved;
        self.row = row.min(self.lines.len() - 1);
        self.column = column;
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (number, line) in self.lines.iter().enumerate() {
            if number > 0 {
                text.push('\n');
            }
            // Programs blank out the rest of what they overwrite.
            let blanks = line.iter().rev().take_while(|character| **character == ' ').count();
            text.extend(&line[..line.len() - blanks]);
        }
        text
    }
}

/// Skips a string that is meant for the terminal itself, such as a title, with what ends it.
fn skip_string(characters: &mut Peekable<Chars<'_>>) {
    while let Some(&character) = characters.peek() {
        match character {
            '\n' => return,
            '\u{1b}' => {
                // `ESC \` ends the string; any other sequence begins after one that was cut off.
                let mut ahead = characters.clone();
                ahead.next();
                if ahead.next() == Some('\\') {
                    *characters = ahead;
                }
                return;
            }
            _ => {
                characters.next();
                if matches!(character, '\u{7}' | '\u{9c}' | '\u{18}' | '\u{1a}') {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn what_needs_no_change_is_returned_as_it_is() {
        for text in ["", "one\n\ttwo  \n", "héllo 🐙\u{202e}"] {
            assert!(matches!(plain(text), std::borrow::Cow::Borrowed(same) if same == text), "{text:?}");
        }
    }

    #[test]
    fn escape_sequences_and_control_characters_are_dropped() {
        for (text, expected) in [
            ("\x1b[31mred\x1b[0m", "red"),
            ("\x1b[38;2;255;0;0mred\x1b[m", "red"),
            ("\x1b[38:2::255:0:0mred\x1b[4:3m", "red"),
            ("\u{9b}31mred", "red"),
            ("\x1b[?25l\x1b[?2004hprompt\x1b[?25h", "prompt"),
            ("\x1b(Btext\x1b)0\x1b=\x1b>\x1bc", "text"),
            ("\x1b]0;title\x07text", "text"),
            ("\x1b]0;title\x1b\\text", "text"),
            ("\u{9d}0;title\u{9c}text", "text"),
            ("\x1b]8;;https://example.org/\x1b\\a link\x1b]8;;\x1b\\.", "a link."),
            ("\x1bPq#0;2;0;0;0\x1b\\text", "text"),
            ("\x1b_Gf=100;AAAA\x1b\\text", "text"),
            ("bell\x07 null\0 delete\x7f shift\x0e\x0f", "bell null delete shift"),
            ("one\r\ntwo\r\n", "one\ntwo\n"),
            ("one\x0btwo\x0cthree", "one\ntwo\nthree"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn what_a_program_overwrites_is_gone() {
        for (text, expected) in [
            (" 10%\r 50%\r100%\n", "100%\n"),
            ("[##  ] 50%\r\x1b[2K[####] 100%\r\n", "[####] 100%\n"),
            ("downloading 12 MB\r\x1b[Kdone", "done"),
            ("downloading\rdone       \nnext", "done\nnext"),
            ("\x1b[1G\x1b[0Kone\x1b[1G\x1b[0Ktwo", "two"),
            ("abx\x08c", "abc"),
            ("wait |\x08/\x08-\x08done", "wait done"),
            ("abc\x08\x08\x08   \x08\x08\x08xyz", "xyz"),
            ("N\x08NA\x08AM\x08ME\x08E", "NAME"),
            ("a: 1\nb: 1\n\x1b[2Aa: 2\nb: 2\nend", "a: 2\nb: 2\nend"),
            ("a: 1\nb: 1\n\x1b[2F\x1b[Jdone\n", "done\n"),
            ("Starting cron\x1b[20G[ OK ]", "Starting cron      [ OK ]"),
            ("[....] cron\x1b7\r[ ok\x1b8.", "[ ok.] cron."),
            ("abcdef\r\x1b[3P\n", "def\n"),
            ("abcdef\r\x1b[2C\x1b[2X\n", "ab  ef\n"),
            ("abcdef\x1b[3D\x1b[1K", "    ef"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn clearing_the_screen_loses_nothing() {
        assert_eq!(plain("before\x1b[H\x1b[2Jafter"), "before\nafter");
        assert_eq!(plain("before\x1b[2J\x1b[Hafter\x1b[3J"), "before\nafter\n");
    }

    #[test]
    fn a_sequence_that_is_cut_off_takes_no_other_line_with_it() {
        for (text, expected) in [
            ("\x1b]0;title\nthe error", "\nthe error"),
            ("\x1b]0;title\x1b[31mred\nthe error", "red\nthe error"),
            ("\x1b[31\nthe error", "\nthe error"),
            ("\x1b[31é", "é"),
            ("\x1bé", "é"),
            ("the error\x1b", "the error"),
            ("the error\x1b[", "the error"),
            ("the error\x1b]8;;", "the error"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }

    #[test]
    fn no_sequence_costs_more_than_it_is_worth() {
        let far = "\x1b[99999999999999999999999Cx\n".repeat(300);
        assert!(plain(&far).len() <= 300 * 242);
        assert_eq!(plain("ab\x1b[4000000000C\x1b[2Dx").trim_end().len(), 239);
        assert_eq!(
            plain(
                "one\n\x1b[99999999Atwo\x1b[99999999B\x1b[18446744073709551615X\x1b[99999999999999999999P."
            ),
            "two\n   ."
        );
    }
}
