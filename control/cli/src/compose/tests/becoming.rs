//! What keys become.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::load::Source;
use super::super::{Asked, import};
use super::{Beside, container, of, said, with, workload};

#[test]
fn a_container_without_any_word_keeps_what_compose_gives() {
    assert_eq!(
        container(""),
        json!({ "image": "web:1", "network": "bridge", "writableRoot": true, "capabilities": ["DEFAULT"] })
    );
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn keys_of_a_service_become_fields_of_a_container() {
    let port = |container: u16, host: u16| json!({ "container": container, "host": host });
    let table = [
        ("command: a 'b c'", "args", json!(["a", "b c"])),
        ("command: [a, 'b c', 3]", "args", json!(["a", "b c", "3"])),
        ("entrypoint: /x -y", "command", json!(["/x", "-y"])),
        ("{ entrypoint: [], command: [a] }", "command", json!(["a"])),
        (
            "environment: { A: 0755, B: true, C: '', D: }",
            "env",
            json!({ "A": "0755", "B": "true", "C": "" }),
        ),
        (
            "environment: [A=b=c, SHELL_VAR, 'E=${FROM_FILE}-$BOTH-$$']",
            "env",
            json!({ "A": "b=c", "SHELL_VAR": "shell", "E": "env-shell-$" }),
        ),
        ("env_file: web.env", "env", json!({ "A": "1", "B": "1shell", "NAME": "name" })),
        (
            "{ env_file: [{ path: web.env }, { path: none.env, required: false }], environment: [A=2] }",
            "env",
            json!({ "A": "2", "B": "1shell", "NAME": "name" }),
        ),
        ("env_file: [{ path: raw.env, format: raw }]", "env", json!({ "A": "'$x'" })),
        (
            "ports: ['80:80', '8001-8002:81-82']",
            "ports",
            json!([port(80, 80), port(81, 8001), port(82, 8002)]),
        ),
        (
            "ports: ['127.0.0.1:80:80/udp', '0.0.0.0:81:81', '[::1]:82:82']",
            "ports",
            json!([
                { "container": 80, "host": 80, "address": "127.0.0.1", "protocol": "udp" },
                port(81, 81),
                { "container": 82, "host": 82, "address": "::1" },
            ]),
        ),
        (
            "ports: [80, '127.0.0.1::53/udp']",
            "ports",
            json!([
                { "container": 80, "name": "port-80" },
                { "container": 53, "name": "port-53-udp", "address": "127.0.0.1", "protocol": "udp" },
            ]),
        ),
        (
            "ports: [{ target: 80, name: Web UI, app_protocol: http }, { target: 81, published: '8081', host_ip: 10.0.0.1 }]",
            "ports",
            json!([
                { "container": 80, "name": "web-ui" },
                { "container": 81, "host": 8081, "address": "10.0.0.1" },
            ]),
        ),
        (
            "volumes: ['data:/data:ro', 'Own_Name:/own', '/srv/a/../b:/b', /anon]",
            "mounts",
            json!([
                { "path": "/data", "volume": "data", "readOnly": true },
                { "path": "/own", "volume": "own-name" },
                { "path": "/b", "host": "/srv/b" },
                { "path": "/anon", "volume": "web-anon" },
            ]),
        ),
        (
            "volumes: ['nfs:/a', 'mem:/b', './none/x:/c']",
            "mounts",
            json!([
                { "path": "/a", "host": "/srv/x" },
                { "path": "/b", "memory": "1Mi" },
                { "path": "/c", "volume": "none-x" },
            ]),
        ),
        (
            "volumes: ['./conf:/etc/conf:ro', './conf/../run.sh:/run.sh']",
            "mounts",
            json!([
                { "path": "/etc/conf", "file": "bind/conf", "readOnly": true },
                { "path": "/run.sh", "file": "bind/run.sh" },
            ]),
        ),
        (
            "volumes: [{ type: bind, source: /a, target: /a, read_only: true, bind: { create_host_path: true } }, { type: tmpfs, target: /t, tmpfs: { size: 1g } }, { type: volume, source: data, target: /d }]",
            "mounts",
            json!([
                { "path": "/a", "host": "/a", "readOnly": true },
                { "path": "/t", "memory": "1Gi" },
                { "path": "/d", "volume": "data" },
            ]),
        ),
        (
            "tmpfs: [/run, '/tmp:size=64m,noexec']",
            "mounts",
            json!([{ "path": "/run", "memory": 0 }, { "path": "/tmp", "memory": "64Mi" }]),
        ),
        ("shm_size: 1gb", "mounts", json!([{ "path": "/dev/shm", "memory": "1Gi" }])),
        (
            "configs: [c, { source: f, target: /etc/a.conf }]",
            "mounts",
            json!([
                { "path": "/c", "file": "configs/c", "readOnly": true },
                { "path": "/etc/a.conf", "file": "configs/f", "readOnly": true },
            ]),
        ),
        ("user: '1000:1000'", "user", json!("1000:1000")),
        ("user: 1000", "user", json!("1000")),
        ("working_dir: /app", "workdir", json!("/app")),
        ("read_only: true", "writableRoot", Value::Null),
        ("init: true", "init", json!(true)),
        ("cap_drop: [ALL]", "capabilities", Value::Null),
        ("{ cap_drop: [all], cap_add: [CAP_NET_ADMIN] }", "capabilities", json!(["NET_ADMIN"])),
        (
            "cap_drop: [MKNOD, NET_RAW, AUDIT_WRITE, SETFCAP, SETPCAP, SYS_CHROOT]",
            "capabilities",
            json!([
                "CHOWN",
                "DAC_OVERRIDE",
                "FOWNER",
                "FSETID",
                "KILL",
                "NET_BIND_SERVICE",
                "SETGID",
                "SETUID"
            ]),
        ),
        ("cap_add: [NET_RAW, SYS_TIME]", "capabilities", json!(["DEFAULT", "SYS_TIME"])),
        ("cap_drop: [SYS_ADMIN]", "capabilities", json!(["DEFAULT"])),
        ("security_opt: ['seccomp:unconfined', no-new-privileges]", "seccomp", json!("unconfined")),
        (
            "devices: [/dev/a, '/dev/b:/dev/c:r', '/dev/d:rw', nvidia.com/gpu=all]",
            "devices",
            json!([
                { "path": "/dev/a" },
                { "path": "/dev/b", "as": "/dev/c", "rights": "r" },
                { "path": "/dev/d", "rights": "rw" },
                { "cdi": "nvidia.com/gpu=all" },
            ]),
        ),
        ("gpus: all", "gpus", json!("all")),
        ("gpus: [{ driver: nvidia, count: 2 }]", "gpus", json!(2)),
        (
            "gpus: [{ driver: cdi, device_ids: [nvidia.com/gpu=0] }]",
            "devices",
            json!([{ "cdi": "nvidia.com/gpu=0" }]),
        ),
        ("dns: [1.1.1.1, '::1']", "dns", json!(["1.1.1.1", "::1"])),
        (
            "extra_hosts: ['a:1.2.3.4', 'b=::1', 'c:[::2]', 'd:host-gateway']",
            "hosts",
            json!({ "a": "1.2.3.4", "b": "::1", "c": "::2", "d": "host-gateway" }),
        ),
        ("extra_hosts: { a: 1.2.3.4 }", "hosts", json!({ "a": "1.2.3.4" })),
        ("network_mode: none", "network", json!("none")),
        ("network_mode: host", "network", json!("host")),
        ("{ x-mine: { y: 1 }, expose: [80], attach: false }", "ports", Value::Null),
    ];
    for (service, key, expected) in table {
        let service = match service.strip_prefix("{ ").and_then(|inner| inner.strip_suffix(" }")) {
            Some(inner) if !service.starts_with("{ path") => format!("<<: {{ {inner} }}"),
            _ => service.to_owned(),
        };
        assert_eq!(container(&service)[key], expected, "{service}");
    }
}

#[test]
fn what_holds_for_the_workload_is_put_together() {
    let spec = |a: &str, b: &str| {
        workload(&format!("services:\n  a: {{ image: a, {a} }}\n  b: {{ image: b, {b} }}\n"))["spec"].clone()
    };
    let both = spec(
        "mem_limit: 64m, cpus: 0.5, pids_limit: 10",
        "mem_limit: 32m, cpus: '1', pids_limit: 5",
    );
    assert_eq!(both["resources"], json!({ "memory": "96Mi", "cpu": "1500m", "pids": 15 }));
    let one = spec("mem_limit: 64m, deploy: { resources: { limits: { cpus: 1 } } }", "cpus: 1");
    assert_eq!(one["resources"], json!({ "cpu": 2 }));
    assert_eq!(spec("pids_limit: -1", "pids_limit: -1")["resources"], Value::Null);
    assert_eq!(spec("restart: 'no'", "restart: no")["restart"], json!({ "policy": "never" }));
    assert_eq!(
        spec("restart: on-failure", "restart: on-failure:3")["restart"],
        json!({ "policy": "on-failure" })
    );
    assert_eq!(spec("restart: always", "restart: unless-stopped")["restart"], Value::Null);
    assert_eq!(spec("restart: always", "restart: no")["restart"], Value::Null);
    assert_eq!(
        spec("deploy: { restart_policy: { condition: on-failure } }", "user: b")["restart"]["policy"],
        "on-failure"
    );
    assert_eq!(
        spec("stop_signal: SIGINT", "stop_signal: SIGINT")["stop"],
        json!({ "signal": "SIGINT" })
    );
    assert_eq!(
        spec("stop_signal: SIGINT, stop_grace_period: 1m30s", "user: b")["stop"],
        json!({ "grace": "90s" })
    );
    assert_eq!(spec("stop_grace_period: 2s", "user: b")["stop"], json!({ "grace": "10s" }));
}

#[test]
fn a_job_does_not_decide_about_restarts() {
    let spec = &workload(
        "services:\n  web: { image: a, restart: always, depends_on: { job: { condition: service_completed_successfully } } }\n  job: { image: b }\n",
    )["spec"];
    assert_eq!(spec["restart"], Value::Null);
    let names: Vec<&Value> = spec["run"]["group"]["containers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["name"])
        .collect();
    assert_eq!(names, ["job", "web"]);
}

#[test]
fn networks_of_the_project_are_the_groups_where_that_is_the_same() {
    let containers = |a: &str, b: &str, networks: &str| {
        let text = format!(
            "services:\n  a: {{ image: a, {a} }}\n  b: {{ image: b, {b} }}\nnetworks: {networks}\n"
        );
        let spec = workload(&text);
        let all = spec["spec"]["run"]["group"]["containers"].clone();
        [0, 1].map(|index: usize| (all[index]["network"].clone(), all[index]["networks"].clone()))
    };
    let none = (Value::Null, Value::Null);
    let named = |names: Value| (Value::Null, names);
    let x = "{ x: , y: , z: { external: true }, w: { name: wide_net } }";
    assert_eq!(containers("user: a", "user: b", x), [none.clone(), none.clone()]);
    assert_eq!(containers("networks: [x]", "networks: { x: }", x), [none.clone(), none.clone()]);
    assert_eq!(
        containers("networks: [x]", "networks: [x, y]", x),
        [named(json!(["shop-x"])), named(json!(["shop-x", "shop-y"]))]
    );
    assert_eq!(containers("networks: [x]", "user: b", x), [named(json!(["shop-x"])), none.clone()]);
    assert_eq!(
        containers("networks: [z]", "networks: [z]", x),
        [named(json!(["z"])), named(json!(["z"]))]
    );
    assert_eq!(
        containers("networks: [default, w]", "user: b", x),
        [named(json!(["shop-default", "wide-net"])), named(json!(["shop-default"]))]
    );
    assert_eq!(
        containers("user: a", "user: b", "{ default: { name: proxy, external: true } }"),
        [named(json!(["proxy"])), named(json!(["proxy"]))]
    );
    assert_eq!(
        containers("network_mode: host", "network_mode: bridge", x),
        [(json!("host"), Value::Null), (json!("bridge"), Value::Null)]
    );
}

#[test]
fn a_secret_stands_in_a_secret_and_nowhere_else() {
    let imported = of(
        "services: { web: { image: a, secrets: [one, { source: two, target: /etc/two }] }, b: { image: b, secrets: [one] } }\nsecrets: { one: { file: pass.txt }, two: { environment: SHELL_VAR } }\n",
    );
    let [secret, workload] = imported.documents.as_slice() else { panic!("{:?}", said(&imported)) };
    assert_eq!(
        (&secret["kind"], &secret["metadata"]["name"]),
        (&json!("Secret"), &json!("shop-secrets"))
    );
    assert_eq!(secret["spec"]["data"], json!({ "one": "hunter2hunter2", "two": "shell" }));
    assert!(!workload.to_string().contains("hunter2") && !workload.to_string().contains("shell"));
    let spec = &workload["spec"];
    assert_eq!(spec["files"]["secrets/one"], json!({ "secret": "shop-secrets", "key": "one" }));
    let mounts = &spec["run"]["group"]["containers"][0]["mounts"];
    assert_eq!(
        mounts[0],
        json!({ "path": "/run/secrets/one", "file": "secrets/one", "readOnly": true })
    );
    assert_eq!(mounts[1]["path"], "/etc/two");
    assert!(!said(&imported).iter().any(|said| said.contains("hunter2")));
}

#[test]
fn profiles_choose_services() {
    let text = b"services: { a: { image: a }, b: { image: b, profiles: [x] }, c: { image: c, profiles: [y] } }";
    let names = |profiles: &[&str], file: &[u8]| {
        let imported = with(file, |asked| {
            asked.profiles = profiles.iter().map(|one| (*one).to_owned()).collect()
        });
        let run = imported.documents[0]["spec"]["run"].clone();
        let all = run["group"]["containers"].as_array().cloned().unwrap_or_default();
        all.iter().map(|one| one["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert!(names(&[], text).is_empty(), "one service is no group");
    assert_eq!(names(&["x"], text), ["a", "b"]);
    assert_eq!(names(&["*"], text), ["a", "b", "c"]);
}

#[test]
fn files_are_laid_over_each_other_and_extended() {
    let spec = workload(
        "include: [{ path: other.yaml }]\nservices: { a: { extends: { service: one, file: base.yaml }, command: [b], cap_add: [NET_ADMIN] } }",
    );
    let all = spec["spec"]["run"]["group"]["containers"].clone();
    assert_eq!(
        all[0],
        json!({
            "name": "a", "image": "one:1", "args": ["b"], "capabilities": ["DEFAULT", "NET_ADMIN", "SYS_TIME"], "writableRoot": true,
        })
    );
    assert_eq!((&all[1]["name"], &all[2]["name"]), (&json!("web"), &json!("log")));
    let texts = [
        "services: { a: { image: a, environment: [A=1, B=1], ports: ['80:80'], volumes: ['/a:/x'], healthcheck: { test: [CMD, a, b], retries: 5 } } }",
        "services: { a: { environment: { B: 2 }, ports: ['81:81', '80:80'], volumes: ['/b:/x:ro'], healthcheck: { test: [CMD, c] }, user: me } }",
        "services: { a: { user: !reset null, ports: !override ['82:82'] } }",
    ];
    let sources = texts.map(|text| Source { name: "x.yaml".into(), bytes: text.into() });
    let laid = |count: usize| {
        let imported = import(&Asked {
            sources: &sources[..count],
            name: Some("shop".parse().unwrap()),
            devices: None,
            profiles: Vec::new(),
            shell: &BTreeMap::new(),
            env_files: &[],
            neighbours: &Beside::default(),
        });
        imported.documents[0]["spec"].clone()
    };
    let two = laid(2);
    let container = &two["run"]["container"];
    assert_eq!(container["env"], json!({ "A": "1", "B": "2" }));
    assert_eq!(
        container["ports"],
        json!([{ "container": 80, "host": 80 }, { "container": 81, "host": 81 }])
    );
    assert_eq!(container["mounts"], json!([{ "path": "/x", "host": "/b", "readOnly": true }]));
    assert_eq!(
        (&two["health"]["exec"]["command"], &two["health"]["failures"]),
        (&json!(["c"]), &json!(5))
    );
    assert_eq!((&container["user"], &two["devices"]), (&json!("me"), &Value::Null));
    let three = &laid(3)["run"]["container"];
    assert_eq!(
        (&three["user"], &three["ports"]),
        (&Value::Null, &json!([{ "container": 82, "host": 82 }]))
    );
}
