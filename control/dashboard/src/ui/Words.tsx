// Sentences of the server, which writes times in UTC: here they stand in the reader's zone.
import { exact } from "../lib/time";

/** RFC 3339, and as devices write it in their own texts. */
const MOMENT = /(\d{4}-\d\d-\d\d(?:T\d\d:\d\d:\d\dZ| \d\d:\d\d UTC))/;

const at = (text: string) => Date.parse(text.replace(/ (\d\d:\d\d) UTC$/, "T$1:00Z"));

export function Words({ children }: { children: string }) {
  return (
    <>
      {children.split(MOMENT).map((part, index) =>
        index % 2 === 0 ? part : <time key={index} dateTime={new Date(at(part)).toISOString()} title={`${exact(at(part))} (${part})`}>{new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(at(part))}</time>,
      )}
    </>
  );
}
