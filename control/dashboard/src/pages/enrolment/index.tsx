// How devices come in: the waiting room first, a new token, tokens in use.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useState } from "react";
import { revokeToken } from "../../api/actions";
import * as read from "../../api/queries";
import type { Token } from "../../api/types";
import { count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Confirm } from "../../ui/Confirm";
import { Labels } from "../../ui/Labels";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { State, type Tone } from "../../ui/State";
import { say } from "../../ui/say";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { NewToken } from "./NewToken";
import { Waiting } from "./Waiting";
import { ActButton } from "../../ui/rights";

const STATES: Record<string, Tone> = { active: "good", expired: "idle", used: "idle", revoked: "idle" };

export default function Enrolment() {
  const [search, setSearch] = useSearch();
  return (
    <div className="hf-stack">
      <PageHead title="Enrolment">
        <ActButton may="token.create" size="xs" onClick={() => setSearch({ new: "token" })}>Make a token</ActButton>
      </PageHead>
      {search.new === "token" && <NewToken close={() => setSearch({ new: undefined })} />}
      <Waiting />
      <Tokens />
    </div>
  );
}

function Tokens() {
  const { data, error, refetch } = useQuery(read.tokens());
  const [ending, setEnding] = useState<Token>();
  const [all, setAll] = useState(false);
  const tokens = (data?.items ?? []).filter((token) => all || token.state === "active").sort((a, b) => ((a.metadata.createdAt ?? "") < (b.metadata.createdAt ?? "") ? 1 : -1));
  const over = (data?.items.length ?? 0) - (data?.items ?? []).filter((token) => token.state === "active").length;
  return (
    <Card title="Enrolment tokens" aside={over > 0 && <Button size="compact-xs" variant="subtle" aria-pressed={all} onClick={() => setAll(!all)}>{all ? "Hide expired and used tokens" : `Show ${over} expired or used`}</Button>}>
      {!data && (error ? <Failed error={error} what="The tokens could not be read" retry={() => void refetch()} /> : <Loading />)}
      {data && tokens.length === 0 && <p>None. A token lets devices in; its secret is shown once, when it is made.</p>}
      {tokens.length > 0 && (
        <table className="hf-table hf-folds">
          <thead><tr><th>Token</th><th>State</th><th>Used</th><th>Expires</th><th>Approval</th><th>Labels</th><th>Labels that devices may claim</th><th><span className="hf-hidden">Revoke</span></th></tr></thead>
          <tbody>
            {tokens.map((token) => (
              <tr key={token.metadata.name}>
                <td><span className="hf-mono">{token.metadata.name}</span></td>
                <td data-label="State"><State tone={STATES[token.state] ?? "idle"}>{token.state}</State></td>
                <td data-label="Used">{token.used} of {token.uses}</td>
                <td data-label="Expires"><Time at={token.expiresAt} /></td>
                <td data-label="Approval">{token.approve === "manual" ? "by a person" : "automatic"}</td>
                <td data-label="Labels"><Labels of={token.metadata.labels} /></td>
                <td data-label="May claim">{(token.allowLabels ?? []).length > 0 ? <span className="hf-mono">{(token.allowLabels ?? []).map((key) => (key === "*" ? "all" : key)).join(", ")}</span> : "none"}</td>
                <td>{token.state === "active" && <ActButton may="token.revoke" size="compact-xs" variant="outline" color="red" onClick={() => setEnding(token)} aria-label={`Revoke token ${token.metadata.name}`}>Revoke…</ActButton>}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {ending && (
        <Confirm title={`Revoke the token ${ending.metadata.name}?`} act={`Revoke ${ending.metadata.name}`} run={async () => { await revokeToken(ending.metadata.name); say(`The token ${ending.metadata.name} is revoked`); }} close={() => setEnding(undefined)}>
          <p>No further device can enrol with <strong className="hf-mono">{ending.metadata.name}</strong>. The {count(ending.used, "device")} that did stay.</p>
        </Confirm>
      )}
    </Card>
  );
}
