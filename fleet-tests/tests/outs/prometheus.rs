//! A Prometheus server of the distribution scrapes the latest values and the horizons; promtool
//! checks the alert rules.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use fleet_tests::harness::{DEADLINE, Plane, Scratch, eventually};
use holdfast_records::{DataReport, Horizon, HorizonCause};
use serde_json::Value;

use crate::{Publisher, now};

/// Prometheus process, ended by its id when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn rules() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../images/prometheus")
}

/// Writes the example configuration and its rules, changed to this control plane and to short
/// intervals.
fn configuration(scratch: &Scratch, target: &str) -> std::path::PathBuf {
    let read = |name: &str| std::fs::read_to_string(rules().join(name)).unwrap();
    scratch.write("holdfast.rules.yml", read("holdfast.rules.yml"));
    let mut config = read("prometheus.yml");
    for (shown, here) in [("127.0.0.1:8443", target), ("_interval: 15s", "_interval: 1s")] {
        assert!(config.contains(shown), "{shown} in {config}");
        config = config.replace(shown, here);
    }
    scratch.write("prometheus.yml", config)
}

/// Returns Prometheus' answer to an expression.
fn ask(port: u16, expression: &str) -> Result<Vec<Value>, String> {
    let url = format!("http://127.0.0.1:{port}/api/v1/query");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let text = runtime.block_on(async {
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = client.post(url).header("content-type", "application/x-www-form-urlencoded");
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answer = request.body(format!("query={encoded}")).send().await;
        answer.map_err(|error| error.to_string())?.text().await.map_err(|error| error.to_string())
    })?;
    let answer: Value = serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?;
    match answer["data"]["result"].as_array() {
        Some(found) if !found.is_empty() => Ok(found.clone()),
        _ => Err(format!("{expression}: {answer}")),
    }
}

#[test]
#[allow(clippy::too_many_lines, reason = "one story, told in its order")]
fn a_prometheus_server_reads_latest_values_and_horizons() {
    let plane = Plane::start();
    let mut pump = Publisher::new(&plane, "pump-1", &["site=berlin"]);
    let mut scale = Publisher::new(&plane, "scale-4", &[]);
    pump.ship("temp", 1, &["20", "21.5"]);
    pump.ship("state", 1, &[r#"{"on":true,"flow":{"l":3.25},"note":"x"}"#]);
    scale.ship("weight", 1, &["-7"]);
    let until = now() / 1_000 + 7_200;
    let horizon = Some(Horizon { until, cause: HorizonCause::Buffer, detail: "temp".into() });
    pump.report(DataReport { horizon, ..DataReport::default() });

    let scratch = Scratch::new();
    scratch.write("ca.pem", &pump.identity.enrolment.ca);
    scratch.write("token", &plane.cli().token);
    let config = configuration(&scratch, &plane.cli().url.replace("https://", ""));
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let log = std::fs::File::create(scratch.join("prometheus.log")).unwrap();
    let server = Command::new("prometheus")
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", scratch.join("tsdb").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("prometheus; `make test` installs what is missing");
    let _server = Server(server);

    let value = |expression: &str| -> Value {
        eventually(DEADLINE, &format!("Prometheus knows {expression}"), || {
            ask(port, expression).map_err(|error| {
                let log = std::fs::read_to_string(scratch.join("prometheus.log"));
                format!("{error}\n{}", log.unwrap_or_default())
            })
        })
        .remove(0)
    };
    let temp = value(r#"holdfast_stream_value{device="pump-1",stream="temp"}"#);
    assert_eq!((&temp["value"][1], &temp["metric"]["site"]), (&"21.5".into(), &"berlin".into()));
    let flow = value(r#"holdfast_stream_value{device="pump-1",field="flow.l"}"#);
    assert_eq!(flow["value"][1], "3.25");
    let weight = value(r#"holdfast_stream_value{device="scale-4"}"#);
    assert_eq!((&weight["value"][1], &weight["metric"]["site"]), (&"-7".into(), &Value::Null));
    let left: f64 = value(r#"holdfast_devices_horizon_seconds{cause="buffer"}"#)["value"][1]
        .as_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!((6_000.0..=7_200.0).contains(&left), "{left}");
    // Below the alert's waiting time of five minutes, so it is pending.
    let alert = value(r#"ALERTS{alertname="HoldfastHorizonNear",cause="buffer"}"#);
    assert_eq!(alert["metric"]["alertstate"], "pending");
    let wide = plane.cli().run(&["get", "devices", "-o", "wide"]).ok();
    assert!(wide.contains("HORIZON") && wide.contains("(buffer)"), "{wide}");
    // A new value replaces the old one.
    pump.ship("temp", 3, &["22"]);
    eventually(DEADLINE, "the newer value", || {
        let found = ask(port, r#"holdfast_stream_value{stream="temp"}"#)?;
        if found[0]["value"][1] == "22" { Ok(()) } else { Err(format!("{found:?}")) }
    });
}

#[test]
fn the_alert_rules_fire_under_their_thresholds() {
    for arguments in
        [["check", "rules", "holdfast.rules.yml"], ["test", "rules", "holdfast.test.yml"]]
    {
        let output = Command::new("promtool")
            .args(arguments)
            .current_dir(rules())
            .output()
            .expect("promtool; `make test` installs what is missing");
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}
