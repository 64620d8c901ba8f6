//! `image`: pushes, copies, tags and deletes images, and shows them.
//!
//! See decision 0174.

#![allow(clippy::disallowed_methods, reason = "the command line reads the files it is given")]

use std::io::{Read, Write as _};

use holdfast_base::ids::Digest;
use holdfast_oci::{Archived, ArchivedLayer, Files, Reference, Unpacking, WantedPlatform};
use reqwest::Method;
use serde_json::{Value, json};

use super::args::{CopyImageArgs, ImageCommand, Kind, PushImage};
use super::cells::read;
use super::client::Client;
use super::failure::{Exit, Failure, Outcome};
use super::get::{Found, print};
use super::image_rows::bytes;
use super::image_source;
use super::progress::Progress;
use super::text::{Output, clean, note};
use super::transfer::upload_of;
use holdfast_api::{
    CopyLine, CopyProgress, DeletedImage, Image, PushedImage, PushedPlatform, StoredArtifact,
    TagImage,
};

/// Largest layer in bytes, unpacked. The control plane has a bound of its own, 2 GiB unless its
/// configuration says otherwise.
const MOST_LAYER: u64 = 64 * 1024 * 1024 * 1024;

/// Longest line of a response in bytes: an image of 32 platforms with 128 layers each.
const MAX_LINE: usize = 16 * 1024 * 1024;

/// Longest password from standard input, in bytes. Tokens of registries have some thousand.
const MOST_PASSWORD: u64 = 64 * 1024;

/// Carries out a subcommand of `image`.
pub(crate) async fn image(
    client: &Client,
    output: Output,
    now: u64,
    command: &ImageCommand,
) -> Outcome {
    match command {
        ImageCommand::Push(wanted) => push(client, output, wanted).await,
        ImageCommand::Copy(wanted) => copy(client, output, wanted).await,
        ImageCommand::List { output: format } => {
            let all = client.list(Kind::Image.path(), &[]).await?;
            print(output, now, Kind::Image, *format, Found::All(all))
        }
        ImageCommand::Tag { image, name } => {
            let body = document(&TagImage { name: name.clone() })?;
            let path = ["images", image, "tag"];
            let tagged: Image = read(&client.send(Method::POST, &path, &[], &body).await?)?;
            output.line(&clean(&format!("{name}@{}", tagged.digest)))
        }
        ImageCommand::Delete { image, force } => delete(client, output, image, *force).await,
    }
}

fn document(value: &impl serde::Serialize) -> Outcome<Value> {
    serde_json::to_value(value).map_err(|error| Failure::failed(error.to_string()))
}

fn reference(text: &str) -> Outcome<Reference> {
    text.parse().map_err(|why: holdfast_oci::BadReference| Failure::usage(why.to_string()))
}

async fn push(client: &Client, output: Output, wanted: &PushImage) -> Outcome {
    let platforms = wanted.platforms.iter().map(|one| one.parse::<WantedPlatform>());
    let platforms = platforms.collect::<Result<Vec<_>, _>>();
    let platforms = platforms.map_err(|why| Failure::usage(why.to_string()))?;
    if let Some(name) = &wanted.name {
        reference(name)?;
    }
    let source = image_source::open(&wanted.source, wanted.engine.as_deref()).await?;
    let chosen = wanted.image.as_ref().or(source.name.as_ref()).or(wanted.name.as_ref());
    let found = holdfast_oci::find(&*source.files, chosen.map(String::as_str), &platforms);
    let found = found.map_err(|why| Failure::failed(format!("{}: {why}", wanted.source)))?;
    let name = match wanted.name.clone().or(source.name).or_else(|| named(&found)) {
        Some(name) => reference(&name)?.to_string(),
        None => return Err(Failure::usage("the archive names its image by no tag: say NAME:TAG")),
    };
    let mut pushed = Vec::new();
    for platform in &found.platforms {
        let config = keep_config(client, &platform.config).await?;
        let count = platform.layers.len();
        for (at, layer) in platform.layers.iter().enumerate() {
            keep_layer(client, &*source.files, layer, (at + 1, count)).await?;
        }
        let layers = platform.layers.iter().map(|layer| layer.digest.to_string()).collect();
        pushed.push(PushedPlatform { config: config.to_string(), layers });
    }
    let sources = found.sources.iter().map(ToString::to_string).collect();
    let body = document(&PushedImage { name: name.clone(), platforms: pushed, sources })?;
    let image: Image = read(&client.send(Method::PUT, &["images"], &[], &body).await?)?;
    output.line(&clean(&format!("{name}@{}", image.digest)))
}

