//! Address, access token and CA of the control plane, from the environment or from what `holdfast
//! login` stored.

#![allow(clippy::disallowed_methods, reason = "the command line reads its own configuration file")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use holdfast_base::ids::{hex, unhex};
use reqwest::Url;
use serde::{Deserialize, Serialize};

use super::args::Login;
use super::client::Client;
use super::failure::{Failure, Outcome};
use super::pinned::sha256;
use super::provider_login::{self, Entered};
use super::text::Output;
use holdfast_api::words;

/// Content of the file that `login` writes.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    url: String,
    token: String,
    ca_sha256: String,
}

/// Environment variables, read once.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    /// Address of the control plane, from `HOLDFAST_URL`.
    pub(crate) url: Option<String>,
    /// Access token, from `HOLDFAST_TOKEN`.
    pub(crate) token: Option<String>,
    /// SHA-256 of the CA in hexadecimal or path of its PEM file, from `HOLDFAST_CA`.
    pub(crate) ca: Option<String>,
    /// Folder of configuration files, from `XDG_CONFIG_HOME`.
    pub(crate) config_home: Option<String>,
    /// Home folder, from `HOME`.
    pub(crate) home: Option<String>,
    /// Wish for no colours, from `NO_COLOR`.
    pub(crate) no_color: Option<String>,
}

impl Environment {
    /// Reads the environment of the process.
    pub(crate) fn read() -> Self {
        let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        Self {
            url: read("HOLDFAST_URL"),
            token: read("HOLDFAST_TOKEN"),
            ca: read("HOLDFAST_CA"),
            config_home: read("XDG_CONFIG_HOME"),
            home: read("HOME"),
            no_color: read("NO_COLOR"),
        }
    }

    fn file(&self) -> Outcome<PathBuf> {
        let home = self.home.as_ref().map(|home| Path::new(home).join(".config"));
        let folder = self.config_home.as_ref().map(PathBuf::from).or(home);
        let folder = folder.filter(|folder| folder.is_absolute());
        folder.map(|folder| folder.join("holdfast/config.json")).ok_or_else(|| {
            Failure::failed(
                "there is no place for the login: set HOME or XDG_CONFIG_HOME to an absolute path",
            )
        })
    }

    fn stored(&self) -> Outcome<Option<Stored>> {
        // Without a home folder nothing is stored, but the environment may name everything.
        let Ok(file) = self.file() else { return Ok(None) };
        match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| {
                Failure::file(
                    "understand",
                    &file,
                    format!("{}; log in again: holdfast login", words::json(&error)),
                )
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Failure::file("read", &file, error)),
        }
    }

    /// Returns the client for the present login. Each variable of the environment takes precedence
    /// over the stored value, but a stored token is only sent to the CA that it was stored with.
    pub(crate) fn client(&self) -> Outcome<Client> {
        let complete = self.url.is_some() && self.token.is_some() && self.ca.is_some();
        let stored = if complete { None } else { self.stored()? };
        let missing = |what: &str| {
            Failure::failed(format!(
                "not logged in ({what} is not known): holdfast login URL --token TOKEN --ca-sha256 HEX, \
                 or set HOLDFAST_URL, HOLDFAST_TOKEN and HOLDFAST_CA"
            ))
        };
        let url = self.url.clone().or_else(|| stored.as_ref().map(|stored| stored.url.clone()));
        let url = url.ok_or_else(|| missing("the address"))?;
        let stored_ca = stored.as_ref().and_then(|stored| unhex::<32>(&stored.ca_sha256));
        let ca = match &self.ca {
            Some(ca) => read_ca(ca)?,
            None => stored_ca.ok_or_else(|| missing("the CA"))?,
        };
        let stored_token = stored.filter(|_| stored_ca == Some(ca)).map(|stored| stored.token);
        let token = self.token.clone().or(stored_token).ok_or_else(|| missing("the token"))?;
        Client::new(&parse_url(&url)?, bare(&token), ca)
    }
}

