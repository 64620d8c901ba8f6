// Sentences of the server, which writes times in UTC: here they stand in the reader's zone.
import { exact } from "../lib/time";

const MOMENT = /(\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ| \d\d:\d\d(?::\d\d)? UTC))/;

const short = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export function Words({ children }: { children: string }) {
  return (
    <>
      {children.split(MOMENT).map((part, index) => {
        const at = index % 2 === 0 ? Number.NaN : Date.parse(part.replace(" UTC", "Z").replace(" ", "T"));
        return Number.isNaN(at) ? part : <time key={index} dateTime={new Date(at).toISOString()} title={`${exact(at)} (${part})`}>{short.format(at)}</time>;
      })}
    </>
  );
}
