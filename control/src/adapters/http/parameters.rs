//! Check of query parameters and bodies against the OpenAPI document before a handler runs: a
//! parameter that is unknown, repeated or of another type is refused, never ignored. The check
//! reads the routes from the document itself, so no route can be forgotten.
//!
//! See decision 0100.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::HttpBody as _;
use axum::extract::{MatchedPath, Query, Request, State};
use axum::http::{Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;

use crate::core::admission::nearest;
use crate::service::Failure;

/// Maximum number of characters of a name or value that an error quotes.
const QUOTED: usize = 60;

/// Prefix of the paths whose parameters are checked. Probes outside are requested by all kinds of
/// programs, which may add parameters.
const CHECKED: &str = "/api/";

/// Type of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Text,
    Whole,
    Flag,
}

/// Parameters and body that one route takes.
#[derive(Debug, Default)]
struct Taken {
    query: BTreeMap<String, Kind>,
    body: bool,
}

/// Parameters of every route, by path and method in lower case.
#[derive(Debug, Default)]
pub(super) struct Declared(BTreeMap<(String, String), Taken>);

impl Declared {
    /// Reads the parameters from an OpenAPI document.
    pub(super) fn of(api: &utoipa::openapi::OpenApi) -> Arc<Self> {
        let mut declared = BTreeMap::new();
        let paths = serde_json::to_value(&api.paths).unwrap_or_default();
        for (path, item) in paths.as_object().into_iter().flatten() {
            for (method, operation) in item.as_object().into_iter().flatten() {
                declared.insert((path.clone(), method.clone()), Taken::of(operation));
            }
        }
        Arc::new(Self(declared))
    }

    /// Checks a request to a route. Returns why it is refused.
    fn check(&self, method: &Method, path: &str, uri: &Uri, has_body: bool) -> Result<(), Failure> {
        let asked = if method == Method::HEAD { &Method::GET } else { method };
        let nothing = Taken::default();
        let key = (path.to_owned(), asked.as_str().to_lowercase());
        let taken = self.0.get(&key).unwrap_or(&nothing);
        taken.check_query(method, uri)?;
        if has_body && !taken.body {
            return Err(Failure::invalid(format!(
                "{method} {path} takes no body, and one was sent: leave it out"
            )));
        }
        Ok(())
    }
}

impl Taken {
    fn of(operation: &Value) -> Self {
        let parameters = operation.get("parameters").and_then(Value::as_array);
        let query = parameters.into_iter().flatten().filter_map(|parameter| {
            let name = parameter.get("name")?.as_str()?;
            let is_query = parameter.get("in").and_then(Value::as_str) == Some("query");
            is_query.then(|| (name.to_owned(), Kind::of(parameter.get("schema"))))
        });
        Self { query: query.collect(), body: operation.get("requestBody").is_some() }
    }

    fn check_query(&self, method: &Method, uri: &Uri) -> Result<(), Failure> {
        let Ok(Query(given)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
            return Err(Failure::invalid("the query is not NAME=VALUE, divided by &"));
        };
        let mut seen = BTreeMap::new();
        for (name, value) in &given {
            let shown = short(name);
            let Some(kind) = self.query.get(name) else {
                return Err(Failure::invalid(format!(
                    "unknown parameter {shown:?}: {}",
                    self.advice(name, method)
                )));
            };
            if seen.insert(name, ()).is_some() {
                return Err(Failure::invalid(format!(
                    "the parameter {shown:?} stands twice: give it once"
                )));
            }
            if let Some(needed) = kind.refuses(value) {
                return Err(Failure::invalid(format!("{shown}={}: {needed}", short(value))));
            }
        }
        Ok(())
    }

    fn advice(&self, name: &str, method: &Method) -> String {
        let known: Vec<&str> = self.query.keys().map(String::as_str).collect();
        if let Some(meant) = nearest(name, &known) {
            return format!("did you mean {meant:?}?");
        }
        match (known.is_empty(), self.body) {
            (false, _) => format!("known here: {}", known.join(", ")),
            (true, true) => format!("{method} takes what it is told in its body, not in the query"),
            (true, false) => "this route takes no parameters".to_owned(),
        }
    }
}

impl Kind {
    fn of(schema: Option<&Value>) -> Self {
        let is = |word: &str| match schema.and_then(|schema| schema.get("type")) {
            Some(Value::String(one)) => one == word,
            Some(Value::Array(some)) => some.iter().any(|one| one == word),
            _ => false,
        };
        if is("integer") {
            Self::Whole
        } else if is("boolean") {
            Self::Flag
        } else {
            Self::Text
        }
    }

    /// Returns what kind of value is needed when the given one is not of this type.
    fn refuses(self, value: &str) -> Option<&'static str> {
        match self {
            Self::Text => None,
            Self::Whole if value.parse::<u64>().is_ok() => None,
            Self::Whole => Some("a whole number is needed"),
            Self::Flag if matches!(value, "true" | "false") => None,
            Self::Flag => Some("it is true or false"),
        }
    }
}

fn short(text: &str) -> String {
    let mut short: String = text.chars().take(QUOTED).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

/// Middleware that refuses requests with parameters or a body that their route does not take.
pub(super) async fn checked(
    State(declared): State<Arc<Declared>>,
    request: Request,
    next: Next,
) -> Response {
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let path = matched.unwrap_or_else(|| request.uri().path());
    if path.starts_with(CHECKED) {
        let has_body = !request.body().is_end_stream();
        let judged = declared.check(request.method(), path, request.uri(), has_body);
        if let Err(failure) = judged {
            return failure.into_response();
        }
    }
    next.run(request).await
}
