//! DuckDB reads exported Parquet files.

use std::path::{Path, PathBuf};
use std::process::Command;

use fleet_tests::harness::{Plane, Scratch, target_dir};

use crate::Publisher;

/// Returns the Python into which `.ci/tools test` has installed DuckDB.
fn python() -> PathBuf {
    // The tools are beside the folder of this build's profile.
    target_dir().parent().unwrap().join("tools/python/bin/python")
}

fn sql(file: &Path, query: &str) -> String {
    let program =
        "import duckdb, sys\nfor row in duckdb.sql(sys.argv[1]).fetchall(): print(*row, sep='|')";
    let query = query.replace("FILE", &format!("'{}'", file.display()));
    let output = Command::new(python())
        .args(["-c", program, &query])
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| {
            panic!("{}: {error}; `.ci/tools test` installs it", python().display())
        });
    assert!(output.status.success(), "{query}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn duckdb_reads_what_was_exported() {
    let plane = Plane::start();
    let mut pump = Publisher::new(&plane, "pump-1", &["site=berlin"]);
    let mut other = Publisher::new(&plane, "pump-2", &["site=hamburg"]);
    let values: Vec<String> = (1..=5_000)
        .map(|n| {
            format!(
                "{{\"t\":{}.5,\"ok\":{},\"unit\":\"C\",\"in\":{{\"n\":{n}}}}}",
                n % 40,
                n % 2 == 0
            )
        })
        .collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    for part in 0..4 {
        pump.ship("temp", part * 5_000 + 1, &values);
    }
    other.ship("temp", 1, &[r#"{"t":1}"#, r#"{"t":2}"#, "odd"]);

    let scratch = Scratch::new();
    let one = scratch.join("one.parquet");
    let said =
        plane.cli().run(&["data", "export", "pump-1", "temp", "-o", one.to_str().unwrap()]).ok();
    assert!(said.starts_with("20000 records, ") && said.contains("bytes in"), "{said}");
    assert_eq!(
        sql(&one, "select column_name, column_type from (describe select * from FILE)"),
        "device|VARCHAR\nstream|VARCHAR\nseq|UBIGINT\ntime|TIMESTAMP WITH TIME ZONE\nvalue|VARCHAR\n\
         in.n|BIGINT\nok|BOOLEAN\nt|DOUBLE\nunit|VARCHAR\n"
    );
    assert_eq!(
        sql(
            &one,
            "select count(*), count(distinct seq), min(seq), max(seq), sum(\"in.n\"), \
             sum(ok::int), max(t), min(unit), bool_and((value::json->>'t')::double = t) from FILE"
        ),
        format!("20000|20000|1|20000|{}|10000|39.5|C|True\n", 4 * 5_000 * 5_001 / 2)
    );
    let all = scratch.join("all.parquet");
    let export = ["data", "export", "--all", "temp", "-o", all.to_str().unwrap()];
    plane.cli().run(&export).ok();
    assert_eq!(
        sql(&all, "select device, count(*), count(t) from FILE group by device order by device"),
        "pump-1|20000|20000\npump-2|3|2\n"
    );
    let hamburg = scratch.join("hamburg.parquet");
    let mut export = export.to_vec();
    export[5] = hamburg.to_str().unwrap();
    export.extend(["-l", "site=hamburg"]);
    plane.cli().run(&export).ok();
    assert_eq!(
        sql(&hamburg, "select value from FILE order by seq"),
        "{\"t\":1}\n{\"t\":2}\n\"odd\"\n"
    );

    let nowhere = scratch.join("none.parquet");
    let outcome =
        plane.cli().run(&["data", "export", "pump-1", "none", "-o", nowhere.to_str().unwrap()]);
    outcome.fails(3);
    assert!(!nowhere.exists());
}
