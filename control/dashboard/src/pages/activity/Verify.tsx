// Whether the audit log is whole, and what the devices saw of it: asked for by a button, since every
// connected device is asked.
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { verified } from "../../lib/verified";
import { Failed, Notice } from "../../ui/Notice";
import { ActButton } from "../../ui/rights";

export function Verify() {
  const found = useQuery({ ...read.verification(), enabled: false });
  const { data, error, isFetching } = found;
  const ask = () => void found.refetch();
  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row">
        <ActButton may="audit.verify" size="compact-sm" variant="default" loading={isFetching} onClick={ask}>Verify the audit log</ActButton>
        {data?.intact && !isFetching && <span role="status">{verified(data)}</span>}
      </div>
      {error && !isFetching && <Failed error={error} what="The audit log could not be verified" retry={ask} />}
      {data && !data.intact && !isFetching && (
        <Notice tone="bad" title={verified(data)} alert>
          <ul>{(data.faults ?? []).map(({ message }) => <li key={message}>{message}</li>)}</ul>
        </Notice>
      )}
      {data && !isFetching && (data.notes ?? []).map((note) => <p key={note}>{note}</p>)}
    </div>
  );
}
