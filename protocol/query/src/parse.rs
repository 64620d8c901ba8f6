//! Parser for the language in which people write [`Question`]s.
//!
//! ```text
//! select    := function [ "(" path ")" ] { "," … }       count, mean(temp), p95(motor.current)
//! condition := and { "or" and }          and := not { "and" not }
//! not       := "not" not | "(" condition ")" | "exists" "(" path ")" | term
//! term      := value [ ( "=" | "!=" | "<" | "<=" | ">" | ">=" ) value
//!                    | "in" "(" value { "," value } ")" | "contains" text ]
//! value     := path | number | "text" | 'text' | true | false | null
//! path      := "." | part { "." part }   part := letters, digits, "_", "-" | `anything`
//! ```
//! A path alone is a condition: its value must be `true`. `.` is the record itself.
//!
//! See decision 0093.

use std::fmt;

use super::ast::{
    Comparison, Condition, Function, MAX_BY, MAX_NESTED, MAX_SELECT, MAX_TERMS, MAX_TEXT, Operand,
    Question, Select,
};
use super::number::Number;
use super::path::Path;
use super::word::{KEYWORDS, in_word};

/// Error in a question, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Part of the question: `select`, `where`, `by` or `every`.
    pub part: &'static str,
    /// Complete text of that part.
    pub text: String,
    /// Place of the error, in characters from the beginning of `text`.
    pub at: usize,
    /// Explanation for a person: what is wrong, and what is allowed.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rest: String = self.text.chars().skip(self.at).take(16).collect();
        let place = if rest.is_empty() { "the end".to_owned() } else { format!("{rest:?}") };
        write!(f, "{}, at character {} ({place}): {}", self.part, self.at + 1, self.message)
    }
}

impl std::error::Error for Fault {}

const FUNCTIONS: &str =
    "count, sum, mean, min, max, last, stddev, or a quantile such as p50, p95 or p99.9";
/// Parses a question from its parts as a person writes them; empty ones are left out.
///
/// # Errors
/// Returns the first [`Fault`].
pub fn question(select: &str, filter: &str, by: &str, every: &str) -> Result<Question, Fault> {
    let mut question =
        Question { select: self::select(select)?, by: keys(by)?, ..Question::default() };
    if !filter.trim().is_empty() {
        question.filter = Some(condition(filter)?);
    }
    if !every.trim().is_empty() {
        question.every_ms = duration(every).map_err(|error| Fault {
            part: "every",
            text: every.to_owned(),
            at: 0,
            message: error.to_string(),
        })?;
    }
    Ok(question)
}

/// Parses selections: `count, mean(temp), p95(temp)`.
///
/// # Errors
/// Returns the first [`Fault`].
pub fn select(text: &str) -> Result<Vec<Select>, Fault> {
    let mut parser = Parser::new("select", text)?;
    let mut all = Vec::new();
    loop {
        if all.len() >= MAX_SELECT {
            return Err(parser.fault(format!("more than {MAX_SELECT} things")));
        }
        let at = parser.place();
        let word = parser.function_word();
        let Some(function) = function(&word) else {
            let message = format!("a function is expected here: {FUNCTIONS}");
            return Err(parser.fault_at(at, message));
        };
        let mut path = None;
        if parser.symbol("(") {
            path = Some(parser.path()?);
            parser.expect(")")?;
        } else if function != Function::Count {
            let message =
                format!("of what? write {word}(PATH), or {word}(.) for the record itself");
            return Err(parser.fault(message));
        }
        all.push(Select { function, path });
        if !parser.symbol(",") {
            parser.end("a comma and another function, or the end")?;
            return Ok(all);
        }
    }
}

fn function(word: &str) -> Option<Function> {
    Some(match word {
        "count" => Function::Count,
        "sum" => Function::Sum,
        "mean" | "avg" => Function::Mean,
        "min" => Function::Min,
        "max" => Function::Max,
        "last" => Function::Last,
        "stddev" => Function::Stddev,
        "median" => Function::Quantile(500),
        _ => {
            let (whole, tenths) =
                word.strip_prefix('p')?.split_once('.').unwrap_or((word.get(1..)?, "0"));
            let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
            if tenths.len() != 1 || whole.len() > 3 || !digits(whole) || !digits(tenths) {
                return None;
            }
            let thousandths = whole.parse::<u16>().ok()? * 10 + tenths.parse::<u16>().ok()?;
            (thousandths <= 1000).then_some(Function::Quantile(thousandths))?
        }
    })
}

