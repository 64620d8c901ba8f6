//! Files of the pages of the dashboard: those that `build.rs` embeds from `dashboard/dist`, those of
//! a folder, or one page that says how to build them.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

use bytes::Bytes;
use holdfast_base::ids::hex;

use crate::core::model::sha256;

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

/// Path of the file that is served at `/`.
const INDEX: &str = "/index.html";

/// Number of characters of a digest in an `ETag`, enough that two builds never collide.
const TAG: usize = 32;

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
    pub(super) files: BTreeMap<Cow<'static, str>, (File, String)>,
    pub(super) index: String,
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
