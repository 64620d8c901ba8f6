//! Archives of images: an OCI layout, packed as tar or as a folder, and what `docker save` writes.
//!
//! See decision 0174.

use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom};

use serde::Deserialize;

use holdfast_base::ids::Digest;

use crate::config::{BadConfig, Config, MAX_CONFIG};
use crate::digest_of;
use crate::manifest::{BadManifest, Document, Entry, Index, MAX_MANIFEST, Manifest};
use crate::platform::Wanted;

/// Most entries of an archive. One of a hundred images with a hundred layers has fewer.
const MOST_ENTRIES: usize = 200_000;
/// Most links from an entry of a tar archive to the next one.
const MOST_LINKS: usize = 8;
/// Most names that an error repeats.
const NAMED: usize = 10;

/// Annotation with the whole name of an image, which engines write.
const WHOLE_NAME: &str = "io.containerd.image.name";

/// Files of an archive by their paths.
pub trait Files {
    /// Opens a file. None: there is none. Its size comes with it, in bytes.
    ///
    /// # Errors
    /// The disk's error.
    fn open<'a>(&'a self, path: &str) -> io::Result<Option<(u64, Box<dyn Read + 'a>)>>;
}

/// Reason why an archive is no image.
#[derive(Debug, thiserror::Error)]
pub enum BadArchive {
    /// Neither of the two kinds.
    #[error(
        "it is no archive of an image: neither an OCI layout (index.json) nor one of `docker save` (manifest.json)"
    )]
    Kind,
    /// A file that the archive names is not in it.
    #[error("{0} is missing in it")]
    Missing(String),
    /// A small file is too large.
    #[error("{0} has {1} bytes, at most {2} are taken")]
    Large(String, u64, u64),
    /// The file cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
    /// Its list of images is not understood.
    #[error("its manifest.json is not understood: {0}")]
    List(#[source] serde_json::Error),
    /// Several images, of which none was chosen.
    #[error("it has several images ({0}): say which one by its name")]
    Several(String),
    /// No image.
    #[error("it has no image")]
    Empty,
    /// A manifest that is not taken.
    #[error("{0}: {1}")]
    Manifest(String, #[source] BadManifest),
    /// A configuration that is not taken.
    #[error("{0}: {1}")]
    Config(String, #[source] BadConfig),
    /// Layers of manifest and configuration differ in number.
    #[error("{0} has {1} layers and its configuration {2}: the archive is damaged")]
    Count(String, usize, usize),
    /// Bytes that are not those of their digest.
    #[error("{0} has other bytes than its name says: the archive is damaged")]
    Lie(String),
    /// The one image is for a platform that is not wanted.
    #[error("the image is for linux/{0}, not for {1}")]
    OtherPlatform(String, String),
}

/// Layer in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedLayer {
    /// Path in the archive.
    pub path: String,
    /// Digest of the uncompressed layer.
    pub digest: Digest,
}

/// Platform of an image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedPlatform {
    /// Configuration as it is in the archive.
    pub config: Vec<u8>,
    /// Layers, the lowest first.
    pub layers: Vec<ArchivedLayer>,
}

/// Image in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archived {
    /// Content for each platform.
    pub platforms: Vec<ArchivedPlatform>,
    /// Digests of the manifests or indexes that the image is in the archive.
    pub sources: Vec<Digest>,
    /// Names that the archive gives to the image, such as `shop/till:1.4`.
    pub names: Vec<String>,
}

/// Element of the `manifest.json` of `docker save`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Vec<String>,
}

