//! Recognizes lines of a crontab that set a variable, by cron's own rules.

use super::machine::Cron;

/// Whether C's `isspace` accepts the byte.
pub fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r')
}

/// The variable that `line` sets and its value; none if cron does not read the line as a setting. The line must have
/// no leading blanks.
pub fn setting(line: &[u8], cron: Cron) -> Option<(String, String)> {
    let (name, rest) = name(line)?;
    let rest = skip_spaces(rest).strip_prefix(b"=")?;
    let rest = skip_spaces(rest);
    let value = match rest.first() {
        // Debian's cron reads `MAILTO=` as an invalid job.
        None if cron == Cron::Debian => return None,
        None => rest,
        Some(quote @ (b'"' | b'\'')) => {
            let end = rest[1..].iter().position(|byte| byte == quote)? + 1;
            if !skip_spaces(&rest[end + 1..]).is_empty() {
                return None;
            }
            &rest[1..end]
        }
        Some(_) => rest,
    };
    let value = unquoted(value.trim_ascii_end());
    Some((String::from_utf8_lossy(name).into_owned(), String::from_utf8_lossy(value).into_owned()))
}

fn name(line: &[u8]) -> Option<(&[u8], &[u8])> {
    if let Some(quote @ (b'"' | b'\'')) = line.first() {
        let end = line[1..].iter().position(|byte| byte == quote || *byte == b'=')? + 1;
        return (line[end] == *quote).then(|| (&line[1..end], &line[end + 1..]));
    }
    let end = line.iter().position(|byte| is_space(*byte) || *byte == b'=')?;
    Some(line.split_at(end))
}

fn skip_spaces(text: &[u8]) -> &[u8] {
    let start = text.iter().position(|byte| !is_space(*byte)).unwrap_or(text.len());
    &text[start..]
}

/// Removes one pair of quotes: `'"a"'` becomes `a`.
fn unquoted(value: &[u8]) -> &[u8] {
    match value {
        [first @ (b'"' | b'\''), inner @ .., last] if first == last => inner,
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_and_what_only_looks_like_them() {
        for (line, name, value) in [
            ("FOO=bar", "FOO", "bar"),
            ("FOO = a b c  ", "FOO", "a b c"),
            ("CRON_TZ = Asia/Tokyo", "CRON_TZ", "Asia/Tokyo"),
            ("MAILTO=\"a b\"", "MAILTO", "a b"),
            ("MAILTO=\"\"", "MAILTO", ""),
            ("'A B'='c  '  ", "A B", "c"),
            ("PATH=$HOME/bin:$PATH", "PATH", "$HOME/bin:$PATH"),
            ("A=b # not a comment", "A", "b # not a comment"),
            ("A='\"x\"'", "A", "x"),
            ("SHELL=/bin/bash\r", "SHELL", "/bin/bash"),
            ("A=b=c", "A", "b=c"),
        ] {
            let expected = Some((name.to_owned(), value.to_owned()));
            assert_eq!(setting(line.as_bytes(), Cron::Debian), expected, "{line}");
            assert_eq!(setting(line.as_bytes(), Cron::Cronie), expected, "{line}");
        }
        for line in
            ["0 2 * * * A=b", "*/5 * * * * x = y", "MAILTO=\"a", "A='b' c", "@daily", "\"A=b\"=c", "FOO", ""]
        {
            assert_eq!(setting(line.as_bytes(), Cron::Debian), None, "{line}");
            assert_eq!(setting(line.as_bytes(), Cron::Cronie), None, "{line}");
        }
        assert_eq!(setting(b"MAILTO=", Cron::Debian), None);
        assert_eq!(setting(b"MAILTO= ", Cron::Cronie), Some(("MAILTO".to_owned(), String::new())));
    }
}
