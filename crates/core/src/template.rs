//! Templates such as `alert_msg`: texts with placeholders. An unknown placeholder stays as it is written, and inserted
//! values are never expanded again.

/// Replaces each `{name}` for which `value` returns a value.
pub fn fill(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let name_end = rest[1..].find(['{', '}']).map(|end| end + 1);
        match name_end.filter(|end| rest[*end..].starts_with('}')) {
            Some(end) => {
                match value(&rest[1..end]) {
                    Some(text) => filled.push_str(&text),
                    None => filled.push_str(&rest[..=end]),
                }
                rest = &rest[end + 1..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> String {
        fill(text, |name| match name {
            "app" => Some("{component}".to_owned()),
            "component" => Some("backup".to_owned()),
            _ => None,
        })
    }

    #[test]
    fn known_names_are_replaced_once_and_the_rest_stays() {
        for (text, expected) in [
            ("{component} of {app}", "backup of {component}"),
            ("{unknown} {component", "{unknown} {component"),
            ("{{component}}", "{backup}"),
            ("{}{", "{}{"),
            ("é{component}é", "ébackupé"),
        ] {
            assert_eq!(filled(text), expected);
        }
    }
}
