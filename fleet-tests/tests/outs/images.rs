//! Images with real peers: skopeo reads from the control plane, and the control plane copies from a
//! docker-registry that wants a password.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use fleet_tests::harness::{Plane, Scratch};
use serde_json::{Value, json};

/// Longest wait for a registry to serve.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a program to its end.
fn run(program: &str, arguments: &[&str]) -> Output {
    let ran = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    ran.unwrap_or_else(|error| panic!("{program}: {error}; `.ci/tools test` installs it"))
}

fn good(program: &str, arguments: &[&str]) -> String {
    let output = run(program, arguments);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
    String::from_utf8(output.stdout).unwrap()
}

fn sha256(bytes: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a blob of an OCI layout and returns its descriptor.
fn blob(folder: &Path, kind: &str, bytes: &[u8]) -> Value {
    let hex = sha256(bytes);
    let blobs = folder.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(&hex), bytes).unwrap();
    json!({ "mediaType": kind, "digest": format!("sha256:{hex}"), "size": bytes.len() })
}

/// A tar archive with one file, made without a library: what is stored must be the same bytes.
fn layer(name: &str, content: &str) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000644");
    header[108..115].copy_from_slice(b"0000000");
    header[116..123].copy_from_slice(b"0000000");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[136..147].copy_from_slice(b"00000000000");
    header[148..156].copy_from_slice(b"        ");
    header[156] = b'0';
    header[257..262].copy_from_slice(b"ustar");
    header[263..265].copy_from_slice(b"00");
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut bytes = header.to_vec();
    bytes.extend_from_slice(content.as_bytes());
    bytes.resize(bytes.len().div_ceil(512) * 512 + 1_024, 0);
    bytes
}