/// Parses keys to group by: `site, machine.line`.
///
/// # Errors
/// Returns the first [`Fault`].
pub fn keys(text: &str) -> Result<Vec<Path>, Fault> {
    let mut parser = Parser::new("by", text)?;
    let mut all = Vec::new();
    if parser.is_at_end() {
        return Ok(all);
    }
    loop {
        if all.len() >= MAX_BY {
            return Err(parser.fault(format!("more than {MAX_BY} keys")));
        }
        all.push(parser.path()?);
        if !parser.symbol(",") {
            parser.end("a comma and another key, or the end")?;
            return Ok(all);
        }
    }
}

/// Parses a path: `motor.current`, or with a dot in a name `` `motor.current` ``; empty or `.` is
/// the record itself. `part` is the name for the text in a fault.
///
/// # Errors
/// Returns the first [`Fault`].
pub fn path(part: &'static str, text: &str) -> Result<Path, Fault> {
    let mut parser = Parser::new(part, text)?;
    if parser.is_at_end() {
        return Ok(Path::default());
    }
    let path = parser.path()?;
    parser.end(
        "a dot and another part, or the end; a name with other letters stands in `back quotes`",
    )?;
    Ok(path)
}

/// Parses a condition: `temp > 30 and (state = "run" or not ok)`.
///
/// # Errors
/// Returns the first [`Fault`].
pub fn condition(text: &str) -> Result<Condition, Fault> {
    let mut parser = Parser::new("where", text)?;
    let condition = parser.any(0)?;
    parser.end("and, or, or the end")?;
    Ok(condition)
}

/// Text that is no span of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no span of time: a whole number and ms, s, m, h, d or w, such as 5m")]
pub struct NoSpan(pub String);

/// Parses `250ms`, `30s`, `5m`, `1h` or `7d` into milliseconds, at least 1.
///
/// # Errors
/// Returns [`NoSpan`] with the text.
pub fn duration(text: &str) -> Result<u64, NoSpan> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).unwrap_or((text, ""));
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => 0,
    };
    let span = number.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    span.filter(|span| *span > 0 && *span <= 100 * 366 * 86_400_000)
        .ok_or_else(|| NoSpan(text.to_owned()))
}

struct Parser<'a> {
    part: &'static str,
    text: &'a str,
    /// Position in the text, in bytes.
    at: usize,
    terms: usize,
}

