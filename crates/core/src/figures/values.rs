//! Reading and writing the values of figures.

/// The value in JSON: an integer if it is whole and is represented exactly.
pub fn number(value: f64) -> serde_json::Value {
    // Every whole number up to this one is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() <= EXACT { (value as i64).into() } else { value.into() }
}

/// A value for people: `1,200`, `0.25`, `5.4e12`.
pub fn words(value: f64) -> String {
    if value != 0.0 && !(1e-4..1e12).contains(&value.abs()) {
        return format!("{value:e}");
    }
    let text = match value.abs() {
        _ if value.fract() == 0.0 => format!("{value}"),
        10_000.0.. => format!("{value:.0}"),
        100.0.. => trimmed(&format!("{value:.2}")),
        _ => trimmed(&format!("{value:.4}")),
    };
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let (whole, fraction) =
        digits.split_once('.').map_or((digits, None), |(whole, rest)| (whole, Some(rest)));
    let mut grouped = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match fraction {
        Some(fraction) => format!("{sign}{grouped}.{fraction}"),
        None => format!("{sign}{grouped}"),
    }
}

/// The number without zeros at the end of its fraction.
fn trimmed(text: &str) -> String {
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Reads a finite number that is written in digits.
pub(crate) fn parse_value(text: &str) -> Option<f64> {
    let text = text.trim();
    // `f64::from_str` also reads words such as `inf` and `NaN`; they are refused here.
    let is_numeric = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse::<f64>().ok().filter(|value| is_numeric && value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_read_well() {
        for (value, text) in [
            (0.0, "0"),
            (1200.0, "1,200"),
            (-1_234_567.0, "-1,234,567"),
            (0.25, "0.25"),
            (1_234.567_89, "1,234.57"),
            (2_665_027.75, "2,665,028"),
            (99.500_01, "99.5"),
            (-0.000_12, "-0.0001"),
            (100.0, "100"),
            (5.4e15, "5.4e15"),
        ] {
            assert_eq!(words(value), text);
        }
    }
}
