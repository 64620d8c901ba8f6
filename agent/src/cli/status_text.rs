//! Text of `holdfast-agent status` for a tired person: problems first, then the few figures that
//! matter, in the units and words of `holdfast`. `-o json` has everything.

use std::collections::BTreeMap;

use serde_json::Value;

use holdfast_base::collect;
use holdfast_base::words::{moment, size, until};
use holdfast_records::NEVER;

/// Maximum number of streams shown, so that problems do not scroll away.
const SHOWN: usize = 20;

/// Formats the agent's status document as text.
pub(super) fn describe(status: &Value) -> String {
    let generation = status.get("generation").unwrap_or(&Value::Null);
    let link = match text(status, "link") {
        "up" => "up".to_owned(),
        _ => format!("down ({})", text(status, "linkReason")),
    };
    let mut out = format!(
        "device      {}\nlink        {link}\ngeneration  {} applied, {} desired (epoch {})\n",
        text(status, "device"),
        number(generation, "applied"),
        number(generation, "desired"),
        number(status, "epoch"),
    );
    let now = number(status, "time");
    let data = status.get("data").unwrap_or(&Value::Null);
    out += &horizon(data.get("horizon").unwrap_or(&Value::Null), now);
    let problems = status.get("problems").and_then(Value::as_array);
    for problem in problems.into_iter().flatten() {
        // Further lines are indented below the first one.
        let message = text(problem, "message").replace('\n', "\n            ");
        out += &format!("problem     {}: {message}\n", text(problem, "code"));
    }
    out += &workloads(&map(status, "workloads"));
    out + &about_data(data, now)
}

fn text<'a>(of: &'a Value, key: &str) -> &'a str {
    of.get(key).and_then(Value::as_str).unwrap_or("-")
}

fn number(of: &Value, key: &str) -> u64 {
    of.get(key).and_then(Value::as_u64).unwrap_or(0)
}

fn map<'a>(of: &'a Value, key: &str) -> BTreeMap<&'a str, &'a Value> {
    let object = of.get(key).and_then(Value::as_object);
    collect::map(object.into_iter().flatten().map(|(key, value)| (key.as_str(), value)))
}

/// Puts `lead` before a text, unless that is empty.
fn after(lead: &str, text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("{lead}{text}") }
}

fn workloads(workloads: &BTreeMap<&str, &Value>) -> String {
    if workloads.is_empty() {
        return "workloads   none\n".to_owned();
    }
    let widest = workloads.keys().map(|name| name.len()).max().unwrap_or(0).max(8);
    let [phase, revision, pid, restarts] = ["PHASE", "REVISION", "PID", "RESTARTS"];
    let mut out =
        format!("\n{:widest$}  {phase:9}  {revision:>8}  {pid:>8}  {restarts:>8}\n", "WORKLOAD");
    for (name, it) in workloads {
        let pid =
            it.get("pid").and_then(Value::as_u64).map_or_else(|| "-".into(), |pid| pid.to_string());
        out += &format!(
            "{name:widest$}  {:9}  {:>8}  {pid:>8}  {:>8}{}\n",
            text(it, "phase"),
            number(it, "revision"),
            number(it, "restarts"),
            after("  ", text(it, "reason")),
        );
    }
    out
}

/// Formats streams, the buffer and the link. Empty if there are neither streams nor a budget.
fn about_data(data: &Value, now: u64) -> String {
    let streams = map(data, "streams");
    let (storage, link) = (data.get("storage"), data.get("link").unwrap_or(&Value::Null));
    let budget = link.get("budget").and_then(Value::as_u64);
    if streams.is_empty() && budget.is_none() {
        return String::new();
    }
    let mut out = table(&streams, now) + "\n";
    if let Some(storage) = storage.filter(|_| !streams.is_empty()) {
        let written = storage.get("written").unwrap_or(&Value::Null);
        out += &format!(
            "buffer      {} of {} used; {} written to flash ({} records, {} retention, {} bookkeeping)\n",
            size(number(storage, "used")),
            size(number(storage, "quota")),
            size(number(written, "total")),
            size(number(written, "records")),
            size(number(written, "retention")),
            size(number(written, "bookkeeping")),
        );
        if let Some(years) = storage.get("lifeYears").and_then(Value::as_f64) {
            out += &format!("flash       {years:.1} years at this rate\n");
        }
    }
    let period = match text(link, "period") {
        "month" => "this month",
        _ => "today",
    };
    for (class, it) in map(link, "classes") {
        let share = it.get("budget").and_then(Value::as_u64);
        let share = share.map_or_else(String::new, |share| format!(", of {} in all", size(share)));
        let waits = match it.get("waits").and_then(Value::as_u64) {
            None => String::new(),
            Some(0) => "; waits, and goes on little by little".into(),
            Some(NEVER) => "; waits: its share is too little for anything".into(),
            Some(then) => format!("; waits until {}", moment(then)),
        };
        out += &format!(
            "link        {class}: {} sent, {} received {period}{share}{waits}\n",
            size(number(it, "sent")),
            size(number(it, "received")),
        );
    }
    out
}

