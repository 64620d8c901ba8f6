// The devices that run it or should, with what each says of it.
import { Button } from "@mantine/core";
import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { ask, client } from "../../api/client";
import * as read from "../../api/queries";
import type { Workload } from "../../api/types";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed, Notice } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { Standing } from "../../ui/Standing";
import { Connection, Phase, WorkloadState } from "../../ui/State";
import { Time } from "../../ui/Time";

/** Rows that one request adds. */
const PAGE = 100;

export function Devices({ workload }: { workload: Workload }) {
  const name = workload.metadata.name;
  const why = useQuery(read.explanation("workload", name));
  const list = useInfiniteQuery({
    queryKey: ["workload", name, "devices"],
    queryFn: ({ signal, pageParam }) => ask(client.GET("/api/v1/devices", { signal, params: { query: { workload: name, limit: PAGE, offset: pageParam, sort: "connection" } as never } })),
    initialPageParam: 0,
    getNextPageParam: (last, all) => {
      const read = all.reduce((sum, page) => sum + page.items.length, 0);
      return read < (last.metadata?.total ?? 0) && last.items.length > 0 ? read : undefined;
    },
  });
  const devices = list.data?.pages.flatMap((page) => page.items) ?? [];
  const total = list.data?.pages.at(-1)?.metadata?.total ?? 0;
  return (
    <div className="hf-stack">
      {why.data && (
        <Standing of={why.data} />
      )}
      {!list.data && (list.error ? <Failed error={list.error} what="Its devices could not be read" retry={() => void list.refetch()} /> : <Loading />)}
      {list.data && devices.length === 0 && <Notice tone="idle" title="No device runs it">No device has the labels that it asks for. Label some, or change its selector under Edit.</Notice>}
      {devices.length > 0 && (
        <Card title="Devices" aside={<PageLink to="/devices" search={{ workload: name }}>In the device table</PageLink>}>
          <table className="hf-table hf-folds">
            <thead><tr><th>Device</th><th>Connection</th><th>State</th><th>Since</th><th className="hf-number">Desired</th><th className="hf-number">Reported</th><th className="hf-number">Restarts</th><th>Reason</th><th><span className="hf-hidden">Log</span></th></tr></thead>
            <tbody>
              {devices.map((device) => {
                const said = device.status.workloads[name];
                const wanted = device.desired?.[name]?.revision;
                return (
                  <tr key={device.metadata.name}>
                    <td><PageLink to={deviceAt(device.metadata.name)}>{device.metadata.name}</PageLink></td>
                    <td data-label="Connection">
                      <span className="hf-row hf-tight"><Connection of={device.status.connection} />{device.status.connection === "offline" && <span className="hf-kind"><Time at={device.status.heardAt} /></span>}</span>
                    </td>
                    <td data-label="State">{said?.state ? <WorkloadState of={said.state} last={said.lastState} /> : <Phase of={said?.phase ?? ""} />}</td>
                    <td data-label="Since">{said?.since ? <Time at={said.since} /> : "–"}</td>
                    <td className="hf-number" data-label="Desired">{wanted ?? "–"}</td>
                    <td className="hf-number" data-label="Reported">{said?.revision ?? "–"}</td>
                    <td className="hf-number" data-label="Restarts">{said?.restarts ?? "–"}</td>
                    <td data-label="Reason">{said?.reason ?? ""}</td>
                    <td>{said && <PageLink to={deviceAt(device.metadata.name)} search={{ tab: "logs", workload: name }} aria-label={`Log on ${device.metadata.name}`}>Log</PageLink>}</td>
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