impl<'a> Parser<'a> {
    fn new(part: &'static str, text: &'a str) -> Result<Self, Fault> {
        let parser = Self { part, text, at: 0, terms: 0 };
        if text.len() > MAX_TEXT {
            return Err(parser.fault(format!("longer than {MAX_TEXT} bytes")));
        }
        Ok(parser)
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn space(&mut self) {
        self.at = self.text.len() - self.rest().trim_start().len();
    }

    /// Returns the start of the next word, in bytes.
    fn place(&mut self) -> usize {
        self.space();
        self.at
    }

    fn fault_at(&self, at: usize, message: impl Into<String>) -> Fault {
        let at = self.text.get(..at).unwrap_or(self.text).chars().count();
        let text = self.text.chars().take(MAX_TEXT).collect();
        Fault { part: self.part, text, at, message: message.into() }
    }

    fn fault(&self, message: impl Into<String>) -> Fault {
        self.fault_at(self.at, message)
    }

    fn is_at_end(&mut self) -> bool {
        self.space();
        self.rest().is_empty()
    }

    fn end(&mut self, allowed: &str) -> Result<(), Fault> {
        if self.is_at_end() { Ok(()) } else { Err(self.fault(format!("expected {allowed}"))) }
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        self.space();
        let is = self.rest().starts_with(symbol);
        if is {
            self.at += symbol.len();
        }
        is
    }

    fn expect(&mut self, symbol: &str) -> Result<(), Fault> {
        if self.symbol(symbol) { Ok(()) } else { Err(self.fault(format!("expected {symbol:?}"))) }
    }

    /// Returns the word at the position without consuming it; empty: there is none.
    fn peek_word(&mut self) -> &'a str {
        self.space();
        let rest = self.rest();
        let end = rest.find(|letter| !in_word(letter)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn keyword(&mut self, word: &str) -> bool {
        let is = self.peek_word() == word;
        if is {
            self.at += word.len();
        }
        is
    }

    /// Reads the name of a function, which may contain a point (`p99.9`).
    fn function_word(&mut self) -> String {
        let mut word = self.peek_word().to_owned();
        self.at += word.len();
        if self.rest().starts_with('.') && word.starts_with('p') {
            self.at += 1;
            let tenths = self.peek_word();
            self.at += tenths.len();
            word = format!("{word}.{tenths}");
        }
        word
    }

    fn path(&mut self) -> Result<Path, Fault> {
        let start = self.place();
        if self.symbol(".") {
            return Ok(Path::default());
        }
        let mut parts = Vec::new();
        loop {
            let at = self.at;
            let part = if self.rest().starts_with('`') {
                self.at += 1;
                let rest = self.rest();
                let Some((quoted, _)) = rest.split_once('`') else {
                    return Err(self.fault_at(at, "the closing ` is missing"));
                };
                self.at += quoted.len() + 1;
                quoted
            } else {
                let word = if parts.is_empty() { self.peek_word() } else { self.tight_word() };
                if word.is_empty() || (parts.is_empty() && KEYWORDS.contains(&word)) {
                    let message = if word.is_empty() {
                        "expected a path, such as temp, motor.current, `any name` or . for the record itself"
                            .to_owned()
                    } else {
                        format!(
                            "{word} means something here; write `{word}` for a field of that name"
                        )
                    };
                    return Err(self.fault_at(at, message));
                }
                self.at += word.len();
                word
            };
            parts.push(part.to_owned());
            if !self.rest().starts_with('.') {
                break;
            }
            self.at += 1;
        }
        Path::new(parts).map_err(|error| self.fault_at(start, error.to_string()))
    }

    /// Returns the word that begins exactly at the position, without space before it.
    fn tight_word(&mut self) -> &'a str {
        if self.rest().starts_with(char::is_whitespace) { "" } else { self.peek_word() }
    }

    fn any(&mut self, depth: usize) -> Result<Condition, Fault> {
        let mut all = vec![self.every(depth)?];
        while self.keyword("or") {
            all.push(self.every(depth)?);
        }
        Ok(one_or(all, Condition::Or))
    }

    fn every(&mut self, depth: usize) -> Result<Condition, Fault> {
        let mut all = vec![self.one(depth)?];
        while self.keyword("and") {
            all.push(self.one(depth)?);
        }
        Ok(one_or(all, Condition::And))
    }

    fn one(&mut self, depth: usize) -> Result<Condition, Fault> {
        // One level of recursion here may be up to three levels of the condition.
        if depth >= MAX_NESTED / 3 {
            return Err(self.fault(format!("nested deeper than {}", MAX_NESTED / 3)));
        }
        if self.keyword("not") {
            return Ok(Condition::Not(Box::new(self.one(depth + 1)?)));
        }
        if self.symbol("(") {
            let inner = self.any(depth + 1)?;
            self.expect(")")?;
            return Ok(inner);
        }
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return Err(self.fault(format!("more than {MAX_TERMS} comparisons")));
        }
        if self.keyword("exists") {
            self.expect("(")?;
            let path = self.path()?;
            self.expect(")")?;
            return Ok(Condition::Exists(path));
        }
        self.term()
    }

    fn term(&mut self) -> Result<Condition, Fault> {
        let at = self.place();
        let left = self.value()?;
        let comparisons = [
            ("==", Comparison::Equal),
            ("=", Comparison::Equal),
            ("!=", Comparison::Different),
            ("<>", Comparison::Different),
            ("<=", Comparison::AtMost),
            ("<", Comparison::Less),
            (">=", Comparison::AtLeast),
            (">", Comparison::Greater),
        ];
        for (symbol, comparison) in comparisons {
            if self.symbol(symbol) {
                return Ok(Condition::Compare(left, comparison, self.value()?));
            }
        }
        let Operand::Path(path) = left else {
            let message = "expected a comparison behind a value: = != < <= > >=";
            self.space();
            return Err(self.fault(message));
        };
        if self.keyword("in") {
            self.expect("(")?;
            let mut values = vec![self.value()?];
            while self.symbol(",") {
                self.terms += 1;
                if self.terms > MAX_TERMS {
                    return Err(self.fault(format!("more than {MAX_TERMS} values")));
                }
                values.push(self.value()?);
            }
            self.expect(")")?;
            return Ok(Condition::In(path, values));
        }
        if self.keyword("contains") {
            let place = self.place();
            let Operand::Text(text) = self.value()? else {
                return Err(self.fault_at(place, "expected a text in quotes"));
            };
            return Ok(Condition::Contains(path, text));
        }
        let next = self.peek_word();
        if next.is_empty() || matches!(next, "and" | "or") {
            return Ok(Condition::True(path));
        }
        let _at = at;
        Err(self.fault("expected a comparison (= != < <= > >= in contains), and, or, or the end"))
    }