/// Formats the busiest streams: those with a problem, then those with most records waiting.
fn table(streams: &BTreeMap<&str, &Value>, now: u64) -> String {
    if streams.is_empty() {
        return String::new();
    }
    let withheld = |it: &Value| it.get("withheld").and_then(Value::as_bool).unwrap_or(false);
    let waiting = |it: &Value| if withheld(it) { 0 } else { number(it, "waiting") };
    let problem = |it: &Value| it.get("problem").and_then(Value::as_str).map(str::to_owned);
    let mut busiest: Vec<(&str, &Value)> = streams.iter().map(|(name, it)| (*name, *it)).collect();
    busiest.sort_by_key(|(_, it)| {
        let ails = problem(it).is_some_and(|why| !why.is_empty());
        std::cmp::Reverse((ails, waiting(it), number(it, "bytes")))
    });
    let more = busiest.len().saturating_sub(SHOWN);
    busiest.truncate(SHOWN);
    let widest = busiest.iter().map(|(name, _)| name.len()).max().unwrap_or(0).max(8);
    let [last, held, waits, bytes] = ["LAST", "HELD", "WAITING", "SIZE"];
    let mut out =
        format!("\n{:widest$}  {last:>10}  {held:>10}  {waits:>10}  {bytes:>7}\n", "STREAM");
    for (name, it) in busiest {
        let waits = if withheld(it) { "-".to_owned() } else { number(it, "waiting").to_string() };
        let opens = it.get("shipsFrom").and_then(Value::as_u64);
        let mut notes: Vec<String> = Vec::new();
        notes.extend(withheld(it).then(|| "not shipped".to_owned()));
        notes.extend(opens.map(|then| format!("window opens {}", until(then, now))));
        notes.extend(problem(it).filter(|why| !why.is_empty()));
        out += &format!(
            "{name:widest$}  {:>10}  {:>10}  {waits:>10}  {:>7}{}\n",
            number(it, "last"),
            number(it, "held"),
            size(number(it, "bytes")),
            after("  ", &notes.join("; ")),
        );
    }
    if more > 0 {
        out += &format!("and {more} more: see -o json\n");
    }
    out
}

fn horizon(horizon: &Value, now: u64) -> String {
    let Some(then) = horizon.get("until").and_then(Value::as_u64) else { return String::new() };
    let detail = horizon.get("detail").and_then(Value::as_str).unwrap_or_default();
    let (when, cause) = (until(then, now), text(horizon, "cause"));
    format!("horizon     {when} ({cause}{})\n", after(": ", detail))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: u64 = 1_795_767_753;

    fn status(data: &Value) -> Value {
        json!({
            "device": "default_pump-7", "time": NOW, "link": "up", "linkReason": "", "epoch": 3,
            "generation": {"desired": 2, "applied": 2},
            "workloads": {"hello": {"phase": "running", "revision": 1, "pid": 7, "restarts": 0, "reason": ""}},
            "problems": [{"code": "disk-low", "message": "little space\nfree some"}],
            "data": data,
        })
    }

    fn stream(last: u64, held: u64, waiting: u64) -> Value {
        json!({"last": last, "held": held, "waiting": waiting, "bytes": held * 100, "problem": ""})
    }

    fn data(streams: &Value) -> Value {
        json!({
            "streams": streams,
            "storage": {
                "used": 693_702, "quota": 1_073_741_824_u64, "lifeYears": 12.34,
                "written": {"total": 20_504_576, "records": 480_844, "retention": 0, "bookkeeping": 5},
            },
            "link": {
                "since": 0, "period": "day", "budget": 1_048_576,
                "classes": {"data": {"sent": 105_430, "received": 82_347, "budget": 13_107}},
            },
            "horizon": {"until": NOW + 21_600, "cause": "disk", "detail": ""},
        })
    }

    #[test]
    fn what_is_wrong_stands_before_the_tables_and_figures_have_units() {
        let mut night = stream(50, 40, 10);
        night["shipsFrom"] = json!(NOW + 10_800);
        let mut kept = stream(5_502, 2_502, 2_427);
        kept["withheld"] = json!(true);
        let shown = describe(&status(&data(&json!({"night": night, "nev": kept}))));
        let expected = "\
device      default_pump-7
link        up
generation  2 applied, 2 desired (epoch 3)
horizon     in 6h (disk)
problem     disk-low: little space
            free some

WORKLOAD  PHASE      REVISION       PID  RESTARTS
hello     running           1         7         0

STREAM          LAST        HELD     WAITING     SIZE
night             50          40          10    3.9Ki  window opens in 3h
nev             5502        2502           -    244Ki  not shipped

buffer      677Ki of 1Gi used; 19Mi written to flash (469Ki records, 0 retention, 5 bookkeeping)
flash       12.3 years at this rate
link        data: 102Ki sent, 80Ki received today, of 12Ki in all
";
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_busiest_are_shown_and_the_others_counted() {
        let mut streams: BTreeMap<String, Value> =
            (0..200).map(|at| (format!("s{at}"), stream(500, 10, at))).collect();
        streams.insert("odd".into(), json!({"problem": "no field speed"}));
        let shown = describe(&status(&data(&json!(streams))));
        assert!(shown.contains("and 181 more: see -o json\n"), "{shown}");
        let rows: Vec<&str> = shown.lines().skip_while(|it| !it.starts_with("STREAM")).collect();
        assert!(rows[1].starts_with("odd") && rows[1].ends_with("no field speed"), "{shown}");
        assert!(rows[2].starts_with("s199") && rows[20].starts_with("s181"), "{shown}");
    }

    #[test]
    fn a_device_without_streams_shows_its_horizon_and_no_more_of_data() {
        let mut data = data(&json!({}));
        data["link"]["budget"] = Value::Null;
        data["horizon"] =
            json!({"until": NOW + 2_505_600, "cause": "clock", "detail": "no time service"});
        let shown = describe(&status(&data));
        assert!(shown.contains("\nhorizon     in 29d (clock: no time service)\n"), "{shown}");
        assert!(shown.ends_with("hello     running           1         7         0\n"), "{shown}");
    }
}
