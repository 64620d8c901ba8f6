// What a device's link has carried by class, of which budget, and the forecast for its period.
import { use, type LinkUse, type Row } from "../lib/budget";
import { bytes } from "../lib/words";
import { useNow } from "./now";
import { State } from "./State";

export function LinkBudget({ of }: { of: LinkUse | undefined }) {
  const now = useNow();
  if (!of || Object.keys(of.classes ?? {}).length === 0) return <p>The device has not said what its link carries.</p>;
  const { period, rows, total } = use(of, now / 1000);
  return (
    <table className="hf-table hf-folds">
      <thead><tr><th>Class</th><th className="hf-number">This {period}</th><th className="hf-number">Forecast for the {period}</th><th className="hf-number">Budget</th><th>Fits</th></tr></thead>
      <tbody>{[...rows, { ...total, name: "all" }].map((row) => <Class key={row.name} of={row} />)}</tbody>
    </table>
  );
}

function Class({ of: { name, used, forecast, budget } }: { of: Row }) {
  return (
    <tr>
      <td data-label="Class">{name === "all" ? <strong>all</strong> : name}</td>
      <td data-label="Until now" className="hf-number">{bytes(used)}</td>
      <td data-label="Forecast" className="hf-number">{bytes(forecast)}</td>
      <td data-label="Budget" className="hf-number">{budget === undefined ? "none" : bytes(budget)}</td>
      <td data-label="Fits">{budget === undefined ? "" : used >= budget ? <State tone="bad">used up</State> : forecast > budget ? <State tone="warn">not all of it</State> : <State tone="good">yes</State>}</td>
    </tr>
  );
}
