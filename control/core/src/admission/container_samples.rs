//! Images and documents that tests of containers share.

use holdfast_protocol::container::{Image, Platform};
use holdfast_protocol::workload::Artifact;
use serde_json::{Value, json};

use super::*;

/// Finds the two images that there are here, `till:1` and `db:16`.
pub(super) fn image(reference: &str) -> Result<Image, NotResolved> {
    let name = reference.split('@').next().unwrap().to_owned();
    let artifact = |first, size| Artifact { digest: Digest([first; 32]), size };
    let platform =
        Platform { arch: "amd64".into(), config: artifact(2, 900), layers: vec![artifact(3, 70)] };
    if !matches!(name.as_str(), "till:1" | "db:16") {
        return Err(NotResolved::Name { name, meant: None });
    }
    Ok(Image { name, digest: Digest([1; 32]), platforms: vec![platform] })
}

/// Returns a workload that runs something.
pub(super) fn workload(run: Value) -> Value {
    json!({
        "apiVersion": "holdfast/v1", "kind": "Workload", "metadata": { "name": "till" },
        "spec": { "devices": "all", "config": { "etc/till.toml": "a = 1\n" }, "run": run },
    })
}

/// Returns documents that together have every field of containers and groups. Fields that exclude
/// each other are in different documents.
pub(super) fn full() -> Vec<Value> {
    let forms = [
        json!({ "volume": "data" }),
        json!({ "host": "/srv" }),
        json!({ "file": "a" }),
        json!({ "memory": "1Mi" }),
    ];
    let mut all = Vec::new();
    for (at, form) in forms.into_iter().enumerate() {
        let mut mount = json!({ "path": "/a", "readOnly": true });
        mount.as_object_mut().unwrap().extend(form.as_object().unwrap().clone());
        let device = match at % 2 {
            0 => json!({ "path": "/dev/a", "as": "/dev/b", "rights": "rw" }),
            _ => json!({ "cdi": "a/b=c" }),
        };
        let mut one = json!({
            "image": "till:1", "command": ["/a"], "args": ["b"],
            "env": { "A": { "secret": "db", "key": "pw" }, "B": { "config": "app", "key": "b" }, "C": { "template": "c" } },
            "workdir": "/a", "user": "a:b", "mounts": [mount], "devices": [device], "gpus": 1,
            "ports": [{ "name": "a", "container": 80, "host": 80, "address": "::1", "protocol": "udp" }],
            "dns": ["::1"], "hosts": { "a": "::1" }, "writableRoot": true, "capabilities": ["KILL"],
            "seccomp": "default", "timeZone": "UTC", "init": true,
        });
        match at % 2 {
            0 => one["network"] = json!("bridge"),
            _ => one["networks"] = json!(["a"]),
        }
        let mut first = one.clone();
        first["name"] = json!("a");
        first["health"] = probe(at);
        let mut second = first.clone();
        second["name"] = json!("b");
        second["after"] = json!([{ "name": "a", "until": "completed" }]);
        for run in
            [json!({ "container": one }), json!({ "group": { "containers": [first, second] } })]
        {
            let mut document = workload(run);
            document["spec"]["config"] = json!({ "a": "" });
            document["metadata"]["name"] = json!(format!("c{}", all.len()));
            all.push(document);
        }
    }
    all
}

fn probe(at: usize) -> Value {
    let mut health = match at {
        0 => json!({ "http": { "host": "a", "port": 80, "path": "/" } }),
        1 => json!({ "tcp": { "host": "a", "port": 80 } }),
        _ => json!({ "exec": { "command": ["/a"] } }),
    };
    let times = json!({ "startPeriod": "1s", "interval": "1s", "timeout": "1s", "failures": 1 });
    health.as_object_mut().unwrap().extend(times.as_object().unwrap().clone());
    health
}
