// The devices that a document about data applies to, with its streams there, or with their links.
import { Button } from "@mantine/core";
import { useInfiniteQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import type { components } from "../../api/schema";
import { fitsIn, waiting } from "../../lib/link";
import { hasValues, policyAt, type PolicyKind } from "../../lib/policies";
import { bytes, count } from "../../lib/words";
import { Card } from "../../ui/Card";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { deviceAt, PageLink } from "../../ui/PageLink";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

type Item = components["schemas"]["DataPolicyDevice"];

/** Streams of a device that a row tells before one asks for all. */
const FEW = 6;

export function Devices({ kind, name }: { kind: PolicyKind; name: string }) {
  const { data, error, refetch, hasNextPage, fetchNextPage, isFetchingNextPage } = useInfiniteQuery(read.policyDevices(kind, name));
  const items = (data?.pages ?? []).flatMap((page) => page.items);
  if (!data) return error ? <Failed error={error} what="Where it applies could not be read" retry={() => void refetch()} /> : <Loading />;
  return (
    <Card title="Devices">
      {items.length === 0 ? <p>{hasValues(kind) ? "No workload on a device refers to it." : "It applies to no device now. Its labels are in the document."}</p> : (
        <table className="hf-table hf-folds">
          <thead><tr><th>Device</th><th>State</th>{hasValues(kind) ? <th>Values by their digests</th> : kind === "streams" ? <th>Streams that it matches</th> : <><th className="hf-number">Used</th><th className="hf-number">By the end</th><th>Fits</th></>}</tr></thead>
          <tbody>
            {items.map((item) => (
              <tr key={item.device}>
                <td><PageLink to={deviceAt(item.device)} search={{ tab: "streams" }}>{item.device}</PageLink></td>
                <td data-label="State">{item.applied ? (item.online ? <State tone="good">in force</State> : <State tone="idle">in force when last heard</State>) : <State tone="move">{item.online ? "not applied yet" : "offline, not applied yet"}</State>}</td>
                {hasValues(kind) ? <td data-label="Values"><Values of={item} /></td> : kind === "streams" ? <td data-label="Streams"><Matched of={item} /></td> : <Link of={item.link} />}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {hasNextPage && <div><Button size="xs" variant="default" loading={isFetchingNextPage} onClick={() => void fetchNextPage()}>More devices</Button></div>}
    </Card>
  );
}

function Matched({ of: { device, streams = [], streamCount = 0 } }: { of: Item }) {
  if (streamCount === 0) return <span className="hf-kind">none that the device has told of</span>;
  const rest = streams.slice(FEW);
  const line = ({ stream, overriddenBy, problem }: (typeof streams)[number]) => (
    <li key={stream}>
      <PageLink className="hf-mono" to={deviceAt(device)} search={{ tab: "streams", stream }}>{stream}</PageLink>
      {overriddenBy && <> <span className="hf-kind">follows</span> <PageLink to={policyAt("streams", overriddenBy)}>{overriddenBy}</PageLink> <span className="hf-kind">instead</span></>}
      {problem && <> <State tone="warn">{problem}</State></>}
    </li>
  );
  return (
    <div>
      <ul className="hf-plain">{streams.slice(0, FEW).map(line)}</ul>
      {rest.length > 0 && <details><summary>{streamCount - FEW} more</summary><ul className="hf-plain">{rest.map(line)}</ul>{streamCount > streams.length && <span className="hf-kind">the first {streams.length} of {count(streamCount, "stream")}</span>}</details>}
    </div>
  );
}

function Values({ of: { values = [] } }: { of: Item }) {
  return (
    <ul className="hf-plain">
      {values.map(({ workload, key, sha256, has }) => (
        <li key={`${workload}/${key}`}>
          {workload}: <span className="hf-mono">{key} {has ?? "?"}</span>{has !== sha256 && <> <span className="hf-kind">is to have</span> <span className="hf-mono">{sha256}</span></>}
        </li>
      ))}
    </ul>
  );
}

function Link({ of }: { of: Item["link"] }) {
  if (!of) return <td data-label="Used"><span className="hf-kind">it has not said yet</span></td>;
  const { tone, words } = fitsIn(of.fits);
  const waits = of.classes.filter(({ waits }) => waits);
  return (
    <>
      <td data-label="Used" className="hf-number">{bytes(of.used)}{of.bytes != null && <> of {bytes(of.bytes)}</>}</td>
      <td data-label="By the end" className="hf-number">{of.forecast == null ? <span className="hf-kind">not known yet</span> : <>about {bytes(of.forecast)}</>}</td>
      <td data-label="Fits"><span><State tone={tone}>{words}</State> <span className="hf-kind">{waits.map((one, index) => <span key={one.class}>{index > 0 && "; "}{one.class}: {waiting(one)} {one.waitsUntil && <Time at={one.waitsUntil} />}</span>)}</span></span></td>
    </>
  );
}
