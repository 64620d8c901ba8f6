//! Platform that a person asks for, such as `linux/arm64` or `arm/v7`.

use std::fmt;
use std::str::FromStr;

/// Error for a text that is no platform.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform, such as linux/arm64, amd64 or linux/arm/v7")]
pub struct BadPlatform(String);

/// Platform that is asked for. The operating system is always Linux.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    arch: String,
    variant: Option<String>,
}

impl Wanted {
    /// True if an architecture with its variant is meant. Without a variant, each one is.
    pub fn fits(&self, arch: &str, variant: &str) -> bool {
        let same = self.variant.as_deref().is_none_or(|wanted| wanted == variant);
        self.arch == arch && same
    }
}

impl FromStr for Wanted {
    type Err = BadPlatform;

    fn from_str(text: &str) -> Result<Self, BadPlatform> {
        let bad = || BadPlatform(text.chars().take(40).collect());
        let rest = text.strip_prefix("linux/").unwrap_or(text);
        let (arch, variant) = match rest.split_once('/') {
            Some((arch, variant)) => (arch, Some(variant)),
            None => (rest, None),
        };
        let word = |word: &str| {
            let good = |one: u8| one.is_ascii_lowercase() || one.is_ascii_digit();
            !word.is_empty() && word.len() <= 20 && word.bytes().all(good)
        };
        if word(arch) && variant.is_none_or(word) && arch != "linux" {
            Ok(Self { arch: arch.into(), variant: variant.map(Into::into) })
        } else {
            Err(bad())
        }
    }
}

impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "linux/{}", self.arch)?;
        match &self.variant {
            Some(variant) => write!(f, "/{variant}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_read_with_and_without_their_system() {
        for (text, shown) in [
            ("linux/arm64", "linux/arm64"),
            ("amd64", "linux/amd64"),
            ("arm/v7", "linux/arm/v7"),
            ("linux/arm/v6", "linux/arm/v6"),
        ] {
            assert_eq!(text.parse::<Wanted>().unwrap().to_string(), shown);
        }
        for text in ["", "linux", "linux/", "windows/amd64/1/2", "AMD64", "arm/", "a b"] {
            assert!(text.parse::<Wanted>().is_err(), "{text}");
        }
        let arm: Wanted = "arm/v7".parse().unwrap();
        assert!(arm.fits("arm", "v7") && !arm.fits("arm", "v6") && !arm.fits("arm64", "v7"));
    }
}
