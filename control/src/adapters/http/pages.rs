//! Pages of the dashboard: files that `build.rs` embeds from `dashboard/dist`, or one page that
//! says how to build them. They hold nothing secret and are served to anyone; the data that they
//! show comes from the API.
//!
//! See decision 0035.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use holdfast_base::ids::hex;

use super::App;
use crate::core::model::sha256;
use crate::service::Failure;

/// File of the pages.
#[derive(Debug, Clone)]
pub struct File {
    /// Path in the address, such as `/assets/index-1a2b3c.js`.
    pub path: Cow<'static, str>,
    /// Value of the header `Content-Type`.
    pub kind: &'static str,
    /// Uncompressed content of the file.
    pub plain: Bytes,
    /// Content compressed with brotli, if there is one.
    pub brotli: Option<Bytes>,
    /// Content compressed with gzip, if there is one.
    pub gzip: Option<Bytes>,
}

/// Embedded file, in the form that `build.rs` writes.
struct Embedded {
    path: &'static str,
    kind: &'static str,
    plain: &'static [u8],
    brotli: Option<&'static [u8]>,
    gzip: Option<&'static [u8]>,
}

include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Placeholder in `index.html` for the nonce.
const NONCE: &str = "__CSP_NONCE__";

/// Path of the file that is served at `/`.
const INDEX: &str = "/index.html";

/// Prefix of files whose names change with their content, so that browsers need not revalidate
/// them.
const HASHED: &str = "/assets/";

/// First parts of paths that are never a page, so that a mistyped API address gives an error.
const NOT_PAGES: [&str; 4] = ["api", "healthz", "readyz", "metrics"];

/// Page that is shown when the program was built without the pages.
const NOT_BUILT: &str = r#"<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>Holdfast</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style nonce="__CSP_NONCE__">body{font:1rem/1.5 sans-serif;max-width:40rem;margin:3rem auto;padding:0 1rem;color-scheme:light dark}</style>
</head>
<body>
<main>
<h1>Holdfast</h1>
<p>The control plane runs. Its pages are not in this program: it was built without them.</p>
<p>In Holdfast's source, <code>make dashboard</code> builds the pages (it needs Node), and
<code>make build</code> after it builds a program that has them.</p>
<p>The API is served: see <a href="/api/v1/openapi.json">its description</a>, or use the command line,
<code>holdfast --help</code>.</p>
</main>
</body>
</html>
"#;

/// Files of the pages by their path, each with the digest of its content.
#[derive(Debug)]
pub struct Pages {
    files: BTreeMap<Cow<'static, str>, (File, String)>,
    index: String,
}

impl Pages {
    /// Serves these files. Without `/index.html` it serves the page that says how to build them.
    pub fn new(files: Vec<File>) -> Self {
        let (index, files): (Vec<File>, Vec<File>) =
            files.into_iter().partition(|file| file.path == INDEX);
        let index = index.first().map(|file| String::from_utf8_lossy(&file.plain).into_owned());
        let tagged = |file: File| {
            let tag = hex(&sha256(&file.plain)).chars().take(TAG).collect();
            (file.path.clone(), (file, tag))
        };
        Self {
            files: files.into_iter().map(tagged).collect(),
            index: index.unwrap_or_else(|| NOT_BUILT.to_owned()),
        }
    }

    /// Serves the files embedded in the program.
    pub fn embedded() -> Self {
        let file = |file: &Embedded| File {
            path: Cow::Borrowed(file.path),
            kind: file.kind,
            plain: Bytes::from_static(file.plain),
            brotli: file.brotli.map(Bytes::from_static),
            gzip: file.gzip.map(Bytes::from_static),
        };
        Self::new(FILES.iter().map(file).collect())
    }

    /// Serves the files of a folder as they are at the start, so that the pages can be developed
    /// without building the program.
    ///
    /// # Errors
    /// Returns an error when the folder cannot be read or has no `index.html`.
    pub fn of_folder(folder: &Path) -> io::Result<Self> {
        let mut files = Vec::new();
        collect(folder, folder, &mut files)?;
        if !files.iter().any(|file| file.path == INDEX) {
            let missing =
                "there is no index.html in it: `npm run build` in control/dashboard makes dist/";
            return Err(io::Error::new(io::ErrorKind::NotFound, missing));
        }
        Ok(Self::new(files))
    }
}

