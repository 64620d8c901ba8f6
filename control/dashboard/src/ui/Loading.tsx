// While the first answer is under way.
import { Skeleton } from "@mantine/core";

export function Loading({ rows = 4 }: { rows?: number }) {
  return (
    <div className="hf-stack hf-tight" role="status" aria-label="Loading">
      {Array.from({ length: rows }, (_, index) => <Skeleton key={index} height={28} />)}
    </div>
  );
}
