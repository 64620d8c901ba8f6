//! Generated values: length and alphabet, and the text that random bytes give.

use serde::{Deserialize, Serialize};

/// Characters that a generated value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Alphabet {
    /// `A` to `Z`, `a` to `z` and `0` to `9`.
    Alphanumeric,
    /// `0` to `9` and `a` to `f`.
    Hex,
    /// `0` to `9`.
    Digits,
    /// Alphanumeric ones and `!#%&()*+,-./:;<=>?@[]^_{|}~`, without quotes, `$`, backslash and
    /// spaces.
    Symbols,
}

impl Alphabet {
    /// Returns the characters, each once.
    fn characters(self) -> &'static [u8] {
        const ALL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#%&()*+,-./:;<=>?@[]^_{|}~";
        match self {
            Self::Symbols => ALL,
            Self::Alphanumeric => ALL.split_at(62).0,
            Self::Hex => b"0123456789abcdef",
            Self::Digits => b"0123456789",
        }
    }

    /// Returns the word of the alphabet in documents.
    pub fn word(self) -> &'static str {
        match self {
            Self::Alphanumeric => "alphanumeric",
            Self::Hex => "hex",
            Self::Digits => "digits",
            Self::Symbols => "symbols",
        }
    }
}

/// Shortest generated value, in characters.
pub const SHORTEST: u64 = 8;
/// Longest generated value, in characters.
pub const LONGEST: u64 = 4_096;
/// Length of a generated value when the document says none, in characters: 190 bits of an
/// alphanumeric one.
pub const USUAL: u32 = 32;

/// Rule by which a value is generated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Number of characters.
    pub length: u32,
    /// Characters that may occur.
    pub alphabet: Alphabet,
}

impl Default for Rule {
    fn default() -> Self {
        Self { length: USUAL, alphabet: Alphabet::Alphanumeric }
    }
}

impl Rule {
    /// Returns the number of random bytes that are enough in all but one of 10^12 cases.
    pub fn bytes(self) -> usize {
        // At most three of ten bytes are dropped (89 * 2 = 178 of 256).
        usize::try_from(self.length).unwrap_or(usize::MAX).saturating_mul(3).saturating_add(64)
    }

    /// Returns the value that these random bytes give. Each character is equally likely: bytes above
    /// the largest multiple of the alphabet's size are dropped. None: there were too few bytes.
    pub fn value(self, random: &[u8]) -> Option<String> {
        let characters = self.alphabet.characters();
        let count = characters.len();
        let limit = 256 - 256 % count;
        let wanted = usize::try_from(self.length).ok()?;
        let fitting = random.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < limit);
        let text: String = fitting
            .filter_map(|byte| characters.get(byte % count))
            .take(wanted)
            .map(|character| char::from(*character))
            .collect();
        (text.len() == wanted).then_some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_character_of_an_alphabet_is_equally_likely() {
        let all: Vec<u8> = (0..=255).collect();
        for alphabet in [Alphabet::Alphanumeric, Alphabet::Hex, Alphabet::Digits, Alphabet::Symbols]
        {
            let count = alphabet.characters().len();
            let most = u32::try_from(256 - 256 % count).unwrap();
            let value = Rule { length: most, alphabet }.value(&all).unwrap();
            for one in alphabet.characters() {
                let times = value.bytes().filter(|found| found == one).count();
                assert_eq!(times, 256 / count, "{alphabet:?} {one}");
            }
            assert_eq!(Rule { length: most + 1, alphabet }.value(&all), None, "too few bytes");
        }
        assert_eq!(Alphabet::Symbols.characters().len(), 89);
        assert!(!Alphabet::Symbols.characters().iter().any(|one| b"\"'`$\\ ".contains(one)));
    }

    #[test]
    fn the_bytes_that_are_asked_for_suffice() {
        let mut state = 7_u32;
        let mut random = |count: usize| -> Vec<u8> {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                state.to_be_bytes()[0]
            };
            (0..count).map(|_| next()).collect()
        };
        for length in [8, 32, 4_096] {
            for alphabet in [Alphabet::Alphanumeric, Alphabet::Symbols, Alphabet::Digits] {
                let rule = Rule { length, alphabet };
                let value = rule.value(&random(rule.bytes())).unwrap();
                assert_eq!(value.len(), length as usize);
            }
        }
    }
}