/// Checks an access token against the control plane, or logs in by an identity provider; then stores
/// the login.
pub(crate) async fn login(environment: &Environment, output: Output, wanted: &Login) -> Outcome {
    let (url, ca) = place(environment, wanted)?;
    let file = environment.file()?;
    if let Some(provider) = &wanted.provider {
        let client = Client::new(&url, "", ca)?;
        let entered = provider_login::enter(&client, output, provider, wanted.tenant.as_deref());
        let Entered { token, who } = entered.await?;
        let stored = Stored { url: url.to_string(), token, ca_sha256: hex(&ca) };
        store(&file, &stored).map_err(|error| Failure::file("write", &file, error))?;
        return output.line(&format!("logged in to {url} as {who}; stored in {}", file.display()));
    }
    let token = bare(wanted.token.as_deref().unwrap_or_default());
    if token.starts_with("hf1.") {
        return Err(Failure::usage(
            "that is an enrolment token, for devices; log in with an access token (hfa1...): \
             `holdfast serve` prints one at its first start",
        ));
    }
    let client = Client::new(&url, token, ca)?;
    client.get(&["devices"], &[("limit", "1")]).await?;
    let stored = Stored { url: url.to_string(), token: token.to_owned(), ca_sha256: hex(&ca) };
    store(&file, &stored).map_err(|error| Failure::file("write", &file, error))?;
    output.line(&format!("logged in to {url}; stored in {}", file.display()))
}

/// Address and CA of the control plane: as they are given, or those of the last login.
fn place(environment: &Environment, wanted: &Login) -> Outcome<(Url, [u8; 32])> {
    let complete = wanted.url.is_some() && wanted.ca_sha256.is_some();
    let stored = if complete { None } else { environment.stored()? };
    let missing = |what: &str| {
        Failure::usage(format!(
            "{what} is not known: holdfast login URL --provider NAME --ca-sha256 HEX"
        ))
    };
    let of_stored = || stored.as_ref().map(|stored| stored.url.as_str());
    let url = wanted.url.as_deref().or_else(of_stored).ok_or_else(|| missing("the address"))?;
    let ca = match &wanted.ca_sha256 {
        Some(ca) => read_ca(ca)?,
        None => stored
            .as_ref()
            .and_then(|stored| unhex::<32>(&stored.ca_sha256))
            .ok_or_else(|| missing("the CA"))?,
    };
    Ok((parse_url(url)?, ca))
}

/// Removes what editors put around a token: blanks, a newline, a byte order mark.
fn bare(token: &str) -> &str {
    token.trim_matches(|c: char| c.is_whitespace() || c == '\u{feff}')
}

fn store(file: &Path, stored: &Stored) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    // An existing folder may have another mode. Failing to change it does not prevent the login.
    let _stays = fs::set_permissions(folder, fs::Permissions::from_mode(0o700));
    let mut json = serde_json::to_vec_pretty(stored)?;
    json.push(b'\n');
    replace(file, |to| to.write_all(&json))
}

/// Replaces a file: writes a temporary one of mode 0600 beside it, syncs it to disk and renames it.
pub(crate) fn replace(
    path: &Path,
    fill: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let (mut file, temporary) = begin(path)?;
    let done = fill(&mut file).and_then(|()| finish(file, &temporary, path));
    if done.is_err() {
        let _left_behind = fs::remove_file(&temporary);
    }
    done
}

/// Creates the temporary file for [`finish`].
pub(crate) fn begin(path: &Path) -> io::Result<(File, PathBuf)> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let temporary = path.with_file_name(name);
    // A file of this name is left from a process that has ended, since its process id is ours now.
    let _was_there = fs::remove_file(&temporary);
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    Ok((file, temporary))
}

/// Syncs the temporary file to disk and renames it.
pub(crate) fn finish(file: File, temporary: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new(".")))?.sync_all()
}

fn parse_url(text: &str) -> Outcome<Url> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("https://{text}") };
    let wrong = |why: &str| {
        Failure::usage(format!(
            "{text:?} is no address of a control plane: {why}; it is https://HOST:PORT"
        ))
    };
    let mut url = Url::parse(&whole).map_err(|error| wrong(&error.to_string()))?;
    if url.scheme() != "https" {
        return Err(wrong("the API speaks HTTPS alone"));
    }
    if !url.has_host()
        || url.query().is_some()
        || url.fragment().is_some()
        || !url.username().is_empty()
        || url.password().is_some()
    {
        return Err(wrong("it has other parts"));
    }
    let path = url.path().trim_end_matches('/').to_owned();
    if path.ends_with("/api") || path.ends_with("/api/v1") {
        return Err(wrong("leave out /api/v1, which this program adds itself"));
    }
    url.set_path(&path);
    Ok(url)
}