/// Collects every file below a folder. A file of unknown type is served as bytes, as `build.rs`
/// does.
#[allow(clippy::disallowed_methods, reason = "read once, at the start")]
fn collect(top: &Path, folder: &Path, files: &mut Vec<File>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(top, &path, files)?;
            continue;
        }
        let Some(name) = path.strip_prefix(top).ok().and_then(Path::to_str) else { continue };
        let ending = name.rsplit_once('.').map_or("", |(_, ending)| ending);
        let known = FILES.iter().find(|file| file.path.ends_with(&format!(".{ending}")));
        let kind = match ending {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "json" => "application/json",
            _ => known.map_or("application/octet-stream", |file| file.kind),
        };
        let plain = fs::read(&path)?.into();
        let beside = |ending: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(ending);
            fs::read(name).ok().map(Bytes::from)
        };
        let (brotli, gzip) = (beside(".br"), beside(".gz"));
        files.push(File { path: format!("/{name}").into(), kind, plain, brotli, gzip });
    }
    Ok(())
}

/// Number of characters of a digest in an `ETag`, enough that two builds never collide.
const TAG: usize = 32;

/// Handler of requests that no route takes: serves a file, the pages, or an error.
pub(super) async fn pages(State(app): State<App>, request: Request) -> Response {
    let path = request.uri().path();
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    if NOT_PAGES.contains(&first) || !reads {
        let path: String = path.chars().take(80).collect();
        return Failure::NotFound(format!("there is no {path}: see /api/v1/openapi.json"))
            .into_response();
    }
    let mut response = match app.pages.files.get(path) {
        Some((file, tag)) => answer(file, tag, request.headers()),
        // A page of an older build requests a file that is gone; a page would be no answer to that.
        None if path.starts_with(HASHED) => {
            (StatusCode::NOT_FOUND, "there is no such file; load the page anew\n").into_response()
        }
        None => match app.service.enrolment.authority().random::<16>() {
            Ok(nonce) => index(&app.pages, &hex(&nonce)),
            Err(error) => Failure::internal(error).into_response(),
        },
    };
    for (name, value) in [
        (header::REFERRER_POLICY, "no-referrer"),
        (header::HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (header::HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (
            header::HeaderName::from_static("permissions-policy"),
            "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=()",
        ),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Serves the index page with a nonce of its own. It is never cached, because a cached page's nonce
/// would not match the response's policy.
fn index(pages: &Pages, nonce: &str) -> Response {
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; \
         img-src 'self' data:; font-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'self'; frame-ancestors 'none'"
    );
    let head = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (head, pages.index.replace(NONCE, nonce)).into_response()
}

/// Serves a file in the best encoding that the client accepts.
fn answer(file: &File, tag: &str, headers: &HeaderMap) -> Response {
    let (encoding, bytes) = match (&file.brotli, &file.gzip) {
        (Some(brotli), _) if accepts(headers, "br") => (Some("br"), brotli),
        (_, Some(gzip)) if accepts(headers, "gzip") => (Some("gzip"), gzip),
        _ => (None, &file.plain),
    };
    let tag = format!("\"{tag}{}\"", encoding.map(|word| format!("-{word}")).unwrap_or_default());
    let known = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let known = known.is_some_and(|known| {
        known.split(',').any(|one| one.trim().trim_start_matches("W/") == tag || one.trim() == "*")
    });
    let keep = if file.path.starts_with(HASHED) {
        "public, max-age=31536000, immutable"
    } else {
        "no-cache"
    };
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, file.kind)];
        (kind, Body::from(bytes.clone())).into_response()
    };
    let head = response.headers_mut();
    head.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    head.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
    if let Some(encoding) = encoding.filter(|_| !known) {
        head.insert(header::CONTENT_ENCODING, HeaderValue::from_static(encoding));
    }
    if let Ok(tag) = HeaderValue::try_from(tag) {
        head.insert(header::ETAG, tag);
    }
    response
}

/// Returns true when the client accepts this encoding: it is named, without a weight of zero.
pub(super) fn accepts(headers: &HeaderMap, encoding: &str) -> bool {
    let given = headers.get_all(header::ACCEPT_ENCODING).iter();
    given.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|one| {
        let (word, weight) = one.split_once(';').unwrap_or((one, ""));
        let weight = weight.trim().strip_prefix("q=").unwrap_or("1");
        word.trim().eq_ignore_ascii_case(encoding)
            && weight.parse::<f32>().is_ok_and(|weight| weight > 0.0)
    })
}