/// Reads a small file. None: there is none.
fn small(files: &dyn Files, path: &str, most: u64) -> Result<Option<Vec<u8>>, BadArchive> {
    let Some((size, reader)) = files.open(path)? else { return Ok(None) };
    if size > most {
        return Err(BadArchive::Large(path.to_owned(), size, most));
    }
    let mut bytes = Vec::new();
    reader.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn needed(files: &dyn Files, path: &str, most: u64) -> Result<Vec<u8>, BadArchive> {
    small(files, path, most)?.ok_or_else(|| BadArchive::Missing(path.to_owned()))
}

fn blob(digest: &Digest) -> String {
    format!("blobs/sha256/{}", digest.hex())
}

/// Reads a small file by its digest.
fn by_digest(files: &dyn Files, digest: &Digest, most: u64) -> Result<Vec<u8>, BadArchive> {
    let path = blob(digest);
    let bytes = needed(files, &path, most)?;
    if digest_of(&bytes) == *digest { Ok(bytes) } else { Err(BadArchive::Lie(path)) }
}

/// Finds an image in an archive. `name`: the one with this name, where there are several. `wanted`:
/// these platforms; empty: all.
///
/// # Errors
/// [`BadArchive`].
pub fn find(
    files: &dyn Files,
    name: Option<&str>,
    wanted: &[Wanted],
) -> Result<Archived, BadArchive> {
    if let Some(bytes) = small(files, "index.json", MAX_MANIFEST)? {
        return layout(files, &bytes, name, wanted);
    }
    let bytes = small(files, "manifest.json", MAX_MANIFEST)?.ok_or(BadArchive::Kind)?;
    let all: Vec<Saved> = serde_json::from_slice(&bytes).map_err(BadArchive::List)?;
    let tags = |saved: &Saved| saved.repo_tags.clone().unwrap_or_default();
    let saved = chosen(&all, name, tags)?;
    let config = needed(files, &saved.config, MAX_CONFIG)?;
    let platform = platform(&saved.config, config, saved.layers.clone(), wanted)?;
    Ok(Archived { platforms: vec![platform], sources: Vec::new(), names: tags(saved) })
}

/// Chooses the only image, or the one with a name.
fn chosen<'a, T>(
    all: &'a [T],
    name: Option<&str>,
    names: impl Fn(&T) -> Vec<String>,
) -> Result<&'a T, BadArchive> {
    if let [only] = all {
        return Ok(only);
    }
    let is_named = |one: &&T| name.is_some_and(|name| names(one).iter().any(|it| is(it, name)));
    if let Some(found) = all.iter().find(is_named) {
        return Ok(found);
    }
    if all.is_empty() {
        return Err(BadArchive::Empty);
    }
    let there: Vec<String> = all.iter().flat_map(names).take(NAMED).collect();
    Err(BadArchive::Several(there.join(", ")))
}

/// True if an archive's name of an image is the one that is asked for. Engines put their default
/// registry in front.
fn is(found: &str, name: &str) -> bool {
    let bare = |text: &str| {
        let text = text.strip_prefix("docker.io/library/").unwrap_or(text);
        let text = text.strip_prefix("docker.io/").unwrap_or(text);
        text.strip_prefix("localhost/").unwrap_or(text).to_owned()
    };
    bare(found) == bare(name)
}

/// Finds an image in an OCI layout.
fn layout(
    files: &dyn Files,
    bytes: &[u8],
    name: Option<&str>,
    wanted: &[Wanted],
) -> Result<Archived, BadArchive> {
    let bad = |path: &str| {
        let path = path.to_owned();
        move |why| BadArchive::Manifest(path, why)
    };
    let Document::Index(top) = Document::read(bytes).map_err(bad("index.json"))? else {
        return Err(BadArchive::Kind);
    };
    let whole = whole_names(bytes);
    let names = |entry: &Entry| -> Vec<String> {
        let whole = whole.get(&entry.manifest.digest).cloned();
        let short = Some(entry.name.clone()).filter(|name| !name.is_empty());
        whole.into_iter().chain(short).collect()
    };
    // Without names, several entries are the platforms of one image.
    let unnamed = top.entries.iter().all(|entry| names(entry).is_empty());
    let (index, mut sources, names) = if unnamed && top.entries.len() > 1 {
        (top, vec![digest_of(bytes)], Vec::new())
    } else {
        let entry = chosen(&top.entries, name, names)?;
        let digest = entry.manifest.digest;
        let path = blob(&digest);
        let bytes = by_digest(files, &digest, MAX_MANIFEST)?;
        let index = match Document::read(&bytes).map_err(bad(&path))? {
            Document::Index(index) => index,
            Document::Manifest(_) => {
                let entry = Entry { platform: None, ..entry.clone() };
                Index { entries: vec![entry], others: Vec::new() }
            }
        };
        (index, vec![digest], names(entry))
    };
    let chosen = index.choose(wanted).map_err(bad("index.json"))?;
    let mut platforms = Vec::new();
    for entry in &chosen {
        let digest = entry.manifest.digest;
        let path = blob(&digest);
        let bytes = by_digest(files, &digest, MAX_MANIFEST)?;
        let Document::Manifest(manifest) = Document::read(&bytes).map_err(bad(&path))? else {
            return Err(bad(&path)(BadManifest::Kind("an index within an index".into())));
        };
        let Manifest { config, layers } = manifest;
        let layers = layers.iter().map(|layer| blob(&layer.digest)).collect();
        let config = by_digest(files, &config.digest, MAX_CONFIG)?;
        platforms.push(platform(&path, config, layers, wanted)?);
    }
    if let [only] = chosen.as_slice()
        && !sources.contains(&only.manifest.digest)
    {
        sources.push(only.manifest.digest);
    }
    Ok(Archived { platforms, sources, names })
}

