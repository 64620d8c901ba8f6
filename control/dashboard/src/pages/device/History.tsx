// When the device came and went: a chart of its presence, and the list behind it.
import { useQuery } from "@tanstack/react-query";
import { Suspense } from "react";
import * as read from "../../api/queries";
import { Card } from "../../ui/Card";
import { later } from "../../ui/later";
import { Loading } from "../../ui/Loading";
import { Failed } from "../../ui/Notice";
import { State } from "../../ui/State";
import { Time } from "../../ui/Time";

const Presence = later(() => import("./Presence"));

export function History({ name, online }: { name: string; online: boolean }) {
  const { data, error, refetch } = useQuery(read.history(name));
  if (!data) return error ? <Failed error={error} what="The history could not be read" retry={() => void refetch()} /> : <Loading />;
  return (
    <Card title="Link and presence" aside={<span className="hf-kind">the newest {data.items.length}</span>}>
      {data.items.length === 0 ? <p>It was never connected.</p> : (
        <>
          <Suspense fallback={<Loading rows={3} />}><Presence events={data.items} online={online} /></Suspense>
          <table className="hf-table hf-folds">
            <thead><tr><th>When</th><th>What</th><th>Address</th><th>Reason</th></tr></thead>
            <tbody>
              {data.items.map((item, index) => (
                <tr key={index}>
                  <td data-label="When"><Time at={item.at} /></td>
                  <td data-label="What"><State tone={item.event === "connected" ? "good" : "bad"}>{item.event}</State></td>
                  <td data-label="Address"><span className="hf-mono">{item.address ?? ""}</span></td>
                  <td data-label="Reason">{item.reason ?? ""}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </>
      )}
    </Card>
  );
}
