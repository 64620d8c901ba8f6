//! Tables of what keys become and of what is said of them, and hostile files.

mod becoming;
mod hostile;
mod saying;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::load::{Look, Neighbours, NoFile, Source};
use super::{Asked, Imported, import};

/// Files beside a Compose file, by their paths.
#[derive(Default)]
struct Beside(BTreeMap<&'static str, &'static [u8]>);

impl Neighbours for Beside {
    fn look(&self, path: &str, most: usize) -> Result<Look, NoFile> {
        if self.0.contains_key(path) {
            return Ok(Look::File(path.ends_with(".sh")));
        }
        let below = self.0.keys().filter_map(|file| file.strip_prefix(path)?.strip_prefix('/'));
        let below: Vec<String> = below.map(ToOwned::to_owned).collect();
        match below.len() {
            0 if path == "socket" => Ok(Look::Other),
            0 => Ok(Look::Missing),
            count if count > most => Err(NoFile("too many".into())),
            _ => Ok(Look::Folder(below)),
        }
    }

    fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, NoFile> {
        let found = self.0.get(path).ok_or_else(|| NoFile("no such file".into()))?;
        if found.len() > most { Err(NoFile("too large".into())) } else { Ok(found.to_vec()) }
    }
}

static LARGE: [u8; 200_000] = [b'x'; 200_000];

fn beside() -> Beside {
    Beside(BTreeMap::from([
        (".env", &b"FROM_FILE=env\nBOTH=file\n"[..]),
        ("conf/a.conf", b"a = 1\n"),
        ("conf/b/c.conf", b"c\n"),
        ("run.sh", b"#!/bin/sh\n"),
        ("logo.png", &[0x89, 0, 0xff]),
        ("large.txt", &LARGE),
        ("web.env", b"A=1\nB=${A}${BOTH}\nNAME\n"),
        ("raw.env", b"A='$x'\n"),
        ("bad.env", b"A=1\nB C\n"),
        ("pass.txt", b"hunter2hunter2"),
        ("loop.yaml", b"include: [loop.yaml]\nservices: {}\n"),
        ("other.yaml", b"services: { web: { image: other }, log: { image: log } }\n"),
        ("base.yaml", b"services: { one: { image: one:1, command: [a], cap_add: [SYS_TIME] } }\n"),
    ]))
}

fn with(bytes: &[u8], change: impl FnOnce(&mut Asked<'_>)) -> Imported {
    let sources = [Source { name: "compose.yaml".into(), bytes: bytes.to_vec() }];
    let shell = BTreeMap::from([
        ("SHELL_VAR".to_owned(), "shell".to_owned()),
        ("BOTH".to_owned(), "shell".to_owned()),
        ("NAME".to_owned(), "name".to_owned()),
    ]);
    let beside = beside();
    let env_files = [".env".to_owned()];
    let mut asked = Asked {
        sources: &sources,
        name: Some("shop".parse().unwrap()),
        devices: Some(json!("all")),
        profiles: Vec::new(),
        shell: &shell,
        env_files: &env_files,
        neighbours: &beside,
    };
    change(&mut asked);
    import(&asked)
}

fn of(text: &str) -> Imported {
    with(text.as_bytes(), |_| {})
}

fn said(imported: &Imported) -> Vec<String> {
    imported.messages.iter().map(|message| format!("{:?} {message}", message.level)).collect()
}

/// The workload of a file without faults.
fn workload(text: &str) -> Value {
    let imported = of(text);
    let found = imported.documents.iter().find(|document| document["kind"] == "Workload");
    found.unwrap_or_else(|| panic!("{text}: {:?}", said(&imported))).clone()
}

/// The container of the only service, which says this.
fn container(service: &str) -> Value {
    let text = format!(
        "services:\n  web:\n    image: web:1\n    restart: always\n    {service}\nvolumes: {{ data: , Own_Name: , nfs: {{ driver_opts: {{ type: none, o: bind, device: /srv/x }} }}, mem: {{ driver_opts: {{ type: tmpfs, device: tmpfs, o: 'size=1m' }} }} }}\nconfigs: {{ c: {{ content: text }}, f: {{ file: conf/a.conf }} }}\n"
    );
    workload(&text)["spec"]["run"]["container"].clone()
}