/// Whole names of the entries of an index, which are in annotations that no one else reads.
fn whole_names(index: &[u8]) -> BTreeMap<Digest, String> {
    #[derive(Deserialize)]
    struct Named {
        digest: Digest,
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct All {
        manifests: Vec<Named>,
    }
    let all = serde_json::from_slice::<All>(index).map(|all| all.manifests).unwrap_or_default();
    all.into_iter()
        .filter_map(|one| Some((one.digest, one.annotations?.remove(WHOLE_NAME)?)))
        .collect()
}

/// Puts the layers of a platform together with their digests in its configuration.
fn platform(
    what: &str,
    config: Vec<u8>,
    layers: Vec<String>,
    wanted: &[Wanted],
) -> Result<ArchivedPlatform, BadArchive> {
    let read = Config::read(&config).map_err(|why| BadArchive::Config(what.to_owned(), why))?;
    if read.layers.len() != layers.len() {
        return Err(BadArchive::Count(what.to_owned(), layers.len(), read.layers.len()));
    }
    if !wanted.is_empty() && !wanted.iter().any(|one| one.fits(&read.arch, &read.variant)) {
        let all: Vec<String> = wanted.iter().map(ToString::to_string).collect();
        return Err(BadArchive::OtherPlatform(read.arch, all.join(", ")));
    }
    let layers = layers.into_iter().zip(read.layers);
    let layers = layers.map(|(path, digest)| ArchivedLayer { path, digest }).collect();
    Ok(ArchivedPlatform { config, layers })
}

/// Place of an entry of a tar archive.
#[derive(Debug, Clone)]
enum Place {
    /// First byte and number of bytes.
    Bytes(u64, u64),
    /// Path of another entry.
    Link(String),
}

/// Tar archive whose files are read in any order.
#[derive(Debug)]
pub struct Tar<R> {
    reader: std::cell::RefCell<R>,
    entries: BTreeMap<String, Place>,
}

/// Makes a path out of that of a tar entry: without `./` and `../`, as seen from `folder`.
fn clean(path: &str, folder: &str) -> String {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.join("/")
}

impl<R: Read + Seek> Tar<R> {
    /// Reads where the entries of an archive are.
    ///
    /// # Errors
    /// The disk's error, also for what is no tar archive.
    pub fn index(mut reader: R) -> io::Result<Self> {
        let mut entries = BTreeMap::new();
        let mut archive = tar::Archive::new(&mut reader);
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = clean(&path, "");
            let place = match entry.header().entry_type() {
                kind if kind.is_file() => {
                    Place::Bytes(entry.raw_file_position(), entry.header().size()?)
                }
                kind if kind.is_symlink() || kind.is_hard_link() => {
                    let to = entry.link_name_bytes().unwrap_or_default();
                    let to = String::from_utf8_lossy(&to).into_owned();
                    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    Place::Link(clean(&to, if kind.is_symlink() { folder } else { "" }))
                }
                _ => continue,
            };
            entries.insert(path, place);
            if entries.len() > MOST_ENTRIES {
                return Err(io::Error::other(format!("it has more than {MOST_ENTRIES} entries")));
            }
        }
        Ok(Self { reader: std::cell::RefCell::new(reader), entries })
    }
}

