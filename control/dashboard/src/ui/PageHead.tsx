// A page's heading: names the tab, and takes the focus after a change of page, so that a screen
// reader says where one is.
import { Title } from "@mantine/core";
import { useEffect, useRef } from "react";
import { setTitle } from "./title";

let first = true;

export function PageHead({ title, children, aside }: { title: string; children?: React.ReactNode; aside?: React.ReactNode }) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    setTitle(title);
  }, [title]);
  useEffect(() => {
    if (!first) heading.current?.focus({ preventScroll: true });
    first = false;
  }, []);
  return (
    <div className="hf-row hf-spread">
      <div className="hf-row">
        <Title order={1} ref={heading} tabIndex={-1}>{title}</Title>
        {aside}
      </div>
      <div className="hf-row">{children}</div>
    </div>
  );
}