/// Returns the name that an archive gives to its image. One that is a tag alone is none.
fn named(found: &Archived) -> Option<String> {
    let whole = found.names.iter().find(|name| name.contains([':', '/']))?;
    // Words that engines put in front of names without a registry.
    let engines = ["docker.io/library/", "docker.io/", "localhost/"];
    let bare = engines.iter().find_map(|word| whole.strip_prefix(word)).unwrap_or(whole);
    Some(bare.to_owned())
}

/// True if the control plane has an artifact.
async fn has(client: &Client, digest: &Digest) -> Outcome<bool> {
    let digest = digest.to_string();
    match client.send(Method::HEAD, &["artifacts", &digest], &[], &Value::Null).await {
        Ok(_) => Ok(true),
        Err(failure) if failure.exit == Exit::NotFound => Ok(false),
        Err(failure) => Err(failure),
    }
}

async fn keep_config(client: &Client, config: &[u8]) -> Outcome<Digest> {
    let digest = holdfast_oci::digest_of(config);
    if !has(client, &digest).await? {
        let body = (reqwest::Body::from(config.to_vec()), config.len() as u64);
        client.upload(Method::PUT, &["artifacts"], body, None).await?;
    }
    Ok(digest)
}

/// Unpacks a layer into a temporary file, checks it and sends it, unless it is there.
async fn keep_layer(
    client: &Client,
    files: &dyn Files,
    layer: &ArchivedLayer,
    (number, of): (usize, usize),
) -> Outcome {
    let digest = layer.digest;
    if has(client, &digest).await? {
        note(&format!("layer {number} of {of}: {digest} is there"));
        return Ok(());
    }
    let failed = |why: &dyn std::fmt::Display| {
        Failure::failed(format!("layer {number} of {of}, {}: {why}", layer.path))
    };
    let opened = files.open(&layer.path).map_err(|error| failed(&error))?;
    let (_, mut from) = opened.ok_or_else(|| failed(&"it is missing in the archive"))?;
    let to = tempfile::NamedTempFile::new().map_err(|error| failed(&error))?;
    let mut unpacking = Unpacking::new(to, MOST_LAYER);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = from.read(&mut buffer).map_err(|error| failed(&error))?;
        let Some(piece) = buffer.get(..read).filter(|piece| !piece.is_empty()) else { break };
        unpacking.write(piece).map_err(|why| failed(&why))?;
    }
    let mut unpacked = unpacking.finish().map_err(|why| failed(&why))?;
    if unpacked.digest != digest {
        return Err(failed(&format!(
            "it unpacks to {}, but the configuration of the image names {digest}: the archive is damaged",
            unpacked.digest
        )));
    }
    unpacked.to.flush().map_err(|error| failed(&error))?;
    let (body, length, _) = upload_of(unpacked.to.path(), "pushing a layer").await?;
    let answer = client.upload(Method::PUT, &["artifacts"], (body, length), None).await?;
    let stored: StoredArtifact = read(&answer)?;
    if stored.digest != digest.to_string() {
        return Err(failed(&format!("it was changed on its way to {}: push again", stored.digest)));
    }
    note(&format!("layer {number} of {of}: {digest} pushed, {}", bytes(length)));
    Ok(())
}

