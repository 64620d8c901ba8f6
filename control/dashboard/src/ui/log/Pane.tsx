// The lines of a log on the page: as many as fit are drawn, whatever their number. It follows the end,
// or holds a line where it is while others come and go.
import { useCallback, useEffect, useLayoutEffect, useReducer, useRef, useState } from "react";
import { whereabouts, type Entry } from "../../lib/log/book";
import { Row } from "./Row";

/** Height of a line that does not wrap, in pixels: 0.8125rem times 1.5. */
const LINE = 19.5;
/** So near to the end counts as the end, in pixels. */
const NEAR = 24;
/** Lines that a selection may keep drawn. */
const MOST_SELECTED = 5_000;

/** Where the panes are to go. `n` tells two wishes apart. */
export interface Goto {
  n: number;
  entry?: Entry;
  at?: number;
}

interface Props {
  entries: readonly Entry[];
  /** Rises when lines come or go. */
  version: number;
  names: readonly string[] | undefined;
  label: string;
  times: boolean;
  colours: boolean;
  wrap: boolean;
  find: string;
  here: Entry | undefined;
  following: boolean;
  goto: Goto | undefined;
  /** The reader scrolled: to the end, or to a line of this time. */
  moved: (following: boolean, at: number) => void;
  /** Ctrl-F in it. */
  search: () => void;
  children: React.ReactNode;
}

interface Hold {
  entry: Entry;
  /** Pixels between the upper edge and the line's. */
  offset: number;
}

