// Sentences of the server, which writes times in UTC: here they stand in the reader's zone.
import { exact } from "../lib/time";

const MOMENT = /(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)/;

export function Words({ children }: { children: string }) {
  return (
    <>
      {children.split(MOMENT).map((part, index) =>
        index % 2 === 0 ? part : <time key={index} dateTime={part} title={exact(Date.parse(part))}>{new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" }).format(Date.parse(part))}</time>,
      )}
    </>
  );
}
