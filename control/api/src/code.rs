//! Codes of refusals of the HTTPS API: one table with the status of each, what it means and what
//! helps. The same table is printed in `docs/api.md`.
//!
//! See decision 0144.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! api_codes {
    ($($name:ident $word:literal $status:literal, $meaning:literal, $cure:literal;)*) => {
        /// Stable word for programs: which kind of refusal this is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "kebab-case")]
        pub enum ApiCode {
            $(#[doc = $meaning] $name,)*
        }

        impl ApiCode {
            /// All codes, sorted by their words.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// Returns the word of the code in a response, such as `not-found`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// Returns the HTTP status of responses with this code.
            pub const fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Returns the meaning of the code for a person, without a full stop.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// Returns what a client can do about it, without a full stop.
            pub const fn cure(self) -> &'static str {
                match self { $(Self::$name => $cure,)* }
            }
        }
    };
}

api_codes! {
    Conflict "conflict" 409,
        "the request contradicts the present state, such as an outdated resource version",
        "read the object again, and repeat the change on what is there now";
    Csrf "csrf" 403,
        "the change came with a login's cookie and without its CSRF token",
        "send the token of the session in the header X-CSRF-Token";
    DeltaNotReady "delta-not-ready" 503,
        "the delta that was asked for is being made",
        "ask again after the seconds of Retry-After, or without the parameter from for the whole";
    Internal "internal" 500,
        "the control plane or its machine has failed",
        "look at the control plane's log";
    Invalid "invalid" 400,
        "the request is not valid; with faults, which name the places in its documents, the status is 422",
        "correct what the message and the faults name";
    NoStream "no-stream" 404,
        "the device has no such stream",
        "choose one from the list of the device's streams";
    NotFound "not-found" 404,
        "the object or the path does not exist",
        "correct the name; it may have been deleted meanwhile";
    NothingShipped "nothing-shipped" 404,
        "the device holds the stream, and nothing of it has arrived",
        "ask the device itself, or have records shipped";
    Quota "quota" 403,
        "the tenant has used up a quota, which the message names with its use and its limit",
        "free some of it, or have the limit raised by an admin of the first tenant";
    Refused "refused" 403,
        "the caller may not do this, or the device is not let in",
        "use an access token whose role allows it, as whoami says; approve or enrol the device anew";
    SecondFactor "second-factor" 401,
        "the password is right, and a code of the authenticator program is missing, wrong or was used already",
        "send the code that the program shows now";
    TooLarge "too-large" 413,
        "the request is larger than the control plane takes",
        "send it in parts";
    TooMany "too-many" 429,
        "the request came too soon after others",
        "wait for the seconds of the header Retry-After";
    Unauthorized "unauthorized" 401,
        "no valid token or login came with the request",
        "send a valid access token, or log in again";
    Unavailable "unavailable" 503,
        "the request cannot be carried out at the moment; nothing was changed",
        "try again later; the message says what is missing";
}

impl ApiCode {
    /// Parses a word of a response. None: no code of this version has it.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|known| known.as_str() == word)
    }
}

#[cfg(test)]
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::disallowed_methods,
        reason = "tests fail loudly, and one reads a page of the documentation"
    )]

    use super::*;

    #[test]
    fn every_code_has_one_word_everywhere_a_status_and_texts() {
        let words: Vec<&str> = ApiCode::ALL.iter().map(|code| code.as_str()).collect();
        assert!(words.is_sorted_by(|one, next| one < next), "sorted and once each: {words:?}");
        for code in ApiCode::ALL {
            assert_eq!(serde_json::to_value(code).ok(), Some(code.as_str().into()));
            assert_eq!(ApiCode::parse(code.as_str()), Some(*code));
            assert!((400..600).contains(&code.status()), "{code:?}");
            for text in [code.meaning(), code.cure()] {
                let whole = text.split_whitespace().count() > 2 && !text.ends_with('.');
                assert!(whole && !text.contains('|'), "{code:?}: {text:?}");
            }
        }
        assert_eq!(ApiCode::parse("of-tomorrow"), None);
    }

    /// Table of all codes as it stands in `docs/api.md`.
    fn table() -> String {
        let mut table = "| code | status | meaning | what helps |\n|---|---|---|---|\n".to_owned();
        for code in ApiCode::ALL {
            let (word, status) = (code.as_str(), code.status());
            let row = format!("| `{word}` | {status} | {} | {} |\n", code.meaning(), code.cure());
            table.push_str(&row);
        }
        table
    }

    #[test]
    fn the_api_page_lists_the_codes() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/api.md");
        let page = std::fs::read_to_string(path).unwrap();
        let (before, _) = page.split_once("| code | status |").unwrap_or((&page, ""));
        let now = format!("{before}{}", table());
        if std::env::var_os("HOLDFAST_UPDATE").is_some() {
            std::fs::write(path, &now).unwrap();
            return;
        }
        assert!(page == now, "docs/api.md has other codes than this table: set HOLDFAST_UPDATE=1");
    }
}