    fn value(&mut self) -> Result<Operand, Fault> {
        let at = self.place();
        let rest = self.rest();
        match rest.chars().next() {
            Some(quote @ ('"' | '\'')) => self.text_in(quote),
            Some('-' | '+' | '0'..='9') => {
                let end = rest
                    .find(|letter: char| !letter.is_ascii_alphanumeric() && !"+-.".contains(letter))
                    .unwrap_or(rest.len());
                let text = rest.get(..end).unwrap_or_default();
                // Without a space, two numbers in a row would read as one.
                match Number::parse(text) {
                    Some(number) => {
                        self.at += text.len();
                        Ok(Operand::Number(number))
                    }
                    None => Err(self.fault_at(at, format!("{text} is no number"))),
                }
            }
            _ => {
                for (word, value) in [
                    ("true", Operand::Bool(true)),
                    ("false", Operand::Bool(false)),
                    ("null", Operand::Null),
                ] {
                    if self.keyword(word) {
                        return Ok(value);
                    }
                }
                let begins = |c: char| in_word(c) || c == '`' || c == '.';
                if !rest.chars().next().is_some_and(begins) {
                    let message =
                        "expected a value: a path, a number, a text in quotes, true, false or null";
                    return Err(self.fault_at(at, message));
                }
                self.path().map(Operand::Path)
            }
        }
    }

    fn text_in(&mut self, quote: char) -> Result<Operand, Fault> {
        let start = self.at;
        let mut out = String::new();
        let mut letters = self.rest().char_indices().skip(1);
        while let Some((at, letter)) = letters.next() {
            if letter == quote {
                self.at = start + at + letter.len_utf8();
                return Ok(Operand::Text(out));
            }
            out.push(match letter {
                '\\' => match letters.next().map(|(_, letter)| letter) {
                    Some('n') => '\n',
                    Some('t') => '\t',
                    Some(other) => other,
                    None => break,
                },
                other => other,
            });
        }
        Err(self.fault_at(start, format!("the closing {quote} is missing")))
    }
}

