// What people did, and beside it what devices did: found by who, what, object and time, with the way
// to each object and to what an apply changed; and as a file.
import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { recent } from "../../api/events";
import * as read from "../../api/queries";
import { useStore } from "../../api/store";
import type { Activity } from "../../api/types";
import { asked, categories, did, difference, file, who, without } from "../../lib/activity";
import { count } from "../../lib/words";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { Thing } from "../../ui/Thing";
import { ActLink } from "../../ui/rights";
import { When } from "../../ui/When";
import { useSearch } from "../../ui/useSearch";
import { Filters } from "./Filters";
import { Verify } from "./Verify";

export default function ActivityPage() {
  const [search, setSearch] = useSearch();
  const nothing = categories(search.show).length === 0;
  const found = useInfiniteQuery({ ...read.activity(asked(search)), enabled: !nothing });
  const items = nothing ? [] : (found.data?.pages.flatMap((page) => page.items) ?? []);
  return (
    <div className="hf-stack">
      <PageHead title="Activity">
        <a href={file("csv", search)} download>CSV</a>
        <a href={file("ndjson", search)} download>NDJSON</a>
        <ActLink may="audit.export" size="compact-sm" variant="subtle" href="/api/v1/audit/export" download>Audit log with hashes</ActLink>
      </PageHead>
      <Verify />
      <Filters search={search} set={setSearch} />
      {categories(search.show).includes("device") && !found.isFetching && <News since={found.dataUpdatedAt} show={() => void found.refetch()} />}
      {found.error && <Failed error={found.error} what="The activity could not be read" retry={() => void found.refetch()} />}
      {!found.data && !found.error && !nothing && <Loading rows={8} />}
      {(found.data ?? nothing) && items.length === 0 && (
        <Notice tone="idle" title="Nothing of that was found">
          <Button variant="default" size="xs" onClick={() => setSearch({ show: undefined, who: undefined, action: undefined, object: undefined, q: undefined, since: undefined, from: undefined, to: undefined })}>Take all filters away</Button>
        </Notice>
      )}
      {items.length > 0 && (
        <div className="hf-card">
          <table className="hf-table hf-folds hf-activity">
            <thead><tr><th>When</th><th>Who</th><th>What</th><th>Object</th><th>Details</th></tr></thead>
            <tbody>{items.map((item, index) => <Row key={index} of={item} filter={(change) => setSearch(change, true)} />)}</tbody>
          </table>
          {found.hasNextPage && <Button variant="default" size="xs" loading={found.isFetchingNextPage} onClick={() => void found.fetchNextPage()}>Older</Button>}
        </div>
      )}
    </div>
  );
}

/** Rows do not move under the reader: what devices did since is shown when it is asked for. */
function News({ since, show }: { since: number; show: () => void }) {
  const events = useStore(recent);
  const newer = events.filter((event) => event.type === "device" && Date.parse(event.at) + 1_000 > since).length;
  if (since === 0 || newer === 0) return null;
  return <div role="status"><Button size="compact-sm" variant="light" onClick={show}>{count(newer, "newer event")} of devices: show</Button></div>;
}

function Row({ of, filter }: { of: Activity; filter: (change: Record<string, string | undefined>) => void }) {
  const { object, revision } = of;
  const isDevice = of.category === "device";
  // A device of itself, and whoever logs in, who is the token that it is done with, stand on the left.
  const hasObject = !(isDevice && object?.kind === "device") && !of.action.startsWith("session.");
  return (
    <tr>
      <td data-label="When"><When at={of.at} until={of.until} /></td>
      <td data-label="Who">
        {isDevice ? <PageLink to={deviceAt(of.by)}>{of.by}</PageLink> : (
          <button type="button" className="hf-plain" title={`${of.by}: show what else was done with it`} onClick={() => filter({ who: of.by })}>{who(of.by, of.byName)}</button>
        )}
      </td>
      <td data-label="What"><span className="hf-nowrap" title={of.action}>{did(of.action)}</span></td>
      <td data-label="Object">{hasObject && object && <Thing {...object} />}</td>
      <td data-label="Details">
        <span>
          {of.result === "refused" && <strong>refused: </strong>}
          {isDevice && object?.kind === "workload" ? without(object.name, of.message) : of.message}
          {!isDevice && of.count > 1 && <> ({of.count} times)</>}
          {of.from && <small title={of.request ? `request ${of.request}` : undefined}> from {of.from}</small>}
          {object?.kind === "workload" && revision != null && <> <PageLink {...difference(object.name, revision)}>Difference</PageLink></>}
        </span>
      </td>
    </tr>
  );
}
