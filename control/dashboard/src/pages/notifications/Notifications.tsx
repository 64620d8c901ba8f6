// The notifications: where each leads, and whether its receiver is reached.
import { useQuery } from "@tanstack/react-query";
import { notifications } from "../../api/alarms";
import { notificationAt } from "../../lib/notification";
import { Delivery } from "../notification/Delivery";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageLink } from "../../ui/PageLink";
import { Time } from "../../ui/Time";
import { useSearch } from "../../ui/useSearch";
import { New } from "./New";
import { ActButton, Allowed } from "../../ui/rights";

export function Notifications() {
  const { data, error, refetch } = useQuery(notifications());
  const [search, setSearch] = useSearch();
  if (search.new) return <Allowed may="document.apply"><New close={() => setSearch({ new: undefined })} /></Allowed>;
  if (!data) return error ? <Failed error={error} what="The notifications could not be read" retry={() => void refetch()} /> : <Loading rows={4} />;
  return (
    <div className="hf-stack">
      <div className="hf-row"><ActButton may="document.apply" size="xs" onClick={() => setSearch({ new: "webhook" }, true)}>New notification</ActButton></div>
      {data.items.length === 0 ? (
        <Notice tone="idle" title="Nobody is told of alarms">Alarms stand on these pages alone. A notification sends them to a webhook, by mail or to an Alertmanager.</Notice>
      ) : (
        <table className="hf-table hf-folds">
          <thead><tr><th>Name</th><th>Sends to</th><th>Severity</th><th>State</th><th>Last sent</th><th className="hf-number">Waiting</th></tr></thead>
          <tbody>
            {data.items.map(({ metadata, spec, status }) => (
              <tr key={metadata.name}>
                <td><PageLink to={notificationAt(metadata.name)}>{metadata.name}</PageLink></td>
                <td data-label="Sends to"><span>{status.delivery?.receiver}: <span className="hf-mono">{status.delivery?.place}</span></span></td>
                <td data-label="Severity">{String((spec as { severity?: unknown }).severity ?? "warning")}</td>
                <td data-label="State"><Delivery of={status.delivery} /></td>
                <td data-label="Last sent"><Time at={status.delivery?.lastSuccess} /></td>
                <td className="hf-number" data-label="Waiting">{status.delivery?.queued ?? 0}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
    </div>
  );
}
