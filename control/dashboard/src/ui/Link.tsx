// What a device's link has carried against its budget: what is used, what will be at the rate of the
// last hour, what waits. All of it is the server's word.
import { fitsIn, waiting, type LinkClass } from "../lib/link";
import { policyAt } from "../lib/policies";
import { bytes } from "../lib/words";
import { PageLink } from "./PageLink";
import { State } from "./State";
import { Time } from "./Time";

export interface LinkOf {
  budget?: string | null | undefined;
  bytes?: number | null | undefined;
  period: string;
  since: string;
  ends: string;
  at?: string | null | undefined;
  rateSeconds?: number | null | undefined;
  used: number;
  forecast?: number | null | undefined;
  fits: string;
  classes: readonly LinkClass[];
}

const ORDER = ["control", "events", "data", "logs", "artifacts"];

export function LinkBudget({ of }: { of: LinkOf | null | undefined }) {
  if (!of || of.classes.length === 0) return <p>The device has not said what its link carries.</p>;
  const rows = [...of.classes].sort((a, b) => ORDER.indexOf(a.class) - ORDER.indexOf(b.class));
  const all: LinkClass = { class: "all", used: of.used, share: of.bytes, forecast: of.forecast, fits: of.fits };
  const bounded = of.bytes !== undefined && of.bytes !== null;
  return (
    <div className="hf-stack hf-tight">
      <span>
        {bounded ? <>{of.budget ? <PageLink to={policyAt("linkbudgets", of.budget)}>{of.budget}</PageLink> : "A budget"} gives {bytes(of.bytes ?? 0)} a {of.period}, which ends <Time at={of.ends} />.</> : <>No budget bounds this link. The {of.period} ends <Time at={of.ends} />.</>}
        {of.at && <> <span className="hf-kind">As the device said it <Time at={of.at} />.</span></>}
      </span>
      <table className="hf-table hf-folds">
        <thead><tr><th>Class</th><th className="hf-number">Used</th><th className="hf-number">By the end of the {of.period}</th>{bounded && <><th className="hf-number">Share</th><th>Fits</th></>}</tr></thead>
        <tbody>{[...rows, all].map((row) => <Row key={row.class} of={row} bounded={bounded} />)}</tbody>
      </table>
      <span className="hf-kind">{of.rateSeconds ? "By the end: what is used, and the rate of the last hour times what is left of the time." : "There is no forecast yet: the device has counted for less than 10 minutes since its agent started."}</span>
    </div>
  );
}

function Row({ of, bounded }: { of: LinkClass; bounded: boolean }) {
  const { tone, words } = fitsIn(of.fits);
  return (
    <tr>
      <td data-label="Class">{of.class === "all" ? <strong>all</strong> : of.class}</td>
      <td data-label="Used" className="hf-number">{bytes(of.used)}</td>
      <td data-label="By the end" className="hf-number">{of.forecast === undefined || of.forecast === null ? <span className="hf-kind">not known yet</span> : <>about {bytes(of.forecast)}</>}</td>
      {bounded && (
        <>
          <td data-label="Share" className="hf-number">{of.share === undefined || of.share === null ? "none" : bytes(of.share)}</td>
          <td data-label="Fits"><span><State tone={tone}>{words}</State> <span className="hf-kind">{waiting(of)} {of.waitsUntil && <Time at={of.waitsUntil} />}</span></span></td>
        </>
      )}
    </tr>
  );
}