/// Writes an OCI layout of an image for two machines that share a layer, tagged `both`.
fn image(folder: &Path) {
    let oci = |rest: &str| format!("application/vnd.oci.image.{rest}");
    let base = layer("base", &"a base of both machines\n".repeat(4_000));
    let manifests = ["amd64", "arm64"].map(|arch| {
        let layers = [base.clone(), layer("arch", arch)];
        let ids: Vec<String> = layers.iter().map(|it| format!("sha256:{}", sha256(it))).collect();
        let config = json!({ "architecture": arch, "os": "linux", "config": { "Cmd": ["/arch"] },
            "rootfs": { "type": "layers", "diff_ids": ids } });
        let config = blob(folder, &oci("config.v1+json"), config.to_string().as_bytes());
        let layers = layers.map(|it| blob(folder, &oci("layer.v1.tar"), &it));
        let manifest = json!({ "schemaVersion": 2, "mediaType": oci("manifest.v1+json"),
            "config": config, "layers": layers });
        let bytes = manifest.to_string();
        let mut manifest = blob(folder, &oci("manifest.v1+json"), bytes.as_bytes());
        manifest["platform"] = json!({ "os": "linux", "architecture": arch });
        manifest
    });
    let index =
        json!({ "schemaVersion": 2, "mediaType": oci("index.v1+json"), "manifests": manifests });
    let mut index = blob(folder, &oci("index.v1+json"), index.to_string().as_bytes());
    index["annotations"] = json!({ "org.opencontainers.image.ref.name": "both" });
    let top = json!({ "schemaVersion": 2, "manifests": [index] });
    std::fs::write(folder.join("index.json"), top.to_string()).unwrap();
    std::fs::write(folder.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

/// docker-registry of the distribution, with one user. It ends with the test.
struct Registry {
    child: Child,
    address: String,
}

impl Registry {
    fn start(scratch: &Path, user: &str, password: &str) -> Self {
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        let users = good("htpasswd", &["-Bbn", user, password]);
        std::fs::write(scratch.join("htpasswd"), users).unwrap();
        let root = scratch.display();
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {root}/store}}}}\n\
             auth: {{htpasswd: {{realm: here, path: {root}/htpasswd}}}}\nhttp: {{addr: \"{address}\"}}\n"
        );
        let path = scratch.join("registry.yml");
        std::fs::write(&path, config).unwrap();
        let log = std::fs::File::create(scratch.join("registry.log")).unwrap();
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(&path).stdout(Stdio::null()).stderr(log);
        let child = command.spawn().expect("docker-registry; `.ci/tools test` installs it");
        let begun = Instant::now();
        while TcpStream::connect(&address).is_err() {
            assert!(begun.elapsed() < PATIENCE, "docker-registry does not serve");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { child, address }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// Starts a control plane whose certificate has the address at which it is served.
fn named() -> Plane {
    let mut plane = Plane::start();
    plane.options_mut().config = Some(format!("tls_names = [\"{}\"]\n", plane.api.ip()));
    plane.stop();
    plane.up();
    plane
}

/// Address of the control plane as tools for registries write it, and the folder with its CA.
fn served(plane: &Plane, scratch: &Path) -> (String, String, String) {
    let cli = plane.cli();
    let certificates = scratch.join("certificates");
    std::fs::create_dir_all(&certificates).unwrap();
    std::fs::write(certificates.join("ca.crt"), cli.run(&["ca"]).ok()).unwrap();
    let host = cli.url.trim_start_matches("https://").to_owned();
    (host, certificates.display().to_string(), format!("anybody:{}", cli.token))
}

#[test]
fn skopeo_pulls_what_was_pushed_and_what_it_saves_is_the_same_image() {
    let plane = named();
    let scratch = Scratch::new();
    let (layout, back) = (scratch.path().join("layout"), scratch.path().join("back.tar"));
    image(&layout);
    let cli = plane.cli();
    let pushed = cli.run(&["image", "push", layout.to_str().unwrap(), "shop/till:1.4"]).ok();
    let digest = pushed.trim().strip_prefix("shop/till:1.4@").unwrap().to_owned();
    let one = cli
        .run(&["image", "push", layout.to_str().unwrap(), "shop/till:amd", "--platform", "amd64"])
        .ok();
    let (host, certificates, creds) = served(&plane, scratch.path());
    let source = format!("docker://{host}/shop/till:1.4");
    let trust = ["--cert-dir", certificates.as_str()];
    let shown = good("skopeo", &["inspect", trust[0], trust[1], "--creds", &creds, &source]);
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!((&shown["Digest"], &shown["RepoTags"]), (&json!(digest), &json!(["1.4", "amd"])));
    // All platforms into a layout, with every digest checked by skopeo.
    let all = format!("oci:{}:all", scratch.path().join("all").display());
    let from = ["--src-cert-dir", certificates.as_str(), "--src-creds", &creds];
    good("skopeo", &[&["copy", "--all"], &from[..], &[source.as_str(), all.as_str()]].concat());
    // One platform as `docker save` writes it, pushed again: the same image.
    let saved = format!("docker-archive:{}:shop/till:amd", back.display());
    good(
        "skopeo",
        &[&["copy", "--override-arch", "amd64"], &from[..], &[source.as_str(), saved.as_str()]]
            .concat(),
    );
    let again = cli.run(&["image", "push", back.to_str().unwrap()]).ok();
    assert_eq!(again, one, "under the name that the archive has");
    for (creds, said) in [("anybody:wrong", "unauthorized"), ("anybody:hfa1.x.y", "unauthorized")] {
        let output = run("skopeo", &["inspect", trust[0], trust[1], "--creds", creds, &source]);
        let text = String::from_utf8_lossy(&output.stderr).to_lowercase();
        assert!(!output.status.success() && text.contains(said), "{text}");
    }
    let target = format!("docker://{host}/shop/new:1");
    let to = ["--dest-cert-dir", certificates.as_str(), "--dest-creds", &creds];
    let output = run("skopeo", &[&["copy"], &to[..], &[all.as_str(), target.as_str()]].concat());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && text.contains("holdfast image push"), "{text}");
}

#[test]
fn an_image_is_copied_from_a_registry_that_wants_a_password() {
    let plane = named();
    let scratch = Scratch::new();
    let layout = scratch.path().join("layout");
    image(&layout);
    let registry = Registry::start(scratch.path(), "ci", "right");
    let (local, remote) =
        (format!("oci:{}:both", layout.display()), format!("{}/team/app:1", registry.address));
    let to = format!("docker://{remote}");
    let arguments = ["copy", "--all", "--dest-tls-verify=false", "--dest-creds", "ci:right"];
    good("skopeo", &[&arguments[..], &[local.as_str(), to.as_str()]].concat());
    let cli = plane.cli();
    let copy = |password: &str, more: &[&str]| {
        let login = ["--plain-http", "--username", "ci", "--password-stdin"];
        cli.run_with(&[&["image", "copy", &remote], &login[..], more].concat(), password)
    };
    let refused = copy("wrong\n", &["app:1"]).fails(1);
    let said = format!("credentials refused by {}", registry.address);
    assert!(refused.contains(&said), "{refused}");
    copy("right\n", &["app:1"]).ok();
    let image = cli.run(&["get", "images", "app:1", "-o", "json"]).json();
    assert_eq!(image["platforms"].as_array().unwrap().len(), 2);
    // What was compressed on the way is the same as what was pushed from the layout itself.
    let pushed = cli.run(&["image", "push", layout.to_str().unwrap(), "direct:1"]).ok();
    assert_eq!(pushed.trim().split('@').nth(1), image["digest"].as_str());
    // Its digest there means it here, under the name that it has there too.
    copy("right", &[]).ok();
    let original = image["sources"][0].as_str().unwrap();
    let name = remote.trim_end_matches(":1");
    cli.run(&["get", "images", &format!("{name}@{original}")]).ok();
    // One of two images that share everything is deleted, and the other one stays whole.
    cli.run(&["image", "delete", "app:1"]).ok();
    let (host, certificates, creds) = served(&plane, scratch.path());
    let source = format!("docker://{host}/direct:1");
    let all = format!("oci:{}:all", scratch.path().join("all").display());
    let from = ["--src-cert-dir", certificates.as_str(), "--src-creds", &creds];
    good("skopeo", &[&["copy", "--all"], &from[..], &[source.as_str(), all.as_str()]].concat());
}
