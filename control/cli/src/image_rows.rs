//! Rows and descriptions of images.

use serde_json::Value;

use super::cells::read;
use super::failure::Outcome;
use super::moment;
use super::table::{Cell, facts, table};
use super::text::{Output, clean};
use holdfast_api::{Image, ImageSummary};

const MIB: f64 = 1024.0 * 1024.0;

/// Bytes as people read them.
pub(crate) fn bytes(size: u64) -> String {
    match size {
        0..1024 => format!("{size} B"),
        1024..1_048_576 => format!("{:.1} KiB", size as f64 / 1024.0),
        _ => format!("{:.1} MiB", size as f64 / MIB),
    }
}

/// Returns an image as lists have it, from the form of a list or of one image.
fn summary(item: &Value) -> Outcome<ImageSummary> {
    if item.get("sources").is_none() {
        return read(item);
    }
    let image: Image = read(item)?;
    Ok(ImageSummary {
        name: image.name,
        digest: image.digest,
        tags: image.tags,
        platforms: image.platforms.into_iter().map(|one| one.platform).collect(),
        size: image.size,
        own_size: image.own_size,
        workloads: image.workloads.len() as u64,
        copied_from: image.copied_from,
        pushed_at: image.pushed_at,
    })
}

/// Returns the row of an image in the table.
pub(crate) fn row(wide: bool, now: u64, item: &Value) -> Outcome<Vec<Cell>> {
    let image = summary(item)?;
    let tags = if image.tags.is_empty() { "-".to_owned() } else { image.tags.join(", ") };
    let mut row = vec![
        Cell::from(image.name.as_str()),
        Cell::from(tags),
        Cell::from(short(&image.digest)),
        Cell::from(bytes(image.size)),
        Cell::from(bytes(image.own_size)),
        Cell::from(image.workloads.to_string()),
        Cell::from(moment::ago(&image.pushed_at, now)),
    ];
    if wide {
        row.extend([
            Cell::from(image.platforms.join(", ")),
            Cell::from(image.digest.as_str()),
            Cell::from(image.copied_from.as_str()),
        ]);
    }
    Ok(row)
}

/// Returns the first twelve digits of a digest, which tell images apart.
fn short(digest: &str) -> String {
    digest.chars().take(7 + 12).collect()
}

/// Describes an image.
pub(crate) fn described(output: Output, now: u64, item: &Value) -> Outcome<String> {
    let image: Image = read(item)?;
    let list = |items: &[String]| match items.is_empty() {
        true => "-".to_owned(),
        false => items.join(", "),
    };
    let shared = image.size.saturating_sub(image.own_size);
    let mut text = facts(
        output,
        0,
        vec![
            ("Image", Cell::from(image.name.as_str())),
            ("Tags", Cell::from(list(&image.tags))),
            ("Digest", Cell::from(image.digest.as_str())),
            ("Originals", Cell::from(list(&image.sources))),
            ("Copied from", Cell::from(image.copied_from.as_str())),
            ("Pushed", Cell::from(moment::and_ago(Some(&image.pushed_at), now))),
            ("Size", Cell::from(format!("{}, {} of it shared", bytes(image.size), bytes(shared)))),
            ("Workloads", Cell::from(list(&image.workloads))),
        ],
    );
    for platform in &image.platforms {
        text.push_str(&format!("\n{}\n", clean(&platform.platform)));
        let rows: Vec<Vec<Cell>> = platform
            .layers
            .iter()
            .map(|layer| {
                vec![
                    Cell::from(layer.digest.as_str()),
                    Cell::from(bytes(layer.size)),
                    Cell::from(layer.shared_with.join(", ")),
                ]
            })
            .collect();
        text.push_str(&table(output, 2, &["LAYER", "SIZE", "SHARED WITH"], &rows));
    }
    Ok(text)
}

/// Headings of the table of images; those that a wide one has besides.
pub(crate) const HEADINGS: (&[&str], &[&str]) = (
    &["NAME", "TAGS", "DIGEST", "SIZE", "OWN", "WORKLOADS", "PUSHED"],
    &["PLATFORMS", "WHOLE DIGEST", "COPIED FROM"],
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_at_a_glance() {
        for (size, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1536, "1.5 KiB"),
            (5 * 1024 * 1024 + 512 * 1024, "5.5 MiB"),
            (3 * 1024 * 1024 * 1024, "3072.0 MiB"),
        ] {
            assert_eq!(bytes(size), text);
        }
    }
}
