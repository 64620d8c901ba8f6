// A QR code as one path of an SVG: no canvas, no data address, nothing as HTML.
import qrcode from "qrcode-generator";
import { useMemo } from "react";

/** Quiet modules around it, as the standard wants. */
const MARGIN = 4;

export default function QrCode({ text, label }: { text: string; label: string }) {
  const { size, path } = useMemo(() => {
    const code = qrcode(0, "L");
    code.addData(text, "Byte");
    code.make();
    const size = code.getModuleCount();
    let path = "";
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) if (code.isDark(row, column)) path += `M${column + MARGIN} ${row + MARGIN}h1v1h-1z`;
    }
    return { size, path };
  }, [text]);
  return (
    <svg className="hf-qr" viewBox={`0 0 ${size + 2 * MARGIN} ${size + 2 * MARGIN}`} role="img" aria-label={label} shapeRendering="crispEdges">
      <path d={path} fill="#000" />
    </svg>
  );
}
