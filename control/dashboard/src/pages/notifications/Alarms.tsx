// Every alarm of every device, the most urgent first; filters are in the address.
import { Button, Select, TextInput } from "@mantine/core";
import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { ALARMS, alarms, type Alarm, type AlarmFilter } from "../../api/alarms";
import { who } from "../../lib/activity";
import { kindWord } from "../../lib/alarms";
import { count } from "../../lib/words";
import { Loading } from "../../ui/Loading";
import { MuteButtons } from "../../ui/Mute";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { State, type Tone } from "../../ui/State";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";

const SEVERITIES: Record<string, Tone> = { critical: "bad", warning: "warn", info: "move" };
const STATES = [
  { value: "firing", label: "Firing" },
  { value: "acknowledged", label: "Acknowledged" },
  { value: "silenced", label: "Silenced" },
];
const LEAST = [
  { value: "critical", label: "Critical" },
  { value: "warning", label: "Warning and above" },
];

export function Alarms() {
  const [search, setSearch] = useSearch();
  const [limit, setLimit] = useState(ALARMS);
  const filter: AlarmFilter = { kind: search.kind ?? "", code: search.code ?? "", severity: search.severity ?? "", state: search.state ?? "", device: search.device ?? "", labelSelector: search.labels ?? "" };
  const { data, error, refetch } = useQuery({ ...alarms(filter, limit), placeholderData: keepPreviousData });
  const filtered = Object.values(filter).some(Boolean);
  const total = data?.metadata?.total ?? data?.items.length ?? 0;
  return (
    <div className="hf-stack">
      <div className="hf-row hf-filters">
        <TextInput aria-label="Device" placeholder="Device" value={filter.device} onChange={(event) => setSearch({ device: event.currentTarget.value })} />
        <TextInput aria-label="Labels" placeholder="Labels, such as site=berlin" className="hf-mono-input" value={filter.labelSelector} onChange={(event) => setSearch({ labels: event.currentTarget.value })} />
        <Select aria-label="Severity" placeholder="Any severity" clearable data={LEAST} value={filter.severity || null} onChange={(value) => setSearch({ severity: value ?? "" })} />
        <Select aria-label="State" placeholder="Any state" clearable data={STATES} value={filter.state || null} onChange={(value) => setSearch({ state: value ?? "" })} />
        {filtered && <Button variant="default" onClick={() => setSearch({ kind: "", code: "", severity: "", state: "", device: "", labels: "" })}>Clear</Button>}
      </div>
      {(filter.kind || filter.code) && <p className="hf-kind">Only {[filter.kind && kindWord(filter.kind), filter.code].filter(Boolean).join(" ")}</p>}
      {!data && (error ? <Failed error={error} what="The alarms could not be read" retry={() => void refetch()} /> : <Loading rows={6} />)}
      {data && error && <Failed error={error} what="The alarms could not be read" retry={() => void refetch()} />}
      {data && <p role="status" className="hf-kind">{total === 0 ? (filtered ? "No alarm matches." : "No alarm is active.") : count(total, "alarm")}</p>}
      {data && total > 0 && <Table items={data.items} />}
      {data && total > data.items.length && <p><Button size="xs" variant="default" onClick={() => setLimit((now) => Math.min(now * 5, 5_000))}>Show more</Button></p>}
    </div>
  );
}

function Table({ items }: { items: readonly Alarm[] }) {
  return (
    <table className="hf-table hf-folds">
      <thead><tr><th>Severity</th><th>Device</th><th>Alarm</th><th>Since</th><th>State</th><th><span className="hf-hidden">Acknowledge or silence</span></th></tr></thead>
      <tbody>
        {items.map((alarm) => (
          <tr key={`${alarm.device}/${alarm.kind}/${alarm.code}`}>
            <td><State tone={alarm.state === "firing" ? (SEVERITIES[alarm.severity] ?? "idle") : "idle"}>{alarm.severity}</State></td>
            <td data-label="Device"><PageLink to={deviceAt(alarm.device)}>{alarm.device}</PageLink></td>
            <td data-label="Alarm"><What of={alarm} /></td>
            <td data-label="Since"><Time at={alarm.since} /></td>
            <td data-label="State"><Standing of={alarm} /></td>
            <td>{alarm.state === "firing" && <MuteButtons of={{ kind: alarm.kind, code: alarm.code || undefined, device: alarm.device }} about={`${kindWord(alarm.kind)} ${alarm.code} on ${alarm.device}`} />}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function What({ of: { kind, code, message } }: { of: Alarm }) {
  return <span><span className="hf-kind">{kindWord(kind)}{code && ` ${code}`}</span><br />{message}</span>;
}

function Standing({ of }: { of: Alarm }) {
  const { undelivered = [] } = of;
  const told = of.told.length > 0 && <span className="hf-kind">sent by {of.told.join(", ")}</span>;
  const not = undelivered.length > 0 && <span className="hf-bad-text">not delivered by {undelivered.map((name, index) => <span key={name}>{index > 0 && ", "}<PageLink to={`/notifications/${encodeURIComponent(name)}`}>{name}</PageLink></span>)}</span>;
  const { silence } = of;
  return (
    <span className="hf-stack hf-tight">
      <span>{of.state}{of.unheard && <span className="hf-kind"> · the device is not heard now</span>}</span>
      {silence && (
        <span className="hf-kind">
          by {who(silence.by, silence.byName)}, <Time at={silence.at} />{silence.until && <>, until <Time at={silence.until} /></>}{silence.note && `: ${silence.note}`}
        </span>
      )}
      {told}
      {not}
    </span>
  );
}
