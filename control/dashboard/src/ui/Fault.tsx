// Where the fault of a part ends: the part says that it broke, and everything around it works on.
import { Button } from "@mantine/core";
import { Component, type ReactNode } from "react";
import { reason } from "../api/client";
import { Notice } from "./Notice";

interface Props {
  /** What broke, as the reader calls it. */
  what: string;
  /** Another value: another part, which is shown. */
  of: string;
  children: ReactNode;
  /** Called when it breaks: what can be closed is closed. */
  broke?: () => void;
}

export class Fault extends Component<Props, { error?: unknown; of: string }> {
  override state: { error?: unknown; of: string } = { of: this.props.of };

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  static getDerivedStateFromProps(props: Props, state: { error?: unknown; of: string }) {
    return props.of === state.of ? null : { error: undefined, of: props.of };
  }

  override componentDidCatch(error: unknown) {
    console.error(error);
    this.props.broke?.();
  }

  override render() {
    if (this.state.error === undefined) return this.props.children;
    return <Broken what={this.props.what} error={this.state.error} again={() => this.setState({ error: undefined })} />;
  }
}

/** What is shown in the place of something that broke. */
export function Broken({ what, error, again }: { what: string; error: unknown; again: () => void }) {
  return (
    <Notice tone="bad" title={`${what} could not be shown`} alert>
      <div className="hf-row hf-spread">
        <span>This is a defect of the dashboard: {reason(error)}. All other pages work.</span>
        <Button size="xs" variant="default" onClick={again}>Show it again</Button>
      </div>
    </Notice>
  );
}
