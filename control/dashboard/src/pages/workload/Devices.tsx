// The devices that run it or should, with what is known of it on each; the worst first.
import { Button } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { ask, client } from "../../api/client";
import * as read from "../../api/queries";
import type { Workload } from "../../api/types";
import { containersOf } from "../../lib/images";
import { worstOn } from "../../lib/workloads";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { Revision } from "../../ui/Revision";
import { Standing } from "../../ui/Standing";
import { Connection, Phase, WorkloadState } from "../../ui/State";
import { Heard } from "../../ui/Time";
import { Words } from "../../ui/Words";
import { Containers } from "./Containers";
import { WorkloadActions } from "../../ui/WorkloadActions";

/** Rows that one request adds. */
const PAGE = 100;

export function Devices({ workload }: { workload: Workload }) {
  const name = workload.metadata.name;
  const why = useQuery(read.explanation("workload", name));
  const list = useInfiniteQuery({
    queryKey: ["workload", name, "devices"],
    queryFn: ({ signal, pageParam }) => ask(client.GET("/api/v1/devices", { signal, params: { query: { workload: name, limit: PAGE, offset: pageParam, sort: "health" } as never } })),
    initialPageParam: 0,
    getNextPageParam: (last, all) => {
      const read = all.reduce((sum, page) => sum + page.items.length, 0);
      return read < (last.metadata?.total ?? 0) && last.items.length > 0 ? read : undefined;
    },
  });
  // The server's order is by the whole device, on which something else may fail: of what was read,
  // this workload's own state comes first.
  const devices = worstOn(list.data?.pages.flatMap((page) => page.items) ?? [], name);
  const needsEngine = containersOf(workload.spec).length > 0;
  const total = list.data?.pages.at(-1)?.metadata?.total ?? 0;
  return (
    <div className="hf-stack">
      {why.data && <Standing of={why.data} />}
      <Containers spec={workload.spec} />
      {!list.data && (list.error ? <Failed error={list.error} what="Its devices could not be read" retry={() => void list.refetch()} /> : <Loading />)}
      {list.data && devices.length === 0 && <Notice tone="idle" title="No device runs it">No device has the labels that it asks for. Label some, or change its selector under Edit.</Notice>}
      {devices.length > 0 && (
        <Card title="Devices" aside={<PageLink to="/devices" search={{ workload: name }}>In the device table</PageLink>}>
          <table className="hf-table hf-folds">
            <thead><tr><th>Device</th><th>Connection</th><th>Heard</th><th>State</th><th className="hf-number">Revision</th><th className="hf-number">Restarts</th><th>Reason</th><th><span className="hf-hidden">Actions</span></th></tr></thead>
            <tbody>
              {devices.map(({ metadata, desired, status }) => {
                const said = status.workloads[name];
                const wanted = desired?.[name]?.revision;
                return (
                  <tr key={metadata.name}>
                    <td><PageLink className="hf-cut" to={deviceAt(metadata.name)} title={metadata.name}>{metadata.name}</PageLink></td>
                    <td data-label="Connection"><Connection of={status.connection} since={status.connectionSince} away={status.absence?.state} /></td>
                    <td data-label="Heard" className="hf-nowrap"><Heard at={status.heardAt} late={status.overdue} /></td>
                    <td data-label="State">
                      {said?.state ? <WorkloadState of={said.state} last={said.lastState} heard={status.heardAt} since={said.since} />
                        : wanted === undefined ? <WorkloadState of={undefined} />
                          : status.connection === "online" ? <Phase of="" /> : <WorkloadState of="unknown" />}
                    </td>
                    <td className="hf-number" data-label="Revision"><Revision desired={wanted} reported={said?.revision} /></td>
                    <td className="hf-number" data-label="Restarts">{said?.restarts ?? "–"}</td>
                    <td data-label="Reason" className="hf-reason">{said?.reason && <Words>{said.reason}</Words>}{needsEngine && status.engine?.problem && <div className="hf-kind">Container engine: <Words>{status.engine.problem}</Words></div>}</td>
                    <td className="hf-nowrap">{wanted !== undefined && <WorkloadActions compact workload={name} device={metadata.name} paused={desired?.[name]?.paused != null} />} {said && <PageLink to={deviceAt(metadata.name)} search={{ tab: "logs", workload: name }} aria-label={`Log on ${metadata.name}`}>Log</PageLink>}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
          {list.hasNextPage && <div><Button size="xs" variant="default" loading={list.isFetchingNextPage} onClick={() => void list.fetchNextPage()}>More ({(total - devices.length).toLocaleString("en")})</Button></div>}
        </Card>
      )}
    </div>
  );
}
