//! Recovery codes: for when a second factor is lost. Each is drawn at random with 80 bits, so a plain SHA-256 is as
//! good as a slow hash.

use innkeeper_core::secret::Secret;

use super::hash;

/// The number of codes that are made at once.
pub const COUNT: usize = 10;
/// Letters and digits that are not mistaken for others: Crockford's alphabet, without I, L, O and
/// U.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const LETTERS: usize = 16;
const GROUP: usize = 4;

/// Draws codes in the form in which they are shown: `7K3M-Q2XA-9DFE-H0VB`.
///
/// # Errors
/// The system provides no randomness.
pub fn draw() -> Result<Vec<Secret>, getrandom::Error> {
    (0..COUNT).map(|_| draw_one()).collect()
}

fn draw_one() -> Result<Secret, getrandom::Error> {
    let mut bytes = [0; LETTERS];
    getrandom::fill(&mut bytes)?;
    let letters: Vec<char> =
        bytes.iter().map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()])).collect();
    let groups: Vec<String> = letters.chunks(GROUP).map(|group| group.iter().collect()).collect();
    Ok(Secret::new(groups.join("-")))
}

/// The hash under which a code is stored, however a person typed it. None if it is not a recovery
/// code.
pub fn known_by(text: &str) -> Option<String> {
    let letters: String = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| match c.to_ascii_uppercase() {
            'I' | 'L' => '1',
            'O' => '0',
            letter => letter,
        })
        .collect();
    let is_code = letters.len() == LETTERS && letters.bytes().all(|byte| ALPHABET.contains(&byte));
    is_code.then(|| hash(&format!("recovery code {letters}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_code_is_another_and_is_known_however_it_is_typed() {
        let codes = draw().unwrap();
        assert_eq!(codes.len(), COUNT);
        let mut known: Vec<String> = codes.iter().map(|code| known_by(code.reveal()).unwrap()).collect();
        known.sort();
        known.dedup();
        assert_eq!(known.len(), COUNT);
        let right = known_by("7K3M-Q201-9DFE-H0VB");
        assert!(right.is_some());
        for typed in ["7k3m q2o1 9dfe hovb", " 7K3MQ2OI9DFEH0VB ", "7k3m-q20l-9dfe-h0vb"] {
            assert_eq!(known_by(typed), right, "{typed}");
        }
        for wrong in ["", "7K3M-Q201-9DFE", "7K3M-Q201-9DFE-H0VB-7", "7K3M-Q2U1-9DFE-H0VB", "123456"] {
            assert_eq!(known_by(wrong), None, "{wrong}");
        }
    }
}