fn one_or(mut all: Vec<Condition>, joined: fn(Vec<Condition>) -> Condition) -> Condition {
    match (all.pop(), all.is_empty()) {
        (Some(only), true) => only,
        (last, _) => {
            all.extend(last);
            joined(all)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> Path {
        Path::dotted(text).unwrap()
    }

    #[test]
    fn what_is_selected() {
        let all =
            select(" count, mean(temp),p95( motor.current ) , p99.9(.), avg(`a b`.c),count(x)")
                .unwrap();
        let said: Vec<String> = all.iter().map(ToString::to_string).collect();
        let wanted =
            ["count", "mean(temp)", "p95(motor.current)", "p99.9(.)", "mean(`a b`.c)", "count(x)"];
        assert_eq!(said, wanted);
        let again = select(&said.join(", ")).unwrap();
        assert_eq!(again, all);
    }

    #[test]
    fn conditions_bind_as_people_expect() {
        use Comparison::{Equal, Greater};
        use Condition::{And, Compare, Contains, Exists, In, Not, Or, True};
        let is = |name: &str, value: &str| {
            Compare(Operand::Path(path(name)), Equal, Operand::Text(value.into()))
        };
        let above =
            Compare(Operand::Path(path("temp")), Greater, Operand::Number(Number::Whole(30)));
        let read = |text: &str| condition(text).unwrap_or_else(|fault| panic!("{text}: {fault}"));
        assert_eq!(
            read("temp > 30 and (state = \"run\" or not ok)"),
            And(vec![above.clone(), Or(vec![is("state", "run"), Not(Box::new(True(path("ok"))))])])
        );
        assert_eq!(
            read("temp>30 or a='x' and b=='y'"),
            Or(vec![above, And(vec![is("a", "x"), is("b", "y")])])
        );
        assert_eq!(
            read(
                "state in ('a', \"b\", -1.5e3, null) and line contains 'it\\'s' and exists(`not`)"
            ),
            And(vec![
                In(
                    path("state"),
                    vec![
                        Operand::Text("a".into()),
                        Operand::Text("b".into()),
                        Operand::Number(Number::Float(-1500.0)),
                        Operand::Null
                    ]
                ),
                Contains(path("line"), "it's".into()),
                Exists(path("not")),
            ])
        );
        assert_eq!(read("  ( ( ok ) ) "), True(path("ok")));
    }

    #[test]
    fn faults_point_at_the_place_and_say_what_is_allowed() {
        for (text, at, word) in [
            ("", 0, "expected a value"),
            ("temp >", 6, "expected a value"),
            ("temp > > 3", 7, "expected a value"),
            ("temp ! 3", 5, "expected and, or, or the end"),
            ("temp 3", 5, "expected a comparison (="),
            ("3 and x", 2, "expected a comparison behind"),
            ("a = \"open", 4, "the closing \" is missing"),
            ("(a = 1", 6, "expected \")\""),
            ("a = 1 b = 2", 6, "expected and, or, or the end"),
            ("and = 1", 0, "write `and`"),
            ("ü = 1..2", 4, "is no number"),
            ("a. = 1", 2, "expected a path"),
            ("x in (1 2)", 8, "expected \")\""),
            ("x contains y", 11, "a text in quotes"),
        ] {
            let fault = condition(text).expect_err(text);
            assert_eq!(fault.at, at, "{text}: {fault}");
            assert!(fault.message.contains(word), "{text}: {fault}");
        }
        for (text, at, word) in [
            ("", 0, "count, sum, mean"),
            ("foo(x)", 0, "a function is expected"),
            ("count, mean", 11, "mean(PATH)"),
            ("p101(x)", 0, "a quantile"),
            ("mean(x", 6, "expected \")\""),
            ("mean(x) y", 8, "a comma"),
        ] {
            let fault = select(text).expect_err(text);
            assert_eq!(fault.at, at, "{text}: {fault}");
            assert!(fault.message.contains(word), "{text}: {fault}");
        }
        let said = condition("temp > > 3").unwrap_err().to_string();
        assert!(said.starts_with("where, at character 8 (\"> 3\"): expected a value"), "{said}");
    }

    #[test]
    fn everything_is_bounded() {
        let deep = format!("{}a{}", "(".repeat(2_000), ")".repeat(2_000));
        assert!(condition(&deep).unwrap_err().message.contains("nested deeper"));
        assert!(condition(&"not ".repeat(1_000)).unwrap_err().message.contains("nested deeper"));
        assert!(condition(&"a or ".repeat(100)).unwrap_err().message.contains("more than 64"));
        assert!(condition(&"a".repeat(5_000)).unwrap_err().message.contains("longer than"));
        assert!(select(&"count,".repeat(40)).unwrap_err().message.contains("more than 32"));
        assert!(keys(&"a,".repeat(40)).unwrap_err().message.contains("more than 8"));
        assert!(keys(&"a.".repeat(40)).is_err());
        let deepest = format!("{}a{}", "not (b and (c or ".repeat(3), "))".repeat(3));
        let question = Question { filter: Some(condition(&deepest).unwrap()), ..one() };
        question.check().unwrap();
    }

    fn one() -> Question {
        question("count", "", "", "").unwrap()
    }

    #[test]
    fn spans_of_time() {
        for (text, span) in
            [("250ms", 250), ("5m", 300_000), (" 1h ", 3_600_000), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text), Ok(span));
        }
        for bad in ["", "5", "m", "0s", "-1h", "1.5h", "99999999999999999d", "5 m"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "[a-c(),.`'\"\\\\<>=! 0-9-]{0,40}|(and|or|not|in|exists|a|1|\\(|\\)|,|=| ){0,30}|.{0,30}") {
            let _any = (select(&text), keys(&text), duration(&text));
            if let Ok(condition) = condition(&text) {
                let question = Question { filter: Some(condition), ..one() };
                question.check().unwrap();
                let bytes = serde_cbor::to_vec(&question).unwrap();
                prop_assert_eq!(serde_cbor::from_slice::<Question>(&bytes).unwrap(), question);
            }
        }
    }
}
