// A dialog. Mantine's own puts its title in a <header>, which counts as a second banner of the
// document; this one does not.
import { Modal } from "@mantine/core";

interface Props {
  title: string;
  /** Absent: it cannot be closed but by what is in it. */
  close?: (() => void) | undefined;
  size?: "md" | "lg";
  top?: boolean;
  children: React.ReactNode;
}

export function Dialog({ title, close, size = "md", top = false, children }: Props) {
  return (
    <Modal.Root opened onClose={close ?? (() => undefined)} size={size} centered={!top} {...(top ? { yOffset: "8vh" } : {})} closeOnEscape={close !== undefined} closeOnClickOutside={close !== undefined} transitionProps={{ duration: 0 }}>
      <Modal.Overlay />
      <Modal.Content>
        <div className="hf-dialog-head">
          <Modal.Title>{title}</Modal.Title>
          {close && <Modal.CloseButton aria-label="Close" />}
        </div>
        <Modal.Body>{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
