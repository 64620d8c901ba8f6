// A part of a page with its heading.
import { Title } from "@mantine/core";
import { useId } from "react";

export function Card({ title, aside, children }: { title: string; aside?: React.ReactNode; children: React.ReactNode }) {
  const id = useId();
  return (
    <section className="hf-card hf-stack hf-tight" aria-labelledby={id}>
      <div className="hf-row hf-spread">
        <Title order={2} id={id}>{title}</Title>
        {aside}
      </div>
      {children}
    </section>
  );
}
