//! Error texts of JSON libraries in plain words. The originals are made for programmers: "invalid
//! type: sequence, expected struct NewToken".
//!
//! See decision 0102.

/// Describes a JSON error with its line and column.
pub fn json(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let (said, place) = match whole.rsplit_once(" at line ") {
        Some((said, _)) => (said, format!("line {}, column {}: ", error.line(), error.column())),
        None => (whole.as_str(), String::new()),
    };
    format!("{place}{}", plain(said))
}

/// Describes a JSON error, from its original text without the place.
pub fn plain(said: &str) -> String {
    let pairs = said.strip_prefix("invalid type: ").or(said.strip_prefix("invalid value: "));
    if let Some((found, needed)) = pairs.and_then(|pair| pair.rsplit_once(", expected ")) {
        return format!("{} stands where {} is needed", found_words(found), needed_words(needed));
    }
    if let Some((length, needed)) =
        said.strip_prefix("invalid length ").and_then(|pair| pair.split_once(", expected "))
    {
        return format!("a list of {length} stands where {} is needed", needed_words(needed));
    }
    if let Some((word, known)) = named(said, "unknown field ") {
        return format!("unknown field {word:?}{known}");
    }
    if let Some((word, known)) = named(said, "unknown variant ") {
        return format!("{word:?} is not known here{known}");
    }
    if let Some((word, _)) = named(said, "missing field ") {
        return format!("the field {word:?} is missing");
    }
    if let Some((word, _)) = named(said, "duplicate field ") {
        return format!("the field {word:?} stands here twice");
    }
    syntax(said).unwrap_or(said).to_owned()
}

/// Extracts the word in backquotes after `beginning`, and the list of known words.
fn named(said: &str, beginning: &str) -> Option<(String, String)> {
    let rest = said.strip_prefix(beginning)?.strip_prefix('`')?;
    let (word, rest) = rest.split_once('`')?;
    let known = rest.strip_prefix(", expected ").unwrap_or_default();
    let known = known.trim_start_matches("one of ").replace('`', "").replace(" or ", ", ");
    let known = if known.is_empty() { known } else { format!("; known here: {known}") };
    Some((word.to_owned(), known))
}

fn found_words(found: &str) -> String {
    let quoted = |kind: &str| found.strip_prefix(kind).map(|rest| rest.trim_matches('`'));
    match found {
        "null" | "unit value" | "Option value" => "null".to_owned(),
        "sequence" => "a list".to_owned(),
        "map" => "an object".to_owned(),
        _ => {
            let number = quoted("integer ").or(quoted("floating point ")).or(quoted("number "));
            match (number.or(quoted("boolean ")), found.strip_prefix("string ")) {
                (Some(value), _) => value.to_owned(),
                (_, Some(text)) => format!("the text {text}"),
                _ => found.to_owned(),
            }
        }
    }
}

fn needed_words(needed: &str) -> &str {
    match needed {
        "u8" | "u16" | "u32" | "u64" | "usize" | "i32" | "i64" => "a whole number",
        "f32" | "f64" => "a number",
        "a string" | "string" | "str" | "a borrowed string" => "text",
        "a boolean" | "bool" => "true or false",
        "a sequence" | "sequence" => "a list",
        "a map" | "map" => "an object",
        "unit" => "null",
        _ if needed.starts_with("struct ") => "an object",
        _ if needed.starts_with("enum ") || needed == "variant identifier" => "one of its words",
        _ => needed,
    }
}

fn syntax(said: &str) -> Option<&'static str> {
    Some(match said {
        "EOF while parsing a list" => "the text ends within a list",
        "EOF while parsing an object" => "the text ends within an object",
        "EOF while parsing a string" => "the text ends within quotes",
        "EOF while parsing a value" => "the text ends where a value is needed",
        "expected value" => "no JSON value stands here",
        "expected ident" => "a word that JSON does not have: it has true, false and null",
        "key must be a string" => "a name must stand in double quotes here",
        "trailing characters" => "something stands behind the end",
        "trailing comma" => "a comma with nothing behind it",
        "invalid escape" => "a backslash that JSON does not have",
        "invalid unicode code point"
        | "lone leading surrogate in hex escape"
        | "unexpected end of hex escape" => "\\u and no character's number",
        "recursion limit exceeded" => "too deep: more than 127 lists and objects in each other",
        "number out of range" => "a number that is too large",
        _ if said.starts_with("control character") => {
            "a control character within quotes: write it as an escape such as \\n"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Some {
        #[serde(rename = "a")]
        _a: u32,
        #[serde(default, rename = "w")]
        _w: Option<Word>,
        #[serde(default, rename = "t")]
        _t: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        Auto,
        Manual,
    }

    #[test]
    fn what_a_reader_says_is_said_in_words() {
        for (text, said) in [
            ("", "line 1, column 0: the text ends where a value is needed"),
            ("[]", "line 1, column 2: a list of 0 stands where an object is needed"),
            ("null", "line 1, column 4: null stands where an object is needed"),
            ("{}", "line 1, column 2: the field \"a\" is missing"),
            (
                "{\"a\": \"x, expected y\"}",
                "line 1, column 21: the text \"x, expected y\" stands where a whole number is needed",
            ),
            ("{\"a\": -1}", "line 1, column 8: -1 stands where a whole number is needed"),
            ("{\"a\": 1.5}", "line 1, column 9: 1.5 stands where a whole number is needed"),
            ("{\"a\": true}", "line 1, column 10: true stands where a whole number is needed"),
            ("{\"a\": 1, \"t\": {}}", "line 1, column 14: an object stands where a list is needed"),
            ("{\"a\": 1, \"t\": [1]}", "line 1, column 16: 1 stands where text is needed"),
            ("{\"a\": 1, \"a\": 2}", "line 1, column 12: the field \"a\" stands here twice"),
            ("{\"a\": 1, \"b\": 2}", "line 1, column 12: unknown field \"b\"; known here: a, w, t"),
            (
                "{\"a\": 1, \"w\": \"x\"}",
                "line 1, column 17: \"x\" is not known here; known here: auto, manual",
            ),
            ("{\"a\": 1", "line 1, column 7: the text ends within an object"),
            ("{a: 1}", "line 1, column 2: a name must stand in double quotes here"),
            ("{\"a\": 1} x", "line 1, column 10: something stands behind the end"),
            (
                "{\"a\": nan}",
                "line 1, column 8: a word that JSON does not have: it has true, false and null",
            ),
        ] {
            let error = serde_json::from_str::<Some>(text).unwrap_err();
            assert_eq!(json(&error), said, "{text}");
        }
    }
}
