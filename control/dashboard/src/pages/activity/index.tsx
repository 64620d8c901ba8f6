// Who did what, newest first: the audit log.
import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import { ask, client } from "../../api/client";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { PageHead } from "../../ui/PageHead";
import { Time } from "../../ui/Time";

/** Entries of one page. */
const PAGE = 100;

export default function Activity() {
  const log = useInfiniteQuery({
    queryKey: ["audit", "pages"],
    queryFn: ({ signal, pageParam }) => ask(client.GET("/api/v1/audit", { signal, params: { query: { order: "newest", limit: PAGE, ...(pageParam ? { continue: pageParam } : {}) } as never } })),
    initialPageParam: "",
    getNextPageParam: (last) => last.metadata?.continue ?? undefined,
  });
  const entries = log.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <div className="hf-stack">
      <PageHead title="Activity" />
      {!log.data && (log.error ? <Failed error={log.error} what="The audit log could not be read" retry={() => void log.refetch()} /> : <Loading rows={8} />)}
      {log.data && (
        <div className="hf-card">
          {entries.length === 0 ? <p>Nothing was done yet.</p> : (
            <table className="hf-table hf-folds">
              <thead><tr><th>When</th><th>Who</th><th>What</th><th>To whom</th><th>In words</th></tr></thead>
              <tbody>
                {entries.map((entry) => (
                  <tr key={entry.number}>
                    <td data-label="When"><Time at={entry.at * 1000} /></td>
                    <td data-label="Who">{entry.by}</td>
                    <td data-label="What"><span className="hf-mono">{entry.action}</span></td>
                    <td data-label="To whom">{entry.subject}</td>
                    <td data-label="In words">{entry.message ?? ""}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          )}
          {log.hasNextPage && <Button variant="default" size="xs" loading={log.isFetchingNextPage} onClick={() => void log.fetchNextPage()}>Older</Button>}
        </div>
      )}
    </div>
  );
}
