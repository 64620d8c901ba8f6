// The frame of every page: navigation, search, banner, and who is logged in.
import { ActionIcon, AppShell, Burger, Button, Menu, useMantineColorScheme, useComputedColorScheme } from "@mantine/core";
import { useDisclosure, useHotkeys } from "@mantine/hooks";
import { Outlet, useLocation, useNavigate } from "@tanstack/react-router";
import { useQuery } from "@tanstack/react-query";
import { useEffect } from "react";
import * as read from "../api/queries";
import { logout } from "../api/session";
import { session } from "../api/state";
import { useStore } from "../api/store";
import { isMuted } from "../lib/alarms";
import { pages, type Page } from "../pages";
import { Banner } from "./Banner";
import { Fault } from "./Fault";
import { Icon } from "./icons";
import { Live } from "./Live";
import { PageLink } from "./PageLink";
import { Palette } from "./Palette";
import { useCan } from "./rights";
import { Said } from "./say";
import { SessionNotice } from "./SessionNotice";
import { setCritical } from "./title";

export function Shell() {
  const [menu, { toggle, close }] = useDisclosure(false);
  const [search, { open, close: closeSearch }] = useDisclosure(false);
  const { pathname } = useLocation();
  useHotkeys([["mod+K", open], ["/", open]]);
  useEffect(() => {
    close();
  }, [pathname, close]);
  const { data: fleet } = useQuery(read.fleet());
  const critical = (fleet?.attention ?? []).filter(isCritical).length;
  useEffect(() => {
    setCritical(critical);
    return () => setCritical(0);
  }, [critical]);
  return (
    <AppShell header={{ height: 52 }} navbar={{ width: 200, breakpoint: "sm", collapsed: { mobile: !menu } }} padding="md" transitionDuration={0}>
      <a className="hf-skip" href="#main">To the content</a>
      <AppShell.Header px="md">
        <div className="hf-row hf-bar">
          <Burger opened={menu} onClick={toggle} hiddenFrom="sm" size="sm" aria-label={menu ? "Close the navigation" : "Open the navigation"} />
          <PageLink to="/" className="hf-brand">Holdfast</PageLink>
          <Button className="hf-find" variant="default" size="xs" onClick={open} leftSection={<Icon name="search" />} aria-keyshortcuts="Control+K">
            <span className="hf-wide">Search</span> <kbd className="hf-key">Ctrl K</kbd>
          </Button>
          <Live />
          <Scheme />
          <Account />
        </div>
      </AppShell.Header>
      <AppShell.Navbar p="sm">
        <nav className="hf-nav" aria-label="Pages">
          {pages.filter((page) => page.icon).map((page) => <Entry key={page.path} page={page} here={isWithin(pathname, page.path)} />)}
        </nav>
      </AppShell.Navbar>
      <AppShell.Main id="main" tabIndex={-1}>
        <Banner />
        <SessionNotice />
        <Fault what="The page" of={pathname}><Outlet /></Fault>
      </AppShell.Main>
      {search && <Fault what="The search" of="search" broke={closeSearch}><Palette close={closeSearch} /></Fault>}
      <Said />
    </AppShell>
  );
}

/** Whether an item of what needs a person is counted in the tab's title: somebody looks after what is
 * acknowledged, and nobody need look at what is silenced. */
function isCritical(item: { severity: string; acknowledged: number; silenced: number; count: number }): boolean {
  return item.severity === "critical" && !isMuted(item);
}

function isWithin(pathname: string, path: string): boolean {
  return path === "/" ? pathname === "/" : pathname === path || pathname.startsWith(`${path}/`);
}

/** A page that may not be read stays there: it says why. */
function Entry({ page, here }: { page: Page; here: boolean }) {
  const can = useCan();
  const verdict = page.needs && can(page.needs);
  const shut = verdict && !verdict.allowed ? verdict.why : undefined;
  return (
    <PageLink to={page.path} {...(here ? { "aria-current": "page" as const } : {})} {...(shut ? { title: shut } : {})}>
      <Icon name={page.icon ?? ""} />
      {page.title}
      {shut && <span className="hf-kind hf-lock"><Icon name="lock" /><span className="hf-hidden">not allowed</span></span>}
    </PageLink>
  );
}

function Scheme() {
  const { setColorScheme } = useMantineColorScheme();
  const dark = useComputedColorScheme("light") === "dark";
  return (
    <ActionIcon variant="default" size={30} onClick={() => setColorScheme(dark ? "light" : "dark")} aria-label={dark ? "Light colours" : "Dark colours"} title={dark ? "Light colours" : "Dark colours"}>
      <Icon name={dark ? "sun" : "moon"} />
    </ActionIcon>
  );
}

function Account() {
  const now = useStore(session);
  const who = now.kind === "open" || now.kind === "ended" ? now : undefined;
  // By what the token is for: nobody knows its id by heart.
  const operator = who?.operatorName || (who?.operator ?? "").replace(/^user /, "");
  const what = who?.operator.startsWith("user ") ? who.operator : `access token ${who?.operator ?? ""}`;
  const navigate = useNavigate();
  return (
    <Menu position="bottom-end">
      <Menu.Target>
        <Button variant="default" size="xs" className="hf-account" title={`Logged in as ${operator} (${what})`} aria-label={`Logged in as ${operator}`}>{operator}</Button>
      </Menu.Target>
      <Menu.Dropdown>
        <Menu.Item leftSection={<Icon name="settings" />} onClick={() => void navigate({ to: "/settings" as never, search: { tab: "me" } as never })}>My account</Menu.Item>
        <Menu.Item leftSection={<Icon name="out" />} onClick={() => void logout()}>Log out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
