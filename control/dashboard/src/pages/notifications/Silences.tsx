// What is acknowledged and silenced, by whom, why and until when; each can be ended early.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { silences, unmute, type Silence } from "../../api/alarms";
import { who } from "../../lib/activity";
import { matcherWords, type Matcher } from "../../lib/alarms";
import { Confirm } from "../../ui/Confirm";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";
import { ActButton } from "../../ui/rights";

const matcher = ({ kind, code, device, labelSelector }: Silence): Matcher => ({ kind: kind ?? undefined, code: code ?? undefined, device: device ?? undefined, labelSelector: labelSelector ?? undefined });

export function Silences() {
  const { data, error, refetch } = useQuery(silences());
  const [ending, setEnding] = useState<Silence>();
  if (!data) return error ? <Failed error={error} what="Acknowledgements and silences could not be read" retry={() => void refetch()} /> : <Loading rows={4} />;
  if (data.items.length === 0) return <p>Nothing is acknowledged or silenced.</p>;
  return (
    <>
      <table className="hf-table hf-folds">
        <thead><tr><th>Type</th><th>Of</th><th className="hf-number">Alarms now</th><th>By</th><th>Made</th><th>Ends</th><th>Note</th><th><span className="hf-hidden">End</span></th></tr></thead>
        <tbody>
          {data.items.map((one) => (
            <tr key={one.id}>
              <td><State tone={one.type === "silence" ? "idle" : "move"}>{one.type}</State></td>
              <td data-label="Of">{matcherWords(matcher(one))}</td>
              <td className="hf-number" data-label="Alarms now">{one.alarms.toLocaleString("en")}</td>
              <td data-label="By">{who(one.by, one.byName)}</td>
              <td data-label="Made"><Time at={one.at} /></td>
              <td data-label="Ends">{one.until ? <Time at={one.until} /> : "with its alarms"}</td>
              <td data-label="Note">{one.note}</td>
              <td><ActButton may="silence.end" size="compact-xs" variant="outline" color="red" onClick={() => setEnding(one)} aria-label={`End the ${one.type} of ${matcherWords(matcher(one))}`}>End…</ActButton></td>
            </tr>
          ))}
        </tbody>
      </table>
      {ending && (
        <Confirm title={`End this ${ending.type}?`} act={`End the ${ending.type}`} run={async () => { await unmute(ending.id); say(`The ${ending.type} has ended`); }} close={() => setEnding(undefined)}>
          <p><strong>{matcherWords(matcher(ending))}</strong>: alarms that last are notified again.</p>
        </Confirm>
      )}
    </>
  );
}