/// Reads the CA's SHA-256 from hexadecimal text, or from the PEM file at a path.
fn read_ca(text: &str) -> Outcome<[u8; 32]> {
    let digits = text.trim().trim_start_matches("sha256:").replace(':', "");
    if let Some(digest) = unhex::<32>(&digits) {
        return Ok(digest);
    }
    let path = Path::new(text);
    let wrong = |why: String| {
        Failure::usage(format!(
            "the CA {text:?} is neither the 64 hexadecimal digits that `holdfast serve` prints as \
             ca-sha256 nor a PEM file of its certificate: {why}"
        ))
    };
    let pem = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let body = pem
        .split_once("-----BEGIN CERTIFICATE-----")
        .and_then(|(_, rest)| rest.split_once("-----END CERTIFICATE-----"))
        .ok_or_else(|| wrong("it holds no certificate".to_owned()))?
        .0;
    let body: String = body.split_whitespace().collect();
    let der = base64::engine::general_purpose::STANDARD
        .decode(body)
        .map_err(|_| wrong("the certificate in it is not whole".to_owned()))?;
    Ok(sha256(&der))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_strictly() {
        for (text, url) in [
            ("https://127.0.0.1:8443", "https://127.0.0.1:8443/"),
            ("127.0.0.1:8443/", "https://127.0.0.1:8443/"),
            ("https://edge.example/holdfast/", "https://edge.example/holdfast"),
        ] {
            assert_eq!(parse_url(text).unwrap().as_str(), url, "{text}");
        }
        for text in [
            "",
            "http://a",
            "https://",
            "https://u:p@a",
            "https://a?x=1",
            "ftp://a",
            "https://a:1/api/v1",
            "https://a/api/",
        ] {
            assert!(parse_url(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_stored_token_goes_to_no_other_ca() {
        let home = tempfile::tempdir().unwrap();
        let mut environment = Environment {
            config_home: Some(home.path().to_str().unwrap().to_owned()),
            ..Environment::default()
        };
        assert!(environment.client().unwrap_err().message.contains("not logged in"));
        let stored = Stored {
            url: "https://127.0.0.1:1".into(),
            token: "hfa1.a.b".into(),
            ca_sha256: "aa".repeat(32),
        };
        let file = environment.file().unwrap();
        let folder = file.parent().unwrap();
        fs::create_dir_all(folder).unwrap();
        fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&file, "").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        store(&file, &stored).unwrap();
        for (path, mode) in [(file.as_path(), 0o600), (folder, 0o700)] {
            assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, mode);
        }
        assert!(environment.client().is_ok());
        environment.ca = Some("bb".repeat(32));
        assert!(environment.client().unwrap_err().message.contains("the token is not known"));
        environment.token = Some("hfa1.c.d".into());
        assert!(environment.client().is_ok());
    }

    #[test]
    fn a_token_comes_as_editors_leave_it() {
        for text in ["hfa1.a.b", "\u{feff}hfa1.a.b\r\n", " hfa1.a.b\n", "\u{feff} hfa1.a.b"] {
            assert_eq!(bare(text), "hfa1.a.b", "{text:?}");
        }
    }

    #[test]
    fn a_ca_is_digits_or_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        fs::write(&file, "-----BEGIN CERTIFICATE-----\naGVs\nbG8=\n-----END CERTIFICATE-----\n")
            .unwrap();
        assert_eq!(read_ca(file.to_str().unwrap()).unwrap(), sha256(b"hello"));
        assert_eq!(read_ca(&"AA".repeat(32)).unwrap(), [0xaa; 32]);
        for text in ["", "aa", "/nowhere/ca.pem"] {
            assert_eq!(
                read_ca(text).unwrap_err().exit,
                super::super::failure::Exit::Usage,
                "{text}"
            );
        }
    }
}
