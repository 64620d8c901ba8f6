// How an engine on another machine gets the image from here.
import { Button } from "@mantine/core";
import { useQuery } from "@tanstack/react-query";
import * as read from "../../api/queries";
import { authorityFile, loginLine, pullLine, registryHost } from "../../lib/image-lines";
import { Card } from "../../ui/Card";
import { CodeLine } from "../../ui/CodeLine";
import { PageLink } from "../../ui/PageLink";
import { save } from "../../ui/save";

export function Pull({ name, tag, digest }: { name: string; tag: string | undefined; digest: string }) {
  const { data: about } = useQuery(read.about());
  const host = registryHost(location.origin, about?.addresses);
  return (
    <Card title="Pull it">
      <p className="hf-kind">Devices fetch images by themselves. This is for an engine elsewhere: a developer's machine, or a pipeline.</p>
      <CodeLine title="Docker, Podman and others" line={pullLine(host, name, tag, digest)} />
      <details>
        <summary>The first time on a machine</summary>
        <div className="hf-stack hf-inset">
          <CodeLine title="Its password is an access token" line={loginLine(host)} />
          <p className="hf-kind"><PageLink to="/settings" search={{ tab: "access" }}>Access tokens</PageLink></p>
          {about && (
            <div className="hf-stack hf-tight">
              <p>The engine must trust this control plane's certificate authority. Docker reads its certificate from <span className="hf-mono">{authorityFile(host)}</span>.</p>
              <div><Button size="xs" variant="default" onClick={() => save("ca.crt", about.ca.pem, "application/x-pem-file")}>Download the certificate</Button></div>
            </div>
          )}
        </div>
      </details>
    </Card>
  );
}
