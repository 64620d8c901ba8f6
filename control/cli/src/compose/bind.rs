//! Binds of paths: those of the device, and those beside the Compose file, whose content becomes
//! files of the workload.

use super::context::{Context, MAX_CONFIG, MAX_FILES};
use super::from::From;
use super::load::{Look, NoFile, join};
use super::node::Item;
use super::quantity::name_of;

/// Longest name of a file, and longest path, in bytes, as the control plane takes them.
const MAX_NAME: usize = 255;
const MAX_PATH: usize = 1_024;
/// Folder of the workload in which such files lie.
const FOLDER: &str = "bind";

/// Returns what the source of a bind is here. None: it was said why it is left out.
pub(super) fn from(
    context: &Context<'_>,
    item: &Item<'_>,
    source: &str,
    read_only: bool,
) -> Option<From> {
    if source.starts_with('~') {
        item.unsupported(
            "left out: ~ is a folder of this machine; name the device's, such as /srv/app",
        );
        return None;
    }
    if source.starts_with('/') {
        return Some(From::Host(join("", source)));
    }
    let path = join(context.folder(item.node.at), source);
    if path.is_empty() || path.ends_with("..") {
        item.unsupported("left out: the folder of the Compose file itself; name what the container needs of it, or put it into the image");
        return None;
    }
    match context.neighbours.look(&path, MAX_FILES) {
        Ok(Look::File(executable)) => {
            if executable {
                item.warning(format!("{path} may be executed here, and is a file that is only read on the device: call it by its interpreter, such as command: [\"sh\", \"{path}\"]"));
            }
            written(item, read_only, &path);
            file(context, item, &path)
        }
        Ok(Look::Folder(files)) if files.is_empty() => data(item, &path, "holds nothing here"),
        Ok(Look::Folder(files)) => {
            written(item, read_only, &path);
            for below in &files {
                file(context, item, &format!("{path}/{below}"))?;
            }
            Some(From::Files(place(&path)))
        }
        Ok(Look::Other) => {
            item.unsupported(format!("left out: {path} is neither a plain file nor a folder"));
            None
        }
        Ok(Look::Missing) => data(item, &path, "is not there"),
        Err(why) => {
            item.unsupported(format!(
                "left out: {path}: {why}; put it into the image, or name an absolute path of the device"
            ));
            None
        }
    }
}

/// Folder for what the container writes: a volume.
fn data(item: &Item<'_>, path: &str, why: &str) -> Option<From> {
    let Some(name) = name_of(path.trim_start_matches("../")) else {
        item.fault(format!("{path} gives no name of a volume: use a named volume"));
        return None;
    };
    item.note(format!(
        "{path} {why}, so it is a folder for what the container writes: the volume {name}"
    ));
    Some(From::Volume(name))
}

fn written(item: &Item<'_>, read_only: bool, path: &str) {
    if !read_only {
        item.warning(format!(
            "the content of {path} becomes files of the workload: what the container writes there does not come back to this machine, and is lost with the next revision; add :ro, or use a named volume for data"
        ));
    }
}

/// Returns where a path beside the Compose file lies in the workload's folder.
fn place(path: &str) -> String {
    let parts = path.split('/').filter(|part| !part.is_empty());
    let parts: Vec<&str> = parts.map(|part| if part == ".." { "up" } else { part }).collect();
    format!("{FOLDER}/{}", parts.join("/"))
}

/// Lays a file beside the Compose file into the workload's folder.
fn file(context: &Context<'_>, item: &Item<'_>, path: &str) -> Option<From> {
    let to = place(path);
    if context.laid.borrow().is_full() {
        return Some(From::Files(to));
    }
    let odd = to.len() > MAX_PATH
        || to.chars().any(char::is_control)
        || to.split('/').any(|part| part.len() > MAX_NAME);
    let why = if odd {
        NoFile("its path is too long, or has control characters".to_owned())
    } else {
        match text(context, path) {
            Ok(text) => {
                context.laid.borrow_mut().lay(item, to.clone(), text);
                return Some(From::Files(to));
            }
            Err(why) => why,
        }
    };
    item.unsupported(format!(
        "left out: {path}: {why}; put it into the image, or name an absolute path of the device"
    ));
    None
}

/// Reads a small text beside the Compose file.
fn text(context: &Context<'_>, path: &str) -> Result<String, NoFile> {
    let bytes = context.neighbours.read(path, MAX_CONFIG)?;
    String::from_utf8(bytes)
        .ok()
        .filter(|text| !text.contains('\0'))
        .ok_or_else(|| NoFile("it is not text".to_owned()))
}
