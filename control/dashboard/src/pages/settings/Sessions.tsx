// Who is logged in, from where and since when; each login can be ended.
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { endSession, sessions, type OpenSession } from "../../api/people";
import { program } from "../../lib/people";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { ActButton } from "../../ui/rights";
import { say } from "../../ui/say";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

const from = ({ agent, address }: OpenSession) => [program(agent), address].filter(Boolean).join(", ");

export function Sessions() {
  const { data, error, refetch } = useQuery(sessions());
  const [ending, setEnding] = useState<OpenSession>();
  const items = [...(data?.items ?? [])].sort((a, b) => Number(b.own) - Number(a.own) || (a.createdAt < b.createdAt ? 1 : -1));
  return (
    <Card title="Sessions" aside={data && <span className="hf-kind">{count(items.length, "session")}</span>}>
      {!data && (error ? <Failed error={error} what="The sessions could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Who</th><th>Program</th><th>From</th><th>Since</th><th>Ends</th><th><span className="hf-hidden">End</span></th></tr></thead>
          <tbody>
            {items.map((one) => (
              <tr key={one.id}>
                <td><span className="hf-row hf-tight"><span>{one.caller}</span>{one.own && <State tone="move">this session</State>}</span></td>
                <td data-label="Program"><span title={one.agent}>{program(one.agent) || "not known"}</span></td>
                <td data-label="From">{one.address ?? "not known"}</td>
                <td data-label="Since"><Time at={one.createdAt} /></td>
                <td data-label="Ends"><Time at={one.expiresAt} /></td>
                <td><ActButton may="session.end-other" size="compact-xs" variant="outline" color="red" onClick={() => setEnding(one)} aria-label={`End the session of ${one.caller}, ${from(one)}`}>End…</ActButton></td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {ending && (
        <Confirm title={`End the session of ${ending.caller}?`} act="End the session" run={async () => { await endSession(ending.id); say(`The session of ${ending.caller} has ended`); }} close={() => setEnding(undefined)}>
          <p><strong>{ending.caller}</strong> ({from(ending)}) is logged out at once, and can log in again. To keep somebody out, disable the user or revoke the access token.</p>
          {ending.own && <p>This is your own session.</p>}
        </Confirm>
      )}
    </Card>
  );
}