async fn delete(client: &Client, output: Output, image: &str, force: bool) -> Outcome {
    let query: &[(&str, &str)] = if force { &[("force", "true")] } else { &[] };
    let answer = client.send(Method::DELETE, &["images", image], query, &Value::Null).await?;
    let deleted: DeletedImage = read(&answer)?;
    let what = match (deleted.image, deleted.tags.as_slice()) {
        (false, _) => format!("tag {image} deleted; the image has other tags"),
        (true, [] | [_]) => format!("image {image} deleted"),
        (true, tags) => format!("image {image} deleted, with its tags {}", tags.join(", ")),
    };
    let freed = match deleted.files {
        0 => String::new(),
        files => format!("; {files} files that nothing needs any more, {}", bytes(deleted.bytes)),
    };
    output.line(&clean(&format!("{what}{freed}")))
}

async fn copy(client: &Client, output: Output, wanted: &CopyImageArgs) -> Outcome {
    reference(&wanted.from)?;
    let name = wanted.to.as_ref().unwrap_or(&wanted.from);
    reference(name)?;
    let password = match wanted.password_stdin {
        true => Some(password()?),
        false => None,
    };
    let ca = match &wanted.ca {
        Some(path) => Some(
            std::fs::read_to_string(path).map_err(|error| Failure::file("read", path, error))?,
        ),
        None => None,
    };
    let mut body = json!({ "from": wanted.from, "platforms": wanted.platforms,
        "plainHttp": wanted.plain_http });
    let more = [
        ("to", wanted.to.clone()),
        ("username", wanted.username.clone()),
        ("password", password),
        ("secret", wanted.secret.clone()),
        ("ca", ca),
    ];
    if let Some(body) = body.as_object_mut() {
        let given = more.into_iter().filter_map(|(key, value)| Some((key, value?)));
        body.extend(given.map(|(key, value)| (key.to_owned(), json!(value))));
    }
    let image = copied(client, &body).await?;
    output.line(&clean(&format!("{name}@{}", image.digest)))
}

/// Reads a password from standard input, without the end of its line.
fn password() -> Outcome<String> {
    let mut text = String::new();
    let read = std::io::stdin().lock().take(MOST_PASSWORD).read_to_string(&mut text);
    read.map_err(|error| Failure::failed(format!("cannot read the password: {error}")))?;
    let text = text.trim_end_matches(['\r', '\n']).to_owned();
    if text.is_empty() {
        return Err(Failure::usage("--password-stdin: there is no password on standard input"));
    }
    Ok(text)
}

/// Has the control plane copy an image, and shows the progress.
async fn copied(client: &Client, body: &Value) -> Outcome<Image> {
    let mut response = client.post_stream(&["images", "copy"], body).await?;
    let (mut rest, mut progress): (Vec<u8>, _) = (Vec::new(), Progress::begin());
    loop {
        let chunk = response.chunk().await.map_err(|error| client.unreachable(&error))?;
        let Some(chunk) = chunk else { break };
        rest.extend_from_slice(&chunk);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = rest.drain(..=end).collect();
            let line = serde_json::from_slice(&line).map_err(|error| {
                Failure::failed(format!("the answer is not understood ({error})"))
            })?;
            match line {
                CopyLine::Progress(CopyProgress { files, of, bytes: came, of_bytes }) => {
                    let (came, all) = (bytes(came), bytes(of_bytes));
                    progress.say(&format!("{files} of {of} layers here, {came} of {all}"));
                }
                CopyLine::Result(image) => {
                    progress.end();
                    return Ok(*image);
                }
                CopyLine::Failed(why) => {
                    progress.end();
                    return Err(Failure::failed(format!("not copied: {why}")));
                }
            }
        }
        if rest.len() > MAX_LINE {
            break;
        }
    }
    progress.end();
    Err(Failure::failed(
        "the answer ended early: the control plane may have stopped. The next copy goes on where this one was",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archives_name_serves_when_it_is_whole() {
        let of = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned()).collect();
            named(&Archived { platforms: Vec::new(), sources: Vec::new(), names })
        };
        assert_eq!(of(&["1.4"]), None);
        assert_eq!(of(&["localhost/till:1.4", "1.4"]).unwrap(), "till:1.4");
        assert_eq!(of(&["docker.io/library/nginx:1"]).unwrap(), "nginx:1");
        assert_eq!(of(&["registry.example/nginx:1"]).unwrap(), "registry.example/nginx:1");
    }
}
