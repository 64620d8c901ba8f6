//! Compose files of the same shape as those of public projects, with the documents and messages that
//! they give (`control/cli/tests/compose/`). `HOLDFAST_GOLDEN=write` writes both anew.
//!
//! | folder | shape | honoured | not honoured |
//! |---|---|---|---|
//! | `php-mysql` | nginx, PHP-FPM, MySQL | order by health, bound file, secret from a file, `.env`, shell-string command | – |
//! | `monitoring` | Prometheus, Grafana, node-exporter | bound folder, user, address of a port, one network | `pid: host`, the whole device as a mount (errors) |
//! | `telemetry` | Mosquitto, Telegraf, InfluxDB, Grafana | merge keys, long ports, config with content, env_file, data folder as a volume | logging, limits of one service alone (warnings) |
//! | `nextcloud` | Nextcloud, PostgreSQL, Redis, cron | merged service, entrypoint, optional env_file, shm_size, tmpfs with a size, grace | one service's stop signal, SELinux labels (warnings) |
//! | `home-assistant` | Home Assistant | host network, devices, capabilities, data folder, paths of the device | – |
//! | `gitea` | Gitea, PostgreSQL | named network as the group's, data folders | labels, container_name (warnings) |
//! | `traefik` | Traefik, a service, a cache | external network and the usual one side by side | labels that Traefik reads, an alias (errors) |
//! | `migration` | web, migration job, PostgreSQL | job before the service, digest, health, added limits, profiles, assigned port | a name with `_` that is used, a variable with a dot (errors); most tries (warning) |
//! | `frigate` | Frigate | GPU, shm_size, devices, tmpfs, required variable | `privileged` (error) |
//! | `node-red` | Node-RED | one container, volume, name server, host-gateway | build (warning) |
//! | `layered` | include, extends, override | all of it | – |

#![allow(clippy::disallowed_methods, reason = "the tests read their files")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::command::Folder;
use super::load::Source;
use super::{Asked, import, write};

fn shapes() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/compose");
    let mut all: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.sort();
    all
}

/// Documents and messages of a shape, each as text.
fn imported(folder: &Path) -> (String, String) {
    let sources: Vec<Source> = ["compose.yaml", "override.yaml"]
        .into_iter()
        .filter_map(|name| {
            Some(Source { name: name.into(), bytes: fs::read(folder.join(name)).ok()? })
        })
        .collect();
    let imported = import(&Asked {
        sources: &sources,
        name: Some("shape".parse().unwrap()),
        devices: Some(json!("all")),
        profiles: Vec::new(),
        shell: &BTreeMap::from([("INFLUX_TOKEN".to_owned(), "t0ken".to_owned())]),
        env_files: &[".env".to_owned()],
        neighbours: &Folder(folder.to_owned()),
    });
    let mut messages = String::new();
    for message in &imported.messages {
        writeln!(messages, "{:?}: {message}", message.level).unwrap();
    }
    (write::yaml(&imported.documents).unwrap(), messages)
}

#[test]
fn files_of_known_shapes_become_their_documents() {
    let shapes = shapes();
    assert_eq!(shapes.len(), 11);
    let mut wrong = Vec::new();
    for folder in shapes {
        let (documents, messages) = imported(&folder);
        assert!(!documents.is_empty(), "{}: {messages}", folder.display());
        for (name, text) in [("documents.golden", documents), ("messages.golden", messages)] {
            let file = folder.join(name);
            if std::env::var("HOLDFAST_GOLDEN").is_ok_and(|value| value == "write") {
                fs::write(&file, &text).unwrap();
            }
            let golden = fs::read_to_string(&file).unwrap_or_default();
            if golden != text {
                wrong.push(format!("{}:\n{text}", file.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
