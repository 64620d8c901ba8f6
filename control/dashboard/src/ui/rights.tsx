// What the reader may do, on the page: buttons and menu entries that are not allowed stand there,
// disabled, with the reason for eyes and screen readers; a page that may not be read says so in words.
// See decision 0164.
import { Button, Menu, type ButtonProps, type MenuItemProps } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import { useId, type ComponentPropsWithoutRef, type ReactNode } from "react";
import { canOn, whoami } from "../api/rights";
import type { Action } from "../api/routes";
import { judge, type Verdict } from "../lib/rights";
import { Notice } from "./Notice";
import { PageLink } from "./PageLink";

/** Decides about any action. */
export function useCan(): (action: Action) => Verdict {
  const { data } = useQuery(whoami());
  return (action) => judge(data, action);
}

/** Whether what the reader may do is known yet, or cannot be known now. */
export function useRightsKnown(): boolean {
  return !useQuery(whoami()).isPending;
}

/** Decides about an action, on one device where a role reaches some alone. */
export function useVerdict(action: Action, device?: string): Verdict {
  const usual = useCan()(action);
  const narrow = device !== undefined && usual.allowed && usual.reach !== undefined;
  const { data } = useQuery({ ...canOn(action, device ?? ""), enabled: narrow });
  return (narrow && data) || usual;
}

interface May {
  /** What the button does, in the API's words. */
  may: Action;
  /** The device that it is done to. */
  device?: string | undefined;
}

const halt = (event: React.MouseEvent) => {
  event.preventDefault();
  event.stopPropagation();
};

type Own = Omit<ComponentPropsWithoutRef<"button">, keyof ButtonProps | "type"> & { type?: "button" | "submit" };

/** A button for an action that may not be allowed. It keeps its place in the order of the keyboard. */
export function ActButton({ may, device, ...props }: May & ButtonProps & Own) {
  const { allowed, why } = useVerdict(may, device);
  if (allowed) return <Button {...props} />;
  return <Shut {...props} why={why} />;
}

/** A link that downloads something, as a button. */
export function ActLink({ may, href, download, children, ...props }: { may: Action; href: string; download: string | true; children: ReactNode } & ButtonProps) {
  const { allowed, why } = useVerdict(may);
  return allowed ? <Button component="a" href={href} download={download} {...props}>{children}</Button> : <Shut why={why} {...props}>{children}</Shut>;
}

/** A button that is not allowed, whatever it would do. */
export function Shut({ why, children, ...props }: { why: string } & ButtonProps & Own) {
  const id = useId();
  return (
    <>
      <Button {...props} type="button" disabled={false} loading={false} data-disabled aria-disabled="true" title={why} aria-describedby={id} onClick={halt}>{children}</Button>
      <span id={id} className="hf-hidden">{why}</span>
    </>
  );
}

/** An entry of a menu; of one that is not allowed the reason stands below it. */
export function ActItem({ may, device, children, color, ...props }: May & MenuItemProps & Omit<ComponentPropsWithoutRef<"button">, "color" | "style">) {
  const { allowed, why } = useVerdict(may, device);
  // Mantine's red has too little contrast on a menu.
  if (allowed) return <Menu.Item {...(color === "red" ? { className: "hf-danger" } : {})} {...props}>{children}</Menu.Item>;
  return (
    <Menu.Item aria-disabled="true" closeMenuOnClick={false} className="hf-shut" title={why}>
      <span>{children}</span>
      <span className="hf-kind hf-why">{why}</span>
    </Menu.Item>
  );
}

/** In the place of what may not be read. */
export function NotAllowed({ why }: { why: string }) {
  return (
    <Notice tone="idle" title="You may not see this">
      <p>{why}.</p>
      <p><PageLink to="/settings" search={{ tab: "me" }}>What you may do</PageLink></p>
    </Notice>
  );
}

/** Shows its children to those who may. */
export function Allowed({ may, children }: { may: Action | undefined; children: ReactNode }) {
  const can = useCan();
  const verdict = may && can(may);
  return verdict && !verdict.allowed ? <NotAllowed why={verdict.why} /> : children;
}
