// One line of a log: when, whose, its text with colours and what is searched for. Never as markup.
import { memo } from "react";
import { segments, type Entry } from "../../lib/log/book";
import { clockTime, exact } from "../../lib/time";

interface Props {
  entry: Entry;
  /** Whose line it is, where several logs stand in one. */
  name?: string | undefined;
  times: boolean;
  colours: boolean;
  wrap: boolean;
  find: string;
  hit: boolean;
  /** The line that the search stands at. */
  here: boolean;
}

export const Row = memo(function Row({ entry, name, times, colours, wrap, find, hit, here }: Props) {
  const kinds = ["hf-line", wrap && "hf-line-wraps", entry.gap && "hf-log-gap", here && "hf-line-here"].filter(Boolean).join(" ");
  return (
    <div className={kinds} data-id={entry.id} {...(here ? { "aria-current": "true" as const } : {})}>
      {times && entry.time !== undefined && <When time={entry.time} />}
      {name !== undefined && <span className={`hf-log-name hf-log-name-${entry.source}`}>{`${name} `}</span>}
      {segments(entry, hit ? find : "", colours).map(({ text, look, hit: marked }, index) => {
        const looks = look === "" ? undefined : look.split(" ").map((word) => `hf-ansi-${word}`).join(" ");
        return marked ? <mark key={index} className={looks}>{text}</mark> : looks ? <span key={index} className={looks}>{text}</span> : text;
      })}
    </div>
  );
});

/** When a line was written. */
function When({ time }: { time: number }) {
  if (time === 0) return <span className="hf-log-time" title="The time is not known: the device's clock was wrong, or the agent did not run">{"unknown  "}</span>;
  return <time className="hf-log-time" dateTime={new Date(time * 1000).toISOString()} title={exact(time * 1000)}>{`${clockTime(time)}  `}</time>;
}
