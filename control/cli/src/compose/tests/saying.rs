//! What is said of keys, and of whole files.

use super::super::keys::SERVICE;
use super::super::notes::Level;
use super::{of, said, with};

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn each_key_that_is_not_honoured_is_named_with_its_line() {
    let table = [
        (
            "unknown: 1",
            "Unsupported",
            "unknown: no key of the Compose specification that is known here",
        ),
        ("privileged: true", "Unsupported", "privileged: not honoured: a privileged container"),
        ("pid: host", "Unsupported", "pid: not honoured"),
        ("ipc: host", "Unsupported", "ipc: not honoured"),
        ("sysctls: { a: 1 }", "Unsupported", "sysctls: not honoured"),
        ("runtime: nvidia", "Unsupported", "runtime: not honoured"),
        ("volumes_from: [a]", "Unsupported", "volumes_from: not honoured"),
        ("network_mode: service:a", "Unsupported", "network_mode: not honoured"),
        (
            "networks: { default: { aliases: [web, other] } }",
            "Unsupported",
            "networks.default.aliases[1]: not honoured",
        ),
        (
            "networks: { default: { ipv4_address: 1.2.3.4 } }",
            "Unsupported",
            "networks.default.ipv4_address: not honoured",
        ),
        (
            "environment: { 'a b': c }",
            "Unsupported",
            "environment[\"a b\"]: the variable \"a b\" is left out",
        ),
        ("ports: ['80:80/sctp']", "Unsupported", "ports[0]: left out"),
        ("ports: ['8000-8010:80']", "Unsupported", "ports[0]: a range of the device"),
        ("volumes: ['~/a:/a']", "Unsupported", "volumes[0]: left out: ~"),
        (
            "volumes: ['.:/a']",
            "Unsupported",
            "volumes[0]: left out: the folder of the Compose file",
        ),
        (
            "volumes: ['./logo.png:/a']",
            "Unsupported",
            "volumes[0]: left out: logo.png: it is not text",
        ),
        (
            "volumes: ['./large.txt:/a']",
            "Unsupported",
            "volumes[0]: left out: large.txt: too large",
        ),
        ("volumes: ['./socket:/a']", "Unsupported", "volumes[0]: left out: socket is neither"),
        ("volumes: ['ext:/a']", "Unsupported", "volumes.ext.external: not honoured"),
        ("volumes: ['nfs:/a']", "Unsupported", "volumes.nfs.driver_opts: not honoured"),
        ("security_opt: ['seccomp:x.json']", "Unsupported", "security_opt[0]: not honoured"),
        ("gpus: [{ device_ids: ['0'] }]", "Unsupported", "gpus[0].device_ids: not honoured"),
        ("scale: 3", "Unsupported", "scale: not honoured"),
        ("deploy: { replicas: 0 }", "Unsupported", "deploy.replicas: not honoured"),
        ("entrypoint: []", "Unsupported", "entrypoint: not honoured without command"),
        ("healthcheck: { interval: 3s }", "Unsupported", "healthcheck: not honoured without test"),
        ("labels: { traefik.enable: true }", "Unsupported", "labels: not honoured"),
        ("secrets: [ext]", "Unsupported", "secrets.ext.external: left out"),
        ("configs: [bin]", "Unsupported", "configs.bin: left out: it is not text"),
        ("hostname: a", "Warning", "hostname: not honoured"),
        ("container_name: a", "Warning", "container_name: not honoured"),
        ("logging: { driver: none }", "Warning", "logging: not honoured"),
        ("labels: [a=b]", "Warning", "labels: not honoured"),
        ("build: .", "Warning", "build: nothing is built here: build it and push it"),
        ("tty: true", "Warning", "tty: not honoured"),
        ("ulimits: { nofile: 1 }", "Warning", "ulimits: not honoured"),
        (
            "environment: [DB_PASSWORD=x2]",
            "Warning",
            "environment[0]: DB_PASSWORD stands in the document",
        ),
        ("environment: [NONE]", "Warning", "environment[0]: NONE is not set"),
        ("command: a $NONE", "Warning", "command: the variable NONE is not set"),
        ("volumes: ['./run.sh:/run.sh:ro']", "Warning", "volumes[0]: run.sh may be executed here"),
        ("volumes: ['./conf:/conf']", "Warning", "volumes[0]: the content of conf becomes files"),
        (
            "volumes: ['/var/run/docker.sock:/s']",
            "Warning",
            "volumes[0]: /var/run/docker.sock is the engine's socket",
        ),
        ("{ network_mode: host, ports: ['80:80'] }", "Warning", "ports: not needed"),
        ("volumes: ['/srv:/srv']", "Note", "volumes[0]: /srv is a path of the device"),
        ("environment: [SHELL_VAR]", "Note", "environment[0]: the value of SHELL_VAR"),
        ("healthcheck: { test: 'true' }", "Note", "healthcheck: a container that is not healthy"),
    ];
    for (service, level, expected) in table {
        let service = match service.strip_prefix("{ ") {
            Some(inner) => format!("<<: {{ {inner}"),
            None => service.to_owned(),
        };
        let text = format!(
            "services:\n  web:\n    image: web:1\n    restart: always\n    {service}\nvolumes: {{ ext: {{ external: true }}, nfs: {{ driver_opts: {{ type: nfs }} }} }}\nsecrets: {{ ext: {{ external: true }} }}\nconfigs: {{ bin: {{ file: logo.png }} }}\n"
        );
        let imported = of(&text);
        let all = said(&imported);
        let section = ["volumes.ext", "volumes.nfs", "secrets.ext", "configs.bin"];
        let begin = match section.iter().find(|section| expected.starts_with(*section)) {
            Some(section) => {
                let line = if section.starts_with("volumes") {
                    6
                } else if section.starts_with("secrets") {
                    7
                } else {
                    8
                };
                format!("{level} compose.yaml:{line}: {expected}")
            }
            None => format!("{level} compose.yaml:5: services.web.{expected}"),
        };
        assert!(all.iter().any(|said| said.starts_with(&begin)), "{service}: {all:?}, not {begin}");
        assert!(!imported.documents.is_empty(), "{service}: {all:?}");
        let worst = imported.messages.iter().map(|message| message.level).max();
        assert_eq!(
            worst.map(|worst| format!("{worst:?}")),
            Some(level.to_owned()),
            "{service}: {all:?}"
        );
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn faults_are_said_where_they_are_and_give_no_document() {
    let table = [
        ("image: [a]", "image: a list: expected a text"),
        ("command: a && b", "command: '&' outside of quotation marks"),
        ("command: a $1", "command: \"$1\" begins no variable"),
        ("command: '${NO:?why}'", "command: NO must be set: why"),
        (
            "environment: { HOLDFAST_X: 1 }",
            "environment.HOLDFAST_X: HOLDFAST_X: variables that begin with HOLDFAST_",
        ),
        ("env_file: none.env", "env_file: none.env cannot be read: no such file"),
        ("env_file: bad.env", "env_file: bad.env: line 2: not NAME=VALUE"),
        ("ports: [0]", "ports[0]: \"0\": expected a port"),
        ("ports: ['1-3:1-2']", "ports[0]: the two ranges"),
        ("ports: ['home:80:80']", "ports[0]: \"home\" is not an address"),
        ("ports: ['1-65000']", "ports[0]: 65000 ports"),
        ("ports: [{ published: 1 }]", "ports[0]: no target"),
        (
            "ports: ['80:80', '80:81']",
            "ports[1]: port 80 of the device is published by web already",
        ),
        ("volumes: ['none:/a']", "volumes[0]: the volume none stands not in volumes:"),
        ("volumes: ['/a:b']", "volumes[0]: \"b\" is not an absolute path"),
        ("volumes: ['/a:/']", "volumes[0]: the container's root"),
        ("volumes: ['/a:/b:what']", "volumes[0]: \"what\" is no option"),
        ("volumes: ['a:b:c:d']", "volumes[0]: \"a:b:c:d\": expected a volume"),
        ("networks: [none]", ": its network none stands not in networks:"),
        ("network_mode: what", "network_mode: \"what\": expected host"),
        ("{ network_mode: none, ports: ['80:80'] }", "ports: a container without a network"),
        ("secrets: [none]", "secrets[0]: none stands not in secrets:"),
        ("depends_on: [none]", "depends_on[0]: it waits for none, which is no service"),
        ("depends_on: [web]", ": these services wait for each other in a circle: web"),
        (
            "depends_on: { web: { condition: ready } }",
            "depends_on.web.condition: \"ready\": expected service_started",
        ),
        ("user: 'a b'", "user: \"a b\": expected a user"),
        ("working_dir: app", "working_dir: \"app\": expected an absolute path"),
        ("cap_add: [EVERYTHING]", "cap_add[0]: \"EVERYTHING\": expected a capability"),
        ("devices: [ttyUSB0]", "devices[0]: \"ttyUSB0\": expected a device"),
        ("gpus: [{ count: 0 }]", "gpus[0].count: \"0\": expected a number of GPUs"),
        ("dns: one.one", "dns: \"one.one\": expected the address"),
        ("extra_hosts: [a]", "extra_hosts[0]: \"a\": expected a name and an address"),
        ("restart: sometimes", "restart: \"sometimes\": expected no, always"),
        ("stop_signal: SIGNOT", "stop_signal: \"SIGNOT\": expected a signal"),
        ("stop_grace_period: 10", "stop_grace_period: \"10\": expected a duration"),
        ("mem_limit: lots", "mem_limit: \"lots\": expected a size"),
        ("read_only: maybe", "read_only: \"maybe\": expected true or false"),
        ("healthcheck: { test: [true] }", "healthcheck.test: expected a text, or a list"),
        (
            "healthcheck: { test: 'true', retries: x }",
            "healthcheck.retries: \"x\": expected a number",
        ),
        ("extends: { service: none }", "extends: there is no service \"none\" there"),
        ("extends: web", "extends: a circle"),
        ("extends: { service: one, file: none.yaml }", "extends: none.yaml cannot be read"),
    ];
    for (service, expected) in table {
        let service = match service.strip_prefix("{ ") {
            Some(inner) => format!("<<: {{ {inner}"),
            None => service.to_owned(),
        };
        let image = if service.starts_with("image") { "user: a" } else { "image: a" };
        let text = format!("services:\n  web:\n    {image}\n    {service}\n");
        let imported = of(&text);
        let all = said(&imported);
        let line = if expected.starts_with(':') { 2 } else { 4 };
        let dot = if expected.starts_with(':') { "" } else { "." };
        let begin = format!("Fault compose.yaml:{line}: services.web{dot}{expected}");
        assert!(all.iter().any(|said| said.starts_with(&begin)), "{service}: {all:?}, not {begin}");
        assert!(imported.documents.is_empty(), "{service}");
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "a table")]
fn faults_of_whole_files_are_said() {
    let table = [
        ("", "compose.yaml:1: not a Compose file"),
        ("- a", "compose.yaml:1: not a Compose file"),
        ("a: 1", "compose.yaml:1: no services"),
        ("services: {}", "compose.yaml:1: services: no service is left"),
        (
            "services:\n  web:\n    image: a\n    image: b\n",
            "compose.yaml:4: the key \"image\" stands here twice",
        ),
        ("services:\n  web: [1\n", "compose.yaml:2: not YAML: "),
        ("services:\n  web: *a\n", "compose.yaml:2: not YAML: "),
        (
            "services: &a\n  web: *a\n",
            "compose.yaml:2: an alias (*name) stands within what it means",
        ),
        ("services: {}\n---\nservices: {}\n", "compose.yaml:2: a second document"),
        ("services: { web: { <<: 1 } }", "compose.yaml:1: << takes in an object"),
        ("services: { [a]: b }", "compose.yaml:1: a key is a text"),
        ("a: !what b", "compose.yaml:1: the tag !what has no meaning here"),
        (
            "services: { web: }",
            "compose.yaml:1: services.web: no value: expected an object with image",
        ),
        ("services: { web: { user: a } }", "compose.yaml:1: services.web: no image"),
        (
            "services: { web: { build: . } }",
            "compose.yaml:1: services.web.build: nothing is built here",
        ),
        (
            "services: { A_b: { image: a }, a-b: { image: b } }",
            "compose.yaml:1: services.a-b: the services a-b and A_b have the same name a-b",
        ),
        (
            "services: { a: { image: a, depends_on: [b] }, b: { image: b, depends_on: [c] }, c: { image: c, links: [b] } }",
            "compose.yaml:1: services.b: these services wait for each other in a circle: b, c",
        ),
        (
            "services: { a: { image: a, depends_on: [b] }, b: { image: b, profiles: [x] } }",
            "compose.yaml:1: services.a.depends_on[0]: it waits for b, which is left out",
        ),
        (
            "services: { a: { image: a, ports: ['80:80'] }, b: { image: b, ports: ['127.0.0.1:80:1'] } }",
            "compose.yaml:1: services.b.ports[0]: port 80 of the device is published by a already",
        ),
        (
            "include: [loop.yaml]\nservices: { a: { image: a } }",
            "loop.yaml:1: include[0]: loop.yaml is not read: files name each other in a circle",
        ),
        (
            "include: [none.yaml]\nservices: { a: { image: a } }",
            "compose.yaml:1: include[0]: none.yaml cannot be read",
        ),
        (
            "include: ['https://example.com/a.yaml']\nservices: { a: { image: a } }",
            "compose.yaml:1: include[0]: https://example.com/a.yaml is no file of this machine",
        ),
        (
            "include: [other.yaml]\nservices: { web: { image: a } }",
            "compose.yaml:2: services.web: it stands in the included other.yaml as well",
        ),
    ];
    for (text, expected) in table {
        let imported = of(text);
        let all = said(&imported);
        assert!(
            all.iter().any(|said| said.starts_with(&format!("Fault {expected}"))),
            "{text}: {all:?}"
        );
        assert!(imported.documents.is_empty(), "{text}");
    }
    let unnamed = with(b"services: { a: { image: a } }", |asked| asked.name = None);
    assert!(
        said(&unnamed)[0].starts_with("Fault compose.yaml:1: no name for the workload"),
        "{:?}",
        said(&unnamed)
    );
    let named = with(b"name: own\nservices: { a: { image: '$BOTH' } }", |asked| asked.name = None);
    assert_eq!(named.documents[0]["metadata"]["name"], "own");
}

#[test]
fn all_faults_are_said_at_once() {
    let imported =
        of("services:\n  a:\n    imaje: x\n    ports: [x]\n  b:\n    image: b\n    restart: x\n");
    let levels: Vec<(Level, usize)> = imported
        .messages
        .iter()
        .map(|it| (it.level, it.line))
        .filter(|it| it.0 != Level::Note)
        .collect();
    assert_eq!(
        levels,
        [(Level::Fault, 2), (Level::Unsupported, 3), (Level::Fault, 4), (Level::Fault, 7)],
        "{:?}",
        said(&imported)
    );
}

#[test]
fn names_that_others_look_for_are_told() {
    let text = |service: &str, env: &str| {
        format!(
            "services: {{ {service}, web: {{ image: a, restart: always, environment: [{env}] }} }}"
        )
    };
    let table = [
        ("my_db: { image: db, restart: always }", "'X=y'", "Note", "it is named my-db here"),
        (
            "my_db: { image: db, restart: always }",
            "'DB=my_db'",
            "Unsupported",
            "the service web looks for my_db",
        ),
        (
            "db: { image: db, restart: always, container_name: base }",
            "'NAME=base'",
            "Warning",
            "not honoured: others find",
        ),
        (
            "db: { image: db, restart: always, container_name: base }",
            "'DB_HOST=base'",
            "Unsupported",
            "the service web looks for base",
        ),
        (
            "db: { image: db, restart: always, container_name: base }",
            "'X=http://base/x'",
            "Unsupported",
            "the service web looks for base",
        ),
        (
            "db: { image: db, restart: always, container_name: base }",
            "'X=base:80'",
            "Unsupported",
            "the service web looks for base",
        ),
        (
            "db: { image: db, restart: always, container_name: base }",
            "'X=database:80'",
            "Warning",
            "not honoured: others find",
        ),
    ];
    for (service, env, level, expected) in table {
        let all = said(&of(&text(service, env)));
        let found = all.iter().any(|said| said.starts_with(level) && said.contains(expected));
        assert!(found && all.len() == 1, "{service} {env}: {all:?}");
    }
}

/// Keys of a service in the Compose specification (its JSON Schema, 2026).
const SPECIFIED: &str = "annotations attach blkio_config build cap_add cap_drop cgroup cgroup_parent command \
    configs container_name cpu_count cpu_percent cpu_period cpu_quota cpu_rt_period cpu_rt_runtime cpu_shares \
    cpus cpuset credential_spec depends_on deploy develop device_cgroup_rules devices dns dns_opt dns_search \
    domainname entrypoint env_file environment expose extends external_links extra_hosts gpus group_add \
    healthcheck hostname image init ipc isolation label_file labels links logging mac_address mem_limit \
    mem_reservation mem_swappiness memswap_limit models network_mode networks oom_kill_disable oom_score_adj \
    pid pids_limit platform ports post_start pre_stop privileged profiles provider pull_policy \
    pull_refresh_after read_only restart runtime scale secrets security_opt shm_size stdin_open \
    stop_grace_period stop_signal storage_opt sysctls tmpfs tty ulimits use_api_socket user userns_mode uts \
    volumes volumes_from working_dir";

#[test]
fn every_key_of_the_specification_is_known() {
    for key in SPECIFIED.split_whitespace() {
        let image = if key == "image" { "" } else { "image: a, " };
        let all = said(&of(&format!("services: {{ web: {{ {image}{key}: }} }}\n")));
        assert!(!all.iter().any(|said| said.contains("is it misspelt")), "{key}: {all:?}");
    }
}

#[test]
#[allow(clippy::disallowed_methods, reason = "the test reads a page")]
fn every_key_is_in_the_page_about_compose() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/compose.md");
    let page = std::fs::read_to_string(page).unwrap();
    let others = SERVICE.iter().map(|(key, ..)| *key);
    for key in SPECIFIED.split_whitespace().chain(others) {
        assert!(page.contains(&format!("`{key}`")), "{key}");
    }
}