/// Part of a reader that others read too.
struct Part<'a, R> {
    reader: &'a std::cell::RefCell<R>,
    at: u64,
    left: u64,
}

impl<R: Read + Seek> Read for Part<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else {
            return Ok(0);
        };
        let mut reader = self.reader.borrow_mut();
        reader.seek(SeekFrom::Start(self.at))?;
        let read = reader.read(buffer)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += read as u64;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Read + Seek> Files for Tar<R> {
    fn open<'a>(&'a self, path: &str) -> io::Result<Option<(u64, Box<dyn Read + 'a>)>> {
        let mut path = clean(path, "");
        for _ in 0..MOST_LINKS {
            match self.entries.get(&path) {
                None => return Ok(None),
                Some(Place::Bytes(at, size)) => {
                    let part = Part { reader: &self.reader, at: *at, left: *size };
                    return Ok(Some((*size, Box::new(part))));
                }
                Some(Place::Link(to)) => path.clone_from(to),
            }
        }
        Err(io::Error::other(format!("the links of {path} lead on and on")))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    struct Folder(BTreeMap<String, Vec<u8>>);

    impl Files for Folder {
        fn open<'a>(&'a self, path: &str) -> io::Result<Option<(u64, Box<dyn Read + 'a>)>> {
            Ok(self
                .0
                .get(path)
                .map(|bytes| (bytes.len() as u64, Box::new(bytes.as_slice()) as Box<dyn Read>)))
        }
    }

    impl Folder {
        fn new() -> Self {
            Self(BTreeMap::new())
        }

        fn blob(&mut self, bytes: Vec<u8>) -> (Digest, usize) {
            let (digest, size) = (digest_of(&bytes), bytes.len());
            self.0.insert(blob(&digest), bytes);
            (digest, size)
        }

        /// Adds an image of one platform and returns its descriptor for an index.
        fn image(&mut self, arch: &str, layers: &[&str], more: &str) -> String {
            let ids: Vec<String> =
                layers.iter().map(|it| format!("\"{}\"", digest_of(it.as_bytes()))).collect();
            let config = format!(
                r#"{{"architecture":"{arch}","os":"linux","rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
                ids.join(",")
            );
            let (config, size) = self.blob(config.into_bytes());
            let layers: Vec<String> = layers
                .iter()
                .map(|it| {
                    let (digest, size) = self.blob(it.as_bytes().to_vec());
                    let kind = crate::LAYER_TYPE;
                    format!(r#"{{"mediaType":"{kind}","digest":"{digest}","size":{size}}}"#)
                })
                .collect();
            let manifest = format!(
                r#"{{"schemaVersion":2,"config":{{"digest":"{config}","size":{size}}},"layers":[{}]}}"#,
                layers.join(",")
            );
            let (digest, size) = self.blob(manifest.into_bytes());
            format!(r#"{{"digest":"{digest}","size":{size}{more}}}"#)
        }

        fn index(&mut self, entries: &[String]) {
            let text = format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, entries.join(","));
            self.0.insert("index.json".into(), text.into_bytes());
        }
    }

    fn named(name: &str) -> String {
        format!(r#","annotations":{{"org.opencontainers.image.ref.name":"{name}"}}"#)
    }

    fn on(arch: &str) -> String {
        format!(r#","platform":{{"os":"linux","architecture":"{arch}"}}"#)
    }

    #[test]
    fn a_layout_of_one_image_is_read() {
        let mut folder = Folder::new();
        let entry = folder.image("arm64", &["base", "top"], &named("1.4"));
        folder.index(&[entry]);
        let found = find(&folder, None, &[]).unwrap();
        assert_eq!((found.names, found.sources.len()), (vec!["1.4".to_owned()], 1));
        let digests: Vec<Digest> =
            found.platforms[0].layers.iter().map(|layer| layer.digest).collect();
        assert_eq!(digests, [digest_of(b"base"), digest_of(b"top")]);
        let wanted = ["amd64".parse().unwrap()];
        let why = find(&folder, None, &wanted).unwrap_err();
        assert!(matches!(why, BadArchive::OtherPlatform(..)), "{why}");
    }

    #[test]
    fn platforms_are_found_within_an_index_and_beside_each_other() {
        let mut folder = Folder::new();
        let entries = [
            folder.image("amd64", &["a"], &on("amd64")),
            folder.image("arm64", &["b"], &on("arm64")),
        ];
        folder.index(&entries);
        assert_eq!(find(&folder, None, &[]).unwrap().platforms.len(), 2);
        let inner = folder.0["index.json"].clone();
        let (digest, size) = folder.blob(inner);
        folder.index(&[format!(r#"{{"digest":"{digest}","size":{size}}}"#)]);
        let found = find(&folder, None, &[]).unwrap();
        assert_eq!((found.platforms.len(), found.sources), (2, vec![digest]));
        let found = find(&folder, None, &["linux/arm64".parse().unwrap()]).unwrap();
        assert_eq!((found.platforms.len(), found.sources.len()), (1, 2), "index and manifest");
    }

    #[test]
    fn of_several_images_one_is_chosen_by_its_name() {
        let mut folder = Folder::new();
        let entries = [
            folder.image("amd64", &["a"], &named("docker.io/library/one:1")),
            folder.image("amd64", &["b"], &named("localhost/two:1")),
        ];
        folder.index(&entries);
        let why = find(&folder, None, &[]).unwrap_err().to_string();
        assert!(why.contains("docker.io/library/one:1, localhost/two:1"), "{why}");
        let found = find(&folder, Some("two:1"), &[]).unwrap();
        assert_eq!(found.platforms[0].layers[0].digest, digest_of(b"b"));
        assert!(find(&folder, Some("three:1"), &[]).is_err());
    }

    #[test]
    fn a_damaged_layout_is_refused() {
        let mut folder = Folder::new();
        let entry = folder.image("amd64", &["a"], "");
        folder.index(&[entry]);
        let paths: Vec<String> = folder.0.keys().cloned().collect();
        for path in paths {
            let mut broken = Folder(folder.0.clone());
            broken.0.get_mut(&path).unwrap().push(b' ');
            let found = find(&broken, None, &[]);
            // A layer is checked when it is unpacked; a space behind JSON changes its digest alone.
            let layer = path == blob(&digest_of(b"a"));
            assert_eq!(found.is_err(), !layer && path != "index.json", "{path}");
            let mut less = Folder(folder.0.clone());
            less.0.remove(&path);
            assert_eq!(find(&less, None, &[]).is_err(), !layer, "{path}");
        }
        assert!(matches!(find(&Folder::new(), None, &[]), Err(BadArchive::Kind)));
    }

    #[test]
    fn an_archive_of_docker_save_is_read_through_its_links() {
        let layer = digest_of(b"layer");
        let config = format!(
            r#"{{"architecture":"amd64","os":"linux","rootfs":{{"type":"layers","diff_ids":["{layer}","{layer}"]}}}}"#
        );
        let list = r#"[{"Config":"c.json","RepoTags":["shop/till:1.4"],"Layers":["one/layer.tar","two/layer.tar"]}]"#;
        let mut builder = tar::Builder::new(Vec::new());
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, bytes).unwrap();
        };
        add("one/layer.tar", b"layer");
        add("c.json", config.as_bytes());
        add("manifest.json", list.as_bytes());
        let mut link = tar::Header::new_gnu();
        link.set_entry_type(tar::EntryType::Symlink);
        link.set_size(0);
        builder.append_link(&mut link, "two/layer.tar", "../one/layer.tar").unwrap();
        let archive = Tar::index(Cursor::new(builder.into_inner().unwrap())).unwrap();
        let found = find(&archive, None, &[]).unwrap();
        assert_eq!(found.names, ["shop/till:1.4"]);
        for layer in &found.platforms[0].layers {
            let (size, mut reader) = archive.open(&layer.path).unwrap().unwrap();
            let mut bytes = String::new();
            reader.read_to_string(&mut bytes).unwrap();
            assert_eq!((size, bytes.as_str()), (5, "layer"));
        }
        assert!(archive.open("nothing").unwrap().is_none());
        assert!(Tar::index(Cursor::new(vec![7; 2_000])).is_err());
    }
}