export function Pane({ entries, version, names, label, times, colours, wrap, find, here, following, goto, moved, search, children }: Props) {
  const box = useRef<HTMLDivElement>(null);
  const rows = useRef<HTMLDivElement>(null);
  const [hold, setHold] = useState<Hold>();
  const [selected, setSelected] = useState<[first: number, last: number]>();
  /** Mean height of the lines that are drawn. */
  const mean = useRef(LINE);
  const placed = useRef(0);
  const [, drawAgain] = useReducer((turn: number) => turn + 1, 0);

  const fit = Math.ceil((box.current?.clientHeight ?? 800) / LINE);
  const held = hold ? entries.indexOf(hold.entry) : -1;
  const atEnd = following || !hold;
  // Is it not among the lines (any more), the next one takes its place.
  const top = held >= 0 ? held : Math.max(0, Math.min(whereabouts(entries, hold?.entry.at ?? 0), entries.length - 1));
  let from = atEnd ? Math.max(0, entries.length - fit - 20) : Math.max(0, top - fit);
  let to = atEnd ? entries.length : Math.min(entries.length, top + fit * 2);
  if (selected) {
    const first = entries.findIndex(({ id }) => id === selected[0]);
    const last = entries.findIndex(({ id }) => id === selected[1]);
    const [low, high] = [Math.min(first, last), Math.max(first, last)];
    // Lines that are selected stay drawn, so that all of them are copied.
    if (low >= 0 && Math.max(to, high + 1) - Math.min(from, low) <= MOST_SELECTED) [from, to] = [Math.min(from, low), Math.max(to, high + 1)];
  }
  const shown = entries.slice(from, to);

  useLayoutEffect(() => {
    const { current: outer } = box;
    const { current: inner } = rows;
    if (!outer || !inner) return;
    if (shown.length > 0) mean.current = Math.max(LINE / 2, inner.offsetHeight / shown.length);
    if (atEnd) outer.scrollTop = outer.scrollHeight;
    else {
      const line = inner.children[top - from] as HTMLElement | undefined;
      const wanted = line ? line.offsetTop - (held < 0 ? 0 : (hold?.offset ?? 0)) : 0;
      if (Math.abs(outer.scrollTop - wanted) > 1) outer.scrollTop = wanted;
    }
    placed.current = outer.scrollTop;
  });

  // Another size of the pane holds other lines.
  useEffect(() => {
    if (!box.current) return;
    const observer = new ResizeObserver(drawAgain);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  const [gone, setGone] = useState<Goto>();
  if (goto !== gone) {
    setGone(goto);
    if (goto) {
      const target = goto.entry && entries.includes(goto.entry) ? goto.entry : entries[Math.min(whereabouts(entries, goto.entry?.at ?? goto.at ?? 0), entries.length - 1)];
      if (target) setHold({ entry: target, offset: goto.entry ? fit * LINE * 0.3 : 0 });
    }
  }

  const scrolled = () => {
    const { current: outer } = box;
    const { current: inner } = rows;
    if (!outer || !inner || Math.abs(outer.scrollTop - placed.current) < 2) return;
    placed.current = outer.scrollTop;
    if (outer.scrollHeight - outer.scrollTop - outer.clientHeight < NEAR) {
      moved(true, 0);
      return;
    }
    const next = topmost(outer, inner, entries, from, to, mean.current);
    if (!next) return;
    setHold(next);
    moved(false, next.entry.at);
  };

  const pauseHere = useCallback(() => {
    const { current: outer } = box;
    const { current: inner } = rows;
    const next = outer && inner && topmost(outer, inner, entries, from, to, mean.current);
    if (next) setHold(next);
  }, [entries, from, to]);
  useLayoutEffect(() => {
    if (following && hold) setHold(undefined);
    // From the end on: what is seen stays where it is.
    else if (!following && !hold) pauseHere();
  }, [following, hold, pauseHere]);

  useEffect(() => {
    const changed = () => {
      const now = document.getSelection();
      const ends = now && !now.isCollapsed && [now.anchorNode, now.focusNode].map((node) => lineOf(node, rows.current));
      if (!ends || ends[0] === undefined || ends[1] === undefined) setSelected(undefined);
      else {
        const [first, last] = ends;
        setSelected((before) => (before && before[0] === first && before[1] === last ? before : [first, last]));
        pauseHere();
        moved(false, -1);
      }
    };
    document.addEventListener("selectionchange", changed);
    return () => document.removeEventListener("selectionchange", changed);
  }, [moved, pauseHere]);

  return (
    // eslint-disable-next-line jsx-a11y/no-noninteractive-element-interactions -- the browser's own search sees only what is drawn
    <div
      className="hf-code hf-log"
      ref={box}
      // eslint-disable-next-line jsx-a11y/no-noninteractive-tabindex -- it scrolls: the keyboard needs a way in
      tabIndex={0}
      role="log"
      aria-live="off"
      aria-label={label}
      data-version={version}
      onScroll={scrolled}
      onKeyDown={(event) => {
        if ((event.ctrlKey || event.metaKey) && event.key === "f") {
          event.preventDefault();
          search();
        }
      }}
    >
      {entries.length === 0 && children}
      <div style={{ height: from * mean.current }} />
      <div ref={rows}>
        {shown.map((entry) => <Row key={entry.id} entry={entry} name={names?.[entry.source]} times={times} colours={colours} wrap={wrap} find={find} hit={entry.hit} here={entry === here} />)}
      </div>
      <div style={{ height: (entries.length - to) * mean.current }} />
    </div>
  );
}

/** The line at the upper edge, and how far it is from it. */
function topmost(outer: HTMLElement, inner: HTMLElement, entries: readonly Entry[], from: number, to: number, mean: number): Hold | undefined {
  const at = outer.scrollTop;
  const begins = inner.offsetTop;
  const ends = begins + inner.offsetHeight;
  const guess = at < begins ? Math.floor(at / mean) : at >= ends ? to + Math.floor((at - ends) / mean) : -1;
  if (guess >= 0) {
    const entry = entries[Math.min(guess, entries.length - 1)];
    return entry && { entry, offset: 0 };
  }
  for (let index = 0; index < inner.children.length; index++) {
    const line = inner.children[index] as HTMLElement;
    const entry = entries[from + index];
    if (line.offsetTop + line.offsetHeight > at && entry) return { entry, offset: line.offsetTop - at };
  }
  return undefined;
}

function lineOf(node: Node | null, within: HTMLElement | null): number | undefined {
  if (!node || !within?.contains(node)) return undefined;
  const line = (node instanceof Element ? node : node.parentElement)?.closest("[data-id]");
  return line ? Number(line.getAttribute("data-id")) : undefined;
}
