// Logs of one workload on one device or on several: chosen, searched, followed, taken along. What is
// chosen is in the address.
import { Button, Switch, TextInput } from "@mantine/core";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { reason } from "../../api/client";
import { asText, Book, type Entry } from "../../lib/log/book";
import { downloaded } from "../../api/log-download";
import { rangeOf } from "../../lib/log/range";
import { count } from "../../lib/words";
import { CopyButton } from "../Copy";
import { deviceAt, PageLink } from "../PageLink";
import { save } from "../save";
import { say } from "../say";
import { useSearch } from "../useSearch";
import { Pane, type Goto } from "./Pane";
import { Part } from "./Part";
import { Standing } from "./Standing";
import { useBooks, useLogs, useMerged, type Source } from "./useLogs";

interface Props {
  sources: readonly Source[];
  /** Several in one, by their times. */
  merged: boolean;
  /** Further things to choose. */
  children: React.ReactNode;
}

const SWITCHES = [
  { key: "times", label: "Times", title: "When the device first saw a line: within a second, for older lines within a tenth of their age" },
  { key: "wrap", label: "Wrap", title: "Long lines go on below" },
  { key: "colours", label: "Colours", title: "Those that the program chose by terminal codes" },
] as const;

export function Log({ sources, merged, children }: Props) {
  const [search, setSearch] = useSearch();
  const range = rangeOf(search);
  const logs = useLogs(sources, range);
  const one = useMerged(logs, merged && logs.length > 1);
  const books = useMemo(() => (one ? [one] : logs.map((log) => log.book)), [one, logs]);
  const version = useBooks(books);
  const find = search.find ?? "";
  const only = search.only === "on" && find !== "";
  const [following, setFollowing] = useState(true);
  const [here, setHere] = useState<Entry>();
  const [goto, setGoto] = useState<Goto & { to: (index: number) => boolean }>();
  const wishes = useRef(0);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    for (const book of books) book.find(find);
  }, [books, find]);

  const names = sources.map(({ device }) => device);
  const shown = books.map((book) => (only ? book.entries.filter(({ hit, gap }) => hit || gap) : book.entries));
  const hits = find === "" ? [] : books.flatMap((book) => book.entries.filter(({ hit }) => hit));
  if (books.length > 1) hits.sort((a, b) => a.at - b.at);
  const step = (by: 1 | -1) => {
    const at = here ? hits.indexOf(here) : -1;
    // The search begins with the newest.
    const next = at < 0 ? hits[by > 0 ? 0 : hits.length - 1] : hits[(at + by + hits.length) % hits.length];
    if (!next) return;
    setHere(next);
    setFollowing(false);
    setGoto({ n: ++wishes.current, entry: next, at: next.at, to: () => true });
  };
  const moved = useCallback((index: number, end: boolean, at: number) => {
    setFollowing(end);
    if (!end && at > 0) setGoto({ n: ++wishes.current, at, to: (other) => other !== index });
  }, []);
  const choose = useCallback((key: string) => ({ checked: search[key] !== "off", onChange: (event: React.ChangeEvent<HTMLInputElement>) => setSearch({ [key]: event.currentTarget.checked ? undefined : "off" }) }), [search, setSearch]);
  const [times, wrap, colours] = SWITCHES.map(({ key }) => search[key] !== "off") as [boolean, boolean, boolean];
  const number = here ? hits.indexOf(here) + 1 : 0;
  const dropped = books.reduce((sum, book) => sum + book.dropped, 0);

  return (
    <div className="hf-stack hf-tight">
      <div className="hf-row hf-log-tools">
        {children}
        <Part search={search} setSearch={setSearch} />
      </div>
      <div className="hf-row">
        <TextInput
          ref={field}
          aria-label="Search in the log"
          placeholder="Search in the log"
          type="search"
          value={find}
          onChange={(event) => { setHere(undefined); setSearch({ find: event.currentTarget.value || undefined }); }}
          onKeyDown={(event) => {
            if (event.key !== "Enter") return;
            event.preventDefault();
            step(event.shiftKey || here === undefined ? -1 : 1);
          }}
          spellCheck={false}
          maw={260}
        />
        {find !== "" && (
          <>
            <Button size="xs" variant="default" disabled={hits.length === 0} onClick={() => step(-1)}>Previous</Button>
            <Button size="xs" variant="default" disabled={hits.length === 0} onClick={() => step(1)}>Next</Button>
            <span className="hf-kind" role="status">{hits.length === 0 ? "no line has it" : number > 0 ? `${number.toLocaleString("en")} of ${count(hits.length, "line")}` : `${count(hits.length, "line")}`}</span>
            <Switch size="sm" label="Matches only" checked={only} onChange={(event) => setSearch({ only: event.currentTarget.checked ? "on" : undefined })} />
          </>
        )}
        {SWITCHES.map(({ key, label, title }) => <Switch key={key} size="sm" label={label} title={title} {...choose(key)} />)}
        <Button size="xs" variant="default" aria-pressed={!following} onClick={() => setFollowing(!following)}>{following ? "Pause" : "Follow the end"}</Button>
        <CopyButton text={() => (books.length > 1 ? logs.map(({ device }, index) => `# ${device}\n${asText(shown[index] ?? [], times)}`).join("\n") : asText(shown[0] ?? [], times, one ? names : []))}>Copy all</CopyButton>
        <Download sources={sources} times={times} />
      </div>
      {dropped > 0 && <p className="hf-kind">{count(dropped, "older line")} came before and {dropped === 1 ? "is" : "are"} not kept on this page any more; a download has all that the device keeps.</p>}
      <div className={books.length > 1 ? "hf-log-panes" : "hf-stack hf-tight"}>
        {books.map((book, index) => (
          <section className="hf-stack hf-tight" key={one ? "merged" : (names[index] ?? index)} aria-label={one ? `Log on ${names.join(", ")}` : `Log on ${names[index] ?? ""}`}>
            {logs.map((log, which) => (one || which === index) && (
              <div className="hf-row" key={log.device}>
                {logs.length > 1 && <strong className={one ? `hf-log-name-${which}` : undefined}><PageLink to={deviceAt(log.device)} search={{ tab: "logs", workload: log.workload }}>{log.device}</PageLink></strong>}
                <Standing log={log} online={sources[which]?.online ?? false} heardAt={sources[which]?.heardAt} />
              </div>
            ))}
            <Pane
              entries={shown[index] ?? []}
              version={version}
              names={one ? names : undefined}
              label={`Log of ${sources[0]?.workload ?? ""} on ${one ? names.join(", ") : (names[index] ?? "")}`}
              times={times}
              colours={colours}
              wrap={wrap}
              find={find}
              here={here}
              following={following}
              goto={goto?.to(index) ? goto : undefined}
              moved={(end, at) => moved(index, end, at)}
              search={() => field.current?.focus()}
            >
              <Empty book={book} logs={one ? logs : logs.slice(index, index + 1)} only={only} />
            </Pane>
          </section>
        ))}
      </div>
    </div>
  );
}

/** Why there is nothing to see. */
function Empty({ book, logs, only }: { book: Book; logs: readonly { word: number }[]; only: boolean }) {
  if (only && book.entries.length > 0) return <span>No line has what is searched for.</span>;
  // Before its first word nothing is known of it.
  return logs.every(({ word }) => word > 0) ? <span>It has written nothing in this range.</span> : null;
}

function Download({ sources, times }: { sources: readonly Source[]; times: boolean }) {
  const [search] = useSearch();
  const [busy, setBusy] = useState(false);
  const go = async () => {
    setBusy(true);
    try {
      const { name, content } = await downloaded(sources, rangeOf(search), times);
      save(name, content);
    } catch (error) {
      say(`The log was not downloaded: ${reason(error)}`, true);
    } finally {
      setBusy(false);
    }
  };
  return <Button size="xs" variant="default" loading={busy} onClick={() => void go()}>Download</Button>;
}
