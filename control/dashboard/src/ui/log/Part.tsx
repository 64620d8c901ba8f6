// Which part of a log is shown: its last lines, a time, a run.
import { Select, TextInput } from "@mantine/core";
import { local, rangeOf, RUNS, SPANS, TAILS, type Range } from "../../lib/log/range";
import type { Search } from "../useSearch";

const SPAN_WORDS: Record<string, string> = { "5m": "Last 5 minutes", "1h": "Last hour", "24h": "Last 24 hours" };
const CUSTOM = "custom";
const ALL = "all";

const KINDS = [...TAILS.map((lines) => ({ value: String(lines), label: `Last ${lines.toLocaleString("en")} lines` })), ...SPANS.map((span) => ({ value: span, label: SPAN_WORDS[span] ?? span })), { value: CUSTOM, label: "From … to …" }];
const RUN_WORDS = Array.from({ length: RUNS + 1 }, (_, run) => ({ value: String(run), label: run === 0 ? "All runs, and new lines" : run === 1 ? "Previous run" : `${run} runs before` }));

export function Part({ search, setSearch }: { search: Search; setSearch: (change: Search) => void }) {
  const range = rangeOf(search);
  const kind = kindOf(range);
  const chosen = (value: string | null) => {
    const none = { tail: undefined, since: undefined, until: undefined };
    if (value === CUSTOM) setSearch({ ...none, since: new Date(Date.now() - 15 * 60_000).toISOString().replace(/\.\d+Z$/, "Z") });
    else if (value === ALL || (value === "500" && range.run === 0)) setSearch(none);
    else if (value && SPANS.includes(value)) setSearch({ ...none, since: value });
    else setSearch({ ...none, tail: value ?? undefined });
  };
  const at = (key: "since" | "until", text: string) => {
    const time = Date.parse(text);
    setSearch({ [key]: Number.isNaN(time) ? undefined : new Date(time).toISOString().replace(/\.\d+Z$/, "Z") });
  };
  return (
    <>
      <Select label="Range" data={range.run > 0 ? [{ value: ALL, label: "All of the run" }, ...KINDS] : KINDS} value={kind} onChange={chosen} allowDeselect={false} maw={190} />
      {kind === CUSTOM && <TextInput label="From" type="datetime-local" step={1} value={local(range.since)} onChange={(event) => at("since", event.currentTarget.value)} maw={220} />}
      {kind === CUSTOM && <TextInput label="To" description={undefined} type="datetime-local" step={1} value={local(range.until)} onChange={(event) => at("until", event.currentTarget.value)} maw={220} />}
      <Select label="Run" title="Devices keep the starts of a workload's last 10 runs" data={RUN_WORDS} value={String(range.run)} onChange={(run) => setSearch({ run: run === "0" ? undefined : (run ?? undefined) })} allowDeselect={false} maw={210} />
    </>
  );
}

function kindOf({ tail, since, until, run }: Range): string {
  if (until === undefined && since !== undefined && SPANS.includes(since)) return since;
  if (since !== undefined || until !== undefined) return CUSTOM;
  return tail === undefined && run > 0 ? ALL : String(tail);
}
