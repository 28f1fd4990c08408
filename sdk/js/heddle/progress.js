// How far along the work is, for whoever watches.
import { report as tell } from "heddle:host/progress@0.1.0";

export const report = (stage, percent, message = "") => tell(stage, percent ?? undefined, message);
