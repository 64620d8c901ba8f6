// An answer of the fleet: as a table, as a chart where it has windows, and what it cost.
import { Select } from "@mantine/core";
import { Suspense, useMemo, useState } from "react";
import type { Answer as Whole } from "../../api/ask-fleet";
import { lines, short, type AnswerRow } from "../../lib/records";
import { exact } from "../../lib/time";
import { bytes, count, some } from "../../lib/words";
import { Card } from "../../ui/Card";
import { later } from "../../ui/later";
import { Loading } from "../../ui/Loading";
import { Notice } from "../../ui/Notice";

const Chart = later(() => import("../../ui/Chart"));

/** Rows of the table. */
const ROWS = 500;
/** Lines of the chart: more cannot be told apart. */
const LINES = 20;

export function Answer({ of }: { of: Whole }) {
  const rows = of.rows as readonly AnswerRow[];
  const groups = Object.keys(rows[0]?.group ?? {});
  const values = Object.keys(rows[0]?.values ?? {});
  const windows = rows.some(({ window }) => window);
  const { crossed, shippingWouldHaveCost: shipping } = of.bytes;
  return (
    <Card title="Answer" aside={<span className="hf-kind">{count(of.answered, "device")} answered</span>}>
      <dl className="hf-facts">
        <dt>Crossed the links</dt><dd>{bytes(crossed)}</dd>
        <dt>Shipping the records</dt><dd>would have cost {bytes(shipping)}{crossed > 0 && shipping >= crossed * 1.5 ? `: ${Math.round(shipping / crossed).toLocaleString("en")} times as much` : ""}</dd>
        <dt>Records</dt><dd>{of.records.matched.toLocaleString("en")} counted of {of.records.scanned.toLocaleString("en")} that were looked at</dd>
      </dl>
      {of.missing.length > 0 && (
        <Notice tone="warn" title={`${count(of.missing.length, "device")} did not answer`}>
          {some(of.missing.map((name) => (of.reasons?.[name] ? `${name} (${of.reasons[name]})` : name)), of.missing.length, 10)}
        </Notice>
      )}
      {(of.notes ?? []).map((note) => <Notice key={note} tone="warn" title={note} />)}
      {rows.length === 0 ? <p>No record counted.</p> : (
        <>
          {windows && <Windows rows={rows} values={values} />}
          <table className="hf-table hf-folds">
            <thead><tr>{windows && <th>Window</th>}{groups.map((name) => <th key={name}>{name}</th>)}{values.map((name) => <th key={name} className="hf-number">{name}</th>)}</tr></thead>
            <tbody>
              {rows.slice(0, ROWS).map((row, index) => (
                <tr key={index}>
                  {windows && <td data-label="Window">{row.window ? exact(Date.parse(row.window)) : ""}</td>}
                  {groups.map((name) => <td key={name} data-label={name}>{short(row.group[name] ?? null)}</td>)}
                  {values.map((name) => <td key={name} data-label={name} className="hf-number">{shown(row.values[name])}</td>)}
                </tr>
              ))}
            </tbody>
          </table>
          {rows.length > ROWS && <span className="hf-kind">the first {ROWS} of {count(rows.length, "row")}; the API and the command line give all</span>}
        </>
      )}
      <span className="hf-kind">A quantile is at most {(of.quantileError * 100).toFixed(1)}% away from a record&apos;s number of its rank.</span>
    </Card>
  );
}

function shown(value: unknown): string {
  return typeof value === "number" ? Number(value.toPrecision(8)).toLocaleString("en", { maximumFractionDigits: 6 }) : "";
}

function Windows({ rows, values }: { rows: readonly AnswerRow[]; values: readonly string[] }) {
  const [chosen, setChosen] = useState(values[0] ?? "");
  const value = values.includes(chosen) ? chosen : (values[0] ?? "");
  const all = useMemo(() => lines(rows, value), [rows, value]);
  const drawn = useMemo(() => all.slice(0, LINES), [all]);
  return (
    <>
      {values.length > 1 && <Select label="Chart of" data={[...values]} value={value} onChange={(next) => setChosen(next ?? "")} allowDeselect={false} maw={220} />}
      <Suspense fallback={<Loading rows={6} />}><Chart lines={drawn} label={`Chart of ${value} by window; the table below says the same`} /></Suspense>
      {all.length > LINES && <span className="hf-kind">the first {LINES} of {count(all.length, "group")}</span>}
    </>
  );
}
