// The table of pages as a router. Search parameters are plain texts: addresses that one can read.
import { createRootRoute, createRoute, createRouter } from "@tanstack/react-router";
import { pages, type Page } from "./pages";
import { Broken } from "./ui/Fault";
import { later } from "./ui/later";
import { Loading } from "./ui/Loading";
import { PageHead } from "./ui/PageHead";
import { PageLink } from "./ui/PageLink";
import { NotAllowed, useCan, useRightsKnown } from "./ui/rights";
import { Shell } from "./ui/Shell";

const root = createRootRoute({
  component: Shell,
  notFoundComponent: () => (
    <div className="hf-stack">
      <PageHead title="There is no such page" />
      <p>The address may be of an older version. <PageLink to="/">To the fleet</PageLink></p>
    </div>
  ),
});

/** A page behind the question whether the reader may see it; its code comes meanwhile. */
function gated({ title, needs, load }: Page) {
  const Part = later(load, "page");
  function Gate() {
    const known = useRightsKnown();
    const can = useCan();
    if (!known) return <Loading rows={6} />;
    const verdict = needs && can(needs);
    if (!verdict || verdict.allowed) return <Part />;
    return (
      <div className="hf-stack">
        <PageHead title={title} />
        <NotAllowed why={verdict.why} />
      </div>
    );
  }
  return Object.assign(Gate, { preload: Part.preload });
}

const routes = pages.map((page) =>
  createRoute({ getParentRoute: () => root, path: page.path, component: gated(page) } as Parameters<typeof createRoute>[0]),
);

function parseSearch(text: string): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(text));
}

function stringifySearch(search: Record<string, unknown>): string {
  const given = Object.entries(search).filter(([, value]) => value !== undefined && value !== "");
  const text = new URLSearchParams(given.map(([key, value]) => [key, String(value)])).toString();
  return text ? `?${text}` : "";
}

export const router = createRouter({
  routeTree: root.addChildren(routes as never) as unknown as typeof root,
  defaultPreload: "intent",
  defaultPendingMs: 300,
  scrollRestoration: true,
  parseSearch,
  stringifySearch,
  // A page's own fault: shown in its place, within the shell.
  defaultErrorComponent: ({ error, reset }) => (
    <div className="hf-stack">
      <PageHead title="This page broke" />
      <Broken what="The page" error={error} again={reset} />
    </div>
  ),
});
