// What somebody did something with: its kind and its name, which leads to its page where it has one.
import { kindOf, placeOf } from "../lib/activity";
import { pages } from "../pages";
import { PageLink } from "./PageLink";

const PATHS = pages.map(({ path }) => path);

export function Thing({ kind, name, title }: { kind: string; name: string; title?: string | null | undefined }) {
  const to = placeOf(kind, name, PATHS);
  const text = title || name;
  return <span><span className="hf-kind">{kindOf(kind)} </span>{to ? <PageLink to={to} title={name}>{text}</PageLink> : <span title={name}>{text}</span>}</span>;
}
